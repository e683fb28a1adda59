//! What time asks for.

use std::time::Duration;

use rusqlite::params;

use super::book::{Book, Done};
use super::read;
use super::row::{self, Row};
use crate::error::Error;
use crate::job::Reason;
use crate::moment::Moment;
use crate::settings::{CatchUp, Overlap, ScheduleSpec};
use crate::store::Swept;
use crate::store::steps::Steps as _;
use crate::view::ScheduleInfo;

/// How much of each kind one sweep does, so that it never keeps others waiting for long.
const STEP: usize = 500;

/// Ended jobs that one sweep forgets at most.
const FORGOTTEN_MAX: usize = 10_000;

/// The longest time between two sweeps.
const EVERY: Duration = Duration::from_secs(1);

/// Sweeps that are further apart than this mean that the server stood still, and that nobody could beat. Less than what
/// is left of a lease of our own workers, 4 s, that was due to be renewed when the server stopped.
const STALL: Duration = Duration::from_millis(2500);

/// For how long a parent of jobs that have not ended is spared before it is looked at again.
const SPARED_MILLIS: i64 = 60_000;

/// A nominal time that passed less than this ago is late, not missed.
const LATE_MILLIS: i64 = 60_000;

impl Book {
    pub(super) fn sweep(&mut self) -> Done<Swept> {
        let elapsed = self.clock.elapsed();
        if elapsed.saturating_sub(self.swept) > STALL {
            self.renew_all();
        }
        self.swept = elapsed;
        let mut swept = Swept::default();
        let mut is_more = self.sweep_leases(&mut swept)?;
        is_more |= self.sweep_due(&mut swept)?;
        self.sweep_schedules(&mut swept)?;
        is_more |= self.sweep_ended(&mut swept)?;
        self.settle_slots()?;
        swept.next = if is_more { Duration::ZERO } else { self.next_sweep()? };
        Ok(swept)
    }

    fn sweep_leases(&mut self, swept: &mut Swept) -> Done<bool> {
        let now = self.clock.elapsed();
        let lapsed = self.leases.lapsed(now, STEP);
        let is_more = lapsed.len() == STEP;
        for (serial, held) in lapsed {
            let Some(mut row) = Row::load(&self.connection, serial)? else { continue };
            let reason = if held.timeout.is_some_and(|timeout| timeout <= now) {
                swept.timeouts += 1;
                Reason::Timeout
            } else {
                swept.lost += 1;
                Reason::WorkerLost
            };
            self.lapse(&mut row, &held.worker, held.batch, reason)?;
        }
        Ok(is_more)
    }

    fn sweep_due(&mut self, swept: &mut Swept) -> Done<bool> {
        let now = self.now();
        let serials =
            self.step("SELECT serial FROM job WHERE state = 0 AND due <= ?1 ORDER BY due LIMIT ?2", now, STEP)?;
        for serial in &serials {
            if let Some(mut row) = Row::load(&self.connection, *serial)? {
                self.place_and_store(&mut row, now)?;
            }
        }
        swept.due = serials.len();
        Ok(serials.len() == STEP)
    }

    fn sweep_ended(&mut self, swept: &mut Swept) -> Done<bool> {
        let now = self.now();
        // Twice as many as have ended since the last sweep, so that what is kept does not grow without end.
        let limit = (2 * std::mem::take(&mut self.ended)).clamp(STEP, FORGOTTEN_MAX);
        let serials =
            self.step("SELECT serial FROM job WHERE state >= 5 AND due <= ?1 ORDER BY due LIMIT ?2", now, limit)?;
        for serial in &serials {
            let Some(mut row) = Row::load(&self.connection, *serial)? else { continue };
            if self.is_parent(*serial)? {
                row.due = now + SPARED_MILLIS;
                row.update(&self.connection)?;
            } else {
                self.forget(&row)?;
                swept.expired += 1;
            }
        }
        Ok(serials.len() == limit)
    }

    fn step(&self, sql: &str, now: i64, limit: usize) -> Done<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(statement.query_map(params![now, limit], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn sweep_schedules(&mut self, swept: &mut Swept) -> Done<()> {
        let now = Moment::from_millis(self.now());
        let sql = "SELECT EXISTS (SELECT 1 FROM schedule WHERE next_at <= ?1)";
        let is_due: bool = self.connection.prepare_cached(sql)?.query_row([now.millis()], |row| row.get(0))?;
        if !is_due {
            return Ok(());
        }
        for schedule in read::schedules(&self.connection)? {
            if let Some(first) = schedule.next_at.filter(|at| *at <= now) {
                swept.fired += usize::from(self.fire(&schedule, first, now)?);
            }
        }
        Ok(())
    }

    /// Puts the job of the last time that has passed, and moves on to the next: in one transaction, so that it is put
    /// once.
    fn fire(&mut self, schedule: &ScheduleInfo, first: Moment, now: Moment) -> Done<bool> {
        let ScheduleInfo { name, spec, .. } = schedule;
        let timetable = spec.check()?;
        let nominal = timetable.last(first, now);
        let is_missed = now.millis() - nominal.millis() > LATE_MILLIS;
        let next = timetable.after(now.max(nominal)).map(Moment::millis);
        let sql = "UPDATE schedule SET next_at = ?2 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute(params![name, next])?;
        if is_missed && spec.catch_up == CatchUp::None {
            return Ok(false);
        }
        let Some(id) = self.put_nominal(schedule, spec, nominal)? else { return Ok(false) };
        let sql = "UPDATE schedule SET last_at = ?2, last_job = ?3 WHERE name = ?1";
        self.connection.prepare_cached(sql)?.execute(params![name, nominal.millis(), row::serial(id)])?;
        Ok(true)
    }

    fn put_nominal(
        &mut self,
        schedule: &ScheduleInfo,
        spec: &ScheduleSpec,
        nominal: Moment,
    ) -> Done<Option<crate::JobId>> {
        let last = schedule.last_job.map(|id| Row::find(&self.connection, id)).transpose()?.flatten();
        if let Some(mut last) = last.filter(|last| !last.code.has_ended()) {
            match spec.overlap {
                Overlap::Skip => return Ok(None),
                Overlap::Queue => {}
                Overlap::Replace => self.cancel(&mut last)?,
            }
        }
        let mut job = spec.job.job();
        job.key = Some(format!("schedule:{}:{nominal}", schedule.name));
        let Ok(queue) = self.queue_id(&spec.queue) else { return Ok(None) };
        // A full or draining queue leaves this time out; the schedule goes on.
        match self.put_one(queue, job, false) {
            Ok(placed) => Ok(Some(placed.id)),
            Err(super::book::Fault::Refused(Error::StoreDown { why })) => Err(Error::StoreDown { why }.into()),
            Err(super::book::Fault::Refused(why)) => {
                tracing::warn!(schedule = schedule.name, %why, "a schedule's job was refused");
                Ok(None)
            }
            Err(broken) => Err(broken),
        }
    }

    /// When there is something to do again.
    fn next_sweep(&self) -> Done<Duration> {
        let now = self.now();
        let leases = self.leases.next().map(|at| at.saturating_sub(self.clock.elapsed()));
        let until = |sql: &str| -> Done<Option<Duration>> {
            let at: Option<i64> = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(at.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0))))
        };
        let jobs = until("SELECT min(due) FROM job WHERE state = 0")?;
        let schedules = until("SELECT min(next_at) FROM schedule")?;
        Ok(leases.into_iter().chain(jobs).chain(schedules).min().map_or(EVERY, |next| next.min(EVERY)))
    }
}
