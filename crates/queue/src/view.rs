use document::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::job::{Failure, Reason, State};
use crate::json::Json;
use crate::moment::Moment;
use crate::settings::{QueueSettings, ScheduleSpec};

/// A job as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// What it is called.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// What sort of job it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it is.
    pub state: State,
    /// Why it ended as it did, or why its last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What the worker is given. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
    /// Its idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Attempts that were counted.
    pub attempt: u32,
    /// How often it is tried.
    pub attempts: u32,
    /// When it was put.
    pub created_at: Moment,
    /// When its time comes, where it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Moment>,
    /// When its last attempt was leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Moment>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// When it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// Who holds it, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Jobs that it still waits for.
    #[serde(skip_serializing_if = "is_none_pending")]
    pub pending: u32,
    /// Jobs that it comes after. Left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    /// Whether its cancellation was asked for while it ran.
    pub cancel_requested: bool,
    /// The worker's last word on how far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Json>,
    /// What it came to. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// What went wrong in its last attempt. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What its client noted on it. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Json>,
    /// The trace that it belongs to. Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_none_pending(pending: &u32) -> bool {
    *pending == 0
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only of these queues. Empty: of all.
    pub queues: Vec<String>,
    /// Only in these states. Empty: in all.
    pub states: Vec<State>,
    /// Only of this type.
    pub kind: Option<String>,
    /// How many at most, up to 1,000.
    pub limit: usize,
    /// Only jobs put before this one: `next` of the page before.
    pub cursor: Option<JobId>,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The jobs.
    pub items: Vec<Job>,
    /// What to give as `cursor` for the page that follows, where there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<JobId>,
}

/// A queue as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueInfo {
    /// What it is called.
    pub name: String,
    /// How it treats its jobs.
    pub settings: QueueSettings,
    /// Whether the document says how it is, so that HTTP can't.
    pub owned_by_document: bool,
    /// Whether nothing is leased from it.
    pub paused: bool,
    /// Whether nothing is put into it.
    pub draining: bool,
}

/// How many jobs a queue holds, of one type in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The queue.
    pub queue: String,
    /// The type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The state.
    pub state: State,
    /// How many.
    pub jobs: u64,
    /// How long ago the oldest of them was put.
    pub oldest: Duration,
}

/// A schedule as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleInfo {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub spec: ScheduleSpec,
    /// Whether the document says how it is, so that HTTP can't.
    pub owned_by_document: bool,
    /// When it fires next, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Moment>,
    /// The time that it fired for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Moment>,
    /// The job that it put last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Counts the job's events from 1: what to give as `Last-Event-ID` to hear only of later ones.
    pub sequence: u64,
    /// When.
    pub at: Moment,
    /// What: the state that it went to, or `progress`, `cancelRequested`, `workerLost`.
    pub event: String,
    /// More on it: an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Counts the job's lines from 1.
    pub number: u64,
    /// When the server got it.
    pub at: Moment,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// The line, without its end.
    pub line: String,
}
