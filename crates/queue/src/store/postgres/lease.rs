//! Jobs go to workers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use document::Duration as Written;

use super::book::{Book, Lane};
use super::db::Done;
use super::held::{Held, parts};
use super::put::millis;
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::job::{self, NewJob};
use crate::lease::{Beat, Lease, LeaseRequest, Pulse};
use crate::limit;

/// How many more may run, as far as it was asked.
#[derive(Default)]
struct Rooms {
    queues: HashMap<i64, i64>,
    slots: HashMap<i64, i64>,
}

/// A request, as each of its leases remembers it.
struct Asked<'a> {
    worker: &'a str,
    request: Option<&'a str>,
    batch: u32,
    lease: Option<Duration>,
}

impl Book {
    pub(super) fn lease(&mut self, request: &LeaseRequest) -> Done<Vec<Lease>> {
        request.check()?;
        let queues = request.queues.iter().map(|name| self.queue_id(name)).collect::<Result<BTreeSet<_>, _>>()?;
        if let Some(name) = &request.request {
            let again = self.repeated(&request.worker, name)?;
            if !again.is_empty() {
                return again.into_iter().filter_map(|serial| self.leased(serial).transpose()).collect();
            }
        }
        if self.db()?.first("SELECT 1 FROM drained WHERE worker = $1", &[&request.worker])?.is_some() {
            return Ok(Vec::new());
        }
        let rows = self.choose(&queues, request)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Asked {
            worker: &request.worker,
            request: request.request.as_deref(),
            batch: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            lease: request.lease.map(Written::get),
        };
        let sql = "SELECT nextval('leases') FROM generate_series(1, $1::bigint)";
        let numbers = self.db()?.numbers(sql, &[&i64::from(asked.batch)])?;
        let mut leases = Vec::with_capacity(rows.len());
        for (row, number) in rows.into_iter().zip(numbers) {
            leases.push(self.start(row, number, &asked)?);
        }
        self.settle_slots()?;
        Ok(leases)
    }

    /// The first jobs in line over all lanes that are asked for, which nobody else can take from here on.
    fn choose(&mut self, queues: &BTreeSet<i64>, request: &LeaseRequest) -> Done<Vec<Row>> {
        let mut lanes = Vec::new();
        for queue in queues {
            lanes.extend(self.lanes_for(*queue, request)?);
        }
        let mut rooms = Rooms::default();
        self.lock_queues(queues, &mut rooms)?;
        let line = row::line(self.db()?, &lanes, i64::from(request.n))?;
        self.lock_slots(&line, &mut rooms)?;
        // One that comes back from a lost batch goes alone, so that only the one that kills its worker pays for it.
        let first_is_alone = line.first().is_some_and(|first| first.alone);
        let n = if first_is_alone { 1 } else { request.n as usize };
        let mut chosen = Vec::new();
        for candidate in line {
            if chosen.len() == n {
                break;
            }
            let is_right = first_is_alone || !candidate.alone;
            if is_right && has_room(&candidate, &mut rooms) {
                chosen.push(candidate);
            }
        }
        Ok(chosen)
    }

    /// The lanes of a queue that hold jobs of the types that are asked for.
    fn lanes_for(&self, queue: i64, request: &LeaseRequest) -> Done<Vec<i64>> {
        let queue = self.queue(queue)?;
        if queue.paused {
            return Ok(Vec::new());
        }
        let is_asked_for = |lane: &Lane| {
            let kind = lane.kind.as_deref();
            request.types.is_empty() || kind.is_some_and(|kind| request.types.iter().any(|own| own == kind))
        };
        let is_one = |id: &i64| self.lanes.get(id).is_some_and(is_asked_for);
        Ok(queue.lanes.iter().copied().filter(is_one).collect())
    }

    /// A queue that bounds how many of its jobs run is leased from by one replica at a time.
    fn lock_queues(&mut self, queues: &BTreeSet<i64>, rooms: &mut Rooms) -> Done<()> {
        for queue in queues {
            let Some(most) = self.settings(*queue)?.concurrency else { continue };
            self.db()?.query("SELECT 1 FROM queue WHERE id = $1 FOR UPDATE", &[queue])?;
            let running = self.count_now(*queue, &[Code::Running])?;
            rooms.queues.insert(*queue, i64::from(most) - running);
        }
        Ok(())
    }

    /// The keys that nobody else counts just now: of the others' jobs, none is taken this time.
    fn lock_slots(&mut self, line: &[Row], rooms: &mut Rooms) -> Done<()> {
        let slots: Vec<i64> =
            line.iter().filter_map(|candidate| candidate.slot).collect::<BTreeSet<_>>().into_iter().collect();
        if slots.is_empty() {
            return Ok(());
        }
        let sql = "SELECT id FROM slot WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
        for slot in self.db()?.numbers(sql, &[&slots])? {
            let room = self.room(slot)?;
            rooms.slots.insert(slot, room);
        }
        Ok(())
    }

    fn start(&mut self, mut row: Row, number: i64, asked: &Asked<'_>) -> Done<Lease> {
        let settings = self.settings(row.queue)?;
        let (spec, trace) = self.body(row.serial)?;
        let (now, lease_now) = (self.now(), self.lease_now());
        let lease = millis(asked.lease.unwrap_or_else(|| settings.lease.get()));
        let timeout = spec.timeout.or(settings.timeout).map(Written::get);
        let held = Held {
            number,
            secret: random()?,
            worker: asked.worker.to_owned(),
            batch: asked.batch,
            millis: lease,
            until: lease_now + lease,
            over: timeout.map(|timeout| lease_now + millis(timeout + limit::TIMEOUT_MARGIN)),
            grace: None,
        };
        row.attempt += 1;
        row.started = Some(now);
        row.lease = Some(number);
        self.move_to(&mut row, Code::Running);
        let data = serde_json::json!({ "worker": asked.worker, "attempt": row.attempt });
        self.event(&mut row, "running", Some(&data))?;
        let sql = "WITH j AS (UPDATE job SET state = 4, attempt = $10, started = $11, lease = $2, events = $12 \
                   WHERE serial = $1) \
                   INSERT INTO lease VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL)";
        let batch = i64::from(asked.batch);
        let (attempt, events) = (i64::from(row.attempt), row.events);
        self.db()?.execute(
            sql,
            &[
                &row.serial,
                &held.number,
                &held.secret,
                &held.worker,
                &asked.request,
                &batch,
                &held.millis,
                &held.until,
                &held.over,
                &attempt,
                &now,
                &events,
            ],
        )?;
        self.lease_reply(&row, &held, spec, trace)
    }

    /// A lease that is held already, told again.
    fn leased(&mut self, serial: i64) -> Done<Option<Lease>> {
        let Some(row) = row::load(self.db()?, serial)? else { return Ok(None) };
        let Some(held) = self.held(serial)? else { return Ok(None) };
        let (spec, trace) = self.body(serial)?;
        self.lease_reply(&row, &held, spec, trace).map(Some)
    }

    fn lease_reply(&self, row: &Row, held: &Held, spec: NewJob, traceparent: Option<String>) -> Done<Lease> {
        let queue = self.queue(row.queue)?;
        Ok(Lease {
            id: row.id(),
            token: held.token(),
            queue: queue.name.as_ref().to_owned(),
            kind: spec.kind,
            payload: spec.payload,
            attempt: row.attempt,
            attempts: row.attempts,
            until: self.moment(held.until),
            lease: Written::from_millis(u64::try_from(held.millis).unwrap_or(u64::MAX)),
            timeout: spec.timeout.or(queue.settings.timeout),
            meta: spec.meta,
            traceparent,
        })
    }

    pub(super) fn body(&mut self, serial: i64) -> Done<(NewJob, Option<String>)> {
        let row = self.db()?.first("SELECT spec, trace FROM body WHERE serial = $1", &[&serial])?;
        let row = row.ok_or_else(|| Error::StoreDown { why: format!("job {serial} has no body") })?;
        Ok((serde_json::from_str(row.get(0))?, row.get(1)))
    }

    /// All beats in one statement, then what some of them report.
    pub(super) fn heartbeat(&mut self, beats: &[Beat]) -> Done<Vec<Result<Pulse, Error>>> {
        if beats.len() > limit::BATCH_MAX {
            return Err(Error::invalid("beats", format!("are more than {}", limit::BATCH_MAX)).into());
        }
        let too_large = |beat: &Beat| job::bytes("progress", beat.progress.as_ref(), limit::PROGRESS_BYTES_MAX).err();
        let right: Vec<&Beat> = beats.iter().filter(|beat| too_large(beat).is_none()).collect();
        self.progress(&right)?;
        let pulses = self.renew(&right)?;
        let told = |beat: &Beat| {
            let pulse = parts(&beat.token).and_then(|(number, _)| pulses.get(&(row::serial(beat.id), number)));
            too_large(beat).map_or_else(|| pulse.cloned().ok_or(Error::LeaseLost { id: beat.id }), Err)
        };
        Ok(beats.iter().map(told).collect())
    }

    /// Renews all that are held, and says how each is.
    fn renew(&mut self, beats: &[&Beat]) -> Done<HashMap<(i64, i64), Pulse>> {
        let tokens: BTreeSet<(i64, i64, i64)> = beats
            .iter()
            .filter_map(|beat| parts(&beat.token).map(|(number, secret)| (row::serial(beat.id), number, secret)))
            .collect();
        let serials: Vec<i64> = tokens.iter().map(|it| it.0).collect();
        let numbers: Vec<i64> = tokens.iter().map(|it| it.1).collect();
        let secrets: Vec<i64> = tokens.iter().map(|it| it.2).collect();
        let now = self.lease_now();
        let sql = "UPDATE lease l SET until = $1 + l.millis \
                   FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS b(serial, number, secret) \
                   WHERE l.serial = b.serial AND l.number = b.number AND l.secret = b.secret AND l.outcome IS NULL \
                   RETURNING l.serial, l.number, l.until, l.over, l.grace, l.worker";
        let rows = self.db()?.query(sql, &[&now, &serials, &numbers, &secrets])?;
        let workers: Vec<String> = rows.iter().map(|row| row.get(5)).collect::<HashSet<_>>().into_iter().collect();
        let drained = self.db()?.query("SELECT worker FROM drained WHERE worker = ANY($1)", &[&workers])?;
        let drained: HashSet<String> = drained.iter().map(|row| row.get(0)).collect();
        let ids: HashMap<i64, crate::JobId> = beats.iter().map(|beat| (row::serial(beat.id), beat.id)).collect();
        let told_at = now + millis(limit::TIMEOUT_MARGIN);
        let pulse = |row: &postgres::Row| {
            let (serial, over, grace): (i64, Option<i64>, Option<i64>) = (row.get(0), row.get(3), row.get(4));
            let cancel = grace.is_some() || over.is_some_and(|over| over <= told_at);
            let drain = drained.contains(row.get::<_, &str>(5));
            let id = *ids.get(&serial)?;
            Some(((serial, row.get(1)), Pulse { id, cancel, drain, until: self.moment(row.get(2)) }))
        };
        Ok(rows.iter().filter_map(pulse).collect())
    }

    fn progress(&mut self, beats: &[&Beat]) -> Done<()> {
        for beat in beats {
            let Some(progress) = &beat.progress else { continue };
            let Some(mut row) = row::load(self.db()?, row::serial(beat.id))? else { continue };
            if self.held_with(beat.id, &beat.token)?.is_none() {
                continue;
            }
            let sql = "INSERT INTO result (serial, progress) VALUES ($1, $2) ON CONFLICT (serial) DO UPDATE \
                       SET progress = excluded.progress WHERE result.progress IS DISTINCT FROM excluded.progress";
            if self.db()?.execute(sql, &[&row.serial, &progress.as_str()])? == 0 {
                continue;
            }
            // Only the last word is kept: a job that reports each second would fill the disk.
            let sql = "DELETE FROM event WHERE serial = $1 AND sequence = $2 AND event = 'progress'";
            self.db()?.execute(sql, &[&row.serial, &row.events])?;
            self.event(&mut row, "progress", progress.value().ok().as_ref())?;
            row::update(self.db()?, &row)?;
            self.wakes.push(super::book::Wake::Job(row.serial, row.tail));
        }
        Ok(())
    }
}

/// Whether queue and concurrency key let one more run; if so, it counts as running from here on.
fn has_room(candidate: &Row, rooms: &mut Rooms) -> bool {
    let of_queue = rooms.queues.entry(candidate.queue).or_insert(i64::MAX);
    if *of_queue <= 0 {
        return false;
    }
    if let Some(slot) = candidate.slot {
        let Some(of_slot) = rooms.slots.get_mut(&slot).filter(|room| **room > 0) else { return false };
        *of_slot -= 1;
    }
    *of_queue -= 1;
    true
}

/// Bits that nobody can guess.
fn random() -> Done<i64> {
    let bits = getrandom::u64().map_err(|error| Error::StoreDown { why: format!("no random numbers: {error}") })?;
    Ok(bits.cast_signed())
}
