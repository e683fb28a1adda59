//! Reading: on the readers' own connections, and on the writer's for what it replies.

use document::Duration;
use rusqlite::{Connection, OptionalExtension, params};

use super::book::Done;
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
pub(super) fn job(connection: &Connection, id: JobId) -> Done<Job> {
    let row = Row::find(connection, id)?.ok_or_else(|| Error::no_job(id))?;
    let mut job = brief(connection, &row)?;
    let sql = "SELECT spec, trace FROM body WHERE serial = ?1";
    let body = |sql: &rusqlite::Row<'_>| Ok((sql.get::<_, String>(0)?, sql.get(1)?));
    let (spec, trace) = connection.prepare_cached(sql)?.query_row([row.serial], body)?;
    let spec: NewJob = serde_json::from_str(&spec)?;
    job.traceparent = trace;
    job.payload = Some(spec.payload);
    job.after = spec.after;
    job.meta = spec.meta;
    let sql = "SELECT result, error FROM result WHERE serial = ?1";
    let texts = |sql: &rusqlite::Row<'_>| Ok((sql.get::<_, Option<String>>(0)?, sql.get::<_, Option<String>>(1)?));
    if let Some((result, error)) = connection.prepare_cached(sql)?.query_row([row.serial], texts).optional()? {
        job.result = result.and_then(Json::read).filter(|_| job.state == State::Succeeded);
        job.error = error.map(|error| serde_json::from_str(&error)).transpose()?;
    }
    Ok(job)
}

/// A job as it stands in a list.
fn brief(connection: &Connection, row: &Row) -> Done<Job> {
    let sql = "SELECT q.name, l.kind FROM lane l JOIN queue q ON q.id = l.queue WHERE l.id = ?1";
    let names = |sql: &rusqlite::Row<'_>| Ok((sql.get(0)?, sql.get(1)?));
    let (queue, kind) = connection.prepare_cached(sql)?.query_row([row.lane], names)?;
    let sql = "SELECT progress FROM result WHERE serial = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let progress: Option<Option<String>> = statement.query_row([row.serial], |sql| sql.get(0)).optional()?;
    let sql = "SELECT worker FROM lease WHERE serial = ?1 AND number = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let worker = statement.query_row(params![row.serial, row.lease], |sql| sql.get(0)).optional()?;
    let moment = Moment::from_millis;
    let has_time = matches!(row.code, Code::Scheduled | Code::Waiting);
    Ok(Job {
        id: row.id(),
        queue,
        kind,
        state: row.code.state(),
        reason: row.reason.filter(|_| row.code != Code::Succeeded),
        payload: None,
        key: row.key.clone(),
        priority: row.priority,
        attempt: row.attempt,
        attempts: row.attempts,
        created_at: moment(row.created),
        run_at: has_time.then(|| moment(row.due)),
        started_at: row.started.map(moment),
        ended_at: row.ended.map(moment),
        expires_at: row.code.has_ended().then(|| moment(row.due)),
        worker,
        pending: row.pending,
        after: Vec::new(),
        cancel_requested: row.cancel,
        progress: progress.flatten().and_then(Json::read),
        result: None,
        error: None,
        meta: None,
        traceparent: None,
    })
}

/// Jobs, newest first: each lane and state that is asked for gives its newest, and the newest of those are the page.
pub(super) fn list(connection: &Connection, query: &JobQuery) -> Done<Page> {
    let limit = query.limit.clamp(1, limit::PAGE_JOBS_MAX);
    let before = query.cursor.map_or(i64::MAX, row::serial);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut serials: Vec<i64> = Vec::new();
    if query.queues.is_empty() && query.states.is_empty() && query.kind.is_none() {
        let sql = "SELECT serial FROM job WHERE serial < ?1 ORDER BY serial DESC LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        serials = statement.query_map([before, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
    } else {
        let states = if query.states.is_empty() { &State::ALL[..] } else { &query.states };
        let sql = "SELECT serial FROM job INDEXED BY job_list WHERE lane = ?1 AND state = ?2 AND serial < ?3 \
                   ORDER BY serial DESC LIMIT ?4";
        let mut statement = connection.prepare_cached(sql)?;
        for lane in lanes(connection, query)? {
            for code in states.iter().copied().flat_map(Code::of) {
                let found = statement.query_map(params![lane, code as u8, before, most], |row| row.get(0))?;
                serials.extend(found.collect::<Result<Vec<i64>, _>>()?);
            }
        }
        serials.sort_unstable_by(|a, b| b.cmp(a));
        serials.truncate(limit);
    }
    let mut items = Vec::with_capacity(serials.len());
    for serial in serials {
        if let Some(row) = Row::load(connection, serial)? {
            items.push(brief(connection, &row)?);
        }
    }
    let next = (items.len() == limit).then(|| items.last().map(|job| job.id)).flatten();
    Ok(Page { items, next })
}

fn lanes(connection: &Connection, query: &JobQuery) -> Done<Vec<i64>> {
    let sql = "SELECT l.id, l.kind, q.name FROM lane l JOIN queue q ON q.id = l.queue";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next()? {
        let (kind, queue): (Option<String>, String) = (row.get(1)?, row.get(2)?);
        let is_type = query.kind.is_none() || query.kind == kind;
        if is_type && (query.queues.is_empty() || query.queues.contains(&queue)) {
            lanes.push(row.get(0)?);
        }
    }
    Ok(lanes)
}

pub(super) fn stats(connection: &Connection, queue: Option<&str>, now: i64) -> Done<Vec<Stats>> {
    let sql = "SELECT t.lane, t.state, t.jobs, l.kind, q.name FROM tally t JOIN lane l ON l.id = t.lane \
               JOIN queue q ON q.id = l.queue WHERE t.jobs > 0 AND (?1 IS NULL OR q.name = ?1) \
               ORDER BY q.name, l.kind, t.state";
    let mut oldest = connection.prepare_cached(
        "SELECT j.created FROM job j WHERE j.serial = (SELECT min(serial) FROM job WHERE lane = ?1 AND state = ?2)",
    )?;
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([queue])?;
    let mut stats: Vec<Stats> = Vec::new();
    while let Some(row) = rows.next()? {
        let (lane, stored): (i64, i64) = (row.get(0)?, row.get(1)?);
        let created: Option<i64> = oldest.query_row([lane, stored], |row| row.get(0)).optional()?;
        let age = created.map_or(0, |created| u64::try_from(now - created).unwrap_or(0));
        let state = Code::from_stored(stored).state();
        let found = Stats {
            queue: row.get(4)?,
            kind: row.get(3)?,
            state,
            jobs: row.get(2)?,
            oldest: Duration::from_millis(age),
        };
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

pub(super) fn queues(connection: &Connection) -> Done<Vec<QueueInfo>> {
    let sql = "SELECT name, settings, owned, paused, draining FROM queue ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next()? {
        queues.push(QueueInfo {
            name: row.get(0)?,
            settings: serde_json::from_str(&row.get::<_, String>(1)?)?,
            owned_by_document: row.get(2)?,
            paused: row.get(3)?,
            draining: row.get(4)?,
        });
    }
    Ok(queues)
}

pub(super) fn schedules(connection: &Connection) -> Done<Vec<ScheduleInfo>> {
    let sql = "SELECT s.name, s.spec, s.owned, s.next_at, s.last_at, j.serial, j.tail \
               FROM schedule s LEFT JOIN job j ON j.serial = s.last_job ORDER BY s.name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut schedules = Vec::new();
    while let Some(row) = rows.next()? {
        let moment = |at: Option<i64>| at.map(Moment::from_millis);
        let last: Option<i64> = row.get(5)?;
        schedules.push(ScheduleInfo {
            name: row.get(0)?,
            spec: serde_json::from_str(&row.get::<_, String>(1)?)?,
            owned_by_document: row.get(2)?,
            next_at: moment(row.get(3)?),
            last_at: moment(row.get(4)?),
            last_job: last.map(|serial| Ok::<_, rusqlite::Error>(row::id(serial, row.get(6)?))).transpose()?,
        });
    }
    Ok(schedules)
}

pub(super) fn events(connection: &Connection, id: JobId, after: u64, limit: usize) -> Done<Vec<Event>> {
    let row = Row::find(connection, id)?.ok_or_else(|| Error::no_job(id))?;
    let mut events = Vec::new();
    if after == 0 {
        let at = Moment::from_millis(row.created);
        events.push(Event { sequence: 1, at, event: "created".to_owned(), data: None });
    }
    let sql =
        "SELECT sequence, at, event, data FROM event WHERE serial = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(wanted(row.serial, after, limit), |sql| {
        Ok(Event {
            sequence: sql.get(0)?,
            at: Moment::from_millis(sql.get(1)?),
            event: sql.get(2)?,
            data: sql.get::<_, Option<String>>(3)?.and_then(Json::read),
        })
    })?;
    for event in found {
        events.push(event?);
    }
    Ok(events)
}

pub(super) fn logs(connection: &Connection, id: JobId, after: u64, limit: usize) -> Done<Vec<LogLine>> {
    let row = Row::find(connection, id)?.ok_or_else(|| Error::no_job(id))?;
    let sql = "SELECT number, at, attempt, line FROM log WHERE serial = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let lines = statement.query_map(wanted(row.serial, after, limit), |sql| {
        let at = Moment::from_millis(sql.get(1)?);
        Ok(LogLine { number: sql.get(0)?, at, attempt: sql.get(2)?, line: sql.get(3)? })
    })?;
    Ok(lines.collect::<Result<_, _>>()?)
}

/// The files of a job that has succeeded, each with the name that its file has.
pub(super) fn artifacts(connection: &Connection, id: JobId) -> Done<Vec<(Artifact, String)>> {
    let row = Row::find(connection, id)?.ok_or_else(|| Error::no_job(id))?;
    if row.code != Code::Succeeded {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, bytes, sha256, file FROM artifact WHERE serial = ?1 AND lease = ?2 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![row.serial, row.lease], |sql| {
        let artifact = Artifact { name: sql.get(0)?, bytes: sql.get(1)?, sha256: sql.get(2)? };
        Ok((artifact, sql.get(3)?))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn wanted(serial: i64, after: u64, limit: usize) -> [i64; 3] {
    let limit = limit.clamp(1, limit::LOG_LINES_MAX);
    [serial, i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)]
}

/// How SQLite would go about it.
#[cfg(test)]
pub(super) fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let zeros = vec![0_i64; statement.parameter_count()];
    let mut rows = statement.query(rusqlite::params_from_iter(zeros)).unwrap();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &row.get::<_, String>(3).unwrap();
        plan.push('\n');
    }
    plan
}
