//! The routes and the words of a lecture on jobs APIs: what is posted to `/jobs` is the payload of a job in the queue
//! `default`, and comes back beside an `id` and a `status`.

use std::collections::BTreeMap;

use axum::extract::State;
use queue::{Job, JobId, JobQuery, Json, NewJob, Scope, State as JobState};
use serde_json::json;

use super::enqueue;
use super::jobs::{SEE, visible};
use crate::access::Caller;
use crate::body::{self, One};
use crate::limit;
use crate::operation::Operation;
use crate::problem::{Problem, Reply};
use crate::query::{Id, Query};
use crate::state::Api;

/// The queue of these routes.
const QUEUE: &str = "default";
const ENQUEUE: &[Scope] = &[Scope::Enqueue];
const READ: &[Scope] = &[Scope::Read];

type Fields = BTreeMap<String, Json>;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/jobs", put)
            .summary("Puts a job into the queue `default`. The body is its payload.")
            .scopes(ENQUEUE)
            .body::<Json>()
            .reply::<Fields>(200, "The payload's fields, `id` and `status`."),
        Operation::get("/jobs", list)
            .summary("The newest 100 jobs of the queue `default`, by id.")
            .scopes(READ)
            .reply::<BTreeMap<String, Fields>>(200, "The jobs."),
        Operation::get("/jobs/{id}", get)
            .summary("A job: its payload's fields, `id`, `status`, and `worker` and `result` once it has them.")
            .scopes(SEE)
            .reply::<Fields>(200, "The job."),
    ]
}

async fn put(State(api): State<Api>, caller: Caller, query: Query, One(payload, _held): One<Json>) -> Reply {
    query.only(&[])?;
    caller.need(ENQUEUE, QUEUE)?;
    let job = NewJob::new(payload.clone());
    job.check().map_err(Problem::from)?;
    let placed = enqueue::one(&api, QUEUE, job).await?;
    Ok(body::ok(&fields(placed.id, placed.state, Some(&payload))))
}

async fn get(State(api): State<Api>, caller: Caller, Id(id): Id, query: Query) -> Reply {
    query.only(&[])?;
    caller.need_some(SEE)?;
    let job = api.view.get(id).await?;
    visible(&caller, SEE)(&job)?;
    Ok(body::ok(&whole(&job)))
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Reply {
    query.only(&[])?;
    caller.need(READ, QUEUE)?;
    let queues = vec![QUEUE.to_owned()];
    let page = api.view.list(JobQuery { queues, limit: limit::LECTURE_JOBS_MAX, ..JobQuery::default() }).await?;
    let (mut jobs, mut bytes) = (BTreeMap::new(), 0);
    for job in page.items {
        if bytes > limit::LECTURE_BYTES_MAX {
            break;
        }
        // A list leaves payloads and results out.
        match api.view.get(job.id).await {
            Ok(job) => {
                let texts = [&job.payload, &job.result].into_iter().flatten();
                bytes += texts.map(|text| text.as_str().len()).sum::<usize>();
                jobs.insert(job.id.to_string(), whole(&job));
            }
            // Forgotten since.
            Err(queue::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(body::ok(&jobs))
}

fn whole(job: &Job) -> Fields {
    let mut fields = fields(job.id, job.state, job.payload.as_ref());
    if let Some(worker) = &job.worker {
        fields.insert("worker".to_owned(), Json::from_value(&json!(worker)));
    }
    if let Some(result) = &job.result {
        fields.insert("result".to_owned(), result.clone());
    }
    if let Some(error) = &job.error {
        fields.insert("message".to_owned(), Json::from_value(&json!(error.message)));
    }
    fields
}

fn fields(id: JobId, state: JobState, payload: Option<&Json>) -> Fields {
    let read = payload.map(|payload| serde_json::from_str::<Fields>(payload.as_str()));
    let mut fields = match (read, payload) {
        (Some(Ok(fields)), _) => fields,
        (_, Some(payload)) => BTreeMap::from([("payload".to_owned(), payload.clone())]),
        (_, None) => BTreeMap::new(),
    };
    fields.insert("id".to_owned(), Json::from_value(&json!(id)));
    fields.insert("status".to_owned(), Json::from_value(&json!(word(state))));
    fields
}

/// A state in the lecture's words.
const fn word(state: JobState) -> &'static str {
    match state {
        JobState::Scheduled | JobState::Waiting | JobState::Ready => "submitted",
        JobState::Running => "in progress",
        JobState::Succeeded => "complete",
        JobState::Failed | JobState::Cancelled => "failed",
    }
}
