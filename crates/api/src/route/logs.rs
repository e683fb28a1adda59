use axum::extract::State;
use queue::{Change, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LogLine, Scope, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jobs::{Limit, visible};
use super::queues::change;
use crate::access::Caller;
use crate::body::{self, Many};
use crate::limit;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;

const READ: &[Scope] = &[Scope::Read];
const WORK: &[Scope] = &[Scope::Work];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/jobs/{id}/logs", read)
            .summary("What a job's attempts wrote.")
            .scopes(READ)
            .query::<u64>("after", "Only lines with a number above this one: `next` of the page before.")
            .query::<Limit>("limit", "How many lines at most, from 1 to 1,000. Default 1,000.")
            .reply::<LogPage>(200, "A page of lines, oldest first."),
        Operation::post("/v1/jobs/{id}/logs", append)
            .summary("Appends to a job's log under its token. The reply does not wait for the disk.")
            .scopes(WORK)
            .body::<LogBody>()
            .reply::<serde_json::Map<String, serde_json::Value>>(200, "It is appended."),
    ]
}

/// Lines of a log.
#[derive(Debug, Serialize, JsonSchema)]
struct LogPage {
    /// The lines.
    items: Vec<LogLine>,
    /// What to give as `after` for what follows, now or later.
    next: u64,
}

async fn read(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query) -> Reply {
    let query = query.only(&["after", "limit"])?;
    caller.need_some(READ)?;
    let after = query.get::<u64>("after")?.unwrap_or(0);
    let limit = query.count("limit", limit::PAGE_ITEMS_MAX, limit::PAGE_ITEMS_MAX)?;
    visible(&caller, READ)(&api.view.get(id).await?)?;
    let items = api.view.logs(id, after, limit).await?;
    let next = items.last().map_or(after, |line| line.number);
    Ok(body::ok(&LogPage { items, next }))
}

/// Lines for a log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogBody {
    /// What proves that the worker holds the job.
    token: Token,
    /// Lines, without their ends. At most 1,000, each of at most 16KiB.
    lines: Vec<String>,
}

async fn append(State(api): State<Api>, caller: Caller, Id(id): Id, Many(body, _held): Many<LogBody>) -> Reply {
    caller.need_some(WORK)?;
    let LogBody { token, lines } = body;
    if lines.len() > LOG_LINES_MAX {
        let detail = format!("{} lines; at most {LOG_LINES_MAX} are taken", lines.len());
        return Err(Problem::invalid("lines", detail));
    }
    if let Some(at) = lines.iter().position(|line| line.len() > LOG_LINE_BYTES_MAX) {
        let (field, found) = (format!("lines[{at}]"), lines[at].len());
        return Err(queue::Error::TooLarge { field, found, max: LOG_LINE_BYTES_MAX }.into());
    }
    change(&api, Change::Log { id, token, lines }).await
}
