//! One consumer for a container, with a queue for each partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::topic_partition_list::Offset;
use stdx::Clock;

use super::client::Client;
use super::connection::Role;
use super::{SourceSpec, Stop, metadata};
use crate::{Error, OpenSource};

/// What one partition may keep ready at most, in bytes: enough for its broker to be asked early.
const READY_BYTES_MAX: usize = 8 << 20;
/// What one partition keeps ready at least.
const READY_BYTES_MIN: usize = 64 << 10;

/// A source's consumer, shared by the tasks of a container. It connects when the first task opens its partitions, and
/// goes when the last has closed them.
#[derive(Clone)]
pub(crate) struct Hub {
    spec: SourceSpec,
    /// The partitions that this container may have to read.
    partitions: usize,
    client: Arc<Mutex<Weak<Client>>>,
    topics: Arc<Mutex<Topics>>,
    ends: Arc<Mutex<HashMap<(String, i32), End>>>,
}

/// The topics with their partitions, and when the question was asked that was answered so.
struct Topics {
    clock: Clock,
    asked_at: Option<Duration>,
    partitions: Arc<BTreeMap<String, u32>>,
}

/// Where a partition ends, for runs that end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The first offset that is not read.
    pub(super) offset: i64,
    /// Whether all before it was there when the source was opened, so that having read everything is enough: behind
    /// the last message of a transaction there is no message to wait for.
    pub(super) is_there: bool,
}

impl Hub {
    /// A consumer to be, which is going to read so many partitions.
    pub(crate) fn new(spec: &SourceSpec, partitions: usize) -> Self {
        let topics = Topics { clock: Clock::system(), asked_at: None, partitions: Arc::default() };
        Self {
            spec: spec.clone(),
            partitions: partitions.max(1),
            client: Arc::default(),
            topics: Arc::new(Mutex::new(topics)),
            ends: Arc::default(),
        }
    }

    /// The consumer, connected.
    pub(super) fn join(&self, open: &OpenSource) -> Result<Arc<Client>, Error> {
        let mut held = lock(&self.client);
        // One that failed may live on in tasks that haven't noticed yet.
        if let Some(client) = held.upgrade().filter(|client| client.check().is_ok()) {
            return Ok(client);
        }
        let pool = &open.world.pool;
        let free = pool.limit_bytes().saturating_sub(pool.leased_bytes());
        let most = self.partitions.saturating_mul(READY_BYTES_MAX).min(free / 4);
        let memory_bytes = most.max(self.partitions.saturating_mul(READY_BYTES_MIN));
        let mut memory = pool.lease();
        if !memory.set(memory_bytes) {
            tracing::warn!(
                source = %open.name, partitions = self.partitions, memory_bytes,
                "what partitions need at least is more than `memory` leaves; raise it, or use more containers"
            );
        }
        let group = self.spec.group.clone().unwrap_or_else(|| format!("headwater.{}", open.stream));
        let role = Role::Consume { group, memory_bytes: memory_bytes as u64, partitions: self.partitions };
        let client = Arc::new(Client::connect(&self.spec.connection(), &role, memory, &open.world)?);
        *held = Arc::downgrade(&client);
        Ok(client)
    }

    /// The topics there are now, with their partitions. Tasks that ask together share an answer.
    pub(super) fn topics(&self, client: &Client) -> Result<Arc<BTreeMap<String, u32>>, Error> {
        let now = lock(&self.topics).clock.elapsed();
        self.topics_since(client, now)
    }

    fn topics_since(&self, client: &Client, since: Duration) -> Result<Arc<BTreeMap<String, u32>>, Error> {
        let mut known = lock(&self.topics);
        if known.asked_at.is_none_or(|at| at < since) {
            let now = known.clock.elapsed();
            known.partitions = Arc::new(metadata::topics(&self.spec, client)?);
            known.asked_at = Some(now);
        }
        Ok(Arc::clone(&known.partitions))
    }

    /// Where partitions end, for runs that end: by the source's `stop`, and with `until_idle` where they end now. An end
    /// that was found stays, also for a task that is opened again.
    pub(super) fn ends(
        &self,
        client: &Client,
        partitions: &[(String, i32)],
        until_idle: bool,
    ) -> Result<HashMap<(String, i32), End>, Error> {
        if self.spec.stop.is_none() && !until_idle {
            return Ok(HashMap::new());
        }
        let found = |ends: &HashMap<(String, i32), End>| -> HashMap<_, _> {
            partitions.iter().filter_map(|key| Some((key.clone(), *ends.get(key)?))).collect()
        };
        let known = found(&lock(&self.ends));
        let unknown: Vec<_> = partitions.iter().filter(|key| !known.contains_key(*key)).cloned().collect();
        if unknown.is_empty() {
            return Ok(known);
        }
        let at = |offset: Offset| unknown.iter().map(|(topic, id)| (topic.clone(), *id, offset)).collect();
        let ends = metadata::offsets(client, at(Offset::End))?;
        let by_time = match &self.spec.stop {
            Some(Stop::Timestamp(moment)) => metadata::offsets(client, at(Offset::Offset(metadata::millis(moment)?)))?,
            _ => BTreeMap::new(),
        };
        let mut kept = lock(&self.ends);
        for key in unknown {
            let now = ends.get(&key).copied().flatten().unwrap_or(0);
            let asked = match &self.spec.stop {
                Some(Stop::Offsets(offsets)) => {
                    let id = u32::try_from(key.1).unwrap_or(u32::MAX);
                    offsets.get(&key.0).and_then(|topic| topic.get(&id)).copied().unwrap_or(now)
                }
                _ => by_time.get(&key).copied().flatten().unwrap_or(now),
            };
            let offset = if until_idle { asked.min(now) } else { asked };
            kept.insert(key, End { offset, is_there: offset <= now });
        }
        Ok(found(&kept))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
