use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use queue::Scope;
use tokio::time::timeout;

use crate::access::Caller;
use crate::body;
use crate::limit;
use crate::openapi::openapi;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::state::Api;

const READ: &[Scope] = &[Scope::Read];
const TEXT: &str = "text/plain";
const METRICS: &str = "application/openmetrics-text";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/healthz", healthy).summary("Whether the server runs.").reply_other(200, TEXT, "It runs."),
        Operation::get("/readyz", ready)
            .summary("Whether the server takes requests: its store answers, and it was not told to stop.")
            .reply_other(200, TEXT, "It does."),
        Operation::get("/openapi.json", document)
            .summary("This document.")
            .reply::<serde_json::Map<String, serde_json::Value>>(200, "It."),
        Operation::get("/metrics", metrics)
            .summary("What is counted, for Prometheus.")
            .scopes(READ)
            .reply_other(200, METRICS, "It."),
    ]
}

async fn healthy() -> Response {
    ([(header::CONTENT_TYPE, TEXT)], "ok\n").into_response()
}

async fn ready(State(api): State<Api>) -> Reply {
    let not_ready = |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why);
    if api.is_stopping() {
        return Err(not_ready("the server ends"));
    }
    match timeout(limit::READY_TIME_MAX, api.view.queues()).await {
        Ok(queues) => drop(queues?),
        Err(_) => return Err(not_ready("the store does not answer")),
    }
    Ok(([(header::CONTENT_TYPE, TEXT)], "ok\n").into_response())
}

async fn document() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| serde_json::to_vec(&openapi()).unwrap_or_default().into());
    ([(header::CONTENT_TYPE, body::JSON)], text.clone()).into_response()
}

async fn metrics(State(api): State<Api>, caller: Caller) -> Reply {
    // Counts of all queues stand in one text.
    caller.need_all(READ)?;
    let stats = api.view.stats(None).await?;
    let text = api.meter.text(&stats, api.waiting());
    Ok(([(header::CONTENT_TYPE, format!("{METRICS}; version=1.0.0; charset=utf-8"))], text).into_response())
}
