use axum::extract::State;
use axum::response::Response;
use queue::{Change, Changed, QueueInfo, QueueSettings, Scope, Stats};
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Caller;
use crate::body::{self, One};
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Name, Query};
use crate::state::Api;

const READ: &[Scope] = &[Scope::Read];
const ADMIN: &[Scope] = &[Scope::Admin];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/queues", list)
            .summary("The queues that the caller may read, by name.")
            .scopes(READ)
            .reply::<Vec<QueueInfo>>(200, "The queues."),
        Operation::get("/v1/queues/{queue}", get)
            .summary("A queue.")
            .scopes(READ)
            .reply::<QueueInfo>(200, "The queue."),
        Operation::put("/v1/queues/{queue}", put)
            .summary("Makes a queue, or changes how it treats its jobs. Not one that the document names.")
            .scopes(ADMIN)
            .body::<QueueSettings>()
            .reply::<QueueInfo>(200, "The queue as it is now."),
        Operation::get("/v1/queues/{queue}/stats", stats)
            .summary("How many jobs a queue holds, by type and state. The counts are kept, so asking is cheap.")
            .scopes(READ)
            .reply::<Vec<Stats>>(200, "The counts."),
        Operation::post("/v1/queues/{queue}/pause", pause)
            .summary("Leases nothing from a queue.")
            .scopes(ADMIN)
            .reply::<QueueInfo>(200, "The queue as it is now."),
        Operation::post("/v1/queues/{queue}/resume", resume)
            .summary("Takes new jobs and leases them again.")
            .scopes(ADMIN)
            .reply::<QueueInfo>(200, "The queue as it is now."),
        Operation::post("/v1/queues/{queue}/drain", drain)
            .summary("Takes no new jobs into a queue, other than the children of its own.")
            .scopes(ADMIN)
            .reply::<QueueInfo>(200, "The queue as it is now."),
    ]
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(READ)?;
    let mut queues = api.view.queues().await?;
    queues.retain(|queue| caller.may(READ, &queue.name));
    Ok(body::ok(&queues))
}

async fn get(State(api): State<Api>, caller: Caller, Name(name): Name, query: Query) -> Reply {
    query.only(&[])?;
    caller.need(READ, &name)?;
    Ok(body::ok(&find(&api, &name).await?))
}

async fn find(api: &Api, name: &str) -> Result<QueueInfo, Problem> {
    let queues = api.view.queues().await?;
    queues.into_iter().find(|queue| queue.name == name).ok_or_else(|| Problem::not_found("queue", name))
}

async fn stats(State(api): State<Api>, caller: Caller, Name(name): Name, query: Query) -> Reply {
    query.only(&[])?;
    caller.need(READ, &name)?;
    let stats = api.view.stats(Some(name.clone())).await?;
    if stats.is_empty() {
        find(&api, &name).await?;
    }
    Ok(body::ok(&stats))
}

async fn put(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    query: Query,
    One(settings, _held): One<QueueSettings>,
) -> Reply {
    query.only(&[])?;
    caller.need(ADMIN, &name)?;
    settings.check().map_err(Problem::from)?;
    change(&api, Change::PutQueue(name, settings)).await
}

async fn pause(State(api): State<Api>, caller: Caller, Name(name): Name) -> Reply {
    caller.need(ADMIN, &name)?;
    change(&api, Change::Pause(name)).await
}

async fn resume(State(api): State<Api>, caller: Caller, Name(name): Name) -> Reply {
    caller.need(ADMIN, &name)?;
    change(&api, Change::Resume(name)).await
}

async fn drain(State(api): State<Api>, caller: Caller, Name(name): Name) -> Reply {
    caller.need(ADMIN, &name)?;
    change(&api, Change::Drain(name)).await
}

/// How many.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Count {
    /// So many.
    count: usize,
}

/// Changes something, and replies with what it is now.
pub(super) async fn change(api: &Api, change: Change) -> Reply {
    Ok(reply(&api.store.change(change).await?))
}

fn reply(changed: &Changed) -> Response {
    match changed {
        Changed::Job(job) => body::ok(job),
        Changed::Queue(queue) => body::ok(queue),
        Changed::Schedule(schedule) => body::ok(schedule),
        Changed::Count(count) => body::ok(&Count { count: *count }),
        Changed::Done => body::ok(&serde_json::json!({})),
    }
}
