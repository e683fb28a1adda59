use document::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::job::{Backoff, NewJob, OnFail};
use crate::json::Json;
use crate::limit;
use crate::payload::PayloadSchema;
use crate::timetable::Timetable;

/// How a queue treats its jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueSettings {
    /// How many of its jobs run at once, over all workers. Default: as many as are leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Jobs in it that have not ended. With so many, an enqueue is refused with 429 `queue_full`; the children of an
    /// ack are not, since a full queue must still empty. Default 1,000,000.
    #[schemars(range(min = 1))]
    pub depth_max: u64,
    /// How often a job is tried that doesn't say. Default 5.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// How long to wait before another attempt where the job doesn't say.
    pub backoff: Backoff,
    /// How long one attempt may take where the job doesn't say. Default: as long as its worker beats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a worker holds a job without a beat where it doesn't say. Default 60s.
    pub lease: Duration,
    /// How long a running job may go on once its cancellation was asked for. Default 30s.
    pub cancel_grace: Duration,
    /// How long jobs and their results are kept once they have ended. Default 1d.
    pub retention: Duration,
    /// How long keys are kept once their jobs have ended. Default 1d.
    pub key_ttl: Duration,
    /// The wait that outweighs one step of priority: a job that has waited this much longer than one of a priority
    /// higher by one goes first. Default 1m. Shorter is fairer, longer is stricter.
    pub ageing: Duration,
    /// The bytes of log kept of one job. Default 1MiB; what comes after is dropped, and the log says so.
    pub log_bytes_max: document::ByteSize,
    /// A JSON Schema that payloads must match: a job whose payload doesn't is refused with 422. Default: any payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadSchema>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            concurrency: None,
            depth_max: 1_000_000,
            attempts: 5,
            backoff: Backoff::default(),
            timeout: None,
            lease: Duration::from_secs(60),
            cancel_grace: Duration::from_secs(30),
            retention: Duration::from_secs(86_400),
            key_ttl: Duration::from_secs(86_400),
            ageing: Duration::from_secs(60),
            log_bytes_max: document::ByteSize::from_mib(1),
            payload: None,
        }
    }
}

impl QueueSettings {
    /// Whether they keep the limits.
    pub fn check(&self) -> Result<(), Error> {
        if self.concurrency == Some(0) {
            return Err(Error::invalid("concurrency", "must be at least 1; to stop a queue, pause it"));
        }
        if self.depth_max == 0 {
            return Err(Error::invalid("depthMax", "must be at least 1; to close a queue, drain it"));
        }
        if !(1..=limit::ATTEMPTS_MAX).contains(&self.attempts) {
            return Err(Error::invalid("attempts", format!("must be from 1 to {}", limit::ATTEMPTS_MAX)));
        }
        if !(limit::LEASE_MIN..=limit::LEASE_MAX).contains(&self.lease.get()) {
            return Err(Error::invalid("lease", "must be from 1s to 24h"));
        }
        for (name, duration) in
            [("retention", self.retention), ("keyTtl", self.key_ttl), ("cancelGrace", self.cancel_grace)]
        {
            if duration.get() > limit::DURATION_MAX {
                return Err(Error::invalid(name, "is longer than ten years"));
            }
        }
        if self.ageing.get() > std::time::Duration::from_hours(24) {
            return Err(Error::invalid("ageing", "is longer than 1d"));
        }
        self.payload.as_ref().map_or(Ok(()), PayloadSchema::check)?;
        self.backoff.check()
    }

    /// Whether they admit a job.
    pub(crate) fn admit(&self, job: &NewJob) -> Result<(), Error> {
        self.payload.as_ref().map_or(Ok(()), |schema| schema.admits(&job.payload))
    }
}

/// A job that is put again and again.
///
/// ```yaml
/// schedules:
///   nightly:
///     cron: "30 2 * * *"
///     timeZone: Europe/Berlin
///     queue: default
///     job: {payload: {report: nightly}}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// When: minute, hour, day of the month, month, day of the week, as in a crontab; or one of `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`. Not beside `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// How often, counted from 1970 so that a restart does not shift it. At least 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// The time zone of `cron`, such as `Europe/Berlin`. Default UTC. A local time that daylight saving skips or
    /// repeats fires once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The queue that the jobs are put into. Default `default`.
    #[serde(default = "queue_default")]
    pub queue: String,
    /// The job.
    #[serde(default)]
    pub job: JobTemplate,
    /// What to do when the last job has not ended. Default `queue`.
    #[serde(default)]
    pub overlap: Overlap,
    /// What to do about times that passed while nobody could fire them. Default `one`.
    #[serde(default)]
    pub catch_up: CatchUp,
}

fn queue_default() -> String {
    "default".to_owned()
}

/// The job of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct JobTemplate {
    /// What sort of job it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What the worker is given. Default null.
    pub payload: Value,
    /// Higher goes first. Default 0.
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// How long one attempt may take. Default: as the queue says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How often it is tried. Default: as the queue says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// How long to wait before another attempt. Default: as the queue says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
}

impl JobTemplate {
    /// The job that is put.
    pub fn job(&self) -> NewJob {
        NewJob {
            kind: self.kind.clone(),
            payload: Json::from_value(&self.payload),
            priority: self.priority,
            timeout: self.timeout,
            attempts: self.attempts,
            backoff: self.backoff,
            on_fail: OnFail::Cancel,
            ..NewJob::default()
        }
    }
}

/// What a schedule does when its last job has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// Leaves this time out.
    Skip,
    /// Puts another job beside it.
    #[default]
    Queue,
    /// Cancels the last job and puts another. One that runs is asked to stop, and may overlap until it has.
    Replace,
}

/// What a schedule does about times that passed while nobody could fire them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CatchUp {
    /// Leaves them out. A time that passed less than a minute ago is late, not missed.
    None,
    /// Fires once, for the last of them.
    #[default]
    One,
}

impl ScheduleSpec {
    /// Whether it can be fired.
    pub fn check(&self) -> Result<Timetable, Error> {
        let job = self.job.job();
        job.check()?;
        Timetable::new(self.cron.as_deref(), self.every, self.time_zone.as_deref())
    }
}
