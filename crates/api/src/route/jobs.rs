use axum::extract::State;
use queue::{Change, Job, JobId, JobQuery, Json, Moment, PAGE_JOBS_MAX, Page, RetryMany, Scope, State as JobState};
use schemars::JsonSchema;
use serde::Deserialize;

use super::queues::{Count, change};
use crate::access::Caller;
use crate::body::{self, One};
use crate::limit;
use crate::meter::Waited;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;
use crate::wait;

const READ: &[Scope] = &[Scope::Read];
const ADMIN: &[Scope] = &[Scope::Admin];
/// Who put a job, and knows its id, may see what became of it.
pub(super) const SEE: &[Scope] = &[Scope::Read, Scope::Enqueue];
/// Jobs that one request puts back.
const RETRY_MAX: usize = 10_000;
const WAIT: &str = "How long to wait for the job to end. At most 60s. Default: the reply comes at once.";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/jobs", list)
            .summary("Jobs, newest first, without payloads and results.")
            .scopes(READ)
            .query::<String>("queue", "Only of these queues, separated by commas.")
            .query::<String>("state", "Only in these states, separated by commas.")
            .query::<String>("type", "Only of this type.")
            .query::<Limit>("limit", "How many at most, from 1 to 1,000. Default 100.")
            .query::<JobId>("cursor", "`next` of the page before.")
            .reply::<Page>(200, "A page."),
        Operation::post("/v1/jobs/retry", retry_many)
            .summary("Puts back jobs that failed or were cancelled. Repeat it while `count` is `limit`.")
            .scopes(ADMIN)
            .body::<RetryBody>()
            .reply::<Count>(200, "How many were put back."),
        Operation::get("/v1/jobs/{id}", get)
            .summary("A job.")
            .scopes(SEE)
            .query::<document::Duration>("wait", WAIT)
            .reply::<Job>(200, "The job, once it has ended or the wait is over."),
        Operation::delete("/v1/jobs/{id}", delete)
            .summary("Forgets a job that has ended.")
            .scopes(ADMIN)
            .reply::<serde_json::Map<String, serde_json::Value>>(200, "It is gone."),
        Operation::get("/v1/jobs/{id}/result", result)
            .summary("What a job came to.")
            .scopes(SEE)
            .query::<document::Duration>("wait", WAIT)
            .reply::<Json>(200, "The result, as its worker gave it."),
        Operation::post("/v1/jobs/{id}/cancel", cancel)
            .summary("Ends a job that has not ended; asks the worker of one that runs.")
            .scopes(ADMIN)
            .reply::<Job>(200, "The job as it is now."),
        Operation::post("/v1/jobs/{id}/retry", retry)
            .summary("Puts back a job that failed or was cancelled, with all its attempts.")
            .scopes(ADMIN)
            .reply::<Job>(200, "The job as it is now."),
        Operation::post("/v1/jobs/{id}/reschedule", reschedule)
            .summary("Moves the time of a job that is scheduled or ready.")
            .scopes(ADMIN)
            .body::<RescheduleBody>()
            .reply::<Job>(200, "The job as it is now."),
    ]
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Reply {
    let query = query.only(&["queue", "state", "type", "limit", "cursor"])?;
    caller.need_some(READ)?;
    let states = query.list("state").iter().map(|text| state(text)).collect::<Result<Vec<JobState>, Problem>>()?;
    let mut wanted = JobQuery {
        queues: query.list("queue"),
        states,
        kind: query.text("type").map(str::to_owned),
        limit: query.count("limit", limit::PAGE_JOBS, PAGE_JOBS_MAX)?,
        cursor: query.get("cursor")?,
    };
    for queue in &wanted.queues {
        caller.need(READ, queue)?;
    }
    if wanted.queues.is_empty() && !caller.may_everywhere(READ) {
        let queues = api.view.queues().await?.into_iter().map(|queue| queue.name);
        wanted.queues = queues.filter(|queue| caller.may(READ, queue)).collect();
        if wanted.queues.is_empty() {
            return Ok(body::ok(&Page { items: Vec::new(), next: None }));
        }
    }
    Ok(body::ok(&api.view.list(wanted).await?))
}

fn state(text: &str) -> Result<JobState, Problem> {
    JobState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let known = JobState::ALL.map(JobState::as_str).join(", ");
        Problem::invalid("state", format!("`{text}` is no state; known: {known}"))
    })
}

/// Whether the caller may see a job. One that it may not is as if there were none.
pub(super) fn visible(caller: &Caller, scopes: &'static [Scope]) -> impl Fn(&Job) -> Result<(), Problem> {
    move |job| {
        let may = caller.may(scopes, &job.queue);
        if may { Ok(()) } else { Err(Problem::not_found("job", &job.id.to_string())) }
    }
}

async fn get(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query) -> Reply {
    let wait = query.only(&["wait"])?.wait()?;
    caller.need_some(SEE)?;
    let job = wait::job(&api, id, wait, visible(&caller, SEE)).await?;
    let mut response = body::ok(&job);
    if !wait.is_zero() {
        response.extensions_mut().insert(Waited);
    }
    Ok(response)
}

async fn result(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query) -> Reply {
    let wait = query.only(&["wait"])?.wait()?;
    caller.need_some(SEE)?;
    let job = wait::job(&api, id, wait, visible(&caller, SEE)).await?;
    if job.state != JobState::Succeeded {
        let needed = if job.state.has_ended() { "it has no result" } else { "ask again once it has ended" };
        return Err(queue::Error::WrongState { id, state: job.state, needed }.into());
    }
    let mut response = body::ok(&job.result.unwrap_or_default());
    if !wait.is_zero() {
        response.extensions_mut().insert(Waited);
    }
    Ok(response)
}

/// Refuses who may not change the job.
async fn need(api: &Api, caller: &Caller, id: JobId) -> Result<(), Problem> {
    caller.need_some(ADMIN)?;
    if caller.may_everywhere(ADMIN) { Ok(()) } else { visible(caller, ADMIN)(&api.view.get(id).await?) }
}

async fn delete(State(api): State<Api>, caller: Caller, Id(id): Id) -> Reply {
    need(&api, &caller, id).await?;
    change(&api, Change::Delete(id)).await
}

async fn cancel(State(api): State<Api>, caller: Caller, Id(id): Id) -> Reply {
    need(&api, &caller, id).await?;
    change(&api, Change::Cancel(id)).await
}

async fn retry(State(api): State<Api>, caller: Caller, Id(id): Id) -> Reply {
    need(&api, &caller, id).await?;
    change(&api, Change::Retry(id)).await
}

/// How many things to list.
#[derive(JsonSchema)]
#[schemars(transparent, inline)]
pub(super) struct Limit {
    #[schemars(range(min = 1, max = 1000))]
    #[expect(dead_code, reason = "a schema only")]
    limit: u32,
}

/// When a job's time comes: exactly one of `runAt` and `delay`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum RescheduleBody {
    /// When.
    RunAt(Moment),
    /// In how long.
    Delay(document::Duration),
}

async fn reschedule(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    One(wanted, _held): One<RescheduleBody>,
) -> Reply {
    need(&api, &caller, id).await?;
    let moment = match wanted {
        RescheduleBody::RunAt(moment) => moment,
        RescheduleBody::Delay(delay) if delay.get() <= queue::DURATION_MAX => {
            Moment::from(api.clock.now()).plus(delay.get())
        }
        RescheduleBody::Delay(_) => return Err(Problem::invalid("delay", "`delay` is longer than ten years")),
    };
    change(&api, Change::Reschedule(id, moment)).await
}

/// Which jobs to put back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryBody {
    /// Only of this queue. Default: of all.
    #[serde(default)]
    queue: Option<String>,
    /// Where they are. Default `failed`.
    #[serde(default)]
    state: Ended,
    /// Only jobs that ended since.
    #[serde(default)]
    since: Option<Moment>,
    /// How many at most, from 1 to 10,000. Default 10,000.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
}

/// Where jobs are that can be put back.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Ended {
    /// They ended badly.
    #[default]
    Failed,
    /// They were ended.
    Cancelled,
}

const fn most() -> usize {
    RETRY_MAX
}

async fn retry_many(State(api): State<Api>, caller: Caller, One(wanted, _held): One<RetryBody>) -> Reply {
    match &wanted.queue {
        Some(queue) => caller.need(ADMIN, queue)?,
        None => caller.need_all(ADMIN)?,
    }
    if !(1..=RETRY_MAX).contains(&wanted.limit) {
        return Err(Problem::invalid("limit", format!("`limit` must be from 1 to {RETRY_MAX}")));
    }
    let RetryBody { queue, state, since, limit } = wanted;
    let state = match state {
        Ended::Failed => JobState::Failed,
        Ended::Cancelled => JobState::Cancelled,
    };
    change(&api, Change::RetryMany(RetryMany { queue, state, since, limit })).await
}
