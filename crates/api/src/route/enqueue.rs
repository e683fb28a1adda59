use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use queue::{BULK_JOBS_MAX, JobId, Json, NAME_BYTES_MAX, NewJob, Placed, Put, Reason, Scope, State as JobState};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::access::Caller;
use crate::body::{self, Item, Many, One};
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Name, Query};
use crate::state::Api;

const SCOPES: &[Scope] = &[Scope::Enqueue];

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/v1/queues/{queue}/jobs", put)
            .summary("Puts a job. Once the reply comes, the job is durable.")
            .scopes(SCOPES)
            .body::<PutJob>()
            .reply::<Enqueued>(201, "It was put.")
            .reply::<Enqueued>(200, "Its key had put it before."),
        Operation::post("/v1/queues/{queue}/jobs/bulk", bulk)
            .summary("Puts up to 10,000 jobs, each taken or refused by itself.")
            .scopes(SCOPES)
            .query::<bool>("atomic", "Whether one that is refused refuses all. Default false.")
            .body::<BulkItems>()
            .reply::<Vec<Item<Enqueued>>>(200, "What came of each job, in their order."),
    ]
}

/// A job as its schema has it where the path says the queue.
struct PutJob;

impl JsonSchema for PutJob {
    fn schema_name() -> Cow<'static, str> {
        "PutJob".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = NewJob::json_schema(generator);
        if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
            properties.remove("queue");
        }
        schema
    }
}

/// Jobs as their schema has them: one that is wrong is refused by itself, so a list that holds it is right.
struct BulkItems;

impl JsonSchema for BulkItems {
    fn schema_name() -> Cow<'static, str> {
        "BulkItems".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let job = generator.subschema_for::<PutJob>();
        let other = json_schema!({ "description": "Anything else is refused by itself." });
        json_schema!({ "type": "array", "maxItems": BULK_JOBS_MAX, "items": { "anyOf": [job, other] } })
    }
}

/// Where a job was put.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Enqueued {
    /// What it is called.
    id: JobId,
    /// Where it is.
    state: JobState,
    /// Whether its key had put it before.
    duplicate: bool,
    /// What the first one came to, where this is a duplicate of a job that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Json>,
    /// Why the first one ended as it did, where this is a duplicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl From<Placed> for Enqueued {
    fn from(placed: Placed) -> Self {
        let Placed { id, state, duplicate } = placed;
        Self { id, state, duplicate, result: None, reason: None }
    }
}

async fn put(
    State(api): State<Api>,
    caller: Caller,
    Name(queue): Name,
    query: Query,
    headers: HeaderMap,
    One(mut job, _held): One<NewJob>,
) -> Reply {
    query.only(&[])?;
    caller.need(SCOPES, &queue)?;
    if job.traceparent.is_none() {
        // What some proxy added that is no trace must not cost the job.
        let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
        job.traceparent = trace.filter(|trace| (1..=NAME_BYTES_MAX).contains(&trace.len())).map(str::to_owned);
    }
    check(&job)?;
    let placed = one(&api, &queue, job).await?;
    let (id, status) = (placed.id, if placed.duplicate { StatusCode::OK } else { StatusCode::CREATED });
    let mut enqueued = Enqueued::from(placed);
    if enqueued.duplicate && enqueued.state.has_ended() {
        // One that was forgotten between is a duplicate all the same.
        if let Ok(first) = api.view.get(id).await {
            (enqueued.result, enqueued.reason) = (first.result, first.reason);
        }
    }
    let mut response = body::json(status, &enqueued);
    if let Ok(place) = HeaderValue::try_from(format!("/v1/jobs/{id}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Puts one job.
pub(super) async fn one(api: &Api, queue: &str, job: NewJob) -> Result<Placed, Problem> {
    let placed = api.store.put(Put::one(queue, job)).await?.pop();
    Ok(placed.unwrap_or_else(|| Err(queue::Error::StoreDown { why: "it gave no reply".to_owned() }))?)
}

fn check(job: &NewJob) -> Result<(), Problem> {
    if job.queue.is_some() {
        return Err(Problem::invalid("queue", "`queue` is for the children of an ack; here the path says it"));
    }
    Ok(job.check()?)
}

async fn bulk(
    State(api): State<Api>,
    caller: Caller,
    Name(queue): Name,
    query: Query,
    Many(texts, _held): Many<Vec<Json>>,
) -> Reply {
    let query = query.only(&["atomic"])?;
    let atomic = query.get::<bool>("atomic")?.unwrap_or(false);
    caller.need(SCOPES, &queue)?;
    if texts.len() > BULK_JOBS_MAX {
        let detail = format!("{} jobs; at most {BULK_JOBS_MAX} are taken", texts.len());
        return Err(Problem::invalid("", detail));
    }
    let (mut jobs, mut places, mut items) = (Vec::with_capacity(texts.len()), Vec::new(), Vec::new());
    for (index, text) in texts.into_iter().enumerate() {
        let job = body::parse::<NewJob>(text.as_str().as_bytes());
        match job.and_then(|job| check(&job).map(|()| job)) {
            Ok(job) => {
                jobs.push(job);
                places.push(index);
                items.push(None);
            }
            Err(problem) if atomic => return Err(problem.index(index)),
            Err(problem) => items.push(Some(Item::from(Err(problem.index(index))))),
        }
    }
    if jobs.is_empty() {
        return Ok(reply(items));
    }
    let results = api.store.put(Put { queue, jobs, atomic }).await?;
    if atomic && let Some((index, error)) = culprit(&results) {
        return Err(Problem::from(error).index(index));
    }
    for (index, result) in places.into_iter().zip(results) {
        let result = result.map(Enqueued::from).map_err(|error| Problem::from(error).index(index));
        items[index] = Some(result.into());
    }
    Ok(reply(items))
}

/// The one that refused all.
fn culprit(results: &[Result<Placed, queue::Error>]) -> Option<(usize, queue::Error)> {
    let refused = || results.iter().enumerate().filter_map(|(index, result)| Some((index, result.as_ref().err()?)));
    let own = refused().find(|(_, error)| !matches!(error, queue::Error::Atomic { .. }));
    match own.or_else(|| refused().next())? {
        (_, queue::Error::Atomic { index, why }) => Some((*index, why.as_ref().clone())),
        (index, error) => Some((index, error.clone())),
    }
}

fn reply(items: Vec<Option<Item<Enqueued>>>) -> Response {
    // Each has one: a store that replied to fewer than it was given is caught here.
    let missing = || Item::from(Err(queue::Error::StoreDown { why: "it gave no reply".to_owned() }.into()));
    let items: Vec<Item<Enqueued>> = items.into_iter().map(|item| item.unwrap_or_else(missing)).collect();
    body::ok(&items)
}
