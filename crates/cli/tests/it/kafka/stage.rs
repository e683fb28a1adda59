//! A folder with a document, and topics of its own in a Kafka.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testkit::kafka::{Client, Kafka};

use super::feed::Feed;
use crate::process::{Place, Process, until};

/// The source of the tests' documents.
pub(crate) const SOURCE: &str = "
sources:
  rows:
    kafka: {brokers: BROKERS, topics: INPUT}
    format: {json: {schema: {columns: {id: int64, key: string}}}}
";
/// A sink that copies it, to which others may be added.
pub(crate) const COPY: &str = "
sinks:
  copy:
    from: rows
    kafka: {brokers: BROKERS, topic: OUTPUT, key: key, create: {partitions: 4}}
    format: json
";

/// A stream from the topic `input`, and what it writes.
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) client: Client,
    pub(crate) brokers: String,
    /// The stream's name.
    pub(crate) name: String,
    pub(crate) input: String,
    pub(crate) output: String,
}

impl Stage {
    /// An input with so many partitions, and names that no other test has.
    pub(crate) fn new(kafka: &Kafka, what: &str, partitions: u32) -> Self {
        let name = kafka.topic(what);
        let (input, output) = (format!("{name}-in"), format!("{name}-out"));
        let client = kafka.client();
        client.create(&input, partitions);
        Self { place: Place::new(), client, brokers: kafka.brokers().to_owned(), name, input, output }
    }

    /// Writes the document: `BROKERS`, `INPUT` and `OUTPUT` in the spec stand for this stage's own.
    pub(crate) fn document(&self, spec: &str) {
        let spec = spec.replace("BROKERS", &format!("\"{}\"", self.brokers));
        self.place.document_of(&self.name, &spec.replace("INPUT", &self.input).replace("OUTPUT", &self.output));
    }

    /// Rows for a topic with so many partitions.
    pub(crate) fn feed(&self, topic: &str, partitions: u32) -> Feed {
        Feed { client: self.client.clone(), topic: topic.to_owned(), partitions: partitions.into(), rows: 0 }
    }

    /// Starts the stream, with log lines that tell of each commit.
    pub(crate) fn run(&self) -> Process {
        self.start(&[])
    }

    /// Starts the stream with more arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.place.start(&[&["run", "stream.yaml", "--log-level", "debug"], arguments].concat())
    }

    /// Runs the stream until its input is drained, which must go well.
    pub(crate) fn drain(&self) {
        self.start(&["--until-idle"]).succeed();
    }
}

/// How many commits a process has made.
pub(crate) fn commits(process: &Process) -> usize {
    process.err().matches("\"committed\"").count()
}

/// Waits until a process has made so many commits.
pub(crate) fn until_commits(process: &mut Process, count: usize) {
    until(&format!("{count} commits"), || {
        let ended = process.ended_within(std::time::Duration::ZERO);
        assert!(ended.is_none(), "{ended:?}: {}", process.err());
        commits(process) >= count
    });
}

/// Where a process that was started with `--listen` serves its metrics.
pub(crate) fn address(process: &Process) -> String {
    until("it listens", || {
        assert!(!process.has_ended(), "it ended: {}", process.err());
        process.err().contains("listening on http://")
    });
    let err = process.err();
    let (_, rest) = err.split_once("listening on http://").unwrap();
    rest.split_whitespace().next().unwrap().trim_end_matches('"').to_owned()
}

/// The value of each series of a metric, by its labels.
pub(crate) fn metric(address: &str, name: &str) -> Vec<(String, i64)> {
    let Ok(mut connection) = TcpStream::connect(address) else { return Vec::new() };
    write!(connection, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let series = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    series.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}
