//! What a running process shows to those who watch it: `/metrics`, `/healthz`, `/readyz`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use stdx::{Level, Stop};
use stream::Meters;
use stream::StreamMeter;
use tokio::sync::watch;

/// A stream or a queue that is watched.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    Stream {
        /// What it counts.
        meter: Arc<StreamMeter>,
        /// Whether it was told to stop.
        stop: Stop,
        /// The parts that are counted once its tasks have started.
        parts: Vec<String>,
    },
    Queue {
        /// Whether its server answers.
        is_ready: watch::Receiver<bool>,
    },
}

impl Watched {
    pub(crate) fn stream(meter: Arc<StreamMeter>, stop: Stop, parts: Vec<String>) -> Watched {
        Watched::Stream { meter, stop, parts }
    }

    pub(crate) fn queue(is_ready: watch::Receiver<bool>) -> Watched {
        Watched::Queue { is_ready }
    }

    fn is_ready(&self) -> bool {
        match self {
            Watched::Stream { meter, stop, parts } => {
                let counted = meter.snapshot().parts;
                stop.level() == Level::Run && parts.iter().all(|part| counted.contains_key(part))
            }
            Watched::Queue { is_ready } => *is_ready.borrow(),
        }
    }
}

/// Serves on `address` until the process ends, and tells where that is (the port may have been left to the system).
pub(crate) fn serve(
    address: SocketAddr,
    meters: Arc<Meters>,
    watched: Vec<Watched>,
    runtime: &tokio::runtime::Handle,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true).context("listen without blocking")?;
    let bound = listener.local_addr().context("find the address that is listened on")?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).context("listen on the runtime")?
    };
    let metrics = move || {
        let text = meters.text();
        async move { ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
    };
    let ready = move || {
        let is_ready = watched.iter().all(Watched::is_ready);
        async move { if is_ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") } }
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready));
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the metrics are no longer served");
        }
    });
    Ok(bound)
}
