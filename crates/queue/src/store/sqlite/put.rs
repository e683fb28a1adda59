//! Jobs come in.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Fault};
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
    pub(super) fn put_one(&mut self, queue: i64, job: NewJob, is_child: bool) -> Done<Placed> {
        let asked = Asked::new(job)?;
        if let Some(key) = &asked.job.key
            && let Some(first) = self.with_key(queue, key, &asked.spec)?
        {
            return Ok(first);
        }
        let settings = self.settings(queue)?;
        settings.admit(&asked.job)?;
        if !is_child {
            let found = self.queue(queue)?;
            has_room(&found.name, &settings, found.draining, self.count(queue, &NOT_ENDED))?;
        }
        let (pending, fails) = self.parents(&asked.job)?;
        let lane = self.lane(queue, asked.job.kind.as_deref())?;
        let slot = asked.job.concurrency.as_ref().map(|it| self.slot(queue, &it.key, it.max)).transpose()?;
        let now = self.now();
        self.last_serial = (self.last_serial + 1).max(now << 15);
        let mut row = asked.row(Known { serial: self.last_serial, queue, lane, pending, slot }, &settings, now);
        row.code = self.place(&mut row, now)?;
        self.tally(lane, row.code, 1);
        self.moved(&row);
        row.insert(&self.connection)?;
        let sql = "INSERT INTO body VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![row.serial, asked.spec, asked.trace])?;
        for parent in &asked.job.after {
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
