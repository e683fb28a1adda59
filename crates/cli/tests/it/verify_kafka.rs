//! `headwater verify` with real Kafka: temporary topics on the document's own brokers, transactions, and nothing left.

use testkit::kafka::{Kafka, Tool, shared};

use crate::support::{Place, Ran};

const DOCUMENT: &str = r#"
apiVersion: headwater.dev/v1alpha1
kind: Stream
metadata: {name: orders}
spec:
  sources:
    orders:
      kafka: {brokers: "BROKERS", topics: TOPIC}
      format: {json: {schema: {columns: {id: int64, country: string, price: float64}}}}
  steps:
    cheap: {from: orders, sql: "SELECT id, country, price FROM orders WHERE price < 500"}
  sinks:
    cheap-out: {from: cheap, kafka: {brokers: "BROKERS", topic: OUT, key: country}, format: json}
"#;

/// A place with the document, and the topics that stand in it.
fn place(kafka: &Kafka, document: &str) -> (Place, [String; 2]) {
    let topics = [kafka.topic("orders"), kafka.topic("cheap")];
    let text = document.replace("BROKERS", kafka.brokers()).replace("TOPIC", &topics[0]).replace("OUT", &topics[1]);
    let client = kafka.client();
    for topic in &topics {
        client.create(topic, 2);
    }
    (Place::new(&text), topics)
}

fn verify(place: &Place, arguments: &[&str]) -> Ran {
    place.run(&[&["verify", "a.yaml", "--every", "50ms..500ms", "--output", "json"], arguments].concat())
}

#[test]
fn from_kafka_to_kafka_ten_kills_lose_and_repeat_nothing() {
    let Some(kafka) = shared("verify_kafka::ten_kills", "kafka") else { return };
    let (place, topics) = place(&kafka, DOCUMENT);
    let told = verify(&place, &["--kills", "10", "--rows", "4000"]).ends(0).json();
    let sink = &told["sinks"][0];
    assert_eq!((&sink["promise"], &sink["verdict"]), (&"exactlyOnce".into(), &"kept".into()), "{told:#}");
    assert!(sink["expected"].as_u64().unwrap() > 1000 && sink["expected"] == sink["found"], "{told:#}");
    let client = kafka.client();
    for topic in &topics {
        assert_eq!(client.ends(topic), [0, 0], "the user's own {topic} is as it was");
    }
    // Others verify at the same time: only topics of this document's sink can be told to be its own.
    let left = kafka.tool(Tool::TOPICS).arguments(&["--bootstrap-server", kafka.brokers(), "--list"]).output();
    assert!(!left.lines().any(|topic| topic.ends_with("-cheap-out")), "{left}");
}

#[test]
fn a_sink_that_is_at_least_once_loses_nothing() {
    let Some(kafka) = shared("verify_kafka::at_least_once", "kafka") else { return };
    let (place, _) = place(&kafka, &DOCUMENT.replace("key: country", "key: country, delivery: atLeastOnce"));
    let told = verify(&place, &["--kills", "5", "--rows", "2000"]).ends(0).json();
    let sink = &told["sinks"][0];
    assert_eq!((&sink["promise"], &sink["lost"]), (&"atLeastOnce".into(), &0.into()), "{told:#}");
}

#[test]
fn topics_that_are_found_row_by_row_become_a_header() {
    let Some(kafka) = shared("verify_kafka::by_row", "kafka") else { return };
    let (place, _) = place(&kafka, &DOCUMENT.replace("topic: OUT", "topic: {sql: \"'to-' || country\"}"));
    let told = verify(&place, &["--kills", "2", "--rows", "1000"]).ends(0).json();
    assert_eq!(told["sinks"][0]["verdict"], "kept", "{told:#}");
}
