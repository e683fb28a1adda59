//! One partition of each topic, as messages in order.

mod gathered;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use stdx::Clock;

use self::gathered::{Gathered, Taken};
use super::client::{Client, Queue};
use super::columns::Columns;
use super::hub::{End, Hub};
use super::{OnGap, SourceSpec, metadata};
use crate::{Error, Limit, OpenSource, Position, Read, Source};

/// How often it is looked whether an end was passed that was not there yet when the source was opened.
const END_EVERY: Duration = Duration::from_secs(1);

/// Opens the partitions of one task: partition `open.shard.0` of every topic that has it.
pub(crate) fn source(spec: &SourceSpec, hub: &Hub, open: &OpenSource) -> Result<Box<dyn Source>, Error> {
    let client = hub.join(open)?;
    let id = i32::try_from(open.shard.0).map_err(|_| Error::House("a partition past the last".into()))?;
    let topics = hub.topics(&client)?;
    let topics = topics.iter().filter(|(_, count)| open.shard.0 < **count).map(|(topic, _)| topic.clone());
    let (mut stored, mut nexts, mut unknown) = (stored(open)?, Vec::new(), Vec::new());
    for topic in topics {
        let start = open.starts.get(&topic).and_then(|starts| starts.get(open.shard.0 as usize)).copied();
        match stored.remove(&topic).or(start) {
            Some(next) => nexts.push((topic, next)),
            None => unknown.push((topic, id, Offset::Beginning)),
        }
    }
    let found = metadata::offsets(&client, unknown)?;
    nexts.extend(found.into_iter().map(|((topic, _), offset)| (topic, offset.unwrap_or(0))));
    let keys: Vec<(String, i32)> = nexts.iter().map(|(topic, _)| (topic.clone(), id)).collect();
    let ends = hub.ends(&client, &keys, open.until_idle)?;
    let reader = client.tell(&open.bell);
    let mut opened = Messages {
        partitions: Vec::new(),
        absent: stored,
        turn: 0,
        columns: Columns::new(spec, &open.schema),
        on_gap: spec.on_gap,
        keeps_tombstones: spec.metadata,
        clock: open.world.clock.clone(),
        ends: spec.stop.is_some() || open.until_idle,
        reader,
        client,
    };
    // Those at their end need no reading, and a run that ends needs no more of them.
    let (done, read): (Vec<_>, Vec<_>) = nexts
        .into_iter()
        .map(|(topic, next)| Partition::new(topic, id, next, &ends))
        .partition(|partition| partition.end.is_some_and(|end| partition.next >= end.offset));
    let wanted: Vec<_> = read.iter().map(|part| (&*part.topic, id, Offset::Offset(part.next))).collect();
    let queues = if wanted.is_empty() { Vec::new() } else { opened.client.take(&wanted, &open.bell)? };
    let read = read.into_iter().zip(queues).map(|(part, queue)| Partition { queue: Some(queue), ..part });
    opened.partitions = read.chain(done).collect();
    Ok(Box::new(opened))
}

/// The next offsets of the topics, as the task's record has them.
fn stored(open: &OpenSource) -> Result<BTreeMap<String, i64>, Error> {
    let Some(Position(value)) = &open.position else { return Ok(BTreeMap::new()) };
    let offsets: BTreeMap<String, i64> = serde_json::from_value(value.clone()).map_err(|error| {
        let expected = "an offset for each topic, as {\"orders\": 120}";
        Error::World(format!("the position in source `{}` is {value}, expected {expected}: {error}", open.name))
    })?;
    match offsets.iter().find(|(_, offset)| **offset < 0) {
        Some((topic, offset)) => Err(Error::World(format!(
            "the position in source `{}` has the offset {offset} for `{topic}`; offsets begin at 0",
            open.name
        ))),
        None => Ok(offsets),
    }
}

/// The source of one task.
struct Messages {
    /// In this order: a queue must go before its client.
    partitions: Vec<Partition>,
    client: Arc<Client>,
    /// Where we stood in topics that are not there now; they may come back.
    absent: BTreeMap<String, i64>,
    /// The partition that is read next.
    turn: usize,
    columns: Option<Columns>,
    on_gap: OnGap,
    keeps_tombstones: bool,
    clock: Clock,
    /// Whether the run has an end.
    ends: bool,
    reader: u64,
}

/// One partition.
struct Partition {
    topic: Arc<str>,
    id: i32,
    /// `topic-partition`.
    input: Arc<str>,
    /// The offset behind what was handed over.
    next: i64,
    /// What the group was last told.
    told: i64,
    end: Option<End>,
    /// Whether everything there is was taken from the queue.
    is_dry: bool,
    /// A message that was taken from the queue and didn't fit.
    held: Option<OwnedMessage>,
    /// `None`: read to its end.
    queue: Option<Queue>,
}

/// Why no more messages were taken from a queue.
enum Filled {
    /// There are none.
    Empty,
    /// No more fit, or others shall have a turn.
    Full,
    /// The partition can't be read.
    Failed(KafkaError),
}

impl Source for Messages {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        self.client.check()?;
        let mut again = None;
        for _ in 0..self.partitions.len() {
            let at = self.turn;
            self.turn = (at + 1) % self.partitions.len();
            match self.read_partition(at, limit)? {
                Some(Read::Idle { again: wanted }) => again = again.into_iter().chain(wanted).min(),
                Some(read) => return Ok(read),
                None => {}
            }
        }
        let is_over = self.ends && self.partitions.iter().all(|partition| partition.queue.is_none());
        Ok(if is_over { Read::End } else { Read::Idle { again } })
    }

    fn position(&self) -> Position {
        let stands = self.partitions.iter().map(|partition| (partition.topic.to_string(), partition.next.into()));
        let absent = self.absent.iter().map(|(topic, next)| (topic.clone(), (*next).into()));
        Position(serde_json::Value::Object(absent.chain(stands).collect()))
    }

    fn committed(&mut self) -> Result<(), Error> {
        for partition in self.partitions.iter_mut().filter(|partition| partition.told != partition.next) {
            partition.told = partition.next;
            self.client.commit(&partition.topic, partition.id, partition.next);
        }
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        let lags = self.partitions.iter().filter_map(|partition| partition.lag(&self.client));
        lags.reduce(u64::saturating_add)
    }
}

impl Messages {
    /// What one partition gives now: `Idle` where it must be looked at again without its bell, `None` for nothing.
    fn read_partition(&mut self, at: usize, limit: Limit) -> Result<Option<Read>, Error> {
        let partition = &mut self.partitions[at];
        if partition.queue.is_none() {
            return Ok(None);
        }
        // Heard before the queue is found empty, it holds for what was in the queue.
        let reached = self.client.context().reach(&partition.topic, partition.id);
        let columns = self.columns.as_mut();
        let mut gathered = Gathered::new(Arc::clone(&partition.input), limit, self.keeps_tombstones, columns);
        let filled = partition.fill(&mut gathered);
        if matches!(filled, Filled::Empty) && partition.is_dry {
            partition.note_end(reached);
        }
        let read = gathered.finish()?;
        if let Filled::Failed(error) = &filled {
            self.recover(at, error)?;
        }
        let partition = &mut self.partitions[at];
        if partition.is_done() {
            partition.close(&self.client);
        } else if read.is_none() {
            return Ok(partition.look_again(&filled, self.clock.elapsed()));
        }
        Ok(read)
    }

    /// Goes on after an error of one partition, where that is possible.
    fn recover(&mut self, at: usize, error: &KafkaError) -> Result<(), Error> {
        let partition = &mut self.partitions[at];
        let code = error.rdkafka_error_code();
        if !matches!(code, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) {
            // The client waits and tries again by itself; only what it can't mend comes here.
            return Err(self.client.context().error(&format!("read {} from", partition.input), error));
        }
        let (topic, id) = (partition.topic.to_string(), partition.id);
        let (first, end) = self
            .client
            .ask("look up offsets in", move |consumer, within| consumer.fetch_watermarks(&topic, id, within))?;
        let ours = partition.next;
        if self.on_gap == OnGap::Fail {
            return Err(Error::Gap { input: partition.input.to_string(), ours, first, end });
        }
        let lost = first.saturating_sub(ours).max(0);
        tracing::warn!(input = %partition.input, ours, first, end, lost, "messages are gone before they were read; reading on with the first there is");
        partition.next = first;
        let again = [(&*partition.topic, partition.id, Offset::Offset(first))];
        self.client.release(&again);
        self.client.assign(&again)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.client.forget(self.reader);
        for partition in &mut self.partitions {
            partition.close(&self.client);
        }
    }
}

impl Partition {
    fn new(topic: String, id: i32, next: i64, ends: &std::collections::HashMap<(String, i32), End>) -> Self {
        let input = format!("{topic}-{id}").into();
        let end = ends.get(&(topic.clone(), id)).copied();
        Self { topic: topic.into(), id, input, next, told: -1, end, is_dry: false, held: None, queue: None }
    }

    /// Takes messages from the queue, as far as they fit.
    fn fill(&mut self, gathered: &mut Gathered<'_>) -> Filled {
        while !gathered.is_full() {
            let taken = match (self.held.take(), &self.queue) {
                (Some(message), _) => gathered.take(&message, self.next, self.end),
                (None, None) => return Filled::Empty,
                (None, Some(queue)) => match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        self.is_dry = false;
                        let taken = gathered.take(&message, self.next, self.end);
                        self.held = (taken == Taken::Later).then(|| message.detach());
                        taken
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => {
                        self.is_dry = true;
                        continue;
                    }
                    Some(Err(error)) => return Filled::Failed(error),
                    None => return Filled::Empty,
                },
            };
            match taken {
                Taken::Until(next) => self.next = next,
                Taken::Later => break,
                Taken::Past => {
                    self.next = self.end.map_or(self.next, |end| end.offset);
                    break;
                }
            }
        }
        Filled::Full
    }

    /// Behind the last message there may be marks of transactions: with everything read, we stand behind them too, so
    /// that their removal is no gap later.
    fn note_end(&mut self, reached: Option<super::connection::Reached>) {
        let ended = self.end.filter(|end| end.is_there).map(|end| end.offset);
        let most = self.end.map_or(i64::MAX, |end| end.offset);
        let heard = reached.map(|reached| reached.read_to.min(most));
        self.next = self.next.max(ended.or(heard).unwrap_or(self.next));
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end.offset)
    }

    /// Whether it must be looked at again although its queue has nothing new.
    fn look_again(&self, filled: &Filled, now: Duration) -> Option<Read> {
        let again = if matches!(filled, Filled::Full) {
            now
        } else if self.is_dry && self.end.is_some() {
            now + END_EVERY
        } else {
            return None;
        };
        Some(Read::Idle { again: Some(again) })
    }

    fn lag(&self, client: &Client) -> Option<u64> {
        if self.is_dry || self.queue.is_none() {
            return Some(0);
        }
        let reached = client.context().reach(&self.topic, self.id).map(|reached| reached.end);
        let end = reached.or(self.end.map(|end| end.offset))?;
        Some(u64::try_from(end - self.next).unwrap_or(0))
    }

    fn close(&mut self, client: &Client) {
        if self.queue.take().is_some() {
            self.held = None;
            client.release(&[(&*self.topic, self.id, Offset::Invalid)]);
        }
    }
}
