//! What the queue's rules do with a job, step by step, whatever keeps the job. A store brings the few statements
//! beneath them; [`exercise`](crate::exercise) holds every store to the rules.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::row::{Code, Row};
use crate::error::Error;
use crate::job::{Backoff, Failure, Reason};
use crate::lease::Nack;
use crate::moment::Moment;
use crate::settings::QueueSettings;

/// The steps. Times are milliseconds since 1970.
pub(super) trait Steps {
    /// Why a step did not end well.
    type Fault: From<Error>;

    /// The time.
    fn now(&self) -> i64;

    /// How a queue treats its jobs.
    fn settings(&self, queue: i64) -> Result<Arc<QueueSettings>, Error>;

    /// The back-off that a job asks for itself.
    fn own_backoff(&mut self, serial: i64) -> Result<Option<Backoff>, Self::Fault>;

    /// Moves a job to another state: the counts, the keys and those who wait hear of it. The row is not stored yet.
    fn move_to(&mut self, row: &mut Row, code: Code);

    /// Notes what happened to a job. The row's count is not stored yet.
    fn event(&mut self, row: &mut Row, event: &str, data: Option<&Value>) -> Result<(), Self::Fault>;

    /// Stores what changes of a row.
    fn store_row(&mut self, row: &Row) -> Result<(), Self::Fault>;

    /// Stores why an attempt failed.
    fn store_failure(&mut self, serial: i64, failure: &Failure) -> Result<(), Self::Fault>;

    /// The children that have not heard of a job's end; they have now.
    fn untold(&mut self, parent: i64) -> Result<Vec<Row>, Self::Fault>;

    /// A job has ended: what it came after may be forgotten.
    fn forget_parents(&mut self, child: i64) -> Result<(), Self::Fault>;

    /// The lease is over. What it came to is kept, so that a repeated finish gets the same answer; '' where it was
    /// lost.
    fn let_go(&mut self, row: &Row, outcome: &str) -> Result<(), Self::Fault>;

    /// Those who wait hear of a job, and its key is looked at.
    fn moved(&mut self, row: &Row);

    /// From now on a running job whose cancellation was asked for may go on for so long.
    fn store_grace(&mut self, row: &Row, grace: Duration) -> Result<(), Self::Fault>;

    /// Where a job that is not running belongs. `due` is its time before, and its place in line after where it is in
    /// line. Its concurrency key, if it has one, may still move it.
    fn place(&self, row: &mut Row, now: i64) -> Result<Code, Error> {
        if row.pending > 0 {
            return Ok(Code::Waiting);
        }
        if row.due > now {
            return Ok(Code::Scheduled);
        }
        let ageing = millis(self.settings(row.queue)?.ageing.get());
        row.due -= i64::from(row.priority) * ageing;
        Ok(in_line(row))
    }

    /// Puts a job where it belongs.
    fn place_and_store(&mut self, row: &mut Row, now: i64) -> Result<(), Self::Fault> {
        let code = self.place(row, now)?;
        self.move_to(row, code);
        self.store_row(row)
    }

    /// Ends a job, and with it those that can't run without it.
    fn end(&mut self, row: &mut Row, code: Code, reason: Option<Reason>) -> Result<(), Self::Fault> {
        self.end_one(row, code, reason)?;
        let mut ended = vec![(row.serial, code)];
        while let Some((parent, how)) = ended.pop() {
            for child in self.untold(parent)? {
                ended.extend(self.tell_child(child, how)?);
            }
        }
        Ok(())
    }

    /// A parent has ended like this. Gives back the child, if that ends it.
    fn tell_child(&mut self, mut child: Row, how: Code) -> Result<Option<(i64, Code)>, Self::Fault> {
        child.pending = child.pending.saturating_sub(1);
        if how != Code::Succeeded && !child.runs_on_fail {
            self.end_one(&mut child, Code::Cancelled, Some(Reason::Dependency))?;
            return Ok(Some((child.serial, Code::Cancelled)));
        }
        if child.pending == 0 && child.code == Code::Waiting {
            // It joins the line now, whenever it was put.
            let now = self.now();
            child.due = child.due.max(now);
            self.place_and_store(&mut child, now)?;
        } else {
            self.store_row(&child)?;
        }
        Ok(None)
    }

    /// Ends a job by itself.
    fn end_one(&mut self, row: &mut Row, code: Code, reason: Option<Reason>) -> Result<(), Self::Fault> {
        let now = self.now();
        self.move_to(row, code);
        row.reason = reason;
        row.ended = Some(now);
        row.due = now.saturating_add(row.keep);
        row.cancel = false;
        let data = reason.map(|reason| json!({ "reason": reason.as_str() }));
        self.event(row, code.state().as_str(), data.as_ref())?;
        self.store_row(row)?;
        self.forget_parents(row.serial)
    }

    /// A worker says that its attempt did not succeed.
    fn nack(&mut self, row: &mut Row, nack: &Nack) -> Result<(), Self::Fault> {
        self.store_failure(row.serial, &nack.error)?;
        row.alone = false;
        if row.cancel {
            return self.end(row, Code::Cancelled, Some(Reason::Requested));
        }
        if let Some(snooze) = nack.snooze {
            row.attempt = row.attempt.saturating_sub(1);
            return self.come_back(row, snooze.get(), "snoozed");
        }
        self.failed(row, nack.reason, nack.retry)
    }

    /// An attempt failed: another one, or the end.
    fn failed(&mut self, row: &mut Row, reason: Reason, retry: bool) -> Result<(), Self::Fault> {
        if !retry || row.attempt >= row.attempts {
            return self.end(row, Code::Failed, Some(reason));
        }
        row.reason = Some(reason);
        let own = self.own_backoff(row.serial)?;
        let backoff = own.map_or_else(|| self.settings(row.queue).map(|settings| settings.backoff), Ok)?;
        self.come_back(row, backoff.wait(row.attempt, fastrand::f64()), "retry")
    }

    /// Back to the line after a while, at its end.
    fn come_back(&mut self, row: &mut Row, wait: Duration, event: &str) -> Result<(), Self::Fault> {
        let now = self.now();
        row.due = now.saturating_add(millis(wait));
        let run_at = Moment::from_millis(row.due).to_string();
        let data = json!({ "reason": row.reason.map(Reason::as_str), "runAt": run_at });
        self.event(row, event, Some(&data))?;
        self.place_and_store(row, now)
    }

    /// Back to its old place in line, as if it had not been leased.
    fn go_back(&mut self, row: &mut Row, event: &str) -> Result<(), Self::Fault> {
        if row.cancel {
            return self.end(row, Code::Cancelled, Some(Reason::Requested));
        }
        row.attempt = row.attempt.saturating_sub(1);
        self.back_in_line(row, event)
    }

    /// Back to its old place in line.
    fn back_in_line(&mut self, row: &mut Row, event: &str) -> Result<(), Self::Fault> {
        self.event(row, event, None)?;
        self.move_to(row, in_line(row));
        self.store_row(row)
    }

    /// A lease of one job among `batch` has lapsed, or its attempt took too long.
    fn lapse(&mut self, row: &mut Row, worker: &str, batch: u32, reason: Reason) -> Result<(), Self::Fault> {
        let data = json!({ "worker": worker, "reason": reason.as_str() });
        self.event(row, "leaseLost", Some(&data))?;
        if row.cancel {
            self.end(row, Code::Cancelled, Some(Reason::Requested))?;
        } else if reason == Reason::Timeout {
            self.store_failure(row.serial, &Failure::new("the attempt took longer than its timeout"))?;
            self.failed(row, reason, true)?;
        } else if batch > 1 {
            row.alone = true;
            self.go_back(row, "lostWithOthers")?;
        } else {
            self.store_failure(row.serial, &Failure::new("the worker was not heard of again"))?;
            self.lost(row)?;
        }
        self.let_go(row, "")
    }

    /// A worker that was lost with one job pays for it; the job comes back at once, since it has waited for a lease.
    fn lost(&mut self, row: &mut Row) -> Result<(), Self::Fault> {
        if row.attempt >= row.attempts {
            return self.end(row, Code::Failed, Some(Reason::WorkerLost));
        }
        row.reason = Some(Reason::WorkerLost);
        self.back_in_line(row, "retry")
    }

    /// Ends a job, or asks its worker to.
    fn cancel(&mut self, row: &mut Row) -> Result<(), Self::Fault> {
        if row.code.has_ended() {
            return Err(wrong_state(row, "only a job that has not ended can be cancelled").into());
        }
        if row.code != Code::Running {
            return self.end(row, Code::Cancelled, Some(Reason::Requested));
        }
        if row.cancel {
            return Ok(());
        }
        row.cancel = true;
        self.event(row, "cancelRequested", None)?;
        self.store_row(row)?;
        self.moved(row);
        let grace = self.settings(row.queue)?.cancel_grace.get();
        self.store_grace(row, grace)
    }

    /// A job that has ended badly begins anew, with all its attempts.
    fn retry(&mut self, row: &mut Row) -> Result<(), Self::Fault> {
        if !matches!(row.code, Code::Failed | Code::Cancelled) {
            return Err(wrong_state(row, "only a job that failed or was cancelled can be tried again").into());
        }
        let now = self.now();
        (row.attempt, row.pending, row.reason, row.ended) = (0, 0, None, None);
        (row.alone, row.due) = (false, now);
        self.event(row, "retried", None)?;
        self.place_and_store(row, now)
    }

    /// A job that waits is given another time.
    fn reschedule(&mut self, row: &mut Row, at: Moment) -> Result<(), Self::Fault> {
        if row.code == Code::Running || row.code.has_ended() {
            return Err(wrong_state(row, "only a job that waits can be given another time").into());
        }
        let now = self.now();
        row.due = at.millis().max(now);
        let data = json!({ "runAt": at.to_string() });
        self.event(row, "rescheduled", Some(&data))?;
        self.place_and_store(row, now)
    }
}

fn wrong_state(row: &Row, needed: &'static str) -> Error {
    Error::WrongState { id: row.id(), state: row.code.state(), needed }
}

/// Where a job is whose turn may come.
const fn in_line(row: &Row) -> Code {
    if row.slot.is_some() { Code::Parked } else { Code::Ready }
}

/// A time as it is stored.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
