//! A job that comes in, as it will be stored.

use std::time::Duration;

use super::row::{Code, Row};
use super::steps::millis;
use crate::error::Error;
use crate::job::{NewJob, OnFail};
use crate::moment::Moment;
use crate::settings::QueueSettings;

/// How long a client waits before it tries a full queue again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A job that somebody asks for, and that keeps the limits.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) job: NewJob,
    /// As it is stored: without its queue and its trace, so that the same job has the same text.
    pub(super) spec: String,
    pub(super) trace: Option<String>,
}

/// What the store knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) serial: i64,
    pub(super) queue: i64,
    pub(super) lane: i64,
    /// How many of its parents have not ended.
    pub(super) pending: u32,
    /// Its concurrency key.
    pub(super) slot: Option<i64>,
}

impl Asked {
    pub(super) fn new(mut job: NewJob) -> Result<Self, Error> {
        job.check()?;
        job.queue = None;
        job.after.sort_unstable();
        job.after.dedup();
        let trace = job.traceparent.take();
        let spec =
            serde_json::to_string(&job).map_err(|error| Error::invalid("job", format!("can't be kept: {error}")))?;
        Ok(Self { job, spec, trace })
    }

    /// Its row. It is still to be placed.
    pub(super) fn row(&self, known: Known, settings: &QueueSettings, now: i64) -> Row {
        let job = &self.job;
        let keep = job.result_ttl.unwrap_or(settings.retention).get();
        let key_ttl = job.key.as_ref().map_or(Duration::ZERO, |_| job.key_ttl.unwrap_or(settings.key_ttl).get());
        let run_at = job.run_at.map_or(now, Moment::millis).max(now);
        Row {
            serial: known.serial,
            tail: fastrand::i64(0..1 << 59),
            queue: known.queue,
            lane: known.lane,
            code: Code::Scheduled,
            reason: None,
            due: job.delay.map_or(run_at, |delay| now.saturating_add(millis(delay.get()))),
            priority: job.priority,
            attempt: 0,
            attempts: job.attempts.unwrap_or(settings.attempts),
            pending: known.pending,
            runs_on_fail: job.on_fail == OnFail::Run,
            slot: known.slot,
            cancel: false,
            alone: false,
            created: now,
            started: None,
            ended: None,
            keep: millis(keep.max(key_ttl)),
            lease: None,
            events: 1,
            key: job.key.clone(),
        }
    }
}

/// Refuses a job for a queue that takes none. `depth`: jobs in it that have not ended.
pub(super) fn has_room(queue: &str, settings: &QueueSettings, is_draining: bool, depth: i64) -> Result<(), Error> {
    let (queue, depth) = (queue.to_owned(), u64::try_from(depth).unwrap_or(0));
    if is_draining {
        return Err(Error::Draining { queue });
    }
    if depth >= settings.depth_max {
        return Err(Error::QueueFull { queue, depth, retry_after: FULL_RETRY });
    }
    Ok(())
}
