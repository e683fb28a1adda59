//! The sink, its ledger and the stream's books on real Kafka.

mod cost;
mod delivery;
mod fencing;

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use document::Secrets;
use testkit::kafka::Kafka;
use tokio::runtime::{Builder, Runtime};

use crate::connector::kafka::books::KafkaBooks;
use crate::connector::kafka::ledger::{KafkaLedger, Place};
use crate::connector::kafka::{Delivery, Names, SinkSpec, TopicSpec, plan_sink};
use crate::format::{Format, Name};
use crate::ledger::{Books as _, StreamRecord, VERSION};
use crate::{BadRow, Batch, Error, Input, OpenSink, Origin, Payload, Record, Rows, Sink, World, exercise};

/// A stream of a test's own that writes into a topic of its own.
struct Home {
    spec: SinkSpec,
    stream: String,
    runtime: Runtime,
    format: Format,
    secrets: Arc<Secrets>,
}

impl Home {
    fn new(kafka: &Kafka, topic: &str) -> Self {
        let spec = SinkSpec {
            brokers: Names::One(kafka.brokers().to_owned()),
            topic: TopicSpec::Name(topic.to_owned()),
            ..SinkSpec::default()
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            spec,
            stream: format!("test.{}", topic.replace('.', "-")),
            runtime,
            format: Format::named(Name::Json),
            secrets: Arc::default(),
        }
    }

    fn world(&self) -> World {
        World { secrets: Arc::clone(&self.secrets), ..World::local(Path::new("."), self.runtime.handle()) }
    }

    fn open_for(&self, schema: &SchemaRef, task: &str, uid: &str) -> Box<dyn Sink> {
        self.try_open_for(schema, task, uid).unwrap()
    }

    fn try_open_for(&self, schema: &SchemaRef, task: &str, uid: &str) -> Result<Box<dyn Sink>, Error> {
        let parts = plan_sink(&self.spec, "out", self.format.clone(), schema).unwrap();
        (parts.open)(OpenSink {
            name: "out".into(),
            stream: self.stream.as_str().into(),
            uid: uid.into(),
            task: task.into(),
            claim: 0,
            schema: Arc::clone(schema),
            world: self.world(),
        })
    }

    fn open(&self) -> Box<dyn Sink> {
        self.open_for(&exercise::schema(), "rows-0", "uid")
    }

    fn books(&self) -> KafkaBooks {
        KafkaBooks::open(&Place { sink: self.spec.clone(), stream: self.stream.clone() }, &self.world()).unwrap()
    }

    fn ledger(&self, task: &str) -> KafkaLedger {
        let place = Place { sink: self.spec.clone(), stream: self.stream.clone() };
        KafkaLedger::open(&place, task, "uid", &[], &self.world()).unwrap()
    }
}

/// The texts of the rows that a reader sees.
fn visible(kafka: &Kafka, topic: &str) -> Vec<String> {
    let text = |record: testkit::kafka::Record| -> String {
        let value: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        value["text"].as_str().unwrap().to_owned()
    };
    kafka.client().consume(topic).into_iter().map(text).collect()
}

fn batch(columns: RecordBatch) -> Batch {
    let origin = Origin { input: "test".into(), offset: 0 };
    let payload = Payload::Columns(columns.clone(), origin);
    Batch { columns, rows: Rows::Same, input: Arc::new(Input { source: "test".into(), payload, messages: Rows::Same }) }
}

fn record(claim: u64, sequence: u64) -> Record {
    Record {
        version: VERSION,
        claim,
        sequence,
        nonce: format!("{claim}-{sequence}"),
        at: 0,
        positions: [("rows".to_owned(), crate::Position(sequence.into()))].into(),
        tokens: std::collections::BTreeMap::default(),
    }
}

/// Writes rows and commits them with a record.
fn commit(sink: &mut dyn Sink, batch: &Batch, record: &Record) -> Vec<BadRow> {
    let bad = sink.write(batch).unwrap();
    assert_eq!(sink.prepare(record.sequence).unwrap(), None);
    sink.ledger().unwrap().append(record).unwrap();
    bad
}

fn stream_record(uid: &str, generation: u64) -> StreamRecord {
    StreamRecord {
        version: VERSION,
        uid: uid.into(),
        generation,
        containers: 1,
        shards: [("rows".to_owned(), 1)].into_iter().collect(),
        starts: std::collections::BTreeMap::default(),
    }
}

#[test]
fn the_hosting_sink_keeps_its_promises() {
    let Some(kafka) = testkit::kafka::shared("the_hosting_sink_keeps_its_promises", "kafka") else { return };
    let topic = kafka.topic("hosting");
    kafka.client().create(&topic, 3);
    let place = Home::new(&kafka, &topic);
    exercise::hosting_sink(|| place.open(), || visible(&kafka, &topic));
}

#[test]
fn the_direct_sink_keeps_its_promises() {
    let Some(kafka) = testkit::kafka::shared("the_direct_sink_keeps_its_promises", "kafka") else { return };
    let topic = kafka.topic("direct");
    kafka.client().create(&topic, 3);
    let mut place = Home::new(&kafka, &topic);
    place.spec.delivery = Delivery::AtLeastOnce;
    let mut sink = place.open();
    assert!(sink.ledger().is_none());
    assert_eq!(sink.write(&exercise::rows(0..0)).unwrap(), []);
    // A flush hands messages to the client and doesn't wait for the broker: the first look takes longer than that.
    exercise::direct_sink(sink, || {
        visible(&kafka, &topic);
        visible(&kafka, &topic)
    });
}

#[test]
fn the_ledger_keeps_its_promises() {
    let Some(kafka) = testkit::kafka::shared("the_ledger_keeps_its_promises", "kafka") else { return };
    let place = Home::new(&kafka, &kafka.topic("ledger"));
    let books = place.books();
    books.create_stream(&stream_record("uid", 1)).unwrap();
    exercise::ledger(|| books.ledger("rows-0", "me").unwrap());
    // One that ends with no number has a topic of its own.
    exercise::ledger(|| books.ledger("_replay-rows-out", "me").unwrap());
    exercise::ledger(|| books.ledger("rows-9", "me").unwrap());
    let records = books.records().unwrap();
    assert_eq!(records.keys().collect::<Vec<_>>(), ["_replay-rows-out", "rows-0", "rows-9"]);
    assert_eq!(records["rows-0"].sequence, 3);
    let prefix = format!("_headwater.{}.", place.stream);
    assert_eq!(kafka.client().ends(&format!("{prefix}rows")).len(), 16);
    assert_eq!(kafka.client().ends(&format!("{prefix}_replay-rows-out")).len(), 1);
}

#[test]
fn the_books_of_a_stream() {
    let Some(kafka) = testkit::kafka::shared("the_books_of_a_stream", "kafka") else { return };
    let place = Home::new(&kafka, &kafka.topic("books"));
    let books = place.books();
    // Looking makes nothing.
    assert_eq!(books.stream().unwrap(), None);
    assert!(books.records().unwrap().is_empty());
    assert_eq!(books.put_aside("x").unwrap(), None);
    let listed =
        kafka.tool(testkit::kafka::Tool::TOPICS).arguments(&["--list", "--bootstrap-server", kafka.brokers()]).run();
    assert!(!listed.stdout.contains(&place.stream), "{}", listed.stdout);

    books.create_stream(&stream_record("one", 1)).unwrap();
    books.create_stream(&stream_record("late", 1)).unwrap();
    assert_eq!(books.stream().unwrap().unwrap().uid, "one");
    // Of two that write the next generation, the first wins; one that comes from the past counts nothing.
    let next = |containers| StreamRecord { containers, ..stream_record("one", 2) };
    books.write_stream(&next(4)).unwrap();
    books.write_stream(&next(7)).unwrap();
    assert_eq!(books.stream().unwrap().unwrap(), next(4));
    let mut ledger = books.ledger("rows-0", "me").unwrap();
    let claimed = ledger.claim().unwrap();
    ledger.append(&record(claimed.claim, 1)).unwrap();
    assert_eq!(books.records().unwrap()["rows-0"], record(claimed.claim, 1));

    let told = books.put_aside("x").unwrap().unwrap();
    assert!(told.contains("one") && told.contains(&place.stream), "{told}");
    assert_eq!(books.stream().unwrap(), None);
    assert!(books.records().unwrap().is_empty());
    books.create_stream(&stream_record("two", 1)).unwrap();
    let anew = books.stream().unwrap().unwrap();
    assert_eq!((anew.uid.as_str(), anew.generation), ("two", 4));
    // The records of the stream before don't count, but its claims go on growing.
    let again = books.ledger("rows-0", "me").unwrap().claim().unwrap();
    assert_eq!((again.claim, again.last), (claimed.claim + 1, None));
}
