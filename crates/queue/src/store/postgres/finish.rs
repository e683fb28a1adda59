//! Attempts end.

use std::time::Duration;

use super::book::Book;
use super::db::{Done, Fault};
use super::held::parts;
use super::put::millis;
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::job::{Failure, Reason};
use crate::lease::{Ack, Ending, Finish, FinishReply, Finished, Nack, Outcome};
use crate::limit;
use crate::moment::Moment;

impl Book {
    pub(super) fn finish(&mut self, finish: &Finish) -> Done<FinishReply> {
        if finish.outcomes.len() > limit::BATCH_MAX {
            return Err(Error::invalid("outcomes", format!("are more than {}", limit::BATCH_MAX)).into());
        }
        // A lease that can't be had refuses all, before anything is done.
        if let Some(request) = &finish.lease {
            request.check()?;
            request.queues.iter().try_for_each(|name| self.queue_id(name).map(drop))?;
        }
        let mut outcomes = Vec::with_capacity(finish.outcomes.len());
        for outcome in finish.outcomes.iter().cloned() {
            outcomes.push(match self.part(|book| book.outcome(outcome)) {
                Ok(finished) => Ok(finished),
                Err(Fault::Refused(error)) => Err(error),
                Err(broken) => return Err(broken),
            });
        }
        let leases = finish.lease.as_ref().map(|request| self.lease(request)).transpose()?.unwrap_or_default();
        Ok(FinishReply { outcomes, leases })
    }

    fn outcome(&mut self, outcome: Outcome) -> Done<Finished> {
        outcome.check()?;
        let Outcome { id, token, ending } = outcome;
        // The job first, then its lease: all who need both lock them in this order.
        let Some(mut row) = row::load(self.db()?, row::serial(id))?.filter(|row| row.id() == id) else {
            return Err(Error::LeaseLost { id }.into());
        };
        if self.held_with(id, &token)?.is_none() {
            return self.stored(&row, &token);
        }
        let mut enqueued = Vec::new();
        match ending {
            Ending::Ack(ack) => enqueued = self.ack(&mut row, ack)?,
            Ending::Nack(nack) => self.nack(&mut row, &nack)?,
            Ending::Release(_) => self.go_back(&mut row, "released")?,
        }
        let finished = Finished {
            id,
            state: row.code.state(),
            reason: row.reason,
            run_at: (row.code == Code::Scheduled).then(|| Moment::from_millis(row.due)),
            enqueued,
            duplicate: false,
        };
        self.let_go(&row, &serde_json::to_string(&finished)?)?;
        self.settle_slots()?;
        Ok(finished)
    }

    /// What an earlier finish with this token was answered.
    fn stored(&mut self, row: &Row, token: &Token) -> Done<Finished> {
        let id = row.id();
        let lost = || Fault::Refused(Error::LeaseLost { id });
        let (number, secret) = parts(token).ok_or_else(lost)?;
        let sql = "SELECT outcome FROM lease WHERE serial = $1 AND number = $2 AND secret = $3";
        let found = self.db()?.first(sql, &[&row.serial, &number, &secret])?;
        let outcome: Option<String> = found.and_then(|row| row.get(0));
        let outcome = outcome.filter(|outcome| !outcome.is_empty()).ok_or_else(lost)?;
        Ok(Finished { duplicate: true, ..serde_json::from_str(&outcome)? })
    }

    fn ack(&mut self, row: &mut Row, ack: Ack) -> Done<Vec<JobId>> {
        let sql = "INSERT INTO result (serial, result) VALUES ($1, $2) \
                   ON CONFLICT (serial) DO UPDATE SET result = excluded.result, error = NULL";
        self.db()?.execute(sql, &[&row.serial, &ack.result.as_str()])?;
        self.end(row, Code::Succeeded, None)?;
        let mut enqueued = Vec::with_capacity(ack.enqueue.len());
        for child in ack.enqueue {
            let queue = child.queue.as_deref().map_or(Ok(row.queue), |name| self.queue_id(name))?;
            enqueued.push(self.put_child(queue, child)?.id);
        }
        Ok(enqueued)
    }

    fn nack(&mut self, row: &mut Row, nack: &Nack) -> Done<()> {
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
    pub(super) fn failed(&mut self, row: &mut Row, reason: Reason, retry: bool) -> Done<()> {
        if !retry || row.attempt >= row.attempts {
            return self.end(row, Code::Failed, Some(reason));
        }
        row.reason = Some(reason);
        let own = self.body(row.serial)?.0.backoff;
        let backoff = own.map_or_else(|| self.settings(row.queue).map(|settings| settings.backoff), Ok)?;
        self.come_back(row, backoff.wait(row.attempt, fastrand::f64()), "retry")
    }

    /// Back to the line after a while, at its end.
    fn come_back(&mut self, row: &mut Row, wait: Duration, event: &str) -> Done<()> {
        let now = self.now();
        row.due = now.saturating_add(millis(wait));
        let data = serde_json::json!({
            "reason": row.reason.map(Reason::as_str), "runAt": Moment::from_millis(row.due).to_string(),
        });
        self.event(row, event, Some(&data))?;
        self.place_and_store(row, now)
    }

    /// Back to its old place in line, as if it had not been leased.
    pub(super) fn go_back(&mut self, row: &mut Row, event: &str) -> Done<()> {
        if row.cancel {
            return self.end(row, Code::Cancelled, Some(Reason::Requested));
        }
        row.attempt = row.attempt.saturating_sub(1);
        self.back_in_line(row, event)
    }

    /// Back to its old place in line.
    pub(super) fn back_in_line(&mut self, row: &mut Row, event: &str) -> Done<()> {
        self.event(row, event, None)?;
        let code = if row.slot.is_some() { Code::Parked } else { Code::Ready };
        self.move_to(row, code);
        row::update(self.db()?, row)?;
        Ok(())
    }

    pub(super) fn store_failure(&mut self, serial: i64, failure: &Failure) -> Done<()> {
        let sql = "INSERT INTO result (serial, error) VALUES ($1, $2) ON CONFLICT (serial) DO UPDATE SET error = excluded.error";
        self.db()?.execute(sql, &[&serial, &serde_json::to_string(failure)?])?;
        Ok(())
    }

    /// The lease is over. What it came to is kept, so that a repeated finish gets the same answer; '' where it was
    /// lost.
    pub(super) fn let_go(&mut self, row: &Row, outcome: &str) -> Done<()> {
        self.drop_artifacts(row)?;
        let sql = "UPDATE lease SET outcome = $3 WHERE serial = $1 AND number = $2";
        self.db()?.execute(sql, &[&row.serial, &row.lease, &outcome])?;
        if !row.code.has_ended() {
            let sql = "DELETE FROM lease WHERE serial = $1 AND number <= \
                       (SELECT number FROM lease WHERE serial = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)";
            self.db()?.execute(sql, &[&row.serial, &i64::from(limit::LEASES_REMEMBERED)])?;
        }
        Ok(())
    }

    /// Gives back leases whose reply nobody took.
    pub(super) fn give_back(&mut self, leases: &[(JobId, Token)]) -> Done<()> {
        for (id, token) in leases {
            let Some(mut row) = row::load(self.db()?, row::serial(*id))? else { continue };
            if self.held_with(*id, token)?.is_some() {
                self.go_back(&mut row, "released")?;
                self.let_go(&row, "")?;
            }
        }
        self.settle_slots()
    }
}
