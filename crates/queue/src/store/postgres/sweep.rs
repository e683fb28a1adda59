//! What time asks for.

use std::time::Duration;

use super::book::Book;
use super::db::{Done, Fault};
use super::read;
use super::row::{self, Code};
use crate::error::Error;
use crate::job::Reason;
use crate::moment::Moment;
use crate::settings::{CatchUp, Overlap, ScheduleSpec};
use crate::store::Swept;
use crate::store::steps::Steps as _;
use crate::view::ScheduleInfo;

/// How much of each kind one sweep does, so that it never keeps others waiting for long.
const STEP: usize = 500;

/// The longest time between two sweeps.
const EVERY: Duration = Duration::from_secs(1);

/// Sweeps that are further apart than this, over all replicas, mean that the store was away or stood still, and that
/// nobody could beat. Less than what is left of a lease of our own workers, 4 s, that was due to be renewed when it went.
const STALL_MILLIS: i64 = 2500;

/// The first half of the name of the lock that a sweep holds; the schema is the other.
const SWEEP_LOCK: i32 = 0x6877_5157;

/// For how long a parent of jobs that have not ended is spared before it is looked at again.
const SPARED_MILLIS: i64 = 60_000;

/// A nominal time that passed less than this ago is late, not missed.
const LATE_MILLIS: i64 = 60_000;

impl Book {
    /// One replica sweeps at a time; another one that comes meanwhile has nothing to do.
    pub(super) fn sweep(&mut self) -> Done<Swept> {
        let sql = "SELECT pg_try_advisory_xact_lock($1, current_schema()::regnamespace::oid::bigint::integer)";
        let is_ours: bool = self.db()?.first(sql, &[&SWEEP_LOCK])?.is_some_and(|row| row.get(0));
        if !is_ours {
            return Ok(Swept { next: EVERY, ..Swept::default() });
        }
        self.sum_up()?;
        self.note_sweep()?;
        let mut swept = Swept::default();
        let mut is_more = self.sweep_leases(&mut swept)?;
        is_more |= self.sweep_due(&mut swept)?;
        self.sweep_schedules(&mut swept)?;
        is_more |= self.sweep_ended(&mut swept)?;
        self.settle_slots()?;
        swept.next = if is_more { Duration::ZERO } else { self.next_sweep()? };
        Ok(swept)
    }

    /// Where nobody swept for a while, nobody could beat either: every lease begins anew.
    fn note_sweep(&mut self) -> Done<()> {
        let now = self.lease_now();
        let sql = "SELECT value FROM meta WHERE name = 'swept' FOR UPDATE";
        let before: i64 = self.db()?.first(sql, &[])?.map_or(0, |row| row.get(0));
        if now - before > STALL_MILLIS {
            self.renew_all()?;
        }
        self.db()?.execute("UPDATE meta SET value = $1 WHERE name = 'swept'", &[&now])?;
        Ok(())
    }

    /// The differences that transactions left become part of the counts.
    fn sum_up(&mut self) -> Done<()> {
        let sql = "WITH gone AS (DELETE FROM tally_delta RETURNING lane, state, jobs), \
                   sums AS (SELECT lane, state, sum(jobs)::bigint AS jobs FROM gone GROUP BY lane, state) \
                   INSERT INTO tally SELECT lane, state, jobs FROM sums \
                   ON CONFLICT (lane, state) DO UPDATE SET jobs = tally.jobs + excluded.jobs";
        self.db()?.execute(sql, &[])?;
        Ok(())
    }

    fn sweep_leases(&mut self, swept: &mut Swept) -> Done<bool> {
        let lapsed = self.lapsed(i64::try_from(STEP).unwrap_or(i64::MAX))?;
        for serial in &lapsed {
            // One that somebody is just finishing, or that has beaten since, is left to itself.
            let Some(mut row) = row::load_free(self.db()?, *serial)? else { continue };
            let now = self.lease_now();
            let Some(held) = self.held(*serial)?.filter(|held| held.deadline() <= now) else { continue };
            let reason = if held.over.is_some_and(|over| over <= now) {
                swept.timeouts += 1;
                Reason::Timeout
            } else {
                swept.lost += 1;
                Reason::WorkerLost
            };
            self.lapse(&mut row, &held.worker, held.batch, reason)?;
        }
        Ok(lapsed.len() == STEP)
    }

    fn sweep_due(&mut self, swept: &mut Swept) -> Done<bool> {
        let now = self.now();
        let serials = self.step("SELECT serial FROM job WHERE state = 0 AND due <= $1 ORDER BY due LIMIT $2", now)?;
        for serial in &serials {
            if let Some(mut row) = row::load_free(self.db()?, *serial)?.filter(|row| row.code == Code::Scheduled) {
                self.place_and_store(&mut row, now)?;
            }
        }
        swept.due = serials.len();
        Ok(serials.len() == STEP)
    }

    fn sweep_ended(&mut self, swept: &mut Swept) -> Done<bool> {
        let now = self.now();
        let serials = self.step("SELECT serial FROM job WHERE state >= 5 AND due <= $1 ORDER BY due LIMIT $2", now)?;
        for serial in &serials {
            let row = row::load_free(self.db()?, *serial)?.filter(|row| row.code.has_ended());
            let Some(mut row) = row else { continue };
            if self.is_parent(*serial)? {
                row.due = now + SPARED_MILLIS;
                row::update(self.db()?, &row)?;
            } else {
                self.forget(&row)?;
                swept.expired += 1;
            }
        }
        Ok(serials.len() == STEP)
    }

    fn step(&mut self, sql: &'static str, now: i64) -> Done<Vec<i64>> {
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        Ok(self.db()?.numbers(sql, &[&now, &limit])?)
    }

    fn sweep_schedules(&mut self, swept: &mut Swept) -> Done<()> {
        let now = Moment::from_millis(self.now());
        // Locked, so that a replica which changes one meanwhile waits, and is not undone.
        let sql = "SELECT name FROM schedule WHERE next_at <= $1 ORDER BY name FOR UPDATE";
        if self.db()?.query(sql, &[&now.millis()])?.is_empty() {
            return Ok(());
        }
        for schedule in read::schedules(self.db()?)? {
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
        let sql = "UPDATE schedule SET next_at = $2 WHERE name = $1";
        self.db()?.execute(sql, &[&name, &next])?;
        if is_missed && spec.catch_up == CatchUp::None {
            return Ok(false);
        }
        let Some(id) = self.put_nominal(schedule, spec, nominal)? else { return Ok(false) };
        let sql = "UPDATE schedule SET last_at = $2, last_job = $3 WHERE name = $1";
        self.db()?.execute(sql, &[&name, &nominal.millis(), &row::serial(id)])?;
        Ok(true)
    }

    fn put_nominal(
        &mut self,
        schedule: &ScheduleInfo,
        spec: &ScheduleSpec,
        nominal: Moment,
    ) -> Done<Option<crate::JobId>> {
        let last = match schedule.last_job {
            Some(id) => row::load(self.db()?, row::serial(id))?.filter(|row| row.id() == id),
            None => None,
        };
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
        match self.put_one(queue, job) {
            Ok(placed) => Ok(Some(placed.id)),
            Err(Fault::Refused(Error::StoreDown { why })) => Err(Error::StoreDown { why }.into()),
            Err(Fault::Refused(why)) => {
                tracing::warn!(schedule = schedule.name, %why, "a schedule's job was refused");
                Ok(None)
            }
            Err(broken) => Err(broken),
        }
    }

    /// When there is something to do again.
    fn next_sweep(&mut self) -> Done<Duration> {
        let sql = "SELECT (SELECT min(least(until, over, grace)) FROM lease WHERE outcome IS NULL), \
                   (SELECT min(due) FROM job WHERE state = 0), (SELECT min(next_at) FROM schedule)";
        let Some(row) = self.db()?.first(sql, &[])? else { return Ok(EVERY) };
        let until =
            |at: Option<i64>, now: i64| at.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0)));
        let (now, lease_now) = (self.now(), self.lease_now());
        let next = [until(row.get(0), lease_now), until(row.get(1), now), until(row.get(2), now)];
        Ok(next.into_iter().flatten().min().map_or(EVERY, |next| next.min(EVERY)))
    }
}
