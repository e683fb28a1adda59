use document::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::JobId;
use crate::json::Json;
use crate::limit;
use crate::moment::Moment;

/// A job as a client asks for it. What is left out is as the queue says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NewJob {
    /// The queue. Only the children of an ack need it; by default theirs is their parent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// What sort of job it is: workers may lease by it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What the worker is given. Default null. At most 1MiB.
    pub payload: Json,
    /// The idempotency key. The same key with the same job again returns the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Higher goes first. Default 0. A job that has waited for `ageing` overtakes one of a priority higher by one.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// How long to wait before it may run. Not beside `runAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// When it may run at the earliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Moment>,
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How often it is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// How long to wait before another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Jobs that must have ended before this one runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    /// What to do when one of `after` did not succeed.
    #[serde(skip_serializing_if = "is_cancel")]
    pub on_fail: OnFail,
    /// Bounds how many jobs run at once that share a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How long job and result are kept once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_ttl: Option<Duration>,
    /// How long its key is kept once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ttl: Option<Duration>,
    /// An object for whoever reads it: the queue does not. At most 16KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Json>,
    /// The W3C trace that it belongs to. It does not make the same job another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_cancel(on_fail: &OnFail) -> bool {
    matches!(on_fail, OnFail::Cancel)
}

impl NewJob {
    /// A job with a payload and nothing else.
    pub fn new(payload: Json) -> Self {
        Self { payload, ..Self::default() }
    }

    /// Whether it keeps the limits.
    pub fn check(&self) -> Result<(), Error> {
        text("type", self.kind.as_deref(), limit::NAME_BYTES_MAX)?;
        text("key", self.key.as_deref(), limit::KEY_BYTES_MAX)?;
        text("traceparent", self.traceparent.as_deref(), limit::NAME_BYTES_MAX)?;
        text("concurrency.key", self.concurrency.as_ref().map(|limit| limit.key.as_str()), limit::NAME_BYTES_MAX)?;
        bytes("payload", Some(&self.payload), limit::PAYLOAD_BYTES_MAX)?;
        bytes("meta", self.meta.as_ref(), limit::META_BYTES_MAX)?;
        if self.meta.as_ref().is_some_and(|meta| !meta.is_object()) {
            return Err(Error::invalid("meta", "must be an object"));
        }
        if !(-limit::PRIORITY_MAX..=limit::PRIORITY_MAX).contains(&self.priority) {
            return Err(Error::invalid("priority", format!("must be within ±{}", limit::PRIORITY_MAX)));
        }
        if self.delay.is_some() && self.run_at.is_some() {
            return Err(Error::invalid("delay", "can't stand beside `runAt`"));
        }
        if self.attempts.is_some_and(|attempts| !(1..=limit::ATTEMPTS_MAX).contains(&attempts)) {
            return Err(Error::invalid("attempts", format!("must be from 1 to {}", limit::ATTEMPTS_MAX)));
        }
        if self.concurrency.as_ref().is_some_and(|it| !(1..=limit::CONCURRENCY_MAX).contains(&it.max)) {
            return Err(Error::invalid("concurrency.max", format!("must be from 1 to {}", limit::CONCURRENCY_MAX)));
        }
        if self.timeout.is_some_and(|timeout| timeout.get().is_zero()) {
            return Err(Error::invalid("timeout", "must be longer than 0s"));
        }
        if self.after.len() > limit::PARENTS_MAX {
            return Err(Error::invalid("after", format!("holds more than {} jobs", limit::PARENTS_MAX)));
        }
        let durations = [("delay", self.delay), ("timeout", self.timeout)];
        for (name, duration) in durations.into_iter().chain([("resultTtl", self.result_ttl), ("keyTtl", self.key_ttl)])
        {
            if duration.is_some_and(|duration| duration.get() > limit::DURATION_MAX) {
                return Err(Error::invalid(name, "is longer than ten years"));
            }
        }
        self.backoff.map_or(Ok(()), Backoff::check)
    }
}

pub(crate) fn text(field: &str, text: Option<&str>, bytes_max: usize) -> Result<(), Error> {
    match text {
        Some("") => Err(Error::invalid(field, "is empty")),
        Some(text) if text.len() > bytes_max => Err(Error::invalid(field, format!("is longer than {bytes_max} bytes"))),
        Some(text) if text.contains('\0') => Err(Error::invalid(field, "holds a zero byte")),
        _ => Ok(()),
    }
}

pub(crate) fn bytes(field: &str, json: Option<&Json>, bytes_max: usize) -> Result<(), Error> {
    match json.map(|json| json.as_str().len()) {
        Some(found) if found > bytes_max => Err(Error::TooLarge { field: field.to_owned(), found, max: bytes_max }),
        _ => Ok(()),
    }
}

/// How long to wait before another attempt: `base`, then `factor` times as long after each failure, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// Before the second attempt. Default 1s.
    pub base: Duration,
    /// By what it grows. Default 2.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub factor: f64,
    /// The longest wait. Default 1h.
    pub max: Duration,
    /// The part of the wait that is random, from 0 to 1, so that jobs that failed together don't come back together.
    /// Default 0.1: between 90 % and 100 % of it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(3600), jitter: 0.1 }
    }
}

impl Backoff {
    /// Whether its numbers are within their ranges.
    pub fn check(self) -> Result<(), Error> {
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(Error::invalid("backoff.factor", "must be from 1 to 100"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Error::invalid("backoff.jitter", "must be from 0 to 1"));
        }
        if self.base.get().max(self.max.get()) > limit::DURATION_MAX {
            return Err(Error::invalid("backoff", "is longer than ten years"));
        }
        Ok(())
    }

    /// The wait after `failures`, at least one. `random` is from 0 to 1.
    pub fn wait(self, failures: u32, random: f64) -> std::time::Duration {
        let grown = self.base.get().as_secs_f64() * self.factor.powf(f64::from(failures.max(1) - 1));
        let wait = grown.min(self.max.get().as_secs_f64());
        std::time::Duration::from_secs_f64(wait * (1.0 - self.jitter * random.clamp(0.0, 1.0)))
    }
}

/// What to do with a job when one that it comes after did not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFail {
    /// It ends as cancelled, with the reason `dependency`.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
}

/// Bounds how many jobs of a queue run at once that share a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// The key. It belongs to the queue.
    pub key: String,
    /// How many of them run at once. Where jobs of one key say different numbers, the one that came last holds.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: u32,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Its time has not come.
    Scheduled,
    /// It waits for jobs that it comes after, or behind a full concurrency key.
    Waiting,
    /// A worker may lease it.
    Ready,
    /// A worker holds it.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly: `reason` says how.
    Failed,
    /// It was ended: `reason` says why.
    Cancelled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 7] =
        [Self::Scheduled, Self::Waiting, Self::Ready, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is over.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Why a job ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The worker said that it failed.
    Error,
    /// An attempt took longer than its `timeout`.
    Timeout,
    /// Its worker was not heard of again.
    WorkerLost,
    /// The attempt needed more memory than it may.
    OutOfMemory,
    /// The attempt was ended by a signal.
    Signal,
    /// Its time had passed.
    Expired,
    /// A job that it came after did not succeed.
    Dependency,
    /// Somebody asked for it.
    Requested,
}

impl Reason {
    /// All reasons, in the order of their stored numbers.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Timeout,
        Self::WorkerLost,
        Self::OutOfMemory,
        Self::Signal,
        Self::Expired,
        Self::Dependency,
        Self::Requested,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::WorkerLost => "workerLost",
            Self::OutOfMemory => "outOfMemory",
            Self::Signal => "signal",
            Self::Expired => "expired",
            Self::Dependency => "dependency",
            Self::Requested => "requested",
        }
    }
}

/// What went wrong in an attempt, in its worker's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// What a person reads.
    pub message: String,
    /// The sort of error, such as the name of an exception.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The exit code of its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl Failure {
    /// A failure of which there is only a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let found = self.message.len() + self.trace.as_ref().map_or(0, String::len);
        if found > limit::FAILURE_BYTES_MAX {
            return Err(Error::TooLarge { field: "error".to_owned(), found, max: limit::FAILURE_BYTES_MAX });
        }
        text("error.type", self.kind.as_deref(), limit::NAME_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_to_its_bound_and_jitter_only_shortens_it() {
        let backoff = Backoff { max: Duration::from_secs(10), ..Backoff::default() };
        let waits: Vec<f64> = [0, 1, 2, 3, 4, 5, 1000].map(|n| backoff.wait(n, 0.0).as_secs_f64()).into();
        assert_eq!(waits, [1.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        assert!((backoff.wait(5, 1.0).as_secs_f64() - 9.0).abs() < 1e-6);
    }

    #[test]
    fn a_payload_comes_out_as_it_went_in() {
        let text = r#"{"payload":{"a":1e400,"b":12345678901234567890123}}"#;
        let job: NewJob = serde_json::from_str(text).unwrap();
        assert_eq!(job.payload.as_str(), r#"{"a":1e400,"b":12345678901234567890123}"#);
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
    }

    #[test]
    fn what_passes_a_limit_is_refused() {
        let bad = [
            r#"{"key": ""}"#,
            r#"{"priority": 1001}"#,
            r#"{"priority": -2147483648}"#,
            r#"{"delay": "1s", "runAt": "2026-05-01T12:00:00Z"}"#,
            r#"{"attempts": 0}"#,
            r#"{"backoff": {"factor": 0.5}}"#,
            r#"{"concurrency": {"key": "a", "max": 0}}"#,
            r#"{"meta": 1}"#,
            r#"{"timeout": "0s"}"#,
            r#"{"delay": "99999d"}"#,
        ];
        for text in bad {
            let job: NewJob = serde_json::from_str(text).unwrap();
            assert!(matches!(job.check(), Err(Error::Invalid { .. })), "{text}");
        }
        assert!(NewJob::default().check().is_ok());
    }
}
