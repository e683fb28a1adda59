use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stdx::Chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::error::Error;
use crate::limit;
use crate::route;
use crate::state::Api;
use crate::unsent::Outbox;
use crate::wire::Wire;

/// The rest after the system could not give a connection, for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready, then drains: takes no more connections, ends what waits with what there is, and lets
/// requests end within the limit's drain time. Refuses to start where everybody could do everything.
pub async fn serve(listener: TcpListener, api: Api, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
    until(listener, api, Box::pin(stop)).await
}

/// A future behind a pointer is compiled here, with what it calls, and not in the crate that awaits it, which may be
/// one that is not optimised.
fn until(listener: TcpListener, api: Api, stop: Boxed<'_, ()>) -> Boxed<'_, Result<(), Error>> {
    Box::pin(serve_until(listener, api, stop))
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

async fn serve_until(listener: TcpListener, api: Api, mut stop: Boxed<'_, ()>) -> Result<(), Error> {
    api.access.check(listener.local_addr().map_err(Error::Listen)?)?;
    let router = route::router(api.clone());
    let slots = Arc::new(Semaphore::new(api.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listener, &slots) => {
                if let Some((stream, slot)) = accepted {
                    connections.spawn(connection(stream, slot, router.clone(), api.clone()));
                }
            }
        }
    }
    drop(listener);
    api.stop();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(api.limits.drain_time, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off, since they did not end in time");
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // Nobody closes the semaphore.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "a connection could not be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, slot: OwnedSemaphorePermit, router: Router, api: Api) {
    let _slot = slot;
    // Without it a small reply may wait for an acknowledgement; if it can't be had, replies are only later.
    let _ = stream.set_nodelay(true);
    let outbox = Outbox::default();
    let wire = TokioIo::new(Wire::new(stream, outbox.clone(), api.limits.stall_time));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(outbox.clone());
        router.clone().call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(api.limits.head_time)
            .max_buf_size(limit::HEAD_BYTES_MAX)
            .max_headers(limit::HEADERS_MAX)
            .serve_connection(wire, service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = api.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %Chain(&error), "a connection broke");
    }
}
