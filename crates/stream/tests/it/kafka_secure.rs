//! Kafka behind locks, and Kafka that isn't there.

use std::sync::Arc;

use base64::Engine as _;
use document::Secrets;
use stdx::Clock;
use testkit::kafka::{self, Kafka, Record};

use crate::support::Place;

/// A place whose secrets hold the password, the client's key and a token.
fn place(kafka: &Kafka, password: &str) -> Place {
    let part = |json: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let now = Clock::system().now().millis() / 1000;
    let body = format!("{{\"sub\":\"headwater\",\"iat\":{now},\"exp\":{}}}", now + 600);
    let token = format!("{}.{}.", part("{\"alg\":\"none\"}".into()), part(body));
    let key = std::fs::read_to_string(kafka.file("clientKey")).unwrap();
    let pairs = [("PASSWORD", password.to_owned()), ("KEY", key), ("TOKEN", token)];
    let pairs = pairs.map(|(name, value)| (format!("HEADWATER_SECRET_KAFKA_{name}"), value));
    let mut place = Place::new();
    place.secrets = Arc::new(Secrets::new(pairs));
    place
}

fn spec(brokers: &str, topic: &str, locks: &str) -> String {
    format!(
        "
sources:
  events:
    kafka: {{brokers: '{brokers}', topics: {topic}, {locks}}}
    format: {{json: {{schema: {{columns: {{n: int64}}}}}}}}
sinks:
  out: {{from: events, files: {{url: out}}, format: json}}
"
    )
}

/// What each lock needs, and the listener that has it.
fn locks(kafka: &Kafka) -> Vec<(&'static str, String)> {
    let login = "{username: headwater, password: {secret: {name: kafka, key: password}}}";
    let (ca, certificate) =
        (kafka.file("ca").display().to_string(), kafka.file("clientCertificate").display().to_string());
    let key = "{secret: {name: kafka, key: key}}";
    vec![
        ("saslSsl", format!("tls: {{ca: {ca}}}, sasl: {{plain: {login}}}")),
        ("saslSsl", format!("tls: {{ca: {ca}}}, sasl: {{scramSha256: {login}}}")),
        ("saslSsl", format!("tls: {{ca: {ca}}}, sasl: {{scramSha512: {login}}}")),
        ("saslPlaintext", format!("sasl: {{scramSha512: {login}}}")),
        ("mtls", format!("tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}")),
        (
            "oauth",
            format!("tls: {{ca: {ca}}}, sasl: {{oauthbearer: {{token: {{secret: {{name: kafka, key: token}}}}}}}}"),
        ),
    ]
}

#[test]
fn every_lock_opens_with_its_key() {
    let Some(kafka) = kafka::shared("every_lock_opens", "kafka-secure") else { return };
    let topic = kafka.topic("locked");
    kafka.client().create(&topic, 1);
    kafka.client().produce(&topic, &[Record::of("{\"n\":1}")]);
    let password = std::fs::read_to_string(kafka.file("password")).unwrap();
    for (listener, lock) in locks(&kafka) {
        let place = place(&kafka, password.trim());
        place.run(&spec(kafka.listener(listener), &topic, &lock)).unwrap_or_else(|error| panic!("{lock}: {error}"));
        assert_eq!(place.numbers("out"), [1], "{lock}");
    }
}

#[test]
fn a_wrong_key_is_told_soon_and_by_name() {
    let Some(kafka) = kafka::shared("a_wrong_key_is_told", "kafka-secure") else { return };
    let ca = kafka.file("ca").display().to_string();
    let mut cases = locks(&kafka);
    cases.retain(|(_, lock)| lock.contains("password"));
    cases.push(("mtls", format!("tls: {{ca: {ca}}}")));
    cases.push(("saslSsl", format!("tls: {{ca: {}}}", kafka.file("otherCa").display())));
    for (listener, lock) in cases {
        let (place, clock) = (place(&kafka, "canary-wrong-password"), Clock::system());
        let problems = place.try_plan(&spec(kafka.listener(listener), "any", &lock), &[]).err().unwrap();
        let words = problems[0].to_string();
        assert!(words.contains(kafka.listener(listener)), "{lock}: {words}");
        assert!(["uthenticat", "certificate", "SSL"].iter().any(|word| words.contains(word)), "{lock}: {words}");
        assert!(!words.contains("canary"), "{words}");
        assert!(clock.elapsed().as_secs() < 10, "{lock}: {:?}", clock.elapsed());
    }
}

#[test]
fn a_cluster_that_is_not_there_is_told_with_the_reason() {
    let Some(_kafka) = kafka::shared("a_cluster_that_is_not_there", "kafka") else { return };
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let problems = Place::new().try_plan(&spec(&address, "any", ""), &[]).err().unwrap();
    let words = problems[0].to_string();
    assert!(words.contains(&address) && words.contains("Connection refused"), "{words}");
}
