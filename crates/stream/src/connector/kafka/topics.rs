//! The topics that a sink writes to, as all of its tasks know them: whether they are there, their partitions, and how
//! large a message they take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use stdx::Clock;

use super::admin::{Admin, Wanted};
use super::connection::Connection;
use super::ledger::RECORD_BYTES_MAX;
use super::producer::Undelivered;
use super::{CreateSpec, SinkSpec, is_topic};
use crate::{Error, World};

/// How long a topic that isn't there is not looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// What the client puts into one batch at most, as it does by default.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// What a row may have where the topic doesn't tell: the brokers' own default.
const ROW_BYTES_MAX: usize = 1_048_588;
/// What a message takes beside its key, value and headers: the head of a batch, lengths, numbers.
const OVERHEAD_BYTES: usize = 100;

/// A topic that is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    /// The largest message, with all that goes with it.
    bytes_max: usize,
    only_with_key: bool,
}

impl Target {
    /// Why a message of so many bytes is not taken, if it isn't. Compression doesn't count: it isn't known before.
    pub(crate) fn refuses(&self, bytes: usize, has_key: bool) -> Option<String> {
        if self.only_with_key && !has_key {
            return Some(format!("no key: topic {} is compacted, and takes only messages that have one", self.name));
        }
        let most = self.bytes_max.saturating_sub(OVERHEAD_BYTES);
        (bytes > most)
            .then(|| format!("too long: the message has {bytes} bytes, topic {} takes {most} at most", self.name))
    }
}

/// What all tasks of a sink know.
#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    there: BTreeMap<String, Arc<Target>>,
    missing: BTreeMap<String, Duration>,
    /// How often a broker refused a batch for its size, and the smallest message that it refused by itself.
    refused: BTreeMap<String, (u32, Option<usize>)>,
}

impl Topics {
    /// A topic; `None` where it isn't there. It is looked for once for all tasks, and made where `create` says how.
    pub(crate) fn find(
        &self,
        name: &str,
        spec: &SinkSpec,
        connection: &Connection,
        world: &World,
    ) -> Result<Option<Arc<Target>>, Error> {
        let mut shared = self.lock();
        let now = Clock::system().elapsed();
        if let Some(target) = shared.there.get(name) {
            return Ok(Some(Arc::clone(target)));
        }
        if !is_topic(name) || shared.missing.get(name).is_some_and(|since| now < *since + MISSING_FOR) {
            return Ok(None);
        }
        let admin = Admin::open(connection, world)?;
        let partitions = match &spec.create {
            Some(create) => Some(make(&admin, name, create)?),
            None => admin.partitions(name)?,
        };
        let Some(partitions) = partitions else {
            shared.missing.insert(name.to_owned(), now);
            return Ok(None);
        };
        let learnt =
            shared.refused.get(name).and_then(|(_, smallest)| *smallest).map(|bytes| bytes + OVERHEAD_BYTES - 1);
        let given = spec.properties.get("message.max.bytes").and_then(|bytes| bytes.parse().ok());
        let takes = admin.takes(name)?;
        let limits = [takes.bytes_max.or(Some(ROW_BYTES_MAX)), learnt, given];
        let bytes_max = limits.into_iter().flatten().min().unwrap_or(ROW_BYTES_MAX);
        let target =
            Arc::new(Target { name: name.to_owned(), partitions, bytes_max, only_with_key: takes.only_with_key });
        shared.there.insert(name.to_owned(), Arc::clone(&target));
        Ok(Some(target))
    }

    /// The largest batch that all topics take that are known.
    pub(crate) fn batch_bytes(&self, spec: &SinkSpec) -> usize {
        let given = spec.properties.get("batch.size").and_then(|bytes| bytes.parse().ok());
        let shared = self.lock();
        let smallest = shared.there.values().map(|target| target.bytes_max).min();
        smallest.into_iter().chain(given).min().unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX)
    }

    /// The producer's settings that follow from the topics.
    pub(crate) fn settings(&self, spec: &SinkSpec) -> Vec<(&'static str, String)> {
        let batch_bytes = self.batch_bytes(spec);
        let shared = self.lock();
        let largest = shared.there.values().map(|target| target.bytes_max).max().unwrap_or(0);
        let largest = largest.clamp(RECORD_BYTES_MAX + (64 << 10), 1_000_000_000);
        let mut settings = vec![("batch.size", batch_bytes.to_string()), ("message.max.bytes", largest.to_string())];
        // Where a topic doesn't tell its limit, a batch of one message shows which message is too large.
        if shared.refused.values().any(|(times, _)| *times > 1) {
            settings.push(("batch.num.messages", "1".into()));
        }
        settings
    }

    /// Learns from a message that was not delivered, for the next time that the task is opened.
    pub(crate) fn learn(&self, undelivered: &Undelivered) {
        let mut shared = self.lock();
        shared.there.remove(&undelivered.topic);
        if undelivered.error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            let (times, smallest) = shared.refused.entry(undelivered.topic.clone()).or_default();
            if *times > 1 {
                *smallest = Some(smallest.map_or(undelivered.bytes, |bytes| bytes.min(undelivered.bytes)));
            }
            *times += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(admin: &Admin<'_>, name: &str, create: &CreateSpec) -> Result<u32, Error> {
    let mut settings = Vec::new();
    if let Some(retention) = &create.retention {
        settings.push(("retention.ms", retention.get().as_millis().to_string()));
    }
    if create.compact {
        settings.push(("cleanup.policy", "compact".to_owned()));
    }
    let (partitions, replication) = (create.partitions, create.replication);
    let found = admin.create(&Wanted { name, partitions, replication, settings: &settings })?;
    if found != partitions {
        tracing::warn!(topic = name, found, expected = partitions, "the topic has another number of partitions");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError;

    use super::*;

    #[test]
    fn a_topic_that_refuses_without_telling_its_limit_is_found_out_in_three_steps() {
        let (topics, spec) = (Topics::default(), SinkSpec::default());
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        let refused = |bytes| Undelivered { error: error.clone(), topic: "t".into(), bytes };
        let one_by_one = || topics.settings(&spec).iter().any(|(name, _)| *name == "batch.num.messages");
        // Perhaps the topic's limit was changed: it is asked for again.
        topics.learn(&refused(10));
        assert!(!one_by_one());
        // It was not: messages go one by one, so that the next one that is refused is too large by itself.
        topics.learn(&refused(10));
        assert!(one_by_one());
        assert_eq!(topics.lock().refused["t"].1, None);
        topics.learn(&refused(5000));
        topics.learn(&refused(7000));
        assert_eq!(topics.lock().refused["t"].1, Some(5000));
    }

    #[test]
    fn what_is_too_long_is_told_with_both_numbers() {
        let target = Target { name: "t".into(), partitions: 1, bytes_max: 1000, only_with_key: true };
        assert_eq!(target.refuses(900, true), None);
        assert!(target.refuses(901, true).unwrap().contains("901 bytes, topic t takes 900"));
        assert!(target.refuses(1, false).unwrap().contains("no key"));
    }
}
