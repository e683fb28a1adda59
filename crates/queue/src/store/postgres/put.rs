//! Jobs come in.

use super::book::Book;
use super::bulk::{self, Bulk};
use super::db::{Broken, Done, Fault};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::JobId;
use crate::job::{NewJob, OnFail};
use crate::limit;
use crate::store::asked::{Asked, Known, has_room};
use crate::store::row::NOT_ENDED;
use crate::store::steps::Steps as _;
use crate::store::{Placed, Put};

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
    pub(super) fn depth(&mut self, queue: i64) -> Done<i64> {
        self.count(queue, &NOT_ENDED)
    }

    /// Refuses a job that the queue does not take, and all where it takes none.
    pub(super) fn admit(&self, queue: i64, asked: &Asked, depth: i64) -> Done<()> {
        let found = self.queue(queue)?;
        found.settings.admit(&asked.job)?;
        Ok(has_room(&found.name, &found.settings, found.draining, depth)?)
    }

    /// Checks everything before it writes anything, so that a refused job leaves no trace.
    pub(super) fn put_asked(&mut self, queue: i64, asked: &Asked) -> Done<Placed> {
        let (pending, fails) = self.parents(&asked.job)?;
        let slot = asked.job.concurrency.as_ref().map(|it| self.slot(queue, &it.key, it.max)).transpose()?;
        let mut row = self.row_for(queue, asked, pending, slot)?;
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

    /// The row of a new job, which belongs where it says. Nothing is written.
    pub(super) fn row_for(&mut self, queue: i64, asked: &Asked, pending: u32, slot: Option<i64>) -> Done<Row> {
        let settings = self.settings(queue)?;
        let lane = self.lane(queue, asked.job.kind.as_deref())?;
        let now = self.now();
        let mut row = asked.row(Known { serial: self.next_serial()?, queue, lane, pending, slot }, &settings, now);
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

    pub(super) fn find(&mut self, id: JobId) -> Done<Row> {
        let row = row::load(self.db()?, row::serial(id))?.filter(|row| row.id() == id);
        Ok(row.ok_or_else(|| Error::no_job(id))?)
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
