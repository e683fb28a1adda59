//! Kafka as a source, against a real cluster.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream::Error;
use testkit::kafka::{self, Kafka, Private, Record, Tool};

use crate::support::{Place, batch, encoded, named, quarantine, wait_until};

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

#[test]
fn a_start_is_resolved_once() {
    let Some(kafka) = kafka::shared("a_start_is_resolved_once", "kafka") else { return };
    let (client, topic) = (kafka.client(), kafka.topic("starts"));
    client.create(&topic, 2);
    let at = |n: u64| Record {
        timestamp_ms: 1_600_000_000_000 + i64::try_from(n).unwrap() * 1000,
        ..numbered([n], 0).remove(0)
    };
    client.produce(&topic, &(0..6).map(at).collect::<Vec<_>>());
    let cases = [
        ("earliest".to_owned(), (0..8).collect::<Vec<u64>>()),
        ("latest".to_owned(), vec![6, 7]),
        ("{timestamp: 1600000003500}".to_owned(), vec![4, 5, 6, 7]),
        ("{timestamp: '2020-09-13T12:26:42Z'}".to_owned(), (2..8).collect()),
        ("{timestamp: 1900000000000}".to_owned(), vec![6, 7]),
        (format!("{{offsets: {{{topic}: {{0: 5}}}}}}"), vec![5, 6, 7]),
    ];
    let places: Vec<(Place, String, Vec<u64>)> = cases
        .map(|(start, wanted)| (Place::new(), spec(&kafka, &topic, &format!("start: {start}")), wanted))
        .into_iter()
        .collect();
    for (place, spec, wanted) in &places {
        place.run(spec).unwrap();
        let before: Vec<u64> = wanted.iter().copied().filter(|n| *n < 6).collect();
        assert_eq!(place.numbers("out"), before, "{spec}");
    }
    client.produce(&topic, &(6..8).map(at).collect::<Vec<_>>());
    for (place, spec, wanted) in &places {
        place.run(spec).unwrap();
        assert_eq!(place.numbers("out"), *wanted, "{spec}");
    }
}

#[test]
fn a_stop_ends_the_run() {
    let Some(kafka) = kafka::shared("a_stop_ends_the_run", "kafka") else { return };
    let (client, topic) = (kafka.client(), kafka.topic("stops"));
    client.create(&topic, 2);
    let at = |n: u64| Record {
        timestamp_ms: 1_600_000_000_000 + i64::try_from(n).unwrap() * 1000,
        ..numbered([n], 0).remove(0)
    };
    client.produce(&topic, &(0..6).map(at).collect::<Vec<_>>());
    for (stop, wanted) in [
        ("latest".to_owned(), 0..6_u64),
        ("{timestamp: 1600000003000}".to_owned(), 0..3),
        (format!("{{offsets: {{{topic}: {{0: 4}}}}}}"), 0..4),
    ] {
        let place = Place::new();
        let spec = spec(&kafka, &topic, &format!("stop: {stop}"));
        place.start(place.plan(&spec), false).end().unwrap();
        assert_eq!(place.numbers("out"), wanted.collect::<Vec<_>>(), "{spec}");
    }
    // An end that is not there yet is waited for.
    let place = Place::new();
    let running = place
        .start(place.plan(&spec(&kafka, &topic, &format!("stop: {{offsets: {{{topic}: {{0: 8, 1: 0}}}}}}"))), false);
    wait_until("what is there was read", || running.rows_in("events") == 6);
    client.produce(&topic, &(6..10).map(at).collect::<Vec<_>>());
    running.end().unwrap();
    assert_eq!(place.numbers("out"), (0..8).collect::<Vec<_>>());
}

#[test]
fn only_what_is_committed_is_read_and_marks_of_transactions_are_no_lag() {
    let Some(kafka) = kafka::shared("only_what_is_committed_is_read", "kafka") else { return };
    let (place, topic) = (Place::new(), kafka.topic("transactions"));
    kafka.client().create(&topic, 1);
    let client = kafka.client().with("transactional.id", &*topic);
    client.produce_in_transaction(&topic, &numbered(0..3, 0), true);
    client.produce_in_transaction(&topic, &numbered(100..103, 0), false);
    client.produce_in_transaction(&topic, &numbered(3..5, 0), true);
    let spec = spec(&kafka, &topic, "stop: latest, metadata: true");
    let report = place.start(place.plan(&spec), false).end().unwrap();
    let rows: Vec<Value> = place.json("out").iter().map(|row| json!([row["n"], row["_offset"]])).collect();
    assert_eq!(rows, [json!([0, 0]), json!([1, 1]), json!([2, 2]), json!([3, 8]), json!([4, 9])]);
    assert_eq!(report.counts.parts["events"].lag, 0);
    assert_eq!(positions(&place, &spec).into_values().collect::<Vec<_>>(), [json!({&*topic: 11})], "behind the mark");
}

#[test]
fn tombstones_are_rows_where_the_message_is_told_of() {
    let Some(kafka) = kafka::shared("tombstones_are_rows", "kafka") else { return };
    let (client, topic) = (kafka.client(), kafka.topic("tombstones"));
    client.create(&topic, 1);
    let tombstone = || Record { key: Some(b"k".to_vec()), value: None, partition: Some(0), ..Record::default() };
    let headers = vec![("trace".to_owned(), Some(vec![0, 255])), ("none".to_owned(), None)];
    let first = Record { headers, timestamp_ms: 1_600_000_000_123, ..numbered([0], 0).remove(0).key("a") };
    client.produce(&topic, &[first, tombstone(), tombstone(), numbered([3], 0).remove(0), tombstone()]);
    let (with, without) = (Place::new(), Place::new());
    let told = spec(&kafka, &topic, "metadata: true");
    with.run(&told).unwrap();
    let rows = with.json("out");
    assert_eq!(rows[0]["_timestamp"], json!("2020-09-13T12:26:40.123Z"));
    assert_eq!(rows[0]["_headers"], json!([{"key": "trace", "value": "AP8="}, {"key": "none"}]));
    assert_eq!(rows[0]["_key"], json!("YQ=="));
    assert_eq!((&rows[0]["_topic"], &rows[0]["_partition"]), (&json!(topic), &json!(0)));
    let brief: Vec<Value> =
        rows.iter().map(|row| json!([row.get("n"), row["_offset"], row.get("_key").is_some()])).collect();
    assert_eq!(
        brief,
        [
            json!([0, 0, true]),
            json!([null, 1, true]),
            json!([null, 2, true]),
            json!([3, 3, false]),
            json!([null, 4, true])
        ]
    );
    let untold = spec(&kafka, &topic, "");
    without.run(&untold).unwrap();
    assert_eq!(without.numbers("out"), [0, 3]);
    assert_eq!(positions(&without, &untold).into_values().collect::<Vec<_>>(), [json!({&*topic: 5})]);
}

#[test]
fn a_pattern_finds_topics_and_a_name_that_is_not_there_is_told() {
    let Some(kafka) = kafka::shared("a_pattern_finds_topics", "kafka") else { return };
    let (client, place) = (kafka.client(), Place::new());
    let base = kafka.topic("pattern");
    let (one, other, third) = (format!("{base}-a"), format!("{base}-b"), format!("__{base}-c"));
    client.create(&one, 1);
    client.create(&other, 2);
    // A pattern never means the topics of Kafka itself.
    client.create(&third, 1);
    client.produce(&third, &numbered([3], 0));
    client.produce(&one, &numbered([1], 0));
    client.produce(&other, &numbered([2], 1));
    let spec_of = |topics: &str| spec(&kafka, topics, "");
    place.run(&spec_of(&format!("'^(__)?{base}-[a-z]$'"))).unwrap();
    assert_eq!(place.numbers("out"), [1, 2]);
    let problems = Place::new().try_plan(&spec_of(&one[1..]), &[]).err().unwrap();
    let words = problems[0].to_string();
    assert!(words.contains(&format!("no topic `{}`", &one[1..])) && words.contains(kafka.brokers()), "{words}");
    assert!(words.contains(&format!("did you mean `{one}`?")), "{words}");
}

#[test]
fn messages_that_are_gone_are_an_error_or_are_skipped() {
    let Some(kafka) = kafka::shared("messages_that_are_gone", "kafka") else { return };
    let (client, place, topic) = (kafka.client(), Place::new(), kafka.topic("gone"));
    client.create(&topic, 1);
    client.produce(&topic, &numbered(0..3, 0));
    place.run(&spec(&kafka, &topic, "")).unwrap();
    client.produce(&topic, &numbered(3..9, 0));
    place.write(
        "offsets.json",
        json!({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 7}]}).to_string(),
    );
    let offsets = place.path("offsets.json").display().to_string();
    kafka
        .tool("org.apache.kafka.tools.DeleteRecordsCommand")
        .arguments(&["--bootstrap-server", kafka.brokers(), "--offset-json-file", &offsets])
        .output();
    let error = place.run(&spec(&kafka, &topic, "")).unwrap_err();
    assert!(matches!(&error, Error::Gap { ours: 3, first: 7, end: 9, .. }), "{error}");
    assert!(error.is_lasting() && error.to_string().contains(&format!("{topic}-0")), "{error}");
    place.run(&spec(&kafka, &topic, "onGap: skip")).unwrap();
    assert_eq!(place.numbers("out"), [0, 1, 2, 7, 8]);
}

#[test]
fn a_message_that_is_no_row_is_put_aside_and_others_see_where_we_are() {
    let Some(kafka) = kafka::shared("a_message_that_is_no_row", "kafka") else { return };
    let (client, place, topic) = (kafka.client(), Place::new(), kafka.topic("poison"));
    client.create(&topic, 1);
    let mut records = numbered(0..3, 0);
    records.insert(1, Record::of("{\"n\":").partition(0));
    records.insert(2, Record::of("").partition(0));
    client.produce(&topic, &records);
    let spec = spec(&kafka, &topic, &format!("group: {topic}"));
    let plan = place.plan(&spec);
    let running = place.start(plan.clone(), false);
    wait_until("all is read", || running.rows_in("events") == 5);
    wait_until("nothing lags", || running.meter.snapshot().parts["events"].lag == 0);
    running.drain();
    assert_eq!(place.numbers("out"), [0, 1, 2]);
    let aside: Vec<(String, u64, Vec<u8>)> = quarantine(&plan)
        .iter()
        .map(|entry| (entry.origin.input.to_string(), entry.origin.offset, entry.payload().unwrap()))
        .collect();
    let input = format!("{topic}-0");
    assert_eq!(aside, [(input.clone(), 1, b"{\"n\":".to_vec()), (input, 2, Vec::new())]);
    assert_eq!(client.committed(&topic, &topic), [Some(5)]);
    let groups =
        kafka.tool(Tool::GROUPS).arguments(&["--bootstrap-server", kafka.brokers(), "--describe", "--group", &topic]);
    assert!(groups.output().contains(&topic));
}

#[test]
fn every_codec_is_read_and_a_long_message_comes_alone() {
    let Some(kafka) = kafka::shared("every_codec_is_read", "kafka") else { return };
    let (place, topic) = (Place::new(), kafka.topic("codecs"));
    kafka.client().create_with(&topic, 1, &[("max.message.bytes", "3000000")]);
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let first = u64::try_from(number).unwrap() * 10;
        let client = kafka.client().with("compression.type", codec).with("message.max.bytes", "3000000");
        client.produce(&topic, &numbered(first..first + 9, 0));
        client.produce(&topic, &[Record::of(format!("{{\"n\":{}{}}}", first + 9, " ".repeat(2_500_000))).partition(0)]);
    }
    let spec = format!("{}batch: {{bytes: 1MiB}}\n", spec(&kafka, &topic, ""));
    place.run(&spec).unwrap();
    assert_eq!(place.numbers("out"), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_schema_is_inferred_from_the_newest_messages() {
    let Some(kafka) = kafka::shared("a_schema_is_inferred", "kafka") else { return };
    let (place, topic) = (Place::new(), kafka.topic("inferred"));
    kafka.client().create(&topic, 4);
    let spec = spec(&kafka, &topic, "").replace("format: {json: {schema: {columns: {n: int64}}}}", "format: json");
    let problems = place.try_plan(&spec, &[]).err().unwrap();
    assert!(problems[0].to_string().contains("no message to infer one from"), "{problems:#?}");
    kafka.client().produce(
        &topic,
        &[Record::of(r#"{"n":1,"text":"a"}"#).partition(2), Record::of(r#"{"n":2,"x":1.5}"#).partition(3)],
    );
    place.run(&spec).unwrap();
    let mut rows = place.json("out");
    rows.sort_by_key(|row| row["n"].as_u64());
    assert_eq!(rows, [json!({"n": 1, "text": "a"}), json!({"n": 2, "x": 1.5})]);
}

#[test]
fn every_format_is_read_message_by_message() {
    let Some(kafka) = kafka::shared("every_format_is_read", "kafka") else { return };
    let columns = "schema: {columns: {n: int64, text: string}}";
    for (name, format) in [
        ("json", format!("{{json: {{{columns}}}}}")),
        ("csv", format!("{{csv: {{header: false, {columns}}}}}")),
        ("messagepack", format!("{{messagepack: {{{columns}}}}}")),
        ("avro", "avro".to_owned()),
    ] {
        let (place, topic) = (Place::new(), kafka.topic(name));
        kafka.client().create(&topic, 1);
        let mut encoding = named(name);
        if let stream::format::Format::Csv(csv) = &mut encoding {
            csv.header = false;
        }
        let message = |n: u64| encoded(&encoding, &batch(&place, &format!("{{\"n\":{n},\"text\":\"row {n}\"}}")));
        let mut records: Vec<Record> = (0..300).map(|n| Record::of(message(n))).collect();
        records.insert(7, Record::of(""));
        records.insert(9, Record::of([0xff, 0, 1, 2]));
        kafka.client().produce(&topic, &records);
        let spec = spec(&kafka, &topic, "metadata: true").replace("{json: {schema: {columns: {n: int64}}}}", &format);
        let plan = place.plan(&spec);
        place.run_plan(plan.clone()).unwrap();
        assert_eq!(place.numbers("out"), (0..300).collect::<Vec<_>>(), "{name}");
        // Two messages that are bad stand before the ninth good one.
        let rows = place.json("out");
        assert!(rows.iter().all(|row| row["text"] == format!("row {}", row["n"])), "{name}");
        let shift = |n: i64| n + i64::from(n >= 7) + i64::from(n >= 8);
        assert!(
            rows.iter().all(|row| row["_offset"].as_i64() == row["n"].as_i64().map(shift)),
            "{name}: {:?}",
            &rows[..12]
        );
        let bad: Vec<u64> = quarantine(&plan).iter().map(|entry| entry.origin.offset).collect();
        assert_eq!(bad, [7, 9], "{name}");
    }
}

#[test]
fn a_broker_that_goes_and_comes_back_is_waited_for() {
    let Some(kafka) = Private::start("a_broker_that_goes_and_comes_back", "kafka") else { return };
    let (client, place, topic) = (kafka.client(), Place::new(), kafka.topic("away"));
    client.create(&topic, 1);
    client.produce(&topic, &numbered(0..3, 0));
    let spec = format!("{}\ntasks: {{metadataEvery: 1s}}\n", spec(&kafka, &topic, ""));
    let running = place.start(place.plan(&spec), false);
    wait_until("the first are read", || running.rows_in("events") == 3);
    kafka.kill(1).back();
    client.produce(&topic, &numbered(3..5, 0));
    wait_until("what came after the broker did is read", || running.rows_in("events") == 5);
    assert!(!running.has_ended());
    running.drain();
    assert_eq!(place.numbers("out"), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_is_made_anew_is_another() {
    let Some(kafka) = kafka::shared("a_topic_that_is_made_anew", "kafka") else { return };
    let (client, place, topic) = (kafka.client(), Place::new(), kafka.topic("anew"));
    client.create(&topic, 1);
    client.produce(&topic, &numbered(0..3, 0));
    let spec = spec(&kafka, &topic, "");
    place.run(&spec).unwrap();
    let running = place.start(place.plan(&spec), false);
    client.remove(&topic);
    client.create(&topic, 1);
    client.produce(&topic, &numbered([5], 0));
    wait_until("the gap is noticed", || running.has_ended());
    let error = running.end().unwrap_err();
    assert!(matches!(&error, Error::Gap { ours: 3, first: 0, .. }), "{error}");
}
