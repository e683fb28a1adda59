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

/// A stream that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// What it counts.
    pub(crate) meter: Arc<StreamMeter>,
    /// Whether it was told to stop.
    pub(crate) stop: Stop,
    /// The parts that are counted once its tasks have started.
    pub(crate) parts: Vec<String>,
}

impl Watched {
    fn is_ready(&self) -> bool {
        let counted = self.meter.snapshot().parts;
        self.stop.level() == Level::Run && self.parts.iter().all(|part| counted.contains_key(part))
    }
}

/// Serves on `address` until the process ends, and tells where that is (the port may have been left to the system).
pub(crate) fn serve(
    address: SocketAddr,
    meters: Arc<Meters>,
    streams: Vec<Watched>,
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
        let is_ready = streams.iter().all(Watched::is_ready);
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
