//! What the writer works on: the connection, and what it remembers for one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use postgres::SimpleQueryMessage;
use stdx::Clock;

use super::db::{Broken, Db, Done, Fault};
use super::row::{CODES, Code};
use super::server::Server;
use super::tell::Told;
use crate::error::Error;
use crate::hub::Hub;
use crate::moment::Moment;
use crate::settings::QueueSettings;

/// A queue as this replica knows it.
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
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    Ready(i64),
    Job(i64, i64),
}

/// A jump of the server's clock is told from the time that it takes to be asked by this.
const JUMP_MILLIS: i64 = 2000;

/// The waits between attempts to reach a server that is away.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Serial numbers that one step of the sequence gives.
const SERIALS: i64 = 64;

/// The server's time when this transaction began, and ours.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    wall: i64,
    elapsed: Duration,
    /// By how much the calendar is ahead of the time that leases run by.
    skew: i64,
    epoch: i64,
}

pub(super) struct Book {
    server: Server,
    db: Option<Db>,
    away: Option<(Broken, Duration, Duration)>,
    pub(super) clock: Clock,
    pub(super) hub: Hub,
    teller: SyncSender<Told>,
    time: Time,
    /// Our clock and that of leases, when both were seen last, in the epoch of then.
    anchor: Option<(Duration, i64, i64)>,
    revision: i64,
    pub(super) queues: HashMap<i64, Queue>,
    queue_names: HashMap<Arc<str>, i64>,
    pub(super) lanes: HashMap<i64, Lane>,
    counts: HashMap<i64, [i64; CODES]>,
    counted: BTreeSet<i64>,
    tallies: Vec<(i64, Code, i64)>,
    serials: (i64, i64),
    last_serial: i64,
    /// Concurrency keys whose jobs may have to move.
    pub(super) slots: BTreeSet<i64>,
    /// Who is to be woken once this is durable.
    pub(super) wakes: Vec<Wake>,
    depth: usize,
    is_fresh: bool,
    has_changed_queues: bool,
}

impl Book {
    pub(super) fn new(server: Server, db: Db, clock: Clock, hub: Hub, teller: SyncSender<Told>) -> Self {
        Self {
            server,
            db: Some(db),
            away: None,
            clock,
            hub,
            teller,
            time: Time::default(),
            anchor: None,
            revision: -1,
            queues: HashMap::new(),
            queue_names: HashMap::new(),
            lanes: HashMap::new(),
            counts: HashMap::new(),
            counted: BTreeSet::new(),
            tallies: Vec::new(),
            serials: (0, 0),
            last_serial: 0,
            slots: BTreeSet::new(),
            wakes: Vec::new(),
            depth: 0,
            is_fresh: false,
            has_changed_queues: false,
        }
    }

    /// The connection. There is one from `begin` to the end of the transaction.
    pub(super) fn db(&mut self) -> Result<&mut Db, Broken> {
        self.db.as_mut().ok_or_else(|| Broken { why: "PostgreSQL: not connected".to_owned() })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.db.as_ref().is_some_and(|db| !db.client.is_closed())
    }

    /// A connection that lives. A server that is away is asked for seldom; who comes meanwhile is told so at once.
    fn connect(&mut self) -> Result<(), Broken> {
        if self.is_connected() {
            return Ok(());
        }
        self.db = None;
        let now = self.clock.elapsed();
        let wait = match &self.away {
            Some((why, until, _)) if now < *until && !self.clock.is_manual() => return Err(why.clone()),
            Some((_, _, wait)) => (*wait * 2).min(RECONNECT_MAX),
            None => RECONNECT_FIRST,
        };
        match Db::connect(&self.server) {
            Ok(db) => {
                self.db = Some(db);
                if self.away.take().is_some() {
                    tracing::info!("the queue's store is reached again");
                }
                self.revision = -1;
                Ok(())
            }
            Err(broken) => {
                if self.away.is_none() {
                    tracing::warn!(why = broken.why, "the queue's store can't be reached; trying on");
                }
                self.away = Some((broken.clone(), self.clock.elapsed() + wait, wait));
                Err(broken)
            }
        }
    }

    /// Begins a transaction, with the time of the server.
    pub(super) fn begin(&mut self) -> Result<(), Broken> {
        self.connect()?;
        self.forget_transaction();
        let sql = "BEGIN; SELECT 'now', (extract(epoch FROM clock_timestamp()) * 1000)::bigint; \
                   SELECT name, value FROM meta; SAVEPOINT part";
        let asked = self.clock.elapsed();
        let mut found = HashMap::new();
        for message in self.db()?.client.simple_query(sql)? {
            if let SimpleQueryMessage::Row(row) = message
                && let (Some(name), Some(Ok(value))) = (row.get(0), row.get(1).map(str::parse::<i64>))
            {
                found.insert(name.to_owned(), value);
            }
        }
        let of = |name: &str| found.get(name).copied().unwrap_or_default();
        self.is_fresh = true;
        // Only tests move a clock by hand: theirs then stands for the server's.
        let wall = if self.clock.is_manual() { Moment::from(self.clock.now()).millis() } else { of("now") };
        self.time = Time { wall, elapsed: asked, skew: of("skew"), epoch: of("epoch") };
        self.check_jump()?;
        if self.revision != of("revision") {
            self.load_queues()?;
            self.revision = of("revision");
        }
        Ok(())
    }

    /// Where the server's calendar was set, leases go on by the time that went by. The first replica that sees it
    /// says so to all.
    fn check_jump(&mut self) -> Result<(), Broken> {
        let time = self.time;
        let same = self.anchor.filter(|(_, _, epoch)| *epoch == time.epoch);
        let jump = same.map_or(0, |(elapsed, lease_time, _)| {
            let passed = i64::try_from(time.elapsed.saturating_sub(elapsed).as_millis()).unwrap_or(i64::MAX);
            time.wall - time.skew - lease_time.saturating_add(passed)
        });
        if jump.abs() > JUMP_MILLIS {
            tracing::warn!(jump_millis = jump, "the clock of the queue's store was set");
            let (epoch, skew) = (time.epoch, time.skew + jump);
            let sql = "UPDATE meta SET value = $2 WHERE name = 'epoch' AND value = $1";
            if self.db()?.execute(sql, &[&epoch, &(epoch + 1)])? > 0 {
                self.db()?.execute("UPDATE meta SET value = $1 WHERE name = 'skew'", &[&skew])?;
                self.time = Time { skew, epoch: epoch + 1, ..time };
            }
        }
        self.anchor = Some((self.time.elapsed, self.time.wall - self.time.skew, self.time.epoch));
        Ok(())
    }

    fn forget_transaction(&mut self) {
        self.counts.clear();
        self.counted.clear();
        self.tallies.clear();
        self.slots.clear();
        self.wakes.clear();
        self.depth = 0;
        self.has_changed_queues = false;
    }

    /// Runs a piece of work that is done whole or not at all.
    pub(super) fn part<T>(&mut self, work: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        let is_outer = self.depth == 0;
        // A savepoint that nothing was done since serves again: each statement is a way to the server and back.
        let sql = if is_outer { "RELEASE part; SAVEPOINT part" } else { "SAVEPOINT inner_part" };
        if !(is_outer && self.is_fresh) {
            self.db()?.client.batch_execute(sql)?;
        }
        self.is_fresh = false;
        let (tallies, wakes) = (self.tallies.len(), self.wakes.len());
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        match &done {
            Err(Fault::Broken(_)) => {}
            Ok(_) if is_outer => {}
            Ok(_) => self.db()?.client.batch_execute("RELEASE inner_part")?,
            Err(Fault::Refused(_)) => {
                let sql = if is_outer { "ROLLBACK TO part" } else { "ROLLBACK TO inner_part; RELEASE inner_part" };
                self.db()?.client.batch_execute(sql)?;
                self.is_fresh = is_outer;
                self.tallies.truncate(tallies);
                self.wakes.truncate(wakes);
                self.slots.clear();
                if self.has_changed_queues {
                    self.load_queues()?;
                }
            }
        }
        done
    }

    /// Before the commit: what is stored once for all requests.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        let mut sums: BTreeMap<(i64, Code), i64> = BTreeMap::new();
        for (lane, code, by) in &self.tallies {
            *sums.entry((*lane, *code)).or_default() += by;
        }
        sums.retain(|_, by| *by != 0);
        if sums.is_empty() {
            return Ok(());
        }
        let lanes: Vec<i64> = sums.keys().map(|(lane, _)| *lane).collect();
        let states: Vec<i64> = sums.keys().map(|(_, code)| code.stored()).collect();
        let jobs: Vec<i64> = sums.into_values().collect();
        let sql = "INSERT INTO tally_delta SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])";
        self.db()?.execute(sql, &[&lanes, &states, &jobs])?;
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Broken> {
        self.db()?.client.batch_execute("COMMIT")?;
        self.tell();
        Ok(())
    }

    /// What is not committed is gone; what was remembered of it too.
    pub(super) fn roll_back(&mut self) {
        let is_rolled_back = self.db.as_mut().is_some_and(|db| db.client.batch_execute("ROLLBACK").is_ok());
        if !is_rolled_back {
            self.db = None;
            self.hub.wake_all();
        }
        self.forget_transaction();
        self.anchor = None;
        self.revision = -1;
    }

    /// After the commit: tells those who wait, here and at the other replicas.
    fn tell(&mut self) {
        let wakes = std::mem::take(&mut self.wakes);
        if wakes.is_empty() {
            return;
        }
        let mut told = Told::default();
        for wake in wakes {
            match wake {
                Wake::Job(serial, tail) => {
                    told.jobs.insert(super::row::id(serial, tail));
                }
                Wake::Ready(lane) => {
                    *told.ready.entry(self.lane_name(lane)).or_default() += 1;
                }
            }
        }
        told.ring(&self.hub);
        let _ = self.teller.try_send(told);
    }

    /// The queue and the type of a lane.
    fn lane_name(&self, lane: i64) -> (String, Option<String>) {
        let lane = self.lanes.get(&lane);
        let queue = lane.and_then(|lane| self.queues.get(&lane.queue));
        let name = queue.map_or_else(String::new, |queue| queue.name.as_ref().to_owned());
        (name, lane.and_then(|lane| lane.kind.as_deref()).map(str::to_owned))
    }

    /// The server's time, in milliseconds since 1970.
    pub(super) fn wall(&self) -> i64 {
        if self.clock.is_manual() {
            return self.time.wall;
        }
        let passed = self.clock.elapsed().saturating_sub(self.time.elapsed);
        self.time.wall + i64::try_from(passed.as_millis()).unwrap_or(0)
    }

    /// The time by which leases run: it does not jump.
    pub(super) fn lease_now(&self) -> i64 {
        self.wall() - self.time.skew
    }

    /// A deadline of a lease by the calendar.
    pub(super) fn moment(&self, deadline: i64) -> Moment {
        Moment::from_millis(deadline + self.time.skew)
    }

    /// A serial number that no replica gives again. Those of one replica grow.
    pub(super) fn next_serial(&mut self) -> Done<i64> {
        if self.serials.0 >= self.serials.1 {
            let row = self.db()?.first("SELECT nextval('serials')", &[])?;
            let first: i64 = row.map_or(0, |row| row.get(0));
            self.serials = (first, first + SERIALS);
        }
        let count = self.serials.0 & 0x7fff;
        self.serials.0 += 1;
        let millis = self.wall().max(self.last_serial >> 15);
        let serial = millis << 15 | count;
        self.last_serial = if serial > self.last_serial { serial } else { (millis + 1) << 15 | count };
        Ok(self.last_serial)
    }

    /// What all replicas share of queues and lanes.
    pub(super) fn load_queues(&mut self) -> Result<(), Broken> {
        self.queues.clear();
        self.queue_names.clear();
        self.lanes.clear();
        for row in self.db()?.query("SELECT id, name, settings, owned, paused, draining FROM queue", &[])? {
            let name: Arc<str> = row.get::<_, String>(1).into();
            let settings = serde_json::from_str(row.get::<_, &str>(2));
            let settings = settings.map_err(|error| Broken { why: format!("settings of queue `{name}`: {error}") })?;
            let (owned, paused, draining) = (row.get(3), row.get(4), row.get(5));
            let (lanes, settings) = (Vec::new(), Arc::new(settings));
            let queue = Queue { name: Arc::clone(&name), settings, owned, paused, draining, lanes };
            self.queue_names.insert(name, row.get(0));
            self.queues.insert(row.get(0), queue);
        }
        for row in self.db()?.query("SELECT id, queue, kind FROM lane ORDER BY id", &[])? {
            let (id, queue) = (row.get(0), row.get(1));
            self.lanes.insert(id, Lane { queue, kind: row.get::<_, Option<String>>(2).map(Arc::from) });
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.lanes.push(id);
            }
        }
        Ok(())
    }

    /// Queues or lanes have changed: all replicas are to look again.
    pub(super) fn queues_changed(&mut self) -> Done<()> {
        self.has_changed_queues = true;
        self.db()?.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'", &[])?;
        self.revision = -1;
        Ok(self.load_queues()?)
    }

    pub(super) fn queue_id(&self, name: &str) -> Result<i64, Error> {
        self.queue_names.get(name).copied().ok_or_else(|| Error::no_queue(name))
    }

    pub(super) fn queue(&self, id: i64) -> Result<&Queue, Error> {
        self.queues.get(&id).ok_or_else(|| Error::no_queue(&id.to_string()))
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Book {
    /// Jobs of a queue in these states, as they are now: call it under the queue's lock where it must be exact.
    pub(super) fn count_now(&mut self, queue: i64, codes: &[Code]) -> Done<i64> {
        self.counted.remove(&queue);
        self.count(queue, codes)
    }

    /// Jobs of a queue in these states, as they were when this transaction first asked, with its own changes.
    pub(super) fn count(&mut self, queue: i64, codes: &[Code]) -> Done<i64> {
        let lanes = self.queue(queue)?.lanes.clone();
        if self.counted.insert(queue) {
            self.counts.retain(|lane, _| !lanes.contains(lane));
            let sql = "SELECT lane, state, sum(jobs)::bigint FROM (SELECT lane, state, jobs FROM tally \
                       UNION ALL SELECT lane, state, jobs FROM tally_delta) t WHERE lane = ANY($1) GROUP BY lane, state";
            for row in self.db()?.query(sql, &[&lanes])? {
                let (lane, code): (i64, Code) = (row.get(0), Code::from_stored(row.get(1)));
                self.counts.entry(lane).or_default()[code.at()] = row.get(2);
            }
        }
        let kept = |lane: &i64| self.counts.get(lane).map_or(0, |of| codes.iter().map(|code| of[code.at()]).sum());
        let own = self.tallies.iter().filter(|(lane, code, _)| lanes.contains(lane) && codes.contains(code));
        Ok(lanes.iter().map(kept).sum::<i64>() + own.map(|(_, _, by)| by).sum::<i64>())
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
        // Another replica may be making it: then this waits for it.
        let sql = "INSERT INTO lane (queue, kind) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.db()?.execute(sql, &[&queue, &kind])?;
        self.queues_changed()?;
        let lanes = self.queue(queue)?.lanes.clone();
        let is_it = |id: &i64| self.lanes.get(id).is_some_and(|lane| lane.kind.as_deref() == kind);
        Ok(lanes.into_iter().find(is_it).ok_or_else(|| Broken { why: "a lane is missing".to_owned() })?)
    }

    pub(super) fn tally(&mut self, lane: i64, code: Code, by: i64) {
        self.tallies.push((lane, code, by));
    }

    /// Where a queue bounds how many of its jobs run, one that stops running lets another begin.
    pub(super) fn wake_for_room(&mut self, queue: i64) {
        let Some(queue) = self.queues.get(&queue).filter(|queue| queue.settings.concurrency.is_some()) else { return };
        self.wakes.extend(queue.lanes.iter().map(|lane| Wake::Ready(*lane)));
    }
}
