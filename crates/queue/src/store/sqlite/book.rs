//! What the writer works on: the file, and what it remembers of it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rusqlite::{Connection, params};
use stdx::Clock;

use super::artifacts::Removal;
use super::held::{Held, Leases};
use super::logs::Logs;
use super::row::{CODES, Code};
use crate::error::Error;
use crate::hub::Hub;
use crate::settings::QueueSettings;

/// Why a piece of work did not end well.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request is at fault: its own part is rolled back.
    Refused(Error),
    /// The store is: nothing can be relied on any more.
    Broken(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

pub(super) type Done<T> = Result<T, Fault>;

/// A queue as the writer knows it.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) name: Arc<str>,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) owned: bool,
    pub(super) paused: bool,
    pub(super) draining: bool,
    pub(super) lanes: Vec<i64>,
}

/// The jobs of a queue that are of one type.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) queue: i64,
    pub(super) kind: Option<Arc<str>>,
    pub(super) jobs: [i64; CODES],
}

/// How to take back what was done to memory, where a request is refused half-way.
#[derive(Debug)]
enum Undo {
    Tally(i64, Code, i64),
    Lane(i64),
    Queue(i64, Option<Queue>),
    Held(i64, Option<Box<Held>>),
}

pub(super) struct Book {
    pub(super) connection: Connection,
    pub(super) clock: Clock,
    pub(super) hub: Hub,
    pub(super) queues: HashMap<i64, Queue>,
    pub(super) queue_names: HashMap<Arc<str>, i64>,
    pub(super) lanes: HashMap<i64, Lane>,
    pub(super) leases: Leases,
    pub(super) logs: Logs,
    /// Workers that are to lease no more.
    pub(super) drained: HashSet<String>,
    /// The last sweep, by the clock that never jumps.
    pub(super) swept: Duration,
    /// Jobs that have ended since then.
    pub(super) ended: usize,
    pub(super) last_serial: i64,
    pub(super) lease_number: i64,
    lease_number_stored: i64,
    /// Concurrency keys whose jobs may have to move.
    pub(super) slots: BTreeSet<i64>,
    /// Who is to be woken once this is durable: lane and job.
    pub(super) wakes: Vec<Wake>,
    /// Files that go once this is durable.
    pub(super) removals: Vec<Removal>,
    remover: SyncSender<Vec<Removal>>,
    dirty: BTreeSet<(i64, Code)>,
    undo: Vec<Undo>,
}

pub(super) enum Wake {
    Ready(i64),
    Job(i64, i64),
}

/// Requests remembered, so that a repeated one gets what the first one got.
pub(super) const REQUESTS_MAX: usize = 10_000;

impl Book {
    pub(super) fn open(
        connection: Connection,
        clock: Clock,
        hub: Hub,
        remover: SyncSender<Vec<Removal>>,
    ) -> Done<Self> {
        let number =
            |name: &str| connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0));
        let lease_number: i64 = number("lease")?;
        let last_serial = connection
            .query_row("SELECT max(serial) FROM job", [], |row| row.get::<_, Option<i64>>(0))?
            .unwrap_or_default();
        let mut book = Self {
            swept: clock.elapsed(),
            ended: 0,
            connection,
            clock,
            hub,
            queues: HashMap::new(),
            queue_names: HashMap::new(),
            lanes: HashMap::new(),
            leases: Leases::default(),
            logs: Logs::default(),
            drained: HashSet::new(),
            last_serial,
            lease_number,
            lease_number_stored: lease_number,
            slots: BTreeSet::new(),
            wakes: Vec::new(),
            removals: Vec::new(),
            remover,
            dirty: BTreeSet::new(),
            undo: Vec::new(),
        };
        book.load_queues()?;
        book.load_leases()?;
        Ok(book)
    }

    fn load_queues(&mut self) -> Done<()> {
        let mut statement = self.connection.prepare("SELECT id, name, settings, owned, paused, draining FROM queue")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: Arc<str> = row.get::<_, String>(1)?.into();
            let settings = Arc::new(serde_json::from_str(&row.get::<_, String>(2)?)?);
            let (owned, paused, draining) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let queue = Queue { name: Arc::clone(&name), settings, owned, paused, draining, lanes: Vec::new() };
            self.queue_names.insert(name, row.get(0)?);
            self.queues.insert(row.get(0)?, queue);
        }
        let mut statement = self.connection.prepare("SELECT id, queue, kind FROM lane")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, queue) = (row.get(0)?, row.get(1)?);
            let kind = row.get::<_, Option<String>>(2)?.map(Arc::from);
            self.lanes.insert(id, Lane { queue, kind, jobs: [0; CODES] });
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.lanes.push(id);
            }
        }
        let mut statement = self.connection.prepare("SELECT lane, state, jobs FROM tally")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(lane) = self.lanes.get_mut(&row.get(0)?) {
                lane.jobs[Code::from_stored(row.get(1)?).at()] = row.get(2)?;
            }
        }
        Ok(())
    }

    /// Runs a piece of work that is done whole or not at all.
    pub(super) fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        self.connection.prepare_cached("SAVEPOINT part")?.execute([])?;
        let (mark, wakes, removals) = (self.undo.len(), self.wakes.len(), self.removals.len());
        let done = work(self);
        if let Err(Fault::Broken(_)) = &done {
            // SQLite may have rolled the whole transaction back already; what broke is what is to be told.
            return done;
        }
        if done.is_err() {
            self.connection.prepare_cached("ROLLBACK TO part")?.execute([])?;
            while self.undo.len() > mark {
                self.take_back();
            }
            self.wakes.truncate(wakes);
            self.removals.truncate(removals);
        }
        self.connection.prepare_cached("RELEASE part")?.execute([])?;
        done
    }

    fn take_back(&mut self) {
        match self.undo.pop() {
            Some(Undo::Tally(lane, code, by)) => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.jobs[code.at()] -= by;
                }
            }
            Some(Undo::Lane(id)) => {
                if let Some(lane) = self.lanes.remove(&id)
                    && let Some(queue) = self.queues.get_mut(&lane.queue)
                {
                    queue.lanes.retain(|own| *own != id);
                }
            }
            Some(Undo::Queue(id, before)) => {
                self.set_queue(id, before);
            }
            Some(Undo::Held(serial, before)) => {
                self.leases.set(serial, before.map(|held| *held));
            }
            None => {}
        }
    }

    fn set_queue(&mut self, id: i64, queue: Option<Queue>) -> Option<Queue> {
        if let Some(queue) = queue {
            self.queue_names.insert(Arc::clone(&queue.name), id);
            return self.queues.insert(id, queue);
        }
        let before = self.queues.remove(&id);
        if let Some(before) = &before {
            self.queue_names.remove(&before.name);
        }
        before
    }

    /// Remembers a queue as it is now.
    pub(super) fn remember_queue(&mut self, id: i64, queue: Queue) {
        let before = self.set_queue(id, Some(queue));
        self.undo.push(Undo::Queue(id, before));
    }

    /// Remembers who holds a job now.
    pub(super) fn hold(&mut self, serial: i64, held: Option<Held>) {
        let before = self.leases.set(serial, held);
        self.undo.push(Undo::Held(serial, before.map(Box::new)));
    }

    /// Before the commit: what is kept in memory and stored once for all requests.
    pub(super) fn flush(&mut self) -> Done<()> {
        for (lane, code) in std::mem::take(&mut self.dirty) {
            let Some(jobs) = self.lanes.get(&lane).map(|lane| lane.jobs[code.at()]) else { continue };
            let sql = "INSERT INTO tally VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET jobs = excluded.jobs";
            self.connection.prepare_cached(sql)?.execute(params![lane, code as u8, jobs])?;
        }
        if self.lease_number != self.lease_number_stored {
            let sql = "UPDATE meta SET value = ?1 WHERE name = 'lease'";
            self.connection.prepare_cached(sql)?.execute([self.lease_number])?;
            self.lease_number_stored = self.lease_number;
        }
        self.undo.clear();
        Ok(())
    }

    /// After the commit: tells those who wait.
    pub(super) fn tell(&mut self) {
        if !self.removals.is_empty() {
            let _ = self.remover.send(std::mem::take(&mut self.removals));
        }
        let wakes = std::mem::take(&mut self.wakes);
        if wakes.is_empty() || self.hub.is_idle() {
            return;
        }
        let mut ready: HashMap<i64, usize> = HashMap::new();
        for wake in wakes {
            match wake {
                Wake::Ready(lane) => *ready.entry(lane).or_default() += 1,
                Wake::Job(serial, tail) => self.hub.wake_job(super::row::id(serial, tail)),
            }
        }
        for (lane, jobs) in ready {
            let Some(lane) = self.lanes.get(&lane) else { continue };
            let Some(queue) = self.queues.get(&lane.queue) else { continue };
            self.hub.wake_ready(&queue.name, lane.kind.as_deref(), jobs);
        }
    }

    pub(super) fn queue_id(&self, name: &str) -> Result<i64, Error> {
        self.queue_names.get(name).copied().ok_or_else(|| Error::no_queue(name))
    }

    pub(super) fn queue(&self, id: i64) -> Result<&Queue, Error> {
        self.queues.get(&id).ok_or_else(|| Error::no_queue(&id.to_string()))
    }

    /// Jobs of a queue in these states.
    pub(super) fn count(&self, queue: i64, codes: &[Code]) -> i64 {
        let lanes = self.queues.get(&queue).map_or(&[][..], |queue| &queue.lanes);
        let lanes = lanes.iter().filter_map(|lane| self.lanes.get(lane));
        lanes.map(|lane| codes.iter().map(|code| lane.jobs[code.at()]).sum::<i64>()).sum()
    }

    /// The lane of a type, made where there is none.
    pub(super) fn lane(&mut self, queue: i64, kind: Option<&str>) -> Done<i64> {
        let lanes = &self.queue(queue)?.lanes;
        let is_it = |id: &i64| self.lanes.get(id).is_some_and(|lane| lane.kind.as_deref() == kind);
        if let Some(id) = lanes.iter().copied().find(is_it) {
            return Ok(id);
        }
        if lanes.len() >= crate::limit::TYPES_MAX {
            let expected = format!("is new, and the queue knows {} types already", crate::limit::TYPES_MAX);
            return Err(Error::invalid("type", expected).into());
        }
        let mut statement = self.connection.prepare_cached("INSERT INTO lane (queue, kind) VALUES (?1, ?2)")?;
        let id = statement.insert(params![queue, kind])?;
        drop(statement);
        self.lanes.insert(id, Lane { queue, kind: kind.map(Arc::from), jobs: [0; CODES] });
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.lanes.push(id);
        }
        self.undo.push(Undo::Lane(id));
        Ok(id)
    }

    pub(super) fn tally(&mut self, lane: i64, code: Code, by: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.jobs[code.at()] += by;
        }
        self.dirty.insert((lane, code));
        self.undo.push(Undo::Tally(lane, code, by));
    }

    /// Where a queue bounds how many of its jobs run, one that stops running lets another begin.
    pub(super) fn wake_for_room(&mut self, queue: i64) {
        let Some(queue) = self.queues.get(&queue).filter(|queue| queue.settings.concurrency.is_some()) else { return };
        let has_some = |id: &&i64| self.lanes.get(*id).is_some_and(|lane| lane.jobs[Code::Ready.at()] > 0);
        self.wakes.extend(queue.lanes.iter().filter(has_some).map(|lane| Wake::Ready(*lane)));
    }
}

/// Requests in the order they came, so that the oldest is forgotten first.
pub(super) type Requests = VecDeque<(Arc<str>, Arc<str>)>;
