//! Jobs come in.

use std::time::Duration;

use super::book::Book;
use super::bulk::{self, Bulk};
use super::db::{Broken, Done, Fault};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::JobId;
use crate::job::{NewJob, OnFail};
use crate::limit;
use crate::store::{Placed, Put};

/// How long a client waits before it tries a full queue again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// States that count for a queue's depth.
const NOT_ENDED: [Code; 5] = [Code::Scheduled, Code::Waiting, Code::Parked, Code::Ready, Code::Running];

impl Book {
    pub(super) fn put(&mut self, put: &Put) -> Done<Vec<Result<Placed, Error>>> {
        if put.jobs.len() > limit::BULK_JOBS_MAX {
            return Err(Error::invalid("jobs", format!("holds more than {} jobs", limit::BULK_JOBS_MAX)).into());
        }
        let queue = self.queue_id(&put.queue)?;
        let (jobs, is_atomic) = (put.jobs.len(), put.atomic);
        let mut refused = None;
        let placed = self.part(|book| {
            let mut bulk = (jobs >= bulk::JOBS_MIN).then(|| Bulk::new(book, queue, &put.jobs)).transpose()?;
            let mut placed = Vec::with_capacity(jobs);
            for job in put.jobs.iter().cloned() {
                placed.push(told(book.put_into(queue, &put.queue, job, bulk.as_mut()))?);
                let refusal = placed.last().and_then(|one| one.as_ref().err()).filter(|_| is_atomic).cloned();
                refused = refusal.map(|why| (placed.len() - 1, why));
                refused.as_ref().map_or(Ok(()), |(_, why)| Err(why.clone()))?;
            }
            bulk.map_or(Ok(()), |mut bulk| bulk.write(book))?;
            book.settle_slots()?;
            Ok(placed)
        });
        let Some((index, why)) = refused else { return placed };
        let other = Error::Atomic { index, why: Box::new(why.clone()) };
        let told = |at: usize| if at == index { why.clone() } else { other.clone() };
        Ok((0..jobs).map(|at| Err(told(at))).collect())
    }

    fn put_into(&mut self, queue: i64, name: &str, job: NewJob, bulk: Option<&mut Bulk>) -> Done<Placed> {
        if job.queue.as_ref().is_some_and(|own| own != name) {
            return Err(Error::invalid("queue", format!("must be `{name}`, or be left out")).into());
        }
        match bulk {
            Some(bulk) => bulk.add(self, job),
            None => self.put_one(queue, job),
        }
    }

    /// Puts a job, if there is room for it.
    pub(super) fn put_one(&mut self, queue: i64, job: NewJob) -> Done<Placed> {
        let asked = Asked::new(job)?;
        if let Some(first) = self.first(queue, &asked)? {
            return Ok(first);
        }
        let depth = self.depth(queue)?;
        self.admit(queue, &asked, depth)?;
        self.put_asked(queue, &asked)
    }

    /// Puts a child of a job that ends. It is never refused for want of room.
    pub(super) fn put_child(&mut self, queue: i64, job: NewJob) -> Done<Placed> {
        let asked = Asked::new(job)?;
        if let Some(first) = self.first(queue, &asked)? {
            return Ok(first);
        }
        self.settings(queue)?.admit(&asked.job)?;
        self.put_asked(queue, &asked)
    }

    /// Jobs of a queue that have not ended.
    pub(super) fn depth(&mut self, queue: i64) -> Done<u64> {
        Ok(u64::try_from(self.count(queue, &NOT_ENDED)?).unwrap_or(0))
    }

    /// Refuses a job that the queue does not take, and all where it takes none.
    pub(super) fn admit(&self, queue: i64, asked: &Asked, depth: u64) -> Done<()> {
        let found = self.queue(queue)?;
        found.settings.admit(&asked.job)?;
        let name = || found.name.as_ref().to_owned();
        if found.draining {
            return Err(Error::Draining { queue: name() }.into());
        }
        if depth >= found.settings.depth_max {
            return Err(Error::QueueFull { queue: name(), depth, retry_after: FULL_RETRY }.into());
        }
        Ok(())
    }

    /// Checks everything before it writes anything, so that a refused job leaves no trace.
    pub(super) fn put_asked(&mut self, queue: i64, asked: &Asked) -> Done<Placed> {
        let (pending, fails) = self.parents(&asked.job)?;
        let slot = asked.job.concurrency.as_ref().map(|it| self.slot(queue, &it.key, it.max)).transpose()?;
        let mut row = self.row_for(queue, asked, PutAs { pending, slot })?;
        if !row::insert(self.db()?, &row, &asked.spec, asked.trace.as_deref())? {
            // Another replica has put this key, and has just committed it.
            let first = self.first(queue, asked)?;
            return Ok(first.ok_or_else(|| Broken { why: "a key came and went".to_owned() })?);
        }
        self.tally(row.lane, row.code, 1);
        self.moved(&row);
        if !asked.job.after.is_empty() {
            let parents: Vec<i64> = asked.job.after.iter().copied().map(row::serial).collect();
            let sql = "INSERT INTO edge SELECT serial, $2, state >= 5 FROM job WHERE serial = ANY($1)";
            self.db()?.execute(sql, &[&parents, &row.serial])?;
        }
        if fails {
            self.end(&mut row, Code::Cancelled, Some(crate::Reason::Dependency))?;
        }
        Ok(Placed { id: row.id(), state: row.code.state(), duplicate: false })
    }

    /// The row of a new job.
    pub(super) fn row_for(&mut self, queue: i64, asked: &Asked, put: PutAs) -> Done<Row> {
        let job = &asked.job;
        let settings = self.settings(queue)?;
        let lane = self.lane(queue, job.kind.as_deref())?;
        let now = self.now();
        let keep = job.result_ttl.unwrap_or(settings.retention).get();
        let key_ttl = job.key.as_ref().map_or(Duration::ZERO, |_| job.key_ttl.unwrap_or(settings.key_ttl).get());
        let run_at = job.run_at.map_or(now, crate::Moment::millis).max(now);
        let mut row = Row {
            serial: self.next_serial()?,
            tail: fastrand::i64(0..1 << 59),
            queue,
            lane,
            code: Code::Scheduled,
            reason: None,
            due: job.delay.map_or(run_at, |delay| now.saturating_add(millis(delay.get()))),
            priority: job.priority,
            attempt: 0,
            attempts: job.attempts.unwrap_or(settings.attempts),
            pending: put.pending,
            runs_on_fail: job.on_fail == OnFail::Run,
            slot: put.slot,
            cancel: false,
            alone: false,
            created: now,
            started: None,
            ended: None,
            keep: millis(keep.max(key_ttl)),
            lease: None,
            events: 1,
            key: job.key.clone(),
        };
        row.code = self.place(&mut row, now)?;
        Ok(row)
    }

    /// The job that has the key already.
    fn first(&mut self, queue: i64, asked: &Asked) -> Done<Option<Placed>> {
        asked.job.key.as_ref().map_or(Ok(None), |key| self.with_key(queue, key, &asked.spec))
    }

    fn with_key(&mut self, queue: i64, key: &str, spec: &str) -> Done<Option<Placed>> {
        let sql = "SELECT j.serial, j.tail, j.state, b.spec FROM job j JOIN body b ON b.serial = j.serial \
                   WHERE j.queue = $1 AND j.key = $2 AND j.key IS NOT NULL";
        let Some(found) = self.db()?.first(sql, &[&queue, &key])? else { return Ok(None) };
        let (id, code) = (row::id(found.get(0), found.get(1)), Code::from_stored(found.get(2)));
        let first: String = found.get(3);
        if first != spec {
            return Err(Error::KeyReused { key: key.to_owned(), first: id }.into());
        }
        Ok(Some(Placed { id, state: code.state(), duplicate: true }))
    }

    /// How many parents have not ended, and whether one has ended so that this job must not run.
    /// They are locked, in the order of their ids, so that none ends between this look and the commit.
    fn parents(&mut self, job: &NewJob) -> Done<(u32, bool)> {
        let (mut pending, mut fails) = (0, false);
        for parent in &job.after {
            let found = row::load(self.db()?, row::serial(*parent))?.filter(|row| row.id() == *parent);
            let found = found.ok_or(Error::UnknownParent { id: *parent })?;
            if !found.code.has_ended() {
                pending += 1;
            } else if found.code != Code::Succeeded {
                fails |= job.on_fail == OnFail::Cancel;
            }
        }
        Ok((pending, fails))
    }

    /// Where a job that is not running belongs. `due` is its time before, and its place in line after where it is in
    /// line. Its concurrency key, if it has one, may still move it.
    pub(super) fn place(&mut self, row: &mut Row, now: i64) -> Done<Code> {
        if row.pending > 0 {
            return Ok(Code::Waiting);
        }
        if row.due > now {
            return Ok(Code::Scheduled);
        }
        let ageing = millis(self.settings(row.queue)?.ageing.get());
        row.due -= i64::from(row.priority) * ageing;
        Ok(if row.slot.is_some() { Code::Parked } else { Code::Ready })
    }

    /// Puts a job where it belongs.
    pub(super) fn place_and_store(&mut self, row: &mut Row, now: i64) -> Done<()> {
        let code = self.place(row, now)?;
        self.move_to(row, code);
        row::update(self.db()?, row)?;
        Ok(())
    }

    /// Ends a job, and with it those that can't run without it.
    pub(super) fn end(&mut self, row: &mut Row, code: Code, reason: Option<crate::Reason>) -> Done<()> {
        self.end_one(row, code, reason)?;
        let mut ended = vec![(row.serial, code)];
        while let Some((parent, how)) = ended.pop() {
            for child in self.untold(parent)? {
                let child = row::load(self.db()?, child)?;
                let told = child.map(|child| self.tell_child(child, how)).transpose()?;
                ended.extend(told.flatten());
            }
        }
        Ok(())
    }

    /// A parent has ended like this. Gives back the child, if that ends it.
    fn tell_child(&mut self, mut child: Row, how: Code) -> Done<Option<(i64, Code)>> {
        child.pending = child.pending.saturating_sub(1);
        if how != Code::Succeeded && !child.runs_on_fail {
            self.end_one(&mut child, Code::Cancelled, Some(crate::Reason::Dependency))?;
            return Ok(Some((child.serial, Code::Cancelled)));
        }
        if child.pending == 0 && child.code == Code::Waiting {
            // It joins the line now, whenever it was put.
            let now = self.now();
            child.due = child.due.max(now);
            self.place_and_store(&mut child, now)?;
        } else {
            row::update(self.db()?, &child)?;
        }
        Ok(None)
    }

    fn end_one(&mut self, row: &mut Row, code: Code, reason: Option<crate::Reason>) -> Done<()> {
        let now = self.now();
        self.move_to(row, code);
        row.reason = reason;
        row.ended = Some(now);
        row.due = now.saturating_add(row.keep);
        row.cancel = false;
        let data = reason.map(|reason| serde_json::json!({ "reason": reason.as_str() }));
        self.event(row, code.state().as_str(), data.as_ref())?;
        row::update(self.db()?, row)?;
        self.db()?.execute("DELETE FROM edge WHERE child = $1", &[&row.serial])?;
        Ok(())
    }

    /// The children that have not heard of this job's end; they have now.
    fn untold(&mut self, parent: i64) -> Done<Vec<i64>> {
        let sql = "UPDATE edge SET told = true WHERE parent = $1 AND NOT told RETURNING child";
        let mut children = self.db()?.numbers(sql, &[&parent])?;
        children.sort_unstable();
        Ok(children)
    }

    pub(super) fn find(&mut self, id: JobId) -> Done<Row> {
        let row = row::load(self.db()?, row::serial(id))?.filter(|row| row.id() == id);
        Ok(row.ok_or_else(|| Error::no_job(id))?)
    }
}

/// A job that somebody asks for, and that is as it must be.
pub(super) struct Asked {
    pub(super) job: NewJob,
    /// As it is stored, without its trace.
    pub(super) spec: String,
    pub(super) trace: Option<String>,
}

impl Asked {
    pub(super) fn new(mut job: NewJob) -> Done<Self> {
        job.check()?;
        job.queue = None;
        job.after.sort_unstable();
        job.after.dedup();
        let trace = job.traceparent.take();
        Ok(Self { spec: serde_json::to_string(&job)?, job, trace })
    }
}

/// What the store knows of a job that comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct PutAs {
    /// How many of its parents have not ended.
    pub(super) pending: u32,
    /// Its concurrency key.
    pub(super) slot: Option<i64>,
}

/// A refusal as an answer.
fn told<T>(done: Done<T>) -> Done<Result<T, Error>> {
    match done {
        Ok(one) => Ok(Ok(one)),
        Err(Fault::Refused(error)) => Ok(Err(error)),
        Err(broken) => Err(broken),
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
