use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use queue::{
    Ack, BATCH_MAX, Beat, Ending, Failure, Finish, Finished, JobId, Json, Lease, LeaseRequest, Nack, NewJob, Outcome,
    Pulse, Reason, Release, Scope, Token,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::body::{self, Item, Many, One};
use crate::meter::Waited;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;
use crate::unsent::{self, Outbox, Unsent};
use crate::wait;

const WORK: &[Scope] = &[Scope::Work];
/// What a worker's token must allow of a queue that it puts children into.
const CHILDREN: &[Scope] = &[Scope::Work, Scope::Enqueue];

pub(super) fn operations() -> Vec<Operation> {
    let finished = "What became of the job. A repeated request gets the same.";
    vec![
        Operation::post("/v1/leases", lease)
            .summary("Leases jobs. The same worker repeating the same `request` gets the same leases.")
            .scopes(WORK)
            .body::<LeaseRequest>()
            .reply::<Vec<Lease>>(200, "The leases; none when the wait is over."),
        Operation::post("/v1/leases/finish", finish)
            .summary("Ends attempts, each stored or refused by itself, and leases the next in the same transaction.")
            .scopes(WORK)
            .body::<Finish>()
            .reply::<FinishAnswer>(200, "What came of each outcome, and the leases."),
        Operation::post("/v1/leases/heartbeat", heartbeat)
            .summary("Renews leases.")
            .scopes(WORK)
            .body::<Vec<Beat>>()
            .reply::<Vec<Item<Pulse>>>(200, "What came of each beat, in their order."),
        Operation::post("/v1/jobs/{id}/ack", ack)
            .summary("Ends an attempt that succeeded, and puts its children in the same transaction.")
            .scopes(WORK)
            .body::<AckBody>()
            .reply::<Finished>(200, finished),
        Operation::post("/v1/jobs/{id}/nack", nack)
            .summary("Ends an attempt that failed.")
            .scopes(WORK)
            .body::<NackBody>()
            .reply::<Finished>(200, finished),
        Operation::post("/v1/jobs/{id}/release", release)
            .summary("Gives a lease back, as if the job had not been leased.")
            .scopes(WORK)
            .body::<ReleaseBody>()
            .reply::<Finished>(200, finished),
    ]
}

async fn lease(
    State(api): State<Api>,
    caller: Caller,
    outbox: Option<Extension<Outbox>>,
    One(request, _held): One<LeaseRequest>,
) -> Reply {
    allowed(&caller, &request)?;
    let has_waited = !wait::wait_of(&request).is_zero();
    let unsent = wait::lease(&api, request).await?;
    let bytes = serde_json::to_vec(unsent.leases());
    Ok(reply(bytes, unsent, outbox, has_waited))
}

fn allowed(caller: &Caller, request: &LeaseRequest) -> Result<(), Problem> {
    request.check()?;
    request.queues.iter().try_for_each(|queue| caller.need(WORK, queue))
}

fn reply(
    bytes: Result<Vec<u8>, serde_json::Error>,
    unsent: Unsent,
    outbox: Option<Extension<Outbox>>,
    has_waited: bool,
) -> Response {
    // What was read as JSON can be written as JSON.
    let mut response = unsent::reply(bytes.unwrap_or_default(), unsent, outbox.map(|outbox| outbox.0));
    if has_waited {
        response.extensions_mut().insert(Waited);
    }
    response
}

/// What came of outcomes, and what was leased.
#[derive(Debug, Serialize, JsonSchema)]
struct FinishAnswer<'a> {
    /// One for each outcome, in their order.
    outcomes: Vec<Item<Finished>>,
    /// What was leased.
    leases: &'a [Lease],
}

async fn finish(
    State(api): State<Api>,
    caller: Caller,
    outbox: Option<Extension<Outbox>>,
    Many(request, _held): Many<Finish>,
) -> Reply {
    caller.need_some(WORK)?;
    count("outcomes", request.outcomes.len())?;
    let lease = request.lease;
    if let Some(lease) = &lease {
        allowed(&caller, lease)?;
    }
    let (mut good, mut places, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, outcome) in request.outcomes.into_iter().enumerate() {
        let id = outcome.id;
        match checked(&caller, outcome) {
            Ok(outcome) => {
                good.push(outcome);
                places.push((index, id));
                outcomes.push(lost(id));
            }
            Err(problem) => outcomes.push(Item::of(id, Err(problem.index(index)))),
        }
    }
    let wanted = Finish { outcomes: good, lease: lease.clone() };
    let (results, mut unsent) = wait::finish(&api, wanted).await?;
    for ((index, id), result) in places.into_iter().zip(results) {
        outcomes[index] = Item::of(id, noted(&api, result).map_err(|problem| problem.index(index)));
    }
    let waiting = lease.filter(|lease| unsent.is_empty() && !wait::wait_of(lease).is_zero());
    let has_waited = waiting.is_some();
    if let Some(lease) = waiting
        && let Ok(later) = wait::lease(&api, lease).await
    {
        // What was finished is stored: a lease that fails must not hide it.
        unsent = later;
    }
    let bytes = serde_json::to_vec(&FinishAnswer { outcomes, leases: unsent.leases() });
    Ok(reply(bytes, unsent, outbox, has_waited))
}

fn lost(id: JobId) -> Item<Finished> {
    Item::of(id, Err(queue::Error::StoreDown { why: "it gave no reply".to_owned() }.into()))
}

fn count(field: &str, count: usize) -> Result<(), Problem> {
    if count <= BATCH_MAX {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("{count} items; at most {BATCH_MAX} are taken")))
}

/// An outcome that keeps the limits, of a caller that may put its children where it says. That it may finish the job
/// is what the token proves.
fn checked(caller: &Caller, outcome: Outcome) -> Result<Outcome, Problem> {
    outcome.check()?;
    if let Ending::Ack(ack) = &outcome.ending {
        ack.enqueue
            .iter()
            .filter_map(|child| child.queue.as_ref())
            .try_for_each(|queue| caller.need(CHILDREN, queue))?;
    }
    Ok(outcome)
}

fn noted(api: &Api, result: Result<Finished, queue::Error>) -> Result<Finished, Problem> {
    if let Ok(finished) = &result {
        api.meter.finished(finished);
    }
    Ok(result?)
}

async fn heartbeat(State(api): State<Api>, caller: Caller, query: Query, Many(beats, _held): Many<Vec<Beat>>) -> Reply {
    query.only(&[])?;
    caller.need_some(WORK)?;
    count("", beats.len())?;
    let ids: Vec<JobId> = beats.iter().map(|beat| beat.id).collect();
    let results = api.store.heartbeat(beats).await?;
    let pulses = ids.into_iter().zip(results).map(|(id, result)| Item::of(id, result.map_err(Problem::from)));
    Ok(body::ok(&pulses.collect::<Vec<Item<Pulse>>>()))
}

/// Success.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AckBody {
    /// What proves that the worker holds the job.
    token: Token,
    /// What it came to. Default null. At most 1MiB.
    #[serde(default)]
    result: Json,
    /// Jobs that are put with it, or not at all. At most 1,000.
    #[serde(default)]
    enqueue: Vec<NewJob>,
}

async fn ack(State(api): State<Api>, caller: Caller, Id(id): Id, Many(body, _held): Many<AckBody>) -> Reply {
    let AckBody { token, result, enqueue } = body;
    one(&api, &caller, Outcome { id, token, ending: Ending::Ack(Ack { result, enqueue }) }).await
}

/// Failure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NackBody {
    /// What proves that the worker holds the job.
    token: Token,
    /// What went wrong.
    #[serde(default)]
    error: Failure,
    /// Which of `error`, `timeout`, `outOfMemory`, `signal` it was. Default `error`.
    #[serde(default = "plain_error")]
    reason: Reason,
    /// Whether another attempt may help. Default true; false ends the job.
    #[serde(default = "yes")]
    retry: bool,
    /// Comes back after this time, and costs no attempt.
    #[serde(default)]
    snooze: Option<document::Duration>,
}

const fn plain_error() -> Reason {
    Reason::Error
}

const fn yes() -> bool {
    true
}

async fn nack(State(api): State<Api>, caller: Caller, Id(id): Id, One(body, _held): One<NackBody>) -> Reply {
    let NackBody { token, error, reason, retry, snooze } = body;
    one(&api, &caller, Outcome { id, token, ending: Ending::Nack(Nack { error, reason, retry, snooze }) }).await
}

/// A lease given back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReleaseBody {
    /// What proves that the worker holds the job.
    token: Token,
}

async fn release(State(api): State<Api>, caller: Caller, Id(id): Id, One(body, _held): One<ReleaseBody>) -> Reply {
    one(&api, &caller, Outcome { id, token: body.token, ending: Ending::Release(Release {}) }).await
}

async fn one(api: &Api, caller: &Caller, outcome: Outcome) -> Reply {
    caller.need_some(WORK)?;
    let outcome = checked(caller, outcome)?;
    let mut reply = api.store.finish(Finish { outcomes: vec![outcome], lease: None }).await?;
    let result = reply.outcomes.pop();
    let result = result.unwrap_or_else(|| Err(queue::Error::StoreDown { why: "it gave no reply".to_owned() }));
    Ok(body::ok(&noted(api, result)?))
}
