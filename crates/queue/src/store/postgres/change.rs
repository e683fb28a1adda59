//! What people ask for.

use super::book::Book;
use super::db::Done;
use super::read;
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::JobId;
use crate::job::State;
use crate::limit;
use crate::moment::Moment;
use crate::store::steps::Steps as _;
use crate::store::{Change, Changed, RetryMany};

/// Workers that are remembered as drained. Past it, all are forgotten: a drain is a wish, not a promise.
const DRAINED_MAX: i64 = 10_000;

impl Book {
    pub(super) fn change(&mut self, change: Change) -> Done<Changed> {
        let changed = match change {
            Change::Cancel(id) => self.with(id, Self::cancel)?,
            Change::Retry(id) => self.with(id, Self::retry)?,
            Change::RetryMany(many) => self.retry_many(&many)?,
            Change::Reschedule(id, at) => self.with(id, |book, row| book.reschedule(row, at))?,
            Change::Delete(id) => self.delete(id)?,
            Change::Log { id, token, lines } => {
                self.log(id, &token, lines)?;
                Changed::Done
            }
            Change::PutQueue(name, settings) => self.put_queue(&name, &settings)?,
            Change::Pause(name) => self.change_queue(&name, |queue| queue.paused = true)?,
            Change::Drain(name) => self.change_queue(&name, |queue| queue.draining = true)?,
            Change::Resume(name) => {
                self.change_queue(&name, |queue| (queue.paused, queue.draining) = (false, false))?
            }
            Change::PutSchedule(name, spec) => self.put_schedule(&name, &spec)?,
            Change::DeleteSchedule(name) => self.delete_schedule(&name)?,
            Change::DrainWorker(worker) => {
                crate::job::text("worker", Some(&worker), limit::NAME_BYTES_MAX)?;
                self.drain_worker(&worker)?;
                Changed::Done
            }
            Change::Declare(declaration) => self.declare(declaration)?,
        };
        self.settle_slots()?;
        // Read last, when its concurrency key has found it its place.
        Ok(match changed {
            Changed::Job(job) => Changed::Job(Box::new(read::job(self.db()?, job.id)?)),
            changed => changed,
        })
    }

    fn reply(&mut self, row: &Row) -> Done<Changed> {
        Ok(Changed::Job(Box::new(read::job(self.db()?, row.id())?)))
    }

    /// Takes a step with a job, and tells what it is now.
    fn with(&mut self, id: JobId, step: impl FnOnce(&mut Self, &mut Row) -> Done<()>) -> Done<Changed> {
        let mut row = self.find(id)?;
        step(self, &mut row)?;
        self.reply(&row)
    }

    fn retry_many(&mut self, many: &RetryMany) -> Done<Changed> {
        let code = match many.state {
            State::Failed => Code::Failed,
            State::Cancelled => Code::Cancelled,
            _ => return Err(Error::invalid("state", "must be `failed` or `cancelled`").into()),
        };
        let queue = many.queue.as_deref().map(|name| self.queue_id(name)).transpose()?;
        let lanes: Vec<i64> =
            self.lanes.iter().filter(|(_, lane)| queue.is_none_or(|id| id == lane.queue)).map(|(id, _)| *id).collect();
        let since = many.since.map_or(0, Moment::millis);
        let mut count = 0;
        for lane in lanes {
            let left = many.limit.min(limit::BULK_JOBS_MAX) - count;
            let sql = "SELECT serial FROM job WHERE lane = $1 AND state = $2 AND ended >= $3 ORDER BY serial LIMIT $4";
            let wanted = i64::try_from(left).unwrap_or(0);
            let serials = self.db()?.numbers(sql, &[&lane, &code.stored(), &since, &wanted])?;
            count += serials.len();
            for serial in serials {
                let row = row::load(self.db()?, serial)?.filter(|row| row.code == code);
                row.map(|mut row| self.retry(&mut row)).transpose()?;
            }
        }
        Ok(Changed::Count(count))
    }

    fn delete(&mut self, id: JobId) -> Done<Changed> {
        let row = self.find(id)?;
        let state = row.code.state();
        if !row.code.has_ended() {
            return Err(Error::WrongState { id, state, needed: "only a job that has ended can be deleted" }.into());
        }
        if self.is_parent(row.serial)? {
            let needed = "jobs that come after it have not ended, so it can't be deleted yet";
            return Err(Error::WrongState { id, state, needed }.into());
        }
        self.forget(&row)?;
        Ok(Changed::Done)
    }

    fn drain_worker(&mut self, worker: &str) -> Done<()> {
        let sql = "DELETE FROM drained WHERE (SELECT count(*) FROM drained) >= $1";
        self.db()?.execute(sql, &[&DRAINED_MAX])?;
        self.db()?.execute("INSERT INTO drained VALUES ($1) ON CONFLICT DO NOTHING", &[&worker])?;
        Ok(())
    }

    /// Whether a job that has not ended comes after this one.
    pub(super) fn is_parent(&mut self, serial: i64) -> Done<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM edge WHERE parent = $1)";
        Ok(self.db()?.first(sql, &[&serial])?.is_some_and(|row| row.get(0)))
    }

    /// Removes every trace of a job that has ended.
    pub(super) fn forget(&mut self, row: &Row) -> Done<()> {
        self.tally(row.lane, row.code, -1);
        let sql = "WITH a AS (DELETE FROM body WHERE serial = $1), b AS (DELETE FROM result WHERE serial = $1), \
                   c AS (DELETE FROM lease WHERE serial = $1), d AS (DELETE FROM event WHERE serial = $1), \
                   e AS (DELETE FROM log WHERE serial = $1), f AS (DELETE FROM log_end WHERE serial = $1), \
                   g AS (DELETE FROM artifact WHERE serial = $1), h AS (DELETE FROM artifact_part WHERE serial = $1) \
                   DELETE FROM job WHERE serial = $1";
        self.db()?.execute(sql, &[&row.serial])?;
        self.moved(row);
        Ok(())
    }
}
