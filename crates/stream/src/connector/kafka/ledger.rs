//! The ledger of one task in Kafka: a partition of its own, written in the transactions that hold its rows.
//!
//! Who claims takes the task's transactional name over. The broker then ends what the one before left open, whichever
//! way it was decided, and refuses it from then on: so what is read after that is the last record there will ever be of
//! it. The claim itself is written too, since a claimant may be taken over before its first record.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::{Bell, Clock};

use super::SinkSpec;
use super::admin::{Admin, Wanted};
use super::connection::{Connection, Role};
use super::producer::{Fault, Message, Producer};
use super::reader::{Found, Reader};
use crate::ledger::VERSION;
use crate::{Claimed, Error, Ledger, Record, World};

/// The largest record. Positions of sources with many files are long.
pub(super) const RECORD_BYTES_MAX: usize = 8 << 20;
/// The partitions that a ledger's topic begins with; it doubles when there are more tasks.
const PARTITIONS_FIRST: u32 = 4;
/// How long the transactions of a predecessor are waited for, and taken over.
const INIT_WITHIN: Duration = Duration::from_mins(1);
/// How long the claim of the one that fenced us is looked for. Until then it isn't known that there is one.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The topics of a stream's ledger, and how they are reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The sink that hosts it.
    pub(crate) sink: SinkSpec,
    /// `<namespace>.<name>` of the stream.
    pub(crate) stream: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topics _headwater.{}* at {}", self.stream, self.sink.connection().brokers())
    }
}

impl Place {
    /// The topic of the stream's own record.
    pub(super) fn topic(&self) -> String {
        format!("_headwater.{}", self.stream)
    }

    /// What the topics of its tasks begin with.
    pub(super) fn task_topics(&self) -> String {
        format!("_headwater.{}.", self.stream)
    }

    /// Where the records of a task are: `<subgraph>-<index>` has a partition of its subgraph's topic, any other a topic
    /// of its own.
    pub(super) fn of_task(&self, task: &str) -> (String, u32) {
        let split = task.rsplit_once('-').filter(|_| !crate::quarantine::is_replay(task));
        let numbered = split.and_then(|(subgraph, index)| Some((subgraph, index.parse::<u32>().ok()?)));
        let (name, partition) = numbered.unwrap_or((task, 0));
        (format!("{}{name}", self.task_topics()), partition)
    }
}

/// The index of a task in its subgraph, 0 for one that has none.
pub(super) fn task_index(task: &str) -> u32 {
    task.rsplit_once('-').and_then(|(_, index)| index.parse().ok()).unwrap_or(0)
}

/// The settings of topics that keep the last message of each key for ever.
pub(super) fn settings() -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "compact".into()),
        ("segment.bytes", (16 << 20).to_string()),
        ("min.cleanable.dirty.ratio", "0.1".into()),
        ("retention.ms", "-1".into()),
        ("retention.bytes", "-1".into()),
        ("max.message.bytes", (RECORD_BYTES_MAX + (64 << 10)).to_string()),
    ]
}

/// What a message of a ledger's topic says. Its key is the task's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    version: u32,
    /// The stream's uid: entries of a stream that was put aside have another.
    pub(super) uid: String,
    /// The newest claim.
    pub(super) claim: u64,
    /// The newest record.
    pub(super) record: Option<Record>,
}

impl Entry {
    pub(super) fn read(found: &Found, topic: &str) -> Result<Self, Error> {
        let entry: Self = serde_json::from_slice(&found.value).map_err(|error| not_ours(topic, &error.to_string()))?;
        if entry.version == VERSION {
            return Ok(entry);
        }
        Err(not_ours(topic, &format!("version {} where {VERSION} was expected", entry.version)))
    }
}

pub(super) fn not_ours(topic: &str, found: &str) -> Error {
    Error::World(format!("the last message of topic {topic} is no record of ours: {found}"))
}

/// The ledger of one task, and the producer that writes it.
pub(crate) struct KafkaLedger {
    connection: Connection,
    world: World,
    uid: String,
    task: String,
    topic: String,
    partition: u32,
    producer: Producer,
    role: Role,
    settings: Vec<(&'static str, String)>,
    limit: Duration,
    /// Ours once we claimed; before that, the newest that we know of.
    claim: u64,
    is_claimed: bool,
    /// Whether our claim is written.
    is_signed: bool,
}

impl KafkaLedger {
    /// The ledger of `task`, whose producer has `settings`.
    pub(crate) fn open(
        place: &Place,
        task: &str,
        uid: &str,
        settings: &[(&'static str, String)],
        world: &World,
    ) -> Result<Self, Error> {
        let connection = place.sink.connection();
        let timeout = place.sink.transaction_timeout.0.get();
        let role = Role::Transact { id: format!("headwater.{}.{task}", place.stream), timeout };
        let mut all = vec![("message.max.bytes", (RECORD_BYTES_MAX + (64 << 10)).to_string())];
        all.extend_from_slice(settings);
        let producer = Producer::open(&connection, &role, &all, timeout, world)?;
        let (topic, partition) = place.of_task(task);
        Ok(Self {
            connection,
            world: world.clone(),
            uid: uid.to_owned(),
            task: task.to_owned(),
            topic,
            partition,
            producer,
            role,
            settings: all,
            limit: timeout,
            claim: 0,
            is_claimed: false,
            is_signed: false,
        })
    }

    /// The producer, for the rows that go into the same transaction.
    pub(crate) fn producer(&mut self) -> &mut Producer {
        &mut self.producer
    }

    /// What a fault means. The broker says the same to who was taken over and to who was too slow for its transaction:
    /// the ledger tells them apart.
    pub(crate) fn explain(&self, fault: Fault) -> Error {
        if !fault.is_fenced {
            return fault.error;
        }
        if !self.is_signed {
            // No transaction of ours can be too slow yet. A claim that was read since may already be that of the other.
            return Error::Fenced { task: self.task.clone(), ours: self.claim, theirs: self.claim + 1 };
        }
        let (clock, bell) = (Clock::system(), Bell::default());
        let until = clock.elapsed() + SUCCESSOR_WITHIN;
        while let Ok(newest) = Reader::open(&self.connection, &self.world).and_then(|reader| self.newest(&reader)) {
            let theirs = newest.map_or(0, |entry| entry.claim);
            if theirs > self.claim {
                return Error::Fenced { task: self.task.clone(), ours: self.claim, theirs };
            }
            if clock.elapsed() >= until {
                break;
            }
            bell.wait(&clock, Some(clock.elapsed() + LOOK_EVERY));
        }
        match fault.error {
            Error::Kafka { verb, brokers, reason } => {
                let why = "the broker ended our transaction: it was open for longer than `transactionTimeout`, or \
                           somebody else is taking the task over";
                Error::Kafka { verb, brokers, reason: format!("{why} ({reason})") }
            }
            other => other,
        }
    }

    /// Fences whoever claimed before, and has the broker end what that one left open.
    pub(super) fn take_over(&mut self) -> Result<Reader, Error> {
        if self.is_claimed {
            // A client takes its name over once.
            self.producer = Producer::open(&self.connection, &self.role, &self.settings, self.limit, &self.world)?;
        }
        let reader = self.make_topic()?;
        (self.is_claimed, self.is_signed) = (true, false);
        match self.producer.init(INIT_WITHIN) {
            Ok(()) => Ok(reader),
            Err(fault) => Err(self.explain(fault)),
        }
    }

    /// Reads the last record there is, and writes our claim behind it.
    pub(super) fn sign(&mut self, reader: &Reader) -> Result<Claimed, Error> {
        let newest = self.settled_entry(reader)?;
        self.claim = newest.as_ref().map_or(0, |entry| entry.claim);
        let last = newest.filter(|entry| entry.uid == self.uid).and_then(|entry| entry.record);
        let claim = self.claim + 1;
        self.write(&Entry { version: VERSION, uid: self.uid.clone(), claim, record: last.clone() })?;
        (self.claim, self.is_signed) = (claim, true);
        Ok(Claimed { claim, last })
    }

    fn partition(&self) -> i32 {
        i32::try_from(self.partition).unwrap_or(i32::MAX)
    }

    /// Makes the topic, or gives it more partitions, where ours is missing; returns the client that looked.
    fn make_topic(&self) -> Result<Reader, Error> {
        let admin = Admin::open(&self.connection, &self.world)?;
        let is_shared = !self.topic.ends_with(&self.task);
        let first = if is_shared { PARTITIONS_FIRST } else { 1 };
        let partitions = (self.partition + 1).next_power_of_two().max(first);
        let wanted = Wanted { name: &self.topic, partitions, replication: None, settings: &settings() };
        if admin.create(&wanted)? <= self.partition {
            admin.grow(&self.topic, partitions)?;
        }
        Ok(admin.into_reader())
    }

    fn newest(&self, reader: &Reader) -> Result<Option<Entry>, Error> {
        let last = reader.last(&self.topic, [self.partition()])?;
        last.get(&self.partition()).map(|found| Entry::read(found, &self.topic)).transpose()
    }

    /// The newest entry, once all that was ever written to the partition is decided.
    fn settled_entry(&self, reader: &Reader) -> Result<Option<Entry>, Error> {
        let (clock, bell) = (Clock::system(), Bell::default());
        let until = clock.elapsed() + INIT_WITHIN;
        loop {
            let end = self.producer.end(&self.topic, self.partition())?;
            let (_, decided) = reader.bounds(&self.topic, self.partition())?;
            if decided >= end {
                return self.newest(reader);
            }
            if clock.elapsed() >= until {
                return Err(Error::World(format!(
                    "a transaction in partition {} of topic {} at {} doesn't end, so that the last record can't be \
                     read; look for it with `kafka-transactions.sh find-hanging`",
                    self.partition,
                    self.topic,
                    self.connection.brokers()
                )));
            }
            bell.wait(&clock, Some(clock.elapsed() + LOOK_EVERY));
        }
    }

    fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        let value = crate::ledger::local::to_json(entry)?;
        if value.len() > RECORD_BYTES_MAX {
            let (found, most) = (value.len(), RECORD_BYTES_MAX);
            return Err(Error::World(format!(
                "the record of task {} has {found} bytes, at most {most} fit",
                self.task
            )));
        }
        let written = self.send(&value);
        written.map_err(|fault| self.explain(fault))
    }

    fn send(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.producer.begin()?;
        let partition = Some(self.partition());
        let (topic, key) = (self.topic.as_str(), Some(self.task.as_bytes()));
        self.producer.send(Message { topic, partition, key, value: Some(value), headers: None })?;
        self.producer.commit()
    }
}

impl Ledger for KafkaLedger {
    fn claim(&mut self) -> Result<Claimed, Error> {
        let reader = self.take_over()?;
        self.sign(&reader)
    }

    fn append(&mut self, record: &Record) -> Result<(), Error> {
        let record = Some(record.clone());
        self.write(&Entry { version: VERSION, uid: self.uid.clone(), claim: self.claim, record })
    }
}
