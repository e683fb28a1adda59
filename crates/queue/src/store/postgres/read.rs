//! Reading: on the readers' own connections, and on the writer's for what it replies.

use std::collections::HashMap;

use document::Duration;

use super::db::{Db, Done};
use super::row::{self, Code, Row};
use crate::artifact::Artifact;
use crate::error::Error;
use crate::id::JobId;
use crate::job::{NewJob, State};
use crate::json::Json;
use crate::limit;
use crate::moment::Moment;
use crate::view::{Event, Job, JobQuery, LogLine, Page, QueueInfo, ScheduleInfo, Stats};

/// A job with all that is known of it.
pub(super) fn job(db: &mut Db, id: JobId) -> Done<Job> {
    let row = row::peek(db, id)?.ok_or_else(|| Error::no_job(id))?;
    let serial = row.serial;
    let mut job = briefs(db, vec![row])?.pop().ok_or_else(|| Error::no_job(id))?;
    let sql = "SELECT b.spec, b.trace, r.result, r.error FROM body b LEFT JOIN result r ON r.serial = b.serial \
               WHERE b.serial = $1";
    let texts = db.first(sql, &[&serial])?.ok_or_else(|| Error::no_job(id))?;
    let spec: NewJob = serde_json::from_str(texts.get(0))?;
    job.traceparent = texts.get(1);
    job.payload = Some(spec.payload);
    job.after = spec.after;
    job.meta = spec.meta;
    let (result, error): (Option<String>, Option<&str>) = (texts.get(2), texts.get(3));
    job.result = result.and_then(Json::read).filter(|_| job.state == State::Succeeded);
    job.error = error.map(serde_json::from_str).transpose()?;
    Ok(job)
}

/// Jobs as they stand in a list.
fn briefs(db: &mut Db, rows: Vec<Row>) -> Done<Vec<Job>> {
    let serials: Vec<i64> = rows.iter().map(|row| row.serial).collect();
    let sql = "SELECT j.serial, q.name, a.kind, r.progress, l.worker FROM job j JOIN lane a ON a.id = j.lane \
               JOIN queue q ON q.id = j.queue LEFT JOIN result r ON r.serial = j.serial \
               LEFT JOIN lease l ON l.serial = j.serial AND l.number = j.lease WHERE j.serial = ANY($1)";
    let rest = db.query(sql, &[&serials])?;
    let mut rest: HashMap<i64, postgres::Row> = rest.into_iter().map(|row| (row.get(0), row)).collect();
    let pairs = rows.into_iter().filter_map(|row| Some((rest.remove(&row.serial)?, row)));
    Ok(pairs.map(|(rest, row)| brief(&rest, row)).collect())
}

fn brief(rest: &postgres::Row, row: Row) -> Job {
    let moment = Moment::from_millis;
    let has_time = matches!(row.code, Code::Scheduled | Code::Waiting);
    Job {
        id: row.id(),
        queue: rest.get(1),
        kind: rest.get(2),
        state: row.code.state(),
        reason: row.reason.filter(|_| row.code != Code::Succeeded),
        payload: None,
        key: row.key,
        priority: row.priority,
        attempt: row.attempt,
        attempts: row.attempts,
        created_at: moment(row.created),
        run_at: has_time.then(|| moment(row.due)),
        started_at: row.started.map(moment),
        ended_at: row.ended.map(moment),
        expires_at: row.code.has_ended().then(|| moment(row.due)),
        worker: rest.get(4),
        pending: row.pending,
        after: Vec::new(),
        cancel_requested: row.cancel,
        progress: rest.get::<_, Option<String>>(3).and_then(Json::read),
        result: None,
        error: None,
        meta: None,
        traceparent: None,
    }
}

/// Jobs, newest first: each lane and state that is asked for gives its newest, and the newest of those are the page.
pub(super) fn list(db: &mut Db, query: &JobQuery) -> Done<Page> {
    let limit = query.limit.clamp(1, limit::PAGE_JOBS_MAX);
    let before = query.cursor.map_or(i64::MAX, row::serial);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let serials = if query.queues.is_empty() && query.states.is_empty() && query.kind.is_none() {
        let sql = "SELECT serial FROM job WHERE serial < $1 ORDER BY serial DESC LIMIT $2";
        db.numbers(sql, &[&before, &most])?
    } else {
        let states = if query.states.is_empty() { &State::ALL[..] } else { &query.states };
        let codes: Vec<i64> = states.iter().copied().flat_map(Code::of).map(Code::stored).collect();
        let sql = "SELECT f.serial FROM lane l JOIN queue q ON q.id = l.queue CROSS JOIN unnest($1::bigint[]) AS s(code) \
                   CROSS JOIN LATERAL (SELECT serial FROM job WHERE lane = l.id AND state = s.code AND serial < $2 \
                   ORDER BY serial DESC LIMIT $3) f WHERE (cardinality($4::text[]) = 0 OR q.name = ANY($4)) \
                   AND ($5::text IS NULL OR l.kind = $5) ORDER BY f.serial DESC LIMIT $3";
        db.numbers(sql, &[&codes, &before, &most, &query.queues, &query.kind])?
    };
    let rows = row::peek_all(db, &serials)?;
    let is_full = rows.len() == limit;
    let items = briefs(db, rows)?;
    let next = is_full.then(|| items.last().map(|job| job.id)).flatten();
    Ok(Page { items, next })
}

pub(super) fn stats(db: &mut Db, queue: Option<&str>, now: i64) -> Done<Vec<Stats>> {
    let sql = "SELECT t.state, t.jobs, l.kind, q.name, (SELECT j.created FROM job j WHERE j.serial = \
               (SELECT min(serial) FROM job WHERE lane = t.lane AND state = t.state)) \
               FROM (SELECT lane, state, sum(jobs)::bigint AS jobs FROM (SELECT lane, state, jobs FROM tally UNION ALL \
               SELECT lane, state, jobs FROM tally_delta) d GROUP BY lane, state) t JOIN lane l ON l.id = t.lane \
               JOIN queue q ON q.id = l.queue WHERE t.jobs > 0 AND ($1::text IS NULL OR q.name = $1) \
               ORDER BY q.name, l.kind, t.state";
    let mut stats: Vec<Stats> = Vec::new();
    for row in db.query(sql, &[&queue])? {
        let age = row.get::<_, Option<i64>>(4).map_or(0, |created| u64::try_from(now - created).unwrap_or(0));
        let state = Code::from_stored(row.get(0)).state();
        let jobs = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
        let found = Stats { queue: row.get(3), kind: row.get(2), state, jobs, oldest: Duration::from_millis(age) };
        // Both sorts of waiting are one state.
        match stats.last_mut() {
            Some(last) if (&last.queue, &last.kind, last.state) == (&found.queue, &found.kind, state) => {
                last.jobs += found.jobs;
                last.oldest = last.oldest.max(found.oldest);
            }
            _ => stats.push(found),
        }
    }
    Ok(stats)
}

pub(super) fn queues(db: &mut Db) -> Done<Vec<QueueInfo>> {
    let mut queues = Vec::new();
    for row in db.query("SELECT name, settings, owned, paused, draining FROM queue ORDER BY name", &[])? {
        queues.push(QueueInfo {
            name: row.get(0),
            settings: serde_json::from_str(row.get(1))?,
            owned_by_document: row.get(2),
            paused: row.get(3),
            draining: row.get(4),
        });
    }
    Ok(queues)
}

pub(super) fn schedules(db: &mut Db) -> Done<Vec<ScheduleInfo>> {
    let sql = "SELECT s.name, s.spec, s.owned, s.next_at, s.last_at, j.serial, j.tail \
               FROM schedule s LEFT JOIN job j ON j.serial = s.last_job ORDER BY s.name";
    let mut schedules = Vec::new();
    for row in db.query(sql, &[])? {
        let moment = |at: Option<i64>| at.map(Moment::from_millis);
        let (serial, tail): (Option<i64>, Option<i64>) = (row.get(5), row.get(6));
        schedules.push(ScheduleInfo {
            name: row.get(0),
            spec: serde_json::from_str(row.get(1))?,
            owned_by_document: row.get(2),
            next_at: moment(row.get(3)),
            last_at: moment(row.get(4)),
            last_job: serial.zip(tail).map(|(serial, tail)| row::id(serial, tail)),
        });
    }
    Ok(schedules)
}

fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

pub(super) fn events(db: &mut Db, id: JobId, after: u64, limit: usize) -> Done<Vec<Event>> {
    let row = row::peek(db, id)?.ok_or_else(|| Error::no_job(id))?;
    let mut events = Vec::new();
    if after == 0 {
        let at = Moment::from_millis(row.created);
        events.push(Event { sequence: 1, at, event: "created".to_owned(), data: None });
    }
    let sql =
        "SELECT sequence, at, event, data FROM event WHERE serial = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    let [serial, after, limit] = wanted(row.serial, after, limit);
    let event = |sql: &postgres::Row| Event {
        sequence: number(sql.get(0)),
        at: Moment::from_millis(sql.get(1)),
        event: sql.get(2),
        data: sql.get::<_, Option<String>>(3).and_then(Json::read),
    };
    events.extend(db.query(sql, &[&serial, &after, &limit])?.iter().map(event));
    Ok(events)
}

pub(super) fn logs(db: &mut Db, id: JobId, after: u64, limit: usize) -> Done<Vec<LogLine>> {
    let row = row::peek(db, id)?.ok_or_else(|| Error::no_job(id))?;
    let sql = "SELECT number, at, attempt, line FROM log WHERE serial = $1 AND number > $2 ORDER BY number LIMIT $3";
    let [serial, after, limit] = wanted(row.serial, after, limit);
    let line = |sql: &postgres::Row| LogLine {
        number: number(sql.get(0)),
        at: Moment::from_millis(sql.get(1)),
        attempt: u32::try_from(sql.get::<_, i64>(2)).unwrap_or(0),
        line: sql.get(3),
    };
    Ok(db.query(sql, &[&serial, &after, &limit])?.iter().map(line).collect())
}

/// The files of a job that has succeeded, each with its number.
pub(super) fn artifacts(db: &mut Db, id: JobId) -> Done<Vec<(Artifact, i64)>> {
    let row = row::peek(db, id)?.ok_or_else(|| Error::no_job(id))?;
    if row.code != Code::Succeeded {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, bytes, sha256, file FROM artifact WHERE serial = $1 AND lease = $2 ORDER BY name";
    let found = |sql: &postgres::Row| {
        let artifact = Artifact { name: sql.get(0), bytes: number(sql.get(1)), sha256: sql.get(2) };
        (artifact, sql.get(3))
    };
    Ok(db.query(sql, &[&row.serial, &row.lease])?.iter().map(found).collect())
}

fn wanted(serial: i64, after: u64, limit: usize) -> [i64; 3] {
    let limit = limit.clamp(1, limit::LOG_LINES_MAX);
    [serial, i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)]
}
