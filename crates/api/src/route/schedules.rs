use axum::extract::State;
use queue::{Change, ScheduleInfo, ScheduleSpec, Scope};

use super::queues::change;
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
        Operation::get("/v1/schedules", list)
            .summary("The schedules of the queues that the caller may read, by name.")
            .scopes(READ)
            .reply::<Vec<ScheduleInfo>>(200, "The schedules."),
        Operation::get("/v1/schedules/{schedule}", get)
            .summary("A schedule.")
            .scopes(READ)
            .reply::<ScheduleInfo>(200, "The schedule."),
        Operation::put("/v1/schedules/{schedule}", put)
            .summary("Makes or changes a schedule. Not one that the document names.")
            .scopes(ADMIN)
            .body::<ScheduleSpec>()
            .reply::<ScheduleInfo>(200, "The schedule as it is now."),
        Operation::delete("/v1/schedules/{schedule}", delete)
            .summary("Removes a schedule. Its jobs stay.")
            .scopes(ADMIN)
            .reply::<serde_json::Map<String, serde_json::Value>>(200, "It is gone."),
    ]
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(READ)?;
    let mut schedules = api.view.schedules().await?;
    schedules.retain(|schedule| caller.may(READ, &schedule.spec.queue));
    Ok(body::ok(&schedules))
}

async fn get(State(api): State<Api>, caller: Caller, Name(name): Name, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(READ)?;
    let found = find(&api, &caller, READ, &name).await?;
    Ok(body::ok(&found.ok_or_else(|| Problem::not_found("schedule", &name))?))
}

/// A schedule, if there is one. One of another's queue is as if there were none.
async fn find(api: &Api, caller: &Caller, scopes: &[Scope], name: &str) -> Result<Option<ScheduleInfo>, Problem> {
    let found = api.view.schedules().await?.into_iter().find(|schedule| schedule.name == name);
    match found {
        Some(schedule) if !caller.may(scopes, &schedule.spec.queue) => Err(Problem::not_found("schedule", name)),
        found => Ok(found),
    }
}

async fn put(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    query: Query,
    One(spec, _held): One<ScheduleSpec>,
) -> Reply {
    query.only(&[])?;
    caller.need(ADMIN, &spec.queue)?;
    spec.check().map_err(Problem::from)?;
    if !caller.may_everywhere(ADMIN) {
        find(&api, &caller, ADMIN, &name).await?;
    }
    change(&api, Change::PutSchedule(name, Box::new(spec))).await
}

async fn delete(State(api): State<Api>, caller: Caller, Name(name): Name, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(ADMIN)?;
    if !caller.may_everywhere(ADMIN) {
        find(&api, &caller, ADMIN, &name).await?;
    }
    change(&api, Change::DeleteSchedule(name)).await
}
