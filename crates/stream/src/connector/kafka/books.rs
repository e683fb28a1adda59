//! A stream's books in Kafka.
//!
//! The stream's own records are messages `stream/<generation>/<nonce>` of one partition. Of several of a generation the
//! first one counts: so of two processes that write the next generation at once, one wins, and all readers agree which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::admin::{Admin, Wanted};
use super::connection::{Connection, Role};
use super::ledger::{Entry, KafkaLedger, Place, not_ours, settings};
use super::producer::{Message, Producer, Sent};
use super::reader::{Found, Reader};
use crate::ledger::{Books, StreamRecord, VERSION};
use crate::{Error, Ledger, Record, World};

/// A stream's books in Kafka.
pub(crate) struct KafkaBooks {
    place: Place,
    connection: Connection,
    world: World,
}

/// A message of the stream's topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    record: StreamRecord,
    /// Whether the stream was put aside with this generation: the next one starts anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
}

impl KafkaBooks {
    /// Connects when something is asked.
    pub(crate) fn open(place: &Place, world: &World) -> Result<Self, Error> {
        let connection = place.sink.connection();
        // What is wrong with certificates and secrets is told at once.
        connection.config(&Role::Look, &world.secrets, &world.folder)?;
        Ok(Self { place: place.clone(), connection, world: world.clone() })
    }

    fn reader(&self) -> Result<Reader, Error> {
        Reader::open(&self.connection, &self.world)
    }

    /// The newest generation.
    fn newest(&self) -> Result<Option<Written>, Error> {
        let (topic, reader) = (self.place.topic(), self.reader()?);
        if reader.partitions(&topic)?.is_none() {
            return Ok(None);
        }
        newest(&reader.all(&topic, 0)?, &topic)
    }

    fn append(&self, written: &Written) -> Result<(), Error> {
        let topic = self.place.topic();
        let wanted = Wanted { name: &topic, partitions: 1, replication: None, settings: &settings() };
        Admin::open(&self.connection, &self.world)?.create(&wanted)?;
        let value = crate::ledger::local::to_json(written)?;
        let key = format!("stream/{}/{:016x}", written.record.generation, fastrand::u64(..));
        let limit = self.place.sink.transaction_timeout.0.get();
        let mut producer = Producer::open(&self.connection, &Role::Produce, &[], limit, &self.world)?;
        let (key, value) = (Some(key.as_bytes()), Some(&value[..]));
        let message = Message { topic: &topic, partition: Some(0), key, value, headers: None };
        match producer.send(message)? {
            Sent::Queued => Ok(producer.deliver()?),
            Sent::Refused(code) => Err(Error::World(format!("the stream's record doesn't go into {topic}: {code}"))),
        }
    }
}

/// The generation that counts after all of these messages.
fn newest(all: &[Found], topic: &str) -> Result<Option<Written>, Error> {
    let mut newest: Option<Written> = None;
    for found in all.iter().filter(|found| found.key.starts_with(b"stream/")) {
        let written: Written =
            serde_json::from_slice(&found.value).map_err(|error| not_ours(topic, &error.to_string()))?;
        if written.record.version != VERSION {
            let version = written.record.version;
            return Err(not_ours(topic, &format!("version {version} where {VERSION} was expected")));
        }
        if newest.as_ref().is_none_or(|newest| written.record.generation == newest.record.generation + 1) {
            newest = Some(written);
        }
    }
    Ok(newest)
}

impl Books for KafkaBooks {
    fn stream(&self) -> Result<Option<StreamRecord>, Error> {
        Ok(self.newest()?.filter(|newest| !newest.ended).map(|newest| newest.record))
    }

    fn is_there(&self) -> Result<bool, Error> {
        // Who may not see a topic has no ledger in it: sources of a cluster are often all that we may see.
        Ok(self.reader()?.may_see(&self.place.topic())? && self.stream()?.is_some())
    }

    fn create_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        let mut record = record.clone();
        if let Some(newest) = self.newest()? {
            if !newest.ended {
                return Ok(());
            }
            // Generations go on growing over streams that were put aside.
            record.generation = newest.record.generation + 1;
        }
        self.append(&Written { record, ended: false })
    }

    fn write_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        self.append(&Written { record: record.clone(), ended: false })
    }

    fn records(&self) -> Result<BTreeMap<String, Record>, Error> {
        let Some(stream) = self.stream()? else { return Ok(BTreeMap::new()) };
        let reader = self.reader()?;
        let mut records = BTreeMap::new();
        for (topic, partitions) in reader.topics(&self.place.task_topics())? {
            let partitions = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
            for found in reader.last(&topic, partitions)?.values() {
                let entry = Entry::read(found, &topic)?;
                let record = entry.record.filter(|_| entry.uid == stream.uid);
                records.extend(record.map(|record| (String::from_utf8_lossy(&found.key).into_owned(), record)));
            }
        }
        Ok(records)
    }

    fn newest_claim(&self, task: &str) -> Result<Option<u64>, Error> {
        let (topic, partition) = self.place.of_task(task);
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let last = self.reader()?.last(&topic, [partition])?;
        last.get(&partition).map(|found| Entry::read(found, &topic).map(|entry| entry.claim)).transpose()
    }

    fn holder(&self) -> Result<Option<(String, String)>, Error> {
        // A broker doesn't tell whether the producer of a transactional name still lives.
        Ok(None)
    }

    fn put_aside(&self, _: &str) -> Result<Option<String>, Error> {
        if !self.is_there()? {
            return Ok(None);
        }
        let Some(mut record) = self.stream()? else { return Ok(None) };
        record.generation += 1;
        let (uid, place) = (record.uid.clone(), &self.place);
        self.append(&Written { record, ended: true })?;
        Ok(Some(format!("{place}, where the records of {uid} stay and no longer count")))
    }

    fn ledger(&self, task: &str, _: &str) -> Result<Box<dyn Ledger>, Error> {
        let Some(stream) = self.stream()? else {
            return Err(Error::World(format!("the stream has no record in {}", self.place)));
        };
        Ok(Box::new(KafkaLedger::open(&self.place, task, &stream.uid, &[], &self.world)?))
    }
}
