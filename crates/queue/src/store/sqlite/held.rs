//! Who holds what, and until when. Tokens are durable; times are not, since a lease begins anew with the server.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::book::{Book, Done, REQUESTS_MAX, Requests};
use crate::id::Token;
use crate::store::steps::Steps as _;

/// A lease that is held. Times are by the clock that never jumps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) number: i64,
    pub(super) secret: i64,
    pub(super) worker: Arc<str>,
    pub(super) request: Option<Arc<str>>,
    /// How many jobs were leased with it.
    pub(super) batch: u32,
    pub(super) lease: Duration,
    pub(super) until: Duration,
    pub(super) timeout: Option<Duration>,
    /// When a cancelled job has had its grace.
    pub(super) cancel: Option<Duration>,
}

impl Held {
    pub(super) fn token(&self) -> Token {
        token(self.number, self.secret)
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        token.parts() == Some((self.number.cast_unsigned(), self.secret.cast_unsigned()))
    }

    /// The first moment at which something is to be done about it.
    fn deadline(&self) -> Duration {
        let first = self.timeout.into_iter().chain(self.cancel).min();
        first.map_or(self.until, |first| first.min(self.until))
    }
}

pub(super) fn token(number: i64, secret: i64) -> Token {
    Token::new(number.cast_unsigned(), secret.cast_unsigned())
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<i64, Held>,
    deadlines: BTreeSet<(Duration, i64)>,
    requests: HashMap<(Arc<str>, Arc<str>), Vec<i64>>,
    order: Requests,
}

impl Leases {
    pub(super) fn get(&self, serial: i64) -> Option<&Held> {
        self.held.get(&serial)
    }

    pub(super) fn set(&mut self, serial: i64, held: Option<Held>) -> Option<Held> {
        let before = self.held.remove(&serial);
        if let Some(before) = &before {
            self.deadlines.remove(&(before.deadline(), serial));
        }
        if let Some(held) = held {
            self.deadlines.insert((held.deadline(), serial));
            self.held.insert(serial, held);
        }
        before
    }

    /// The leases whose deadline has come, the first ones first.
    pub(super) fn lapsed(&self, now: Duration, limit: usize) -> Vec<(i64, Held)> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(limit);
        due.filter_map(|(_, serial)| Some((*serial, self.held.get(serial)?.clone()))).collect()
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn serials(&self) -> Vec<i64> {
        self.held.keys().copied().collect()
    }

    /// What a request got, if it came before: those of its jobs that it still holds.
    pub(super) fn repeated(&self, worker: &str, request: &str) -> Vec<i64> {
        let Some(serials) = self.requests.get(&(Arc::from(worker), Arc::from(request))) else { return Vec::new() };
        let is_held = |serial: &i64| {
            let held = self.held.get(serial);
            held.is_some_and(|held| &*held.worker == worker && held.request.as_deref() == Some(request))
        };
        serials.iter().copied().filter(is_held).collect()
    }

    pub(super) fn remember(&mut self, worker: &Arc<str>, request: &Arc<str>, serial: i64) {
        let name = (Arc::clone(worker), Arc::clone(request));
        if let Some(serials) = self.requests.get_mut(&name) {
            serials.push(serial);
            return;
        }
        if self.order.len() >= REQUESTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.requests.remove(&oldest);
        }
        self.order.push_back(name.clone());
        self.requests.insert(name, vec![serial]);
    }
}

impl Book {
    /// After a start, every lease is renewed in full: while the server was down, nobody could beat.
    pub(super) fn load_leases(&mut self) -> Done<()> {
        let now = self.clock.elapsed();
        let wall = self.now();
        let sql = "SELECT l.serial, l.number, l.secret, l.worker, l.request, l.batch, l.millis, l.timeout, l.at, \
                   j.cancel, j.queue FROM job j JOIN lease l ON l.serial = j.serial AND l.number = j.lease \
                   WHERE j.lane = ?1 AND j.state = 4 AND l.outcome IS NULL ORDER BY l.number";
        let lanes: Vec<i64> = self.lanes.keys().copied().collect();
        let mut found: Vec<(i64, Held)> = Vec::new();
        for lane in lanes {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([lane])?;
            while let Some(row) = rows.next()? {
                let lease = Duration::from_millis(row.get(6)?);
                let spent = Duration::from_millis(u64::try_from(wall - row.get::<_, i64>(8)?).unwrap_or(0));
                let timeout = row.get::<_, Option<u64>>(7)?.map(Duration::from_millis);
                let grace = self.queues.get(&row.get(10)?).map(|queue| queue.settings.cancel_grace.get());
                let held = Held {
                    number: row.get(1)?,
                    secret: row.get(2)?,
                    worker: row.get::<_, String>(3)?.into(),
                    request: row.get::<_, Option<String>>(4)?.map(Arc::from),
                    batch: row.get(5)?,
                    lease,
                    until: now + lease,
                    // Its end may have been reported while nobody listened: it gets a lease's time to be repeated.
                    timeout: timeout.map(|timeout| now + timeout.saturating_sub(spent).max(lease)),
                    cancel: row.get::<_, bool>(9)?.then(|| now + grace.unwrap_or_default().max(lease)),
                };
                found.push((row.get(0)?, held));
            }
        }
        for (serial, held) in found {
            if let Some(request) = &held.request {
                self.leases.remember(&held.worker, request, serial);
            }
            self.leases.set(serial, Some(held));
        }
        Ok(())
    }

    /// After an outage that left the process alive, as after a start.
    pub(super) fn renew_all(&mut self) {
        let now = self.clock.elapsed();
        for serial in self.leases.serials() {
            let Some(mut held) = self.leases.get(serial).cloned() else { continue };
            held.until = held.until.max(now + held.lease);
            held.timeout = held.timeout.map(|timeout| timeout.max(held.until));
            held.cancel = held.cancel.map(|cancel| cancel.max(held.until));
            self.leases.set(serial, Some(held));
        }
    }
}
