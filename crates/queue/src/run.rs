//! Makes a plan happen: opens the store, declares what the document says, does what time asks for, runs the workers.
//!
//! The HTTP server between the store and the workers is a door's, so whoever runs a plan puts these parts together:
//!
//! ```text
//!   open ──▶ store ──▶ HTTP server ◀── workers
//!              ▲
//!            sweep
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use stdx::Chain;

use crate::error::Error;
use crate::job::State;
use crate::moment::Moment;
use crate::plan::{Plan, Pool};
use crate::store::kind::Opened;
use crate::store::{Change, Declaration, Store, Swept, View};
use crate::work::{Pace, Worker};
use crate::world::World;

/// The longest rest between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The shortest rest between two sweeps, so that a sweep with much to do leaves room for requests.
const SWEEP_REST: Duration = Duration::from_millis(1);
/// How often the store's counts are looked at.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Opens the store and declares the document's queues and schedules. Blocks: not for async code.
pub fn open(plan: &Plan, world: &World) -> Result<Opened, Error> {
    let opened = plan.store.open(world)?;
    let declare = |generation: u64| {
        let schedules = plan.schedules.iter().map(|schedule| (schedule.name.clone(), schedule.spec.clone()));
        let queues = plan.queues.clone();
        opened.store.change(Change::Declare(Declaration { generation, queues, schedules: schedules.collect() })).wait()
    };
    let now = u64::try_from(Moment::from(world.clock.now()).millis()).unwrap_or(0);
    match declare(now) {
        // Whoever starts last has the newest document; only the clock was put back since the last start.
        Err(Error::StaleDocument { theirs, .. }) => declare(theirs)?,
        other => other?,
    };
    Ok(opened)
}

/// Does what time asks for, for ever; ends only when the store has stopped, which the process can't outlive.
pub async fn sweep(store: &dyn Store, mut swept: impl FnMut(&Swept)) -> Error {
    loop {
        let rest = match store.sweep().await {
            Ok(done) => {
                swept(&done);
                done.next.clamp(SWEEP_REST, SWEEP_EVERY)
            }
            Err(error) => {
                tell("sweep the store", &error);
                SWEEP_EVERY
            }
        };
        if let Some(error) = store.failure() {
            return error;
        }
        tokio::time::sleep(rest).await;
    }
}

/// A store that is away says so itself, once.
fn tell(what: &str, error: &Error) {
    if matches!(error, Error::StoreDown { .. }) {
        tracing::debug!(error = %Chain(error), "{what}");
    } else {
        tracing::warn!(error = %Chain(error), "{what}");
    }
}

/// How many jobs of a queue are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Their time has not come, or they wait for others.
    pub waiting: u64,
    /// A worker may lease them.
    pub ready: u64,
    /// A worker holds them.
    pub running: u64,
    /// They ended well and are still kept.
    pub succeeded: u64,
    /// They ended badly and are still kept.
    pub failed: u64,
    /// They were ended and are still kept.
    pub cancelled: u64,
}

impl Tally {
    /// Jobs that have not ended.
    pub const fn open(&self) -> u64 {
        self.waiting + self.ready + self.running
    }

    /// Jobs that have ended.
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }
}

/// How many jobs are where, as it was a second ago. For whoever shows progress.
#[derive(Debug, Default)]
pub struct Meter(Mutex<BTreeMap<String, Tally>>);

impl Meter {
    /// The tallies by queue.
    pub fn snapshot(&self) -> BTreeMap<String, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks once.
    pub async fn look(&self, store: &dyn View) -> Result<(), Error> {
        let (queues, stats) = (store.queues().await?, store.stats(None).await?);
        let mut tallies: BTreeMap<String, Tally> =
            queues.into_iter().map(|queue| (queue.name, Tally::default())).collect();
        for stat in stats {
            let tally = tallies.entry(stat.queue).or_default();
            let count = match stat.state {
                State::Scheduled | State::Waiting => &mut tally.waiting,
                State::Ready => &mut tally.ready,
                State::Running => &mut tally.running,
                State::Succeeded => &mut tally.succeeded,
                State::Failed => &mut tally.failed,
                State::Cancelled => &mut tally.cancelled,
            };
            *count += stat.jobs;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tallies;
        Ok(())
    }

    /// Looks each second, for ever.
    pub async fn watch(&self, store: &dyn View) -> Infallible {
        loop {
            if let Err(error) = self.look(store).await {
                tell("count the jobs", &error);
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }
}

/// The worker of a pool, for a server at an address such as `http://127.0.0.1:5000`.
pub fn worker(plan: &Plan, pool: &Pool, server: &str, token: Option<String>, world: &World) -> Worker {
    let is_ours = |name: &str| pool.environment.iter().any(|(own, _)| own == name);
    let inherited = world.environment.iter().filter(|(name, _)| !is_ours(name)).cloned();
    let command = std::iter::once(pool.program.display().to_string()).chain(pool.arguments.iter().cloned());
    // Two servers, or a server that starts again, must not take each other's leases for their own.
    let name: String = format!("{}-{}-{:08x}", plan.name, pool.name, fastrand::u32(..));
    Worker {
        server: server.to_owned(),
        token,
        name: tail(name),
        queues: pool.queues.clone(),
        types: pool.types.clone(),
        concurrency: pool.concurrency as usize,
        command: command.collect(),
        environment: inherited.chain(pool.environment.iter().cloned()).collect(),
        folder: pool.folder.clone(),
        timeout: pool.timeout.map(document::Duration::get),
        stop_grace: pool.stop_grace.get(),
        drain_grace: plan.drain_timeout,
        memory_bytes_max: pool.memory_bytes_max,
        pace: Pace::default(),
    }
}

/// The end of a name that is too long: it holds what tells it from others.
fn tail(name: String) -> String {
    let from = name.len().saturating_sub(crate::limit::NAME_BYTES_MAX);
    let at = (from..=name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    if at == 0 { name } else { name[at..].to_owned() }
}

/// A token for the server's own workers. It lives as long as the process and is written nowhere.
pub fn own_token() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::StoreDown { why: format!("draw a token for the server's own workers: {error}") })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
