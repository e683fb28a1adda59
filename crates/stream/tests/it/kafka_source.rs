//! Kafka as a source, against a real cluster.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream::{Error, Position};
use testkit::kafka::{self, Kafka, Record, Tool};

use crate::support::{Place, quarantine, wait_until};

/// A stream from topics to JSON lines, with more fields of the source.
fn spec(kafka: &Kafka, topics: &str, fields: &str) -> String {
    let columns = "format: {json: {schema: {columns: {n: int64}}}}";
    format!(
        "
sources:
  events: {{kafka: {{brokers: '{}', topics: {topics}, {fields}}}, {columns}}}
sinks:
  out: {{from: events, files: {{url: out}}, format: json}}
",
        kafka.brokers()
    )
}

fn numbered(numbers: impl IntoIterator<Item = u64>, partition: i32) -> Vec<Record> {
    numbers.into_iter().map(|n| Record::of(format!("{{\"n\":{n}}}")).partition(partition)).collect()
}

/// Where the tasks of a stream stand in its source, by the number of the task.
fn positions(place: &Place, spec: &str) -> BTreeMap<String, Value> {
    let books = place.plan(spec).ledger.open(&place.world()).unwrap();
    let shown = stream::positions::show(&*books).unwrap();
    shown.into_iter().map(|task| (task.task, task.positions["events"].0.clone())).collect()
}

#[test]
fn two_topics_are_read_in_order_and_again_from_where_they_were_left() {
    let Some(kafka) = kafka::shared("two_topics_are_read_in_order", "kafka") else { return };
    let (place, client) = (Place::new(), kafka.client());
    let (one, two) = (kafka.topic("one"), kafka.topic("two"));
    client.create(&one, 1);
    client.create(&two, 3);
    client.produce(&one, &numbered(0..5, 0));
    let of_two: Vec<Record> = (0..3)
        .flat_map(|id| numbered(10 + u64::try_from(id).unwrap() * 10..15 + u64::try_from(id).unwrap() * 10, id))
        .collect();
    client.produce(&two, &of_two);
    let spec = spec(&kafka, &format!("[{one}, {two}]"), "");
    let report = place.run(&spec).unwrap();
    assert_eq!(place.numbers("out"), (0..5).chain(10..15).chain(20..25).chain(30..35).collect::<Vec<u64>>());
    for file in ["0", "1", "2"] {
        // Each partition has its order.
        let of_task: Vec<u64> = place
            .json("out")
            .iter()
            .map(|row| row["n"].as_u64().unwrap())
            .filter(|n| *n / 10 == file.parse::<u64>().unwrap() + 1)
            .collect();
        assert!(of_task.is_sorted() && of_task.len() == 5, "{of_task:?}");
    }
    assert_eq!(report.counts.parts["events"].lag, 0);
    let stands: Vec<Value> = positions(&place, &spec).into_values().collect();
    assert_eq!(stands, [json!({&*one: 5, &*two: 5}), json!({&*two: 5}), json!({&*two: 5})]);
    // A run that reads nothing writes no record.
    let books = place.plan(&spec).ledger.open(&place.world()).unwrap();
    let sequence = |books: &dyn stream::Books| stream::positions::show(books).unwrap()[0].sequence;
    let before = sequence(&*books);
    place.run(&spec).unwrap();
    assert_eq!(sequence(&*books), before);
    client.produce(&one, &numbered(5..7, 0));
    client.produce(&two, &numbered(15..16, 0));
    place.run(&spec).unwrap();
    assert_eq!(place.numbers("out"), (0..7).chain(10..16).chain(20..25).chain(30..35).collect::<Vec<u64>>());
}
