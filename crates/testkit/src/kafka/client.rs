//! A client by other people: Confluent's, in Python.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

/// What the client is made of.
const SCRIPT: &str = include_str!("client.py");

/// One record of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its partition. When produced, `None` lets the client choose by the key.
    pub partition: Option<i32>,
    /// Its offset; not looked at when produced.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970. When produced, 0 is the present.
    pub timestamp_ms: i64,
}

impl Record {
    /// One with a payload and nothing else.
    pub fn of(value: impl Into<Vec<u8>>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }

    /// With a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Record {
        self.key = Some(key.into());
        self
    }

    /// In a partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }

    /// The payload as text; empty for a tombstone.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Confluent's client, with its settings. A call takes about a third of a second, and panics when it fails.
#[derive(Clone, Debug)]
pub struct Client {
    python: PathBuf,
    settings: Map<String, Value>,
}

impl Client {
    pub(super) fn new(python: PathBuf, brokers: &str) -> Client {
        let settings = json!({"bootstrap.servers": brokers}).as_object().cloned().unwrap_or_default();
        Client { python, settings }
    }

    /// With a setting of librdkafka, such as `security.protocol`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Client {
        self.settings.insert(key.to_owned(), Value::String(value.into()));
        self
    }

    /// Makes a topic.
    pub fn create(&self, topic: &str, partitions: u32) {
        self.create_with(topic, partitions, &[]);
    }

    /// Makes a topic with settings of its own, such as `("max.message.bytes", "1000")`.
    pub fn create_with(&self, topic: &str, partitions: u32, settings: &[(&str, &str)]) {
        let settings: BTreeMap<&str, &str> = settings.iter().copied().collect();
        self.call(&json!({"do": "create", "topic": topic, "partitions": partitions, "settings": settings}));
    }

    /// Gives a topic more partitions.
    pub fn grow(&self, topic: &str, partitions: u32) {
        self.call(&json!({"do": "grow", "topic": topic, "partitions": partitions}));
    }

    /// Removes a topic.
    pub fn remove(&self, topic: &str) {
        self.call(&json!({"do": "remove", "topic": topic}));
    }

    /// Writes records, and returns once all are acknowledged.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        let records: Vec<Value> = records.iter().map(to_json).collect();
        self.call(&json!({"do": "produce", "topic": topic, "records": records}));
    }

    /// Writes records in one transaction of the setting `transactional.id`, which is then committed or aborted.
    pub fn produce_in_transaction(&self, topic: &str, records: &[Record], is_committed: bool) {
        let records: Vec<Value> = records.iter().map(to_json).collect();
        let end = if is_committed { "commit" } else { "abort" };
        self.call(&json!({"do": "produce", "topic": topic, "records": records, "transaction": end}));
    }

    /// All records from the beginning to the present end, by partition and offset. Only what is committed, unless the
    /// setting `isolation.level` says otherwise.
    pub fn consume(&self, topic: &str) -> Vec<Record> {
        self.call(&json!({"do": "consume", "topic": topic})).iter().map(from_json).collect()
    }

    /// The offset after the last record of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        self.call(&json!({"do": "ends", "topic": topic})).iter().filter_map(Value::as_i64).collect()
    }

    /// The offset that a group has committed in each partition, `None` where it has none.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let found = self.call(&json!({"do": "committed", "topic": topic, "group": group}));
        found.iter().map(Value::as_i64).collect()
    }

    /// One call; each line of the answer is a value.
    fn call(&self, asked: &Value) -> Vec<Value> {
        let mut command = Command::new(&self.python);
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let whole = json!({"settings": self.settings, "asked": asked}).to_string();
        // The script reads everything before it answers, so that nobody waits for the other. Its error is told below.
        drop(stdin.write_all(whole.as_bytes()));
        drop(stdin);
        let answer = child.wait_with_output().expect("python ends");
        let told = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{} failed: {told}", asked["do"]);
        let lines = answer.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect()
    }
}

fn to_json(record: &Record) -> Value {
    let headers = record.headers.iter().map(|(name, value)| json!([name, value.as_deref().map(hex)]));
    json!({
        "partition": record.partition,
        "key": record.key.as_deref().map(hex),
        "value": record.value.as_deref().map(hex),
        "headers": headers.collect::<Vec<Value>>(),
        "timestamp": record.timestamp_ms,
    })
}

fn from_json(value: &Value) -> Record {
    let headers = value["headers"].as_array().into_iter().flatten();
    Record {
        partition: value["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok()),
        offset: value["offset"].as_i64().expect("an offset"),
        key: value["key"].as_str().map(bytes),
        value: value["value"].as_str().map(bytes),
        headers: headers
            .map(|pair| (pair[0].as_str().expect("a name").to_owned(), pair[1].as_str().map(bytes)))
            .collect(),
        timestamp_ms: value["timestamp"].as_i64().expect("a timestamp"),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |letter: u8| u8::try_from(char::from(letter).to_digit(16).expect("a hex digit")).expect("below 16");
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_go_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&hex(&all)), all);
    }
}
