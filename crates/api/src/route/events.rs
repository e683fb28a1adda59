//! A job's events as they happen. Each carries its stored number, so that `Last-Event-ID` goes on where a broken
//! connection ended.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use queue::{Event, Job, JobId, State as JobState};
use schemars::JsonSchema;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::jobs::{SEE, visible};
use crate::access::Caller;
use crate::limit;
use crate::meter::Waited;
use crate::operation::Operation;
use crate::pieces::{PIECES_READY, Piece, Pieces};
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;

const MEDIA: &str = "text/event-stream";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/jobs/{id}/events", events)
            .summary("What happens to a job, as server-sent events, until it has ended.")
            .scopes(SEE)
            .query::<u64>(
                "after",
                "Only events with a number above this one. The header `Last-Event-ID` says the same.",
            )
            .reply_events::<Message>(
                200,
                MEDIA,
                "The events: `id` is the number, `event` what happened, `data` all of it as JSON.",
            ),
    ]
}

/// An event as it is sent: each field is a line, `data` is JSON.
#[derive(JsonSchema)]
#[schemars(rename = "EventMessage")]
#[expect(dead_code, reason = "a schema only")]
struct Message {
    /// Its number: what to give as `Last-Event-ID` to hear only of later ones.
    id: String,
    /// What happened.
    event: String,
    /// All of it, as JSON.
    data: String,
}

async fn events(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query, headers: HeaderMap) -> Reply {
    let query = query.only(&["after"])?;
    caller.need_some(SEE)?;
    let last = headers.get("last-event-id").map(|last| last.to_str().ok().and_then(|last| last.parse().ok()));
    let after = match last {
        Some(Some(after)) => after,
        Some(None) => return Err(Problem::invalid("Last-Event-ID", "`Last-Event-ID` must be the number of an event")),
        None => query.get::<u64>("after")?.unwrap_or(0),
    };
    let job = api.view.get(id).await?;
    visible(&caller, SEE)(&job)?;
    let seat = api.stream()?;
    let (sender, receiver) = mpsc::channel(PIECES_READY);
    tokio::spawn(async move {
        let _seat = seat;
        feed(&api, &job, after, &sender).await;
    });
    let headers = [(header::CONTENT_TYPE, MEDIA), (header::CACHE_CONTROL, "no-store")];
    let mut response = (headers, Pieces::body(receiver, None)).into_response();
    response.extensions_mut().insert(Waited);
    Ok(response)
}

/// Sends events until the job has ended, the client has left, or the server ends.
async fn feed(api: &Api, job: &Job, mut after: u64, sender: &mpsc::Sender<Piece>) {
    loop {
        let waiter = api.store.hub().job(job.id);
        let Some(events) = page(api, job.id, after).await else { return };
        let is_whole = events.len() < limit::PAGE_ITEMS_MAX;
        let is_over = match events.last() {
            Some(last) => has_ended(last),
            // The state was read before the events: none can be missing.
            None => job.state.has_ended(),
        };
        if let Some(last) = events.last() {
            after = last.sequence;
            if sender.send(Ok(events.iter().map(text).collect::<String>().into())).await.is_err() {
                return;
            }
        }
        if is_over && is_whole {
            return;
        }
        if !is_whole {
            continue;
        }
        let look = api.store.poll_every().unwrap_or(api.limits.events_silence).min(api.limits.events_silence);
        tokio::select! {
            woken = timeout(look, waiter.woken()) => {
                // A comment shows both ends that the other is there.
                if woken.is_err() && sender.send(Ok(Bytes::from_static(b": alive\n\n"))).await.is_err() {
                    return;
                }
            }
            () = sender.closed() => return,
            () = api.stopped() => return,
        }
    }
}

async fn page(api: &Api, id: JobId, after: u64) -> Option<Vec<Event>> {
    // A job that was forgotten has no more events; a store that is down ends the stream, and the client comes again.
    api.view.events(id, after, limit::PAGE_ITEMS_MAX).await.ok()
}

fn has_ended(event: &Event) -> bool {
    JobState::ALL.into_iter().any(|state| state.has_ended() && state.as_str() == event.event)
}

fn text(event: &Event) -> String {
    // JSON of ours has no line breaks outside strings, and none that are not escaped within.
    let data = serde_json::to_string(event).unwrap_or_default().replace(['\n', '\r'], " ");
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.sequence, event.event)
}
