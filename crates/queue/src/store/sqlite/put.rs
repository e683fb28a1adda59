//! Jobs come in.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Fault};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::JobId;
use crate::job::{NewJob, OnFail};
use crate::limit;
use crate::store::{Placed, Put};

/// How long a client waits before it tries a full queue again.
const FULL_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// States that count for a queue's depth.
const NOT_ENDED: [Code; 5] = [Code::Scheduled, Code::Waiting, Code::Parked, Code::Ready, Code::Running];

impl Book {
    pub(super) fn put(&mut self, put: Put) -> Done<Vec<Result<Placed, Error>>> {
        if put.jobs.len() > limit::BULK_JOBS_MAX {
            return Err(Error::invalid("jobs", format!("holds more than {} jobs", limit::BULK_JOBS_MAX)).into());
        }
        let queue = self.queue_id(&put.queue)?;
        if !put.atomic {
            let placed = put.jobs.into_iter().map(|job| told(self.put_into(queue, &put.queue, job)));
            let placed = placed.collect::<Done<Vec<_>>>()?;
            self.settle_slots()?;
            return Ok(placed);
        }
        let jobs = put.jobs.len();
        let mut refused = None;
        let placed = self.attempt(|book| {
            let mut placed = Vec::with_capacity(jobs);
            for job in put.jobs {
                placed.push(told(book.put_into(queue, &put.queue, job))?);
                let refusal = placed.last().and_then(|one| one.as_ref().err()).cloned();
                refused = refusal.map(|why| (placed.len() - 1, why));
                refused.as_ref().map_or(Ok(()), |(_, why)| Err(why.clone()))?;
            }
            book.settle_slots()?;
            Ok(placed)
        });
        let Some((index, why)) = refused else { return placed };
        let other = Error::Atomic { index, why: Box::new(why.clone()) };
        let told = |at: usize| if at == index { why.clone() } else { other.clone() };
        Ok((0..jobs).map(|at| Err(told(at))).collect())
    }

    fn put_into(&mut self, queue: i64, name: &str, job: NewJob) -> Done<Placed> {
        if job.queue.as_ref().is_some_and(|own| own != name) {
            return Err(Error::invalid("queue", format!("must be `{name}`, or be left out")).into());
        }
        self.put_one(queue, job, false)
    }

    /// Checks everything before it writes anything, so that a refused job leaves no trace.
    pub(super) fn put_one(&mut self, queue: i64, mut job: NewJob, is_child: bool) -> Done<Placed> {
        job.check()?;
        job.queue = None;
        job.after.sort_unstable();
        job.after.dedup();
        let trace = job.traceparent.take();
        let spec = serde_json::to_string(&job)?;
        if let Some(key) = &job.key
            && let Some(first) = self.with_key(queue, key, &spec)?
        {
            return Ok(first);
        }
        let settings = self.settings(queue)?;
        settings.admit(&job)?;
        if !is_child {
            let depth = u64::try_from(self.count(queue, &NOT_ENDED)).unwrap_or(0);
            let name = || self.queues.get(&queue).map_or_else(String::new, |queue| queue.name.as_ref().to_owned());
            if self.queue(queue)?.draining {
                return Err(Error::Draining { queue: name() }.into());
            }
            if depth >= settings.depth_max {
                return Err(Error::QueueFull { queue: name(), depth, retry_after: FULL_RETRY }.into());
            }
        }
        let (pending, fails) = self.parents(&job)?;
        let lane = self.lane(queue, job.kind.as_deref())?;
        let slot = job.concurrency.as_ref().map(|it| self.slot(queue, &it.key, it.max)).transpose()?;
        let now = self.now();
        let keep = job.result_ttl.unwrap_or(settings.retention).get();
        let key_ttl =
            job.key.as_ref().map_or(std::time::Duration::ZERO, |_| job.key_ttl.unwrap_or(settings.key_ttl).get());
        self.last_serial = (self.last_serial + 1).max(now << 15);
        let run_at = job.run_at.map_or(now, crate::Moment::millis).max(now);
        let mut row = Row {
            serial: self.last_serial,
            tail: fastrand::i64(0..1 << 59),
            queue,
            lane,
            code: Code::Scheduled,
            reason: None,
            due: job.delay.map_or(run_at, |delay| now.saturating_add(millis(delay.get()))),
            priority: job.priority,
            attempt: 0,
            attempts: job.attempts.unwrap_or(settings.attempts),
            pending,
            runs_on_fail: job.on_fail == OnFail::Run,
            slot,
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
        self.tally(lane, row.code, 1);
        self.moved(&row);
        row.insert(&self.connection)?;
        let sql = "INSERT INTO body VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![row.serial, spec, trace])?;
        for parent in &job.after {
            let sql = "INSERT INTO edge SELECT ?1, ?2, state >= 5 FROM job WHERE serial = ?1";
            self.connection.prepare_cached(sql)?.execute(params![row::serial(*parent), row.serial])?;
        }
        if fails {
            self.end(&mut row, Code::Cancelled, Some(crate::Reason::Dependency))?;
        }
        Ok(Placed { id: row.id(), state: row.code.state(), duplicate: false })
    }

    fn with_key(&mut self, queue: i64, key: &str, spec: &str) -> Done<Option<Placed>> {
        let sql = "SELECT j.serial, j.tail, j.state, b.spec FROM job j JOIN body b ON b.serial = j.serial \
                   WHERE j.queue = ?1 AND j.key = ?2 AND j.key IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![queue, key], |sql| {
            let id = row::id(sql.get(0)?, sql.get(1)?);
            Ok((id, Code::from_stored(sql.get(2)?), sql.get::<_, String>(3)?))
        });
        let Some((id, code, first)) = found.optional()? else { return Ok(None) };
        if first != spec {
            return Err(Error::KeyReused { key: key.to_owned(), first: id }.into());
        }
        Ok(Some(Placed { id, state: code.state(), duplicate: true }))
    }

    /// How many parents have not ended, and whether one has ended so that this job must not run.
    fn parents(&self, job: &NewJob) -> Done<(u32, bool)> {
        let (mut pending, mut fails) = (0, false);
        for parent in &job.after {
            let found = Row::find(&self.connection, *parent)?.ok_or(Error::UnknownParent { id: *parent })?;
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
        row.update(&self.connection)?;
        Ok(())
    }

    /// Ends a job, and with it those that can't run without it.
    pub(super) fn end(&mut self, row: &mut Row, code: Code, reason: Option<crate::Reason>) -> Done<()> {
        self.end_one(row, code, reason)?;
        let mut ended = vec![(row.serial, code)];
        while let Some((parent, how)) = ended.pop() {
            for child in self.untold(parent)? {
                let child = Row::load(&self.connection, child)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                ended.extend(self.tell_child(child, how)?);
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
            child.update(&self.connection)?;
        }
        Ok(None)
    }

    fn end_one(&mut self, row: &mut Row, code: Code, reason: Option<crate::Reason>) -> Done<()> {
        let now = self.now();
        self.move_to(row, code);
        self.ended += 1;
        row.reason = reason;
        row.ended = Some(now);
        row.due = now.saturating_add(row.keep);
        row.cancel = false;
        let data = reason.map(|reason| serde_json::json!({ "reason": reason.as_str() }));
        self.event(row, code.state().as_str(), data.as_ref())?;
        row.update(&self.connection)?;
        self.connection.prepare_cached("DELETE FROM edge WHERE child = ?1")?.execute([row.serial])?;
        Ok(())
    }

    /// The children that have not heard of this job's end; they have now.
    fn untold(&self, parent: i64) -> Done<Vec<i64>> {
        let sql = "SELECT child FROM edge WHERE parent = ?1 AND told = 0 ORDER BY child";
        let mut statement = self.connection.prepare_cached(sql)?;
        let children = statement.query_map([parent], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        if !children.is_empty() {
            let sql = "UPDATE edge SET told = 1 WHERE parent = ?1 AND told = 0";
            self.connection.prepare_cached(sql)?.execute([parent])?;
        }
        Ok(children)
    }

    pub(super) fn find(&self, id: JobId) -> Done<Row> {
        Ok(Row::find(&self.connection, id)?.ok_or_else(|| Error::no_job(id))?)
    }
}

/// A refusal as an answer.
fn told<T>(done: Done<T>) -> Done<Result<T, Error>> {
    match done {
        Ok(one) => Ok(Ok(one)),
        Err(Fault::Refused(error)) => Ok(Err(error)),
        Err(broken) => Err(broken),
    }
}

pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
