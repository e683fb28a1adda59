use axum::http::StatusCode;
use queue::Scope;

use crate::access::Caller;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::Id;

const READ: &[Scope] = &[Scope::Read];
const WORK: &[Scope] = &[Scope::Work];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/jobs/{id}/artifacts", read)
            .summary("The files that a job left. Not there yet.")
            .scopes(READ)
            .reply_other(501, "", "Not there yet."),
        Operation::get("/v1/jobs/{id}/artifacts/{name}", read)
            .summary("A file that a job left. Not there yet.")
            .scopes(READ)
            .reply_other(501, "", "Not there yet."),
        Operation::put("/v1/jobs/{id}/artifacts/{name}", write)
            .summary("Leaves a file, seen once the job is acked. Not there yet.")
            .scopes(WORK)
            .reply_other(501, "", "Not there yet."),
    ]
}

async fn read(caller: Caller, Id(_): Id) -> Reply {
    caller.need_some(READ)?;
    Err(missing())
}

async fn write(caller: Caller, Id(_): Id) -> Reply {
    caller.need_some(WORK)?;
    Err(missing())
}

fn missing() -> Problem {
    let detail = "this server keeps no artifacts; put small ones into the result, others where workers can write";
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", detail)
}
