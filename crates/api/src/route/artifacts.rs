//! Files that jobs leave. Bytes pass through: neither an upload nor a download is ever held whole.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::BodyExt;
use queue::{Artifact, Artifacts, Download, Scope, Token};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::jobs::{SEE, visible};
use crate::access::Caller;
use crate::body;
use crate::meter::Waited;
use crate::operation::Operation;
use crate::pieces::{PIECES_READY, Piece, Pieces};
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;

const WORK: &[Scope] = &[Scope::Work];
const TOKEN: &str = "lease-token";
const BYTES: &str = "application/octet-stream";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/jobs/{id}/artifacts", list)
            .summary("The files that a job left.")
            .scopes(SEE)
            .reply::<Vec<Artifact>>(200, "The files, by name. None before the job has succeeded."),
        Operation::get("/v1/jobs/{id}/artifacts/{name}", read)
            .summary("A file that a job left.")
            .scopes(SEE)
            .reply_other(200, BYTES, "Its bytes. `ETag` is their SHA-256."),
        Operation::put("/v1/jobs/{id}/artifacts/{name}", write)
            .summary("Leaves a file, which is seen once the job is acked. The body is its bytes.")
            .scopes(WORK)
            .header::<Token>("Lease-Token", "What proves that the worker holds the job.")
            .bytes()
            .reply::<Artifact>(201, "It is kept."),
    ]
}

fn kept(api: &Api) -> Result<&Arc<dyn Artifacts>, Problem> {
    api.artifacts.as_ref().ok_or_else(|| {
        let detail = "this server keeps no files; put small ones into the result, others where workers can write";
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", detail)
    })
}

fn name(params: &RawPathParams) -> String {
    params.iter().find(|(name, _)| *name == "name").map_or_else(String::new, |(_, value)| value.to_owned())
}

async fn list(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(SEE)?;
    visible(&caller, SEE)(&api.view.get(id).await?)?;
    Ok(body::ok(&kept(&api)?.artifacts(id).await?))
}

async fn read(State(api): State<Api>, caller: Caller, Id(id): Id, params: RawPathParams, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(SEE)?;
    visible(&caller, SEE)(&api.view.get(id).await?)?;
    let download = kept(&api)?.download(id, name(&params)).await?;
    let seat = api.stream()?;
    let Artifact { bytes, sha256, .. } = download.artifact().clone();
    let (sender, receiver) = mpsc::channel(PIECES_READY);
    tokio::spawn(async move {
        let _seat = seat;
        send(download, &sender).await;
    });
    // Whatever a job left, a browser is not to run it as a page of this server.
    let headers = [
        (header::CONTENT_TYPE, BYTES.to_owned()),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ETAG, format!("\"{sha256}\"")),
    ];
    let mut response = (headers, Pieces::body(receiver, Some(bytes))).into_response();
    response.extensions_mut().insert(Waited);
    Ok(response)
}

async fn send(mut download: Box<dyn Download>, sender: &mpsc::Sender<Piece>) {
    loop {
        let (piece, rest) = match download.read().await {
            Ok(Some((bytes, rest))) => (Ok(bytes), Some(rest)),
            Ok(None) => return,
            Err(error) => (Err(error), None),
        };
        if sender.send(piece).await.is_err() {
            return;
        }
        let Some(rest) = rest else { return };
        download = rest;
    }
}

async fn write(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    params: RawPathParams,
    query: Query,
    headers: HeaderMap,
    mut body: Body,
) -> Reply {
    query.only(&[])?;
    caller.need_some(WORK)?;
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok()).map(|token| Token::from(token.to_owned()));
    let token = token.ok_or_else(|| Problem::invalid("Lease-Token", "the header `Lease-Token` is needed"))?;
    let mut upload = kept(&api)?.upload(id, token, name(&params)).await?;
    while let Some(bytes) = next(&api, &mut body).await? {
        upload = upload.write(bytes).await?;
    }
    let mut response = body::json(StatusCode::CREATED, &upload.seal().await?);
    response.extensions_mut().insert(Waited);
    Ok(response)
}

/// The next bytes of a body, nothing at its end.
async fn next(api: &Api, body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(api.limits.stall_time, body.frame()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body came too slowly and was given up")
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body broke off"))?;
        if let Ok(bytes) = frame.into_data() {
            return Ok(Some(bytes));
        }
    }
}
