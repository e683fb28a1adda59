//! Jobs go to workers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use document::Duration as Written;
use rusqlite::params;

use super::book::{Book, Done, Lane};
use super::held::Held;
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::job::{self, NewJob};
use crate::lease::{Beat, Lease, LeaseRequest, Pulse};
use crate::limit;
use crate::moment::Moment;
use crate::store::steps::{Steps as _, millis};

/// A ready job, in the order of the line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    due: i64,
    serial: i64,
    alone: bool,
    queue: i64,
    slot: Option<i64>,
}

/// How many more may run, as far as it was asked.
#[derive(Default)]
struct Rooms {
    queues: HashMap<i64, i64>,
    slots: HashMap<i64, i64>,
}

impl Book {
    pub(super) fn lease(&mut self, request: &LeaseRequest) -> Done<Vec<Lease>> {
        request.check()?;
        let queues = request.queues.iter().map(|name| self.queue_id(name)).collect::<Result<Vec<_>, _>>()?;
        if let Some(name) = &request.request {
            let again = self.leases.repeated(&request.worker, name);
            if !again.is_empty() {
                return again.into_iter().filter_map(|serial| self.leased(serial).transpose()).collect();
            }
        }
        if self.drained.contains(&request.worker) {
            return Ok(Vec::new());
        }
        let chosen = self.choose(&queues, request)?;
        let batch = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let worker: Arc<str> = Arc::from(request.worker.as_str());
        let name: Option<Arc<str>> = request.request.as_deref().map(Arc::from);
        let mut leases = Vec::with_capacity(chosen.len());
        for serial in chosen {
            let lease = request.lease.map(Written::get);
            leases.extend(self.start(serial, &worker, name.as_ref(), batch, lease)?);
        }
        self.settle_slots()?;
        Ok(leases)
    }

    /// The first jobs in line over all lanes that are asked for.
    fn choose(&self, queues: &[i64], request: &LeaseRequest) -> Done<Vec<i64>> {
        let mut line = Vec::new();
        for queue in queues.iter().copied().collect::<BTreeSet<_>>() {
            for lane in self.lanes_for(queue, request)? {
                self.first_of(queue, lane, request.n, &mut line)?;
            }
        }
        line.sort_unstable();
        // One that comes back from a lost batch goes alone, so that only the one that kills its worker pays for it.
        let first_is_alone = line.first().is_some_and(|first| first.alone);
        let n = if first_is_alone { 1 } else { request.n as usize };
        let mut chosen = Vec::new();
        let mut rooms = Rooms::default();
        for candidate in line {
            if chosen.len() == n {
                break;
            }
            let is_right = first_is_alone || !candidate.alone;
            if is_right && self.has_room(&candidate, &mut rooms)? {
                chosen.push(candidate.serial);
            }
        }
        Ok(chosen)
    }

    /// The lanes of a queue that hold ready jobs of the types that are asked for.
    fn lanes_for(&self, queue: i64, request: &LeaseRequest) -> Done<Vec<i64>> {
        let queue = self.queue(queue)?;
        if queue.paused {
            return Ok(Vec::new());
        }
        let is_asked_for = |lane: &Lane| {
            let kind = lane.kind.as_deref();
            request.types.is_empty() || kind.is_some_and(|kind| request.types.iter().any(|own| own == kind))
        };
        let has_some =
            |id: &i64| self.lanes.get(id).is_some_and(|lane| lane.jobs[Code::Ready.at()] > 0 && is_asked_for(lane));
        Ok(queue.lanes.iter().copied().filter(has_some).collect())
    }

    /// Whether queue and concurrency key let one more run; if so, it counts as running from here on.
    fn has_room(&self, candidate: &Candidate, rooms: &mut Rooms) -> Done<bool> {
        let of_queue = rooms.queues.entry(candidate.queue).or_insert_with(|| self.queue_room(candidate.queue));
        if *of_queue <= 0 {
            return Ok(false);
        }
        if let Some(slot) = candidate.slot {
            let known = rooms.slots.get(&slot).copied();
            let of_slot = known.map_or_else(|| self.room(slot), Ok)?;
            rooms.slots.insert(slot, of_slot - 1);
            if of_slot <= 0 {
                return Ok(false);
            }
        }
        *of_queue -= 1;
        Ok(true)
    }

    fn queue_room(&self, queue: i64) -> i64 {
        let most = self.queues.get(&queue).and_then(|queue| queue.settings.concurrency);
        most.map_or(i64::MAX, |most| i64::from(most) - self.count(queue, &[Code::Running]))
    }

    fn first_of(&self, queue: i64, lane: i64, n: u32, line: &mut Vec<Candidate>) -> Done<()> {
        let sql =
            "SELECT due, serial, alone, slot FROM job WHERE lane = ?1 AND state = 3 ORDER BY due, serial LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![lane, n])?;
        while let Some(row) = rows.next()? {
            let (due, serial, alone, slot) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            line.push(Candidate { due, serial, alone, queue, slot });
        }
        Ok(())
    }

    fn start(
        &mut self,
        serial: i64,
        worker: &Arc<str>,
        request: Option<&Arc<str>>,
        batch: u32,
        lease: Option<Duration>,
    ) -> Done<Option<Lease>> {
        let Some(mut row) = Row::load(&self.connection, serial)? else { return Ok(None) };
        let settings = self.settings(row.queue)?;
        let (spec, trace) = self.body(serial)?;
        let (now, elapsed) = (self.now(), self.clock.elapsed());
        let lease = lease.unwrap_or_else(|| settings.lease.get());
        let timeout = spec.timeout.or(settings.timeout).map(Written::get);
        self.lease_number += 1;
        let held = Held {
            number: self.lease_number,
            secret: random()?,
            worker: Arc::clone(worker),
            request: request.cloned(),
            batch,
            lease,
            until: elapsed + lease,
            timeout: timeout.map(|timeout| elapsed + timeout + limit::TIMEOUT_MARGIN),
            cancel: None,
        };
        self.connection
            .prepare_cached("INSERT INTO lease VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL)")?
            .execute(params![
                serial,
                held.number,
                held.secret,
                worker.as_ref(),
                request.map(AsRef::as_ref),
                batch,
                millis(lease),
                timeout.map(millis),
                now,
            ])?;
        row.attempt += 1;
        row.started = Some(now);
        row.lease = Some(held.number);
        self.move_to(&mut row, Code::Running);
        let data = serde_json::json!({ "worker": &**worker, "attempt": row.attempt });
        self.event(&mut row, "running", Some(&data))?;
        row.update(&self.connection)?;
        if let Some(request) = request {
            self.leases.remember(worker, request, serial);
        }
        let reply = self.lease_reply(&row, &held, spec, trace)?;
        self.hold(serial, Some(held));
        Ok(Some(reply))
    }

    /// A lease that is held already, told again.
    fn leased(&self, serial: i64) -> Done<Option<Lease>> {
        let Some(row) = Row::load(&self.connection, serial)? else { return Ok(None) };
        let Some(held) = self.leases.get(serial) else { return Ok(None) };
        let (spec, trace) = self.body(serial)?;
        self.lease_reply(&row, held, spec, trace).map(Some)
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
            lease: Written::from_millis(u64::try_from(held.lease.as_millis()).unwrap_or(u64::MAX)),
            timeout: spec.timeout.or(queue.settings.timeout),
            meta: spec.meta,
            traceparent,
        })
    }

    pub(super) fn body(&self, serial: i64) -> Done<(NewJob, Option<String>)> {
        let mut statement = self.connection.prepare_cached("SELECT spec, trace FROM body WHERE serial = ?1")?;
        let (spec, trace) =
            statement.query_row([serial], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
        Ok((serde_json::from_str(&spec)?, trace))
    }

    /// A deadline by the calendar.
    fn moment(&self, deadline: Duration) -> Moment {
        Moment::from(self.clock.now()).plus(deadline.saturating_sub(self.clock.elapsed()))
    }

    pub(super) fn heartbeat(&mut self, beats: Vec<Beat>) -> Done<Vec<Result<Pulse, Error>>> {
        if beats.len() > limit::BATCH_MAX {
            return Err(Error::invalid("beats", format!("are more than {}", limit::BATCH_MAX)).into());
        }
        let mut pulses = Vec::with_capacity(beats.len());
        for beat in beats {
            let too_large = job::bytes("progress", beat.progress.as_ref(), limit::PROGRESS_BYTES_MAX).err();
            pulses.push(match too_large {
                Some(error) => Err(error),
                None => self.beat(beat)?,
            });
        }
        Ok(pulses)
    }

    fn beat(&mut self, beat: Beat) -> Done<Result<Pulse, Error>> {
        let Beat { id, token, progress } = beat;
        let Some(mut held) = self.held_with(id, &token).cloned() else {
            return Ok(Err(Error::LeaseLost { id }));
        };
        let now = self.clock.elapsed();
        held.until = now + held.lease;
        let until = self.moment(held.until);
        let drain = self.drained.contains(&*held.worker);
        let is_over = held.timeout.is_some_and(|timeout| timeout <= now + limit::TIMEOUT_MARGIN);
        let cancel = held.cancel.is_some() || is_over;
        self.hold(row::serial(id), Some(held));
        if let Some(progress) = progress {
            let mut row = self.find(id)?;
            let sql = "INSERT INTO result (serial, progress) VALUES (?1, ?2) \
                       ON CONFLICT DO UPDATE SET progress = excluded.progress WHERE progress IS NOT excluded.progress";
            let changed = self.connection.prepare_cached(sql)?.execute(params![row.serial, progress.as_str()])?;
            if changed > 0 {
                // Only the last word is kept: a job that reports each second would fill the disk.
                let sql = "DELETE FROM event WHERE serial = ?1 AND sequence = ?2 AND event = 'progress'";
                self.connection.prepare_cached(sql)?.execute(params![row.serial, row.events])?;
                self.event(&mut row, "progress", progress.value().ok().as_ref())?;
                row.update(&self.connection)?;
                self.wakes.push(super::book::Wake::Job(row.serial, row.tail));
            }
        }
        Ok(Ok(Pulse { id, cancel, drain, until }))
    }

    /// The lease that this token holds.
    pub(super) fn held_with(&self, id: crate::JobId, token: &crate::Token) -> Option<&Held> {
        self.leases.get(row::serial(id)).filter(|held| held.is(token))
    }
}

/// Bits that nobody can guess.
fn random() -> Done<i64> {
    let bits = getrandom::u64().map_err(|error| Error::StoreDown { why: format!("no random numbers: {error}") })?;
    Ok(bits.cast_signed())
}
