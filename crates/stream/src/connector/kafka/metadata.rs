//! What a cluster tells of topics: partitions, and the offsets where reading begins and ends.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use regex::Regex;

use super::client::{Client, Consumer};
use super::connection::Role;
use super::{Moment, SourceSpec, Start};
use crate::ledger::Starts;
use crate::{Error, World};

/// The topics that the source reads, and how many partitions each has. A topic that is named and not there is an error.
pub(crate) fn partitions(spec: &SourceSpec, world: &World) -> Result<BTreeMap<String, u32>, Error> {
    topics(spec, &looker(spec, world)?)
}

/// Where each of `partitions` begins by the source's `start`.
pub(crate) fn starts(spec: &SourceSpec, partitions: &BTreeMap<String, u32>, world: &World) -> Result<Starts, Error> {
    let client = looker(spec, world)?;
    let at = |offset: Offset| {
        let each = partitions.iter();
        let each = each.flat_map(|(topic, count)| (0..*count).map(move |id| (topic.clone(), number(id), offset)));
        offsets(&client, each.collect())
    };
    let (found, otherwise) = match &spec.start {
        Start::Earliest => (at(Offset::Beginning)?, BTreeMap::new()),
        Start::Latest => (at(Offset::End)?, BTreeMap::new()),
        Start::Timestamp(moment) => (at(Offset::Offset(millis(moment)?))?, at(Offset::End)?),
        Start::Offsets(given) => {
            let given = given.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(|(id, offset)| ((topic.clone(), number(*id)), Some(*offset)))
            });
            (given.collect(), at(Offset::Beginning)?)
        }
    };
    let start = |topic: &String, id: u32| {
        let key = (topic.clone(), number(id));
        let found = found.get(&key).copied().flatten();
        found.or_else(|| otherwise.get(&key).copied().flatten()).unwrap_or(0)
    };
    let of_topic = |(topic, count): (&String, &u32)| (topic.clone(), (0..*count).map(|id| start(topic, id)).collect());
    Ok(partitions.iter().map(of_topic).collect())
}

/// A client that only looks.
pub(super) fn looker(spec: &SourceSpec, world: &World) -> Result<Client, Error> {
    Client::connect(&spec.connection(), &Role::Look, world.pool.lease(), world)
}

fn number(id: u32) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}

/// The topics that the source reads, and how many partitions each has.
pub(super) fn topics(spec: &SourceSpec, client: &Client) -> Result<BTreeMap<String, u32>, Error> {
    let mut topics = BTreeMap::new();
    let (patterns, named): (Vec<&String>, Vec<&String>) =
        spec.topics.as_slice().iter().partition(|topic| topic.starts_with('^'));
    for name in named {
        topics.insert(name.clone(), count(client, name)?);
    }
    if patterns.is_empty() {
        return Ok(topics);
    }
    let all = client.ask("look at the topics of", all_topics)?;
    for pattern in patterns {
        let regex = Regex::new(pattern).map_err(|error| Error::World(format!("`{pattern}`: {error}")))?;
        let matched = all.iter().filter(|(name, _)| regex.is_match(name) && !is_internal(name));
        topics.extend(matched.map(|(name, partitions)| (name.clone(), *partitions)));
    }
    Ok(topics)
}

/// Whether a topic holds the books of Kafka, or ours: a pattern never means those.
fn is_internal(name: &str) -> bool {
    name.starts_with("__") || name.starts_with("_headwater.")
}

fn all_topics(consumer: &Consumer, within: std::time::Duration) -> KafkaResult<BTreeMap<String, u32>> {
    let metadata = consumer.fetch_metadata(None, within)?;
    let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(there.map(|topic| (topic.name().to_owned(), u32::try_from(topic.partitions().len()).unwrap_or(0))).collect())
}

/// How many partitions a topic has that the document names.
fn count(client: &Client, name: &str) -> Result<u32, Error> {
    let verb = "look at the topics of";
    let asked = name.to_owned();
    let answer = client.ask(verb, move |consumer, within| {
        let metadata = consumer.fetch_metadata(Some(&asked), within)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == asked);
        let error = topic.and_then(rdkafka::metadata::MetadataTopic::error).map(RDKafkaErrorCode::from);
        Ok((topic.map_or(0, |topic| topic.partitions().len()), error))
    })?;
    match answer {
        (partitions @ 1.., None) => Ok(u32::try_from(partitions).unwrap_or(u32::MAX)),
        (_, None | Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)) => {
            let all = client.ask(verb, all_topics).unwrap_or_default();
            let near = document::nearest(name, all.keys().map(String::as_str));
            let (topic, near) = (name.to_owned(), near.map(str::to_owned));
            Err(Error::NoTopic { topic, brokers: client.context().brokers().to_owned(), near })
        }
        (_, Some(code)) => Err(client.context().failed(verb, format!("topic `{name}`: {}", KafkaError::Global(code)))),
    }
}

/// The offsets that moments stand for, all asked together: [`Offset::Beginning`], [`Offset::End`], or milliseconds
/// since 1970, which is `None` where no message is as young.
pub(super) fn offsets(
    client: &Client,
    wanted: Vec<(String, i32, Offset)>,
) -> Result<BTreeMap<(String, i32), Option<i64>>, Error> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    client.ask("look up offsets in", move |consumer, within| {
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for (topic, partition, offset) in &wanted {
            list.add_partition_offset(topic, *partition, *offset)?;
        }
        let found = consumer.offsets_for_times(list, within)?;
        let each = found.elements().into_iter().map(|element| {
            element.error()?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            Ok(((element.topic().to_owned(), element.partition()), offset))
        });
        each.collect()
    })
}

/// A moment as Kafka takes it: times before 1970 are the beginning.
pub(super) fn millis(moment: &Moment) -> Result<i64, Error> {
    moment.millis().map(|millis| millis.max(0)).map_err(Error::World)
}
