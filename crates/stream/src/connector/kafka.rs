//! Kafka: rows from topics and into topics.
//!
//! ```text
//!                     one consumer a container, one queue a partition
//!  topics --> Hub --> partition 0 --> Source of task 0 --> steps --> Sink of task 0 --> transaction of task 0
//!                 \-> partition 1 --> Source of task 1 --> ...                          (rows + record)
//! ```
//!
//! Task *i* owns partition *i* of every topic of a source. Nobody balances anything: which container runs a task is
//! decided by the stream's record, and where it reads on by the task's own.

mod admin;
mod books;
mod client;
mod columns;
mod connection;
mod hub;
mod ledger;
mod metadata;
mod parts;
mod producer;
mod reader;
mod sample;
mod sink;
mod source;
mod topics;
mod values;

use std::collections::BTreeMap;

use document::{ByteSize, Duration, Problem};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::books::KafkaBooks;
pub(crate) use self::columns::{told_by_origin, with_metadata};
pub(crate) use self::connection::{Connection, Context, Role};
pub use self::connection::{Names, SaslSpec, TlsSpec};
pub(crate) use self::ledger::Place;
pub(crate) use self::metadata::{partitions, starts};
pub(crate) use self::parts::{look, plan_sink, plan_source};

/// Rows from Kafka topics.
///
/// Task *i* reads partition *i* of every topic, in order, and records where it stands together with the rows that it
/// wrote. Only committed messages are read. The offsets are also committed to the consumer group, so that tools that
/// show lag see them; they are never read back.
///
/// Partitions that are added while the stream runs, or while it is down, are read from their first message on.
///
/// ```yaml
/// kafka:
///   brokers: localhost:9092
///   topics: [orders, ^eu-.*]
///   start: earliest
/// ```
///
/// | what happens | what the stream does |
/// |---|---|
/// | a broker goes away, a leader moves | waits and reads on; nothing is lost or read twice |
/// | the messages at our position were removed by retention | ends with an error that names the gap, or reads on from the first message there is (`onGap: skip`) |
/// | a topic is deleted | the task fails and is opened again, with growing waits, until the topic is back |
/// | a user name or password is wrong | ends with an error that names the broker |
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SourceSpec {
    /// Brokers to start from, each `host:port`: a text or a list. The others are learnt from them.
    pub brokers: Names,
    /// Encryption, and who the broker and we are by certificate. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Who we are by name and password, or by token. Default: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<SaslSpec>,
    /// The topics: a text or a list. One that begins with `^` is a regular expression; new topics that match it are
    /// noticed within `tasks.metadataEvery`.
    pub topics: Names,
    /// Where to begin at the first start of the stream. It is resolved once, to a number for each partition, and kept
    /// in the stream's record.
    pub start: Start,
    /// Where to end, for runs that end. Default: never. It is resolved at each start of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Adds the columns `_key`, `_timestamp`, `_headers`, `_topic`, `_partition` and `_offset` to each row. A message
    /// without a value (a tombstone) is then a row whose other columns are null; without `metadata` it is no row.
    pub metadata: bool,
    /// The consumer group that offsets are committed to, for others to see. Default: `headwater.<namespace>.<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What to do when messages that were not read yet are gone.
    pub on_gap: OnGap,
    /// Any other property of librdkafka's consumer. Those that this document decides by other fields are refused.
    pub properties: BTreeMap<String, String>,
}

/// Where to begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// With the first message there is.
    #[default]
    Earliest,
    /// With the first message that comes after the stream's first start.
    Latest,
    /// With the first message of that time or later: RFC 3339, or milliseconds since 1970.
    Timestamp(Moment),
    /// With these offsets, by topic and partition; partitions that are not named begin with their first message.
    Offsets(BTreeMap<String, BTreeMap<u32, i64>>),
}

/// Where to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stop {
    /// Behind the last message there is when the stream starts.
    Latest,
    /// Before the first message of that time or later: RFC 3339, or milliseconds since 1970.
    Timestamp(Moment),
    /// Before these offsets, by topic and partition; partitions that are not named end where they end at the start.
    Offsets(BTreeMap<String, BTreeMap<u32, i64>>),
}

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Moment {
    /// Milliseconds since 1970.
    Millis(i64),
    /// RFC 3339, as `2026-11-21T10:00:00Z`.
    Text(String),
}

impl Moment {
    /// Milliseconds since 1970, or what is wrong with it.
    pub(crate) fn millis(&self) -> Result<i64, String> {
        match self {
            Self::Millis(millis) => Ok(*millis),
            Self::Text(text) => chrono::DateTime::parse_from_rfc3339(text)
                .map(|time| time.timestamp_millis())
                .map_err(|error| format!("`{text}`: {error}")),
        }
    }
}

/// What to do when messages that were not read yet are gone: retention removed them, or somebody else did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnGap {
    /// End with an error that names the gap.
    #[default]
    Fail,
    /// Go on with the first message there is, with a warning.
    Skip,
}

/// Rows into Kafka topics.
///
/// By default rows and the record of where the task stands share a transaction: a reader with
/// `isolation.level=read_committed` sees each row once, whatever was killed when. The records are in the topic
/// `_headwater.<namespace>.<name>.<first source>`, a partition for each task; `transactional.id` is
/// `headwater.<namespace>.<name>.<task>`.
///
/// ```yaml
/// kafka:
///   brokers: localhost:9092
///   topic: orders-by-country
///   key: country
///   create: {partitions: 6, retention: 7d}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SinkSpec {
    /// Brokers to start from, each `host:port`: a text or a list. The others are learnt from them.
    pub brokers: Names,
    /// Encryption, and who the broker and we are by certificate. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Who we are by name and password, or by token. Default: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<SaslSpec>,
    /// The topic: its name, or `{sql: ...}`, an expression over the row. A row for which it is null is put aside.
    pub topic: TopicSpec,
    /// The message's key: an SQL expression over the row, most often a column's name. Text and binary are taken as
    /// they are, other values as text; null is no key. Default: no key. Messages of one key keep their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Headers by name, each an SQL expression over the row; null leaves the header out.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Columns that are not part of the message: those that were only needed for key, topic or headers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Writes a message without a value for each row whose value columns are all null: a tombstone.
    pub tombstones: bool,
    /// What readers see after a failure.
    pub delivery: Delivery,
    /// How messages are compressed.
    pub compression: Compression,
    /// How a key's partition is found.
    pub partitioner: Partitioner,
    /// Makes the topic at the start if it isn't there. Default: a missing topic is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<CreateSpec>,
    /// How long the broker keeps a transaction open that nobody ends; after a kill, readers of the topic wait so long
    /// at most for what comes behind. Must be longer than `commit.every`. Default 60s.
    pub transaction_timeout: TransactionTimeout,
    /// What may wait in memory to be sent, for each task. Default 16MiB.
    pub buffer: Buffer,
    /// Any other property of librdkafka's producer. Those that this document decides by other fields are refused.
    pub properties: BTreeMap<String, String>,
}

/// How long the broker keeps a transaction open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TransactionTimeout(pub Duration);

impl Default for TransactionTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// What may wait in memory to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Buffer(pub ByteSize);

impl Default for Buffer {
    fn default() -> Self {
        Self(ByteSize::from_mib(16))
    }
}

/// Which topic a row goes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TopicSpec {
    /// One topic for all.
    Name(String),
    /// A topic for each row.
    Expression(TopicExpression),
}

impl Default for TopicSpec {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

/// A topic that is found row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicExpression {
    /// An SQL expression over the row, such as `'orders-' || country`.
    pub sql: String,
}

/// What readers see after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// Each row once, for readers with `isolation.level=read_committed`: transactions.
    #[default]
    ExactlyOnce,
    /// A row may come twice after a failure; rows are visible at once, without waiting for a commit. Messages are
    /// still not doubled by the producer's own retries.
    AtLeastOnce,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip: for old readers.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4: the quickest.
    #[default]
    Lz4,
    /// Zstandard: the smallest.
    Zstd,
}

/// How a key's partition is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Partitioner {
    /// As Java's clients do: murmur2 of the key; messages without a key go anywhere.
    #[default]
    Murmur2,
    /// As librdkafka's own clients do by default: CRC32 of the key; messages without a key go anywhere.
    Crc32,
    /// The number of the task that read the row: the topic then needs as many partitions as the stream has tasks.
    Task,
}

/// How a missing topic is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CreateSpec {
    /// Partitions. Default 1.
    pub partitions: u32,
    /// Copies of each partition. Default: what the broker does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<u32>,
    /// How long messages are kept. Default: what the broker does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// Whether only the last message of each key is kept.
    pub compact: bool,
}

impl Default for CreateSpec {
    fn default() -> Self {
        Self { partitions: 1, replication: None, retention: None, compact: false }
    }
}

/// What is wrong with a source's words.
pub(crate) fn source_problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let mut problems = spec.connection().problems(path);
    problems.extend(topic_problems(spec, path));
    let moments = [
        ("start", if let Start::Timestamp(moment) = &spec.start { Some(moment) } else { None }),
        ("stop", if let Some(Stop::Timestamp(moment)) = &spec.stop { Some(moment) } else { None }),
    ];
    for (field, moment) in moments {
        if let Some(Err(found)) = moment.map(Moment::millis) {
            let problem = Problem::at(format!("{path}.{field}.timestamp")).found(found);
            problems.push(problem.expected("RFC 3339, as 2026-11-21T10:00:00Z, or milliseconds since 1970"));
        }
    }
    problems
}

fn topic_problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.topics.as_slice().is_empty() {
        let problem = Problem::at(format!("{path}.topics")).found("no topic");
        problems.push(problem.expected("the names of topics, or regular expressions that begin with `^`"));
    }
    for (index, topic) in spec.topics.as_slice().iter().enumerate() {
        let at = || Problem::at(format!("{path}.topics[{index}]")).found(format!("`{topic}`"));
        if topic.starts_with('^') {
            if let Err(error) = regex::Regex::new(topic) {
                problems.push(at().expected(format!("a regular expression: {error}")));
            }
        } else if !is_topic(topic) {
            problems.push(at().expected("at most 249 letters, digits, `.`, `_` and `-`"));
        }
    }
    problems
}

/// Whether Kafka takes this as a topic's name.
pub(crate) fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.bytes().all(legal)
}

/// What is wrong with a sink's words.
pub(crate) fn sink_problems(spec: &SinkSpec, path: &str) -> Vec<Problem> {
    let mut problems = spec.connection().problems(path);
    match &spec.topic {
        TopicSpec::Name(name) if !is_topic(name) => problems.push(
            Problem::at(format!("{path}.topic"))
                .found(if name.is_empty() { "no topic".to_owned() } else { format!("`{name}`") })
                .expected("at most 249 letters, digits, `.`, `_` and `-`, or `{sql: expression}`"),
        ),
        TopicSpec::Name(_) => {}
        TopicSpec::Expression(_) => problems.extend(spec.create.as_ref().map(|_| {
            Problem::at(format!("{path}.create"))
                .found("a topic to be made whose name is found row by row")
                .expected("a fixed `topic`")
                .hint("make the topics before, and leave `create` out")
        })),
    }
    problems.extend(
        spec.create
            .as_ref()
            .filter(|create| create.partitions == 0)
            .map(|_| Problem::at(format!("{path}.create.partitions")).found("0").expected("at least one partition")),
    );
    problems
}
