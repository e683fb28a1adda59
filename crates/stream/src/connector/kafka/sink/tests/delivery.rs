//! What comes out of the sink: keys, headers, tombstones, topics, partitions, compression, and what is put aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use testkit::kafka::{Kafka, Tool};

use super::{Home, batch, commit, record};
use crate::connector::kafka::connection::{Login, SaslSpec, TlsSpec, Token};
use crate::connector::kafka::{Compression, CreateSpec, Delivery, Names, Partitioner, TopicExpression, TopicSpec};
use crate::{Error, ReasonCode, Sink};

fn rows(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, values)| (*name, Arc::clone(values), true)))
        .unwrap()
}

fn text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// A sink of task 0, claimed, and its claim.
fn claimed(home: &Home, columns: &RecordBatch) -> (Box<dyn Sink>, u64) {
    let mut sink = home.open_for(columns.schema_ref(), "rows-0", "uid");
    let claim = sink.ledger().unwrap().claim().unwrap().claim;
    (sink, claim)
}

fn values(kafka: &Kafka, topic: &str) -> Vec<Option<String>> {
    let value = |record: testkit::kafka::Record| record.value.map(|value| String::from_utf8(value).unwrap());
    kafka.client().consume(topic).into_iter().map(value).collect()
}

#[test]
fn keys_headers_tombstones_and_columns_left_out() {
    let Some(kafka) = testkit::kafka::shared("keys_headers_tombstones_and_columns_left_out", "kafka") else { return };
    let topic = kafka.topic("values");
    let mut home = Home::new(&kafka, &topic);
    home.spec.create = Some(CreateSpec { partitions: 1, compact: true, ..CreateSpec::default() });
    home.spec.key = Some("id".into());
    home.spec.headers = [("kind", "upper(kind)"), ("id", "id + 1")].map(|(name, sql)| (name.into(), sql.into())).into();
    home.spec.without = vec!["id".into(), "kind".into()];
    home.spec.tombstones = true;
    let columns = rows(&[
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(3)]))),
        ("kind", text([Some("a"), None, None, Some("")])),
        ("value", text([Some("x"), None, Some("y"), Some("line\nfeed")])),
    ]);
    let (mut sink, claim) = claimed(&home, &columns);
    let bad = commit(sink.as_mut(), &batch(columns), &record(claim, 1));
    assert_eq!(bad.len(), 1, "a compacted topic takes no message without a key: {bad:?}");
    assert!(bad[0].row == 2 && bad[0].reason.message.contains("no key"), "{bad:?}");
    assert!(sink.bytes_written() > 20);
    let found = kafka.client().consume(&topic);
    let each: Vec<_> =
        found.iter().map(|record| (record.key.as_deref(), record.text(), record.headers.clone())).collect();
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    assert_eq!(each[0], (Some(&b"1"[..]), r#"{"value":"x"}"#.into(), vec![header("kind", "A"), header("id", "2")]));
    assert_eq!(each[1], (Some(&b"2"[..]), String::new(), vec![header("id", "3")]));
    assert_eq!(found[1].value, None, "a tombstone");
    assert_eq!(
        each[2],
        (Some(&b"3"[..]), r#"{"value":"line\nfeed"}"#.into(), vec![header("kind", ""), header("id", "4")])
    );
}

#[test]
fn keys_land_where_kafkas_own_producer_puts_them() {
    let Some(kafka) = testkit::kafka::shared("keys_land_where_kafkas_own_producer_puts_them", "kafka") else { return };
    let (ours, theirs) = (kafka.topic("murmur"), kafka.topic("murmur"));
    kafka.client().create(&ours, 7);
    kafka.client().create(&theirs, 7);
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number}-{}", "ä€".repeat(number % 5))).collect();
    let lines = keys.join("|x\n") + "|x\n";
    let arguments = ["--bootstrap-server", kafka.brokers(), "--topic", &theirs];
    let parse = ["--property", "parse.key=true", "--property", "key.separator=|"];
    kafka.tool(Tool::PRODUCER).arguments(&[&arguments[..], &parse].concat()).input(lines).output();

    let mut home = Home::new(&kafka, &ours);
    home.spec.key = Some("key".into());
    let columns = rows(&[("key", text(keys.iter().map(|key| Some(key.as_str()))))]);
    let (mut sink, claim) = claimed(&home, &columns);
    commit(sink.as_mut(), &batch(columns), &record(claim, 1));
    let partitions = |topic: &str| -> BTreeMap<Vec<u8>, i32> {
        let each = kafka.client().consume(topic).into_iter();
        each.map(|record| (record.key.unwrap(), record.partition.unwrap())).collect()
    };
    let found = partitions(&ours);
    assert_eq!(found.len(), 60);
    assert_eq!(found, partitions(&theirs));
}

#[test]
fn a_task_has_its_own_partition() {
    let Some(kafka) = testkit::kafka::shared("a_task_has_its_own_partition", "kafka") else { return };
    let topic = kafka.topic("task");
    kafka.client().create(&topic, 3);
    let mut home = Home::new(&kafka, &topic);
    home.spec.partitioner = Partitioner::Task;
    let columns = rows(&[("value", text([Some("x"), Some("y")]))]);
    for task in ["rows-1", "rows-5"] {
        let mut sink = home.open_for(columns.schema_ref(), task, "uid");
        let claim = sink.ledger().unwrap().claim().unwrap().claim;
        commit(sink.as_mut(), &batch(columns.clone()), &record(claim, 1));
    }
    let partitions: Vec<_> = kafka.client().consume(&topic).iter().filter_map(|record| record.partition).collect();
    assert_eq!(partitions, [1, 1, 2, 2]);
}

#[test]
fn a_topic_for_each_row_and_rows_without_one_are_put_aside() {
    let Some(kafka) = testkit::kafka::shared("a_topic_for_each_row_and_rows_without_one", "kafka") else { return };
    let (one, two) = (kafka.topic("one"), kafka.topic("two"));
    kafka.client().create(&one, 1);
    kafka.client().create_with(&two, 1, &[("max.message.bytes", "5000")]);
    let mut home = Home::new(&kafka, &one);
    home.spec.topic = TopicSpec::Expression(TopicExpression { sql: "topic".into() });
    let missing = kafka.topic("missing");
    let names = [Some(one.as_str()), None, Some(&missing), Some("no topic!"), Some(&two), Some(&one)];
    let columns = rows(&[("topic", text(names)), ("n", Arc::new(Int64Array::from_iter_values(0..6)))]);
    home.spec.without = vec!["topic".into()];
    let (mut sink, _) = claimed(&home, &columns);
    // `two` takes smaller batches than the client made so far: the runner opens the task again.
    let error = sink.write(&batch(columns.clone())).unwrap_err();
    assert!(matches!(&error, Error::Kafka { .. }) && error.to_string().contains("smaller batches"), "{error}");
    drop(sink);
    assert!(values(&kafka, &one).is_empty());
}

#[test]
fn rows_without_a_topic_are_put_aside() {
    let Some(kafka) = testkit::kafka::shared("rows_without_a_topic_are_put_aside", "kafka") else { return };
    let (one, two) = (kafka.topic("one"), kafka.topic("two"));
    kafka.client().create(&one, 1);
    kafka.client().create(&two, 1);
    let mut home = Home::new(&kafka, &one);
    home.spec.topic = TopicSpec::Expression(TopicExpression { sql: "topic".into() });
    home.spec.without = vec!["topic".into()];
    let missing = kafka.topic("missing");
    let names = [Some(one.as_str()), None, Some(&missing), Some("no topic!"), Some(&two), Some(&one)];
    let columns = rows(&[("topic", text(names)), ("n", Arc::new(Int64Array::from_iter_values(0..6)))]);
    let (mut sink, claim) = claimed(&home, &columns);
    let bad = commit(sink.as_mut(), &batch(columns), &record(claim, 1));
    assert_eq!(bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(bad.iter().all(|bad| bad.reason.code == ReasonCode::Unwritable));
    assert!(bad[1].reason.message.contains(&missing), "{:?}", bad[1]);
    assert_eq!(values(&kafka, &one), [Some(r#"{"n":0}"#.into()), Some(r#"{"n":5}"#.into())]);
    assert_eq!(values(&kafka, &two), [Some(r#"{"n":4}"#.into())]);
    let listed = kafka.tool(Tool::TOPICS).arguments(&["--list", "--bootstrap-server", kafka.brokers()]).output();
    assert!(!listed.contains(&missing), "a topic was made by looking for it");
}

#[test]
fn every_compression_is_read_by_others() {
    let Some(kafka) = testkit::kafka::shared("every_compression_is_read_by_others", "kafka") else { return };
    let topic = kafka.topic("compressed");
    kafka.client().create(&topic, 1);
    let mut home = Home::new(&kafka, &topic);
    let all = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let value = "much of the same ".repeat(50);
    let columns = rows(&[("value", text([Some(value.as_str()); 20]))]);
    for (sequence, compression) in all.into_iter().enumerate() {
        home.spec.compression = compression;
        let (mut sink, claim) = claimed(&home, &columns);
        commit(sink.as_mut(), &batch(columns.clone()), &record(claim, sequence as u64 + 1));
    }
    let found = values(&kafka, &topic);
    assert_eq!(found.len(), 100);
    assert!(found.iter().flatten().all(|found| found.contains(&value)));
}

#[test]
fn a_row_that_is_too_long_is_put_aside_and_the_others_go_on() {
    let Some(kafka) = testkit::kafka::shared("a_row_that_is_too_long_is_put_aside", "kafka") else { return };
    let topic = kafka.topic("long");
    kafka.client().create_with(&topic, 1, &[("max.message.bytes", "5000")]);
    let home = Home::new(&kafka, &topic);
    // Together they are far longer than the topic takes, and so is the one in the middle.
    let (short, long) = ("s".repeat(1000), "l".repeat(6000));
    let mut all = vec![Some(short.as_str()); 50];
    all[25] = Some(&long);
    let columns = rows(&[("value", text(all))]);
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let home = Home {
            spec: crate::connector::kafka::SinkSpec { delivery, compression: Compression::None, ..home.spec.clone() },
            ..Home::new(&kafka, &topic)
        };
        let mut sink = home.open_for(columns.schema_ref(), "rows-0", "uid");
        let claim = sink.ledger().map_or(0, |ledger| ledger.claim().unwrap().claim);
        let bad = sink.write(&batch(columns.clone())).unwrap();
        assert_eq!(bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [25]);
        assert!(bad[0].reason.message.contains("too long"), "{:?}", bad[0]);
        sink.prepare(1).unwrap();
        sink.ledger().map_or(Ok(()), |ledger| ledger.append(&record(claim, 1))).unwrap();
    }
    assert_eq!(values(&kafka, &topic).len(), 98);
}

#[test]
fn a_missing_topic_is_named_and_a_wrong_password_is_told_quickly() {
    let Some(kafka) = testkit::kafka::shared("a_missing_topic_is_named", "kafka-secure") else { return };
    let topic = kafka.topic("secure");
    let secrets = |password: &str| {
        let variable = ("HEADWATER_SECRET_KAFKA_PASSWORD".to_owned(), password.to_owned());
        Arc::new(document::Secrets::new([variable]))
    };
    let password = serde_json::json!({"secret": {"name": "kafka", "key": "password"}});
    let password = serde_json::from_value(password).unwrap();
    let right = std::fs::read_to_string(kafka.file("password")).unwrap();
    let mut home = Home::new(&kafka, &topic);
    home.spec.brokers = Names::One(kafka.listener("saslSsl").to_owned());
    home.spec.tls = Some(TlsSpec { ca: Some(kafka.file("ca")), ..TlsSpec::default() });
    home.spec.sasl = Some(SaslSpec::ScramSha512(Login { username: "headwater".into(), password }));
    home.secrets = secrets(right.trim());
    let columns = rows(&[("value", text([Some("x")]))]);
    let error = home.try_open_for(columns.schema_ref(), "rows-0", "uid").err().unwrap();
    assert!(error.to_string().contains(&topic) && error.to_string().contains("create"), "{error}");
    home.spec.create = Some(CreateSpec { partitions: 2, ..CreateSpec::default() });
    let (mut sink, claim) = claimed(&home, &columns);
    commit(sink.as_mut(), &batch(columns.clone()), &record(claim, 1));
    assert_eq!(values(&kafka, &topic), [Some(r#"{"value":"x"}"#.into())]);

    let clock = stdx::Clock::system();
    home.secrets = secrets("wrong");
    let error = home.try_open_for(columns.schema_ref(), "rows-0", "uid").err().unwrap();
    assert!(matches!(error, Error::Secret(_)), "{error:?}");
    assert!(clock.elapsed().as_secs() < 5, "{:?}", clock.elapsed());
}

#[test]
fn a_token_opens_everything_that_is_needed() {
    use base64::Engine as _;
    let Some(kafka) = testkit::kafka::shared("a_token_opens_everything_that_is_needed", "kafka-secure") else { return };
    let topic = kafka.topic("token");
    let mut home = Home::new(&kafka, &topic);
    let now = stdx::Clock::system().now().millis() / 1000;
    let part = |json: serde_json::Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
    let body = serde_json::json!({"sub": "headwater", "iat": now, "exp": now + 600});
    let token = format!("{}.{}.", part(serde_json::json!({"alg": "none"})), part(body));
    home.secrets = Arc::new(document::Secrets::new([("HEADWATER_SECRET_KAFKA_TOKEN".to_owned(), token)]));
    let reference = serde_json::json!({"secret": {"name": "kafka", "key": "token"}});
    let token = serde_json::from_value(reference).unwrap();
    home.spec.brokers = Names::One(kafka.listener("oauth").to_owned());
    home.spec.tls = Some(TlsSpec { ca: Some(kafka.file("ca")), ..TlsSpec::default() });
    home.spec.sasl = Some(SaslSpec::Oauthbearer(Token { token }));
    home.spec.create = Some(CreateSpec::default());
    let columns = rows(&[("value", text([Some("x")]))]);
    let (mut sink, claim) = claimed(&home, &columns);
    commit(sink.as_mut(), &batch(columns), &record(claim, 1));
    assert_eq!(values(&kafka, &topic).len(), 1);
}
