//! Looks at a cluster: topics, and committed messages of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use stdx::Clock;

use super::connection::{Connection, Context, Role};
use crate::{Error, World};

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer is asked for again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How long a request may block before the client's events are looked at: a refusal is among them.
const STEP: Duration = Duration::from_millis(250);
/// How far before the end the last message is looked for first. Ends of transactions and what was compacted away count.
const BACK_FIRST: i64 = 64;

/// A message as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A client that looks at topics, without a group.
pub(crate) struct Reader {
    consumer: BaseConsumer<Context>,
    context: Context,
    clock: Clock,
}

impl Reader {
    pub(crate) fn open(connection: &Connection, world: &World) -> Result<Self, Error> {
        let config = connection.config(&Role::Look, &world.secrets, &world.folder)?;
        let context = connection.context(world);
        let consumer = BaseConsumer::from_config_and_context(&config, context.clone())
            .map_err(|error| context.error("open a client for", &error))?;
        Ok(Self { consumer, context, clock: Clock::system() })
    }

    /// The partitions of a topic; `None` where there is no such topic. None is made by asking.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        let metadata = self.ask(|step| self.consumer.fetch_metadata(Some(topic), step))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
            Some(code) => Err(self.context.error(&format!("look at topic {topic} of"), &KafkaError::Global(code))),
        }
    }

    /// Whether the cluster tells us of a topic, be it that there is none.
    pub(crate) fn may_see(&self, topic: &str) -> Result<bool, Error> {
        let metadata = self.ask(|step| self.consumer.fetch_metadata(Some(topic), step))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let code = found.and_then(rdkafka::metadata::MetadataTopic::error).map(RDKafkaErrorCode::from);
        Ok(code != Some(RDKafkaErrorCode::TopicAuthorizationFailed))
    }

    /// The topics that begin with `prefix`, and their partitions.
    pub(crate) fn topics(&self, prefix: &str) -> Result<BTreeMap<String, u32>, Error> {
        let metadata = self.ask(|step| self.consumer.fetch_metadata(None, step))?;
        let ours = metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix));
        Ok(ours.map(|topic| (topic.name().to_owned(), u32::try_from(topic.partitions().len()).unwrap_or(0))).collect())
    }

    /// The first offset of a partition, and the one before which everything is decided: committed or aborted.
    pub(crate) fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        self.ask(|step| self.consumer.fetch_watermarks(topic, partition, step))
    }

    /// All committed messages of a partition.
    pub(crate) fn all(&self, topic: &str, partition: i32) -> Result<Vec<Found>, Error> {
        let (low, end) = self.bounds(topic, partition)?;
        let mut all = Vec::new();
        if low < end {
            self.read(topic, &BTreeMap::from([(partition, low)]), |_, found| all.push(found))?;
        }
        Ok(all)
    }

    /// The last committed message of each of the `partitions`, where there is one.
    pub(crate) fn last(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
    ) -> Result<BTreeMap<i32, Found>, Error> {
        let mut bounds = BTreeMap::new();
        for partition in partitions {
            let (low, end) = self.bounds(topic, partition)?;
            if low < end {
                bounds.insert(partition, (low, end));
            }
        }
        let (mut last, mut back) = (BTreeMap::new(), BACK_FIRST);
        while !bounds.is_empty() {
            let start = |(low, end): (i64, i64)| end.saturating_sub(back).max(low);
            let starts = bounds.iter().map(|(partition, bounds)| (*partition, start(*bounds))).collect();
            self.read(topic, &starts, |partition, found| drop(last.insert(partition, found)))?;
            bounds.retain(|partition, bounds| !last.contains_key(partition) && start(*bounds) > bounds.0);
            back = back.saturating_mul(2);
        }
        Ok(last)
    }

    /// Reads partitions of a topic from offsets on, to their present end.
    fn read(&self, topic: &str, starts: &BTreeMap<i32, i64>, mut take: impl FnMut(i32, Found)) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in starts {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| self.context.error("read from", &error))?;
        }
        self.consumer.assign(&list).map_err(|error| self.context.error("read from", &error))?;
        let mut waiting: BTreeSet<i32> = starts.keys().copied().collect();
        let mut until = self.clock.elapsed() + ANSWERS_WITHIN;
        while !waiting.is_empty() {
            match self.consumer.poll(STEP) {
                Some(Ok(message)) => {
                    let key = message.key().unwrap_or_default().to_vec();
                    let found = message.payload().map(|value| Found { key, value: value.to_vec() });
                    let _: Option<()> = found.map(|found| take(message.partition(), found));
                    until = self.clock.elapsed() + ANSWERS_WITHIN;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(waiting.remove(&partition)),
                Some(Err(error)) if self.clock.elapsed() >= until => {
                    return Err(self.context.error("read from", &error));
                }
                None if self.clock.elapsed() >= until => return Err(self.late("read from")),
                // The client tries again by itself.
                Some(Err(_)) | None => self.context.refusal().map_or(Ok(()), Err)?,
            }
        }
        self.consumer.unassign().map_err(|error| self.context.error("read from", &error))
    }

    /// Asks until there is an answer.
    fn ask<T>(&self, request: impl Fn(Duration) -> KafkaResult<T>) -> Result<T, Error> {
        let until = self.clock.elapsed() + ANSWERS_WITHIN;
        let mut step = STEP;
        loop {
            // Nothing is assigned: only events come, such as a refusal, or that a token is wanted.
            drop(self.consumer.poll(Duration::ZERO));
            let error = match request(step) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            drop(self.consumer.poll(Duration::from_millis(10)));
            self.context.refusal().map_or(Ok(()), Err)?;
            if self.clock.elapsed() >= until {
                return Err(self.context.error("look at", &error));
            }
            step = (step * 2).min(ANSWER_WITHIN);
        }
    }

    fn late(&self, verb: &str) -> Error {
        self.context.error(verb, &KafkaError::Global(RDKafkaErrorCode::OperationTimedOut))
    }
}
