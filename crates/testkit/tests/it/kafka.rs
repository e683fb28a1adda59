use testkit::kafka::{Private, Record, Tool, alone, shared};

#[test]
fn what_one_client_writes_another_reads() {
    let Some(kafka) = shared("testkit::what_one_client_writes_another_reads", "kafka") else { return };
    let (client, topic) = (kafka.client(), kafka.topic("kit"));
    client.create(&topic, 2);
    let mut full = Record::of(vec![0, 255, b'\n']).key("k").partition(1);
    full.headers = vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)];
    full.timestamp_ms = 1_700_000_000_123;
    let tombstone = Record { timestamp_ms: 5, ..Record::default().key("gone").partition(1) };
    client.produce(&topic, &[full.clone(), tombstone.clone()]);
    let read = client.consume(&topic);
    assert_eq!(read, [full, Record { offset: 1, ..tombstone }]);
    assert_eq!(client.ends(&topic), [0, 2]);
    assert_eq!(client.committed("nobody", &topic), [None, None]);
    client.grow(&topic, 3);
    client.remove(&topic);
}

#[test]
fn an_aborted_transaction_is_read_by_those_who_ask_for_it() {
    let Some(kafka) = shared("testkit::an_aborted_transaction_is_read_by_those_who_ask_for_it", "kafka") else {
        return;
    };
    let (client, topic) = (kafka.client(), kafka.topic("kit-transaction"));
    client.create(&topic, 1);
    let writer = client.clone().with("transactional.id", &topic);
    writer.produce_in_transaction(&topic, &[Record::of("kept")], true);
    writer.produce_in_transaction(&topic, &[Record::of("dropped")], false);
    let texts = |records: Vec<Record>| records.iter().map(Record::text).collect::<Vec<_>>();
    assert_eq!(texts(client.consume(&topic)), ["kept"]);
    let all = client.clone().with("isolation.level", "read_uncommitted");
    assert_eq!(texts(all.consume(&topic)), ["kept", "dropped"]);
}

#[test]
fn kafkas_own_tools_run() {
    let Some(kafka) = shared("testkit::kafkas_own_tools_run", "kafka") else { return };
    let topic = kafka.topic("kit-tools");
    let place = ["--bootstrap-server", kafka.brokers(), "--topic", &topic];
    kafka.tool(Tool::TOPICS).arguments(&place).arguments(&["--create"]).output();
    kafka.tool(Tool::PRODUCER).arguments(&place).input("one\ntwo\n").output();
    let read = kafka.tool(Tool::CONSUMER).arguments(&place).arguments(&["--from-beginning", "--max-messages", "2"]);
    let mut lines: Vec<String> = read.output().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
    assert!(!kafka.tool(Tool::TOPICS).arguments(&["--nonsense"]).run().succeeded);
}

#[test]
fn a_leader_that_goes_is_followed() {
    let Some(kafka) = alone("testkit::a_leader_that_goes_is_followed", "kafka3") else { return };
    let (client, topic) = (kafka.client(), kafka.topic("kit-three"));
    client.create(&topic, 3);
    let records: Vec<Record> = (0..3).map(|place| Record::of(format!("before {place}")).partition(place)).collect();
    client.produce(&topic, &records);
    let away = kafka.kill(1);
    client.produce(&topic, &records);
    away.back();
    let paused = kafka.pause(2);
    client.produce(&topic, &records);
    paused.back();
    kafka.stop(3).back();
    assert_eq!(client.ends(&topic), [3, 3, 3]);
    assert_eq!(client.consume(&topic).len(), 9);
}

#[test]
fn a_private_broker_goes_with_its_test() {
    let Some(kafka) = Private::start("testkit::a_private_broker_goes_with_its_test", "kafka") else { return };
    kafka.client().create("t", 1);
    drop(kafka.kill(1));
    kafka.client().produce("t", &[Record::of("after")]);
    assert_eq!(kafka.client().consume("t").len(), 1);
    assert!(kafka.log(1).contains("Kafka Server started"));
    let folder = kafka.folder();
    drop(kafka);
    assert!(!folder.exists());
}

#[test]
fn every_way_in_is_open_to_those_who_may() {
    let Some(kafka) = shared("testkit::every_way_in_is_open_to_those_who_may", "kafka-secure") else { return };
    let file = |kind| kafka.file(kind).to_string_lossy().into_owned();
    let text = |kind| std::fs::read_to_string(kafka.file(kind)).expect("read");
    let topic = kafka.topic("kit-secure");
    kafka.client().create(&topic, 1);
    let at = |listener| kafka.client().with("bootstrap.servers", kafka.listener(listener));
    let known = |listener, mechanism: &str| {
        let client = at(listener).with("sasl.mechanism", mechanism).with("sasl.username", "headwater");
        client.with("sasl.password", text("password"))
    };
    let tls = |client: testkit::kafka::Client| client.with("ssl.ca.location", file("ca"));
    let mut written = 0;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        tls(known("saslSsl", mechanism).with("security.protocol", "SASL_SSL"))
            .produce(&topic, &[Record::of(mechanism)]);
        let open = known("saslPlaintext", mechanism).with("security.protocol", "SASL_PLAINTEXT");
        open.produce(&topic, &[Record::of(mechanism)]);
        written += 2;
    }
    let mutual = tls(at("mtls").with("security.protocol", "SSL"));
    let own = mutual.with("ssl.certificate.location", file("clientCertificate"));
    own.with("ssl.key.location", file("clientKey")).produce(&topic, &[Record::of("certificate")]);
    let token = tls(at("oauth").with("security.protocol", "SASL_SSL")).with("sasl.mechanism", "OAUTHBEARER");
    let token = token.with("enable.sasl.oauthbearer.unsecure.jwt", "true");
    token.with("sasl.oauthbearer.config", "principal=headwater").produce(&topic, &[Record::of("token")]);
    assert_eq!(kafka.client().consume(&topic).len(), written + 2);
}
