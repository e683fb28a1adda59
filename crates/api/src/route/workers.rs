use axum::extract::State;
use queue::{Change, Scope};

use super::queues::change;
use crate::access::Caller;
use crate::operation::Operation;
use crate::problem::Reply;
use crate::query::Name;
use crate::state::Api;

const ADMIN: &[Scope] = &[Scope::Admin];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/v1/workers/{worker}/drain", drain)
            .summary("Leases nothing more to a worker, and tells it so at its next beat.")
            .scopes(ADMIN)
            .reply::<serde_json::Map<String, serde_json::Value>>(200, "It is told."),
    ]
}

async fn drain(State(api): State<Api>, caller: Caller, Name(worker): Name) -> Reply {
    // A worker belongs to no queue.
    caller.need_all(ADMIN)?;
    change(&api, Change::DrainWorker(worker)).await
}
