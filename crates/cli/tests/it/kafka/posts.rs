//! The example `twitter-to-kafka.yaml`: a stream over HTTP that breaks off again and again, and a topic that has every
//! record.

use stdx::Clock;
use testkit::kafka::Tool;
use testkit::streaming_server::{Body, Reply, Scenario, StreamingServer};

use crate::process::{Place, until};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/twitter-to-kafka.yaml");
/// Records of each connection.
const EACH: usize = 40;

fn post(number: usize) -> String {
    format!("{{\"data\":{{\"id\":\"{number}\",\"text\":\"größer als ein Stern \\u2605 {number}\"}}}}\r\n")
}

/// Connections that are refused for a moment, end in the midst of a record, look like an end, send keep-alives, and
/// come in gzip; the last one stays open.
fn misbehaves() -> Scenario {
    let lines = |connection: usize| -> Vec<String> { (connection * EACH..(connection + 1) * EACH).map(post).collect() };
    let close = Reply { body: Body::UntilClose, ..Reply::ok() };
    let texts = lines(3);
    let flushes = testkit::streaming_server::gzip_flushes(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let gzip = Reply::ok().header("content-encoding", "gzip");
    let replies = vec![
        Reply::ok().send(lines(0).concat()).send("{\"data\":{\"id\":\"cut"),
        Reply::ok(),
        close.send(lines(1).join("\r\n")).send("{\"data\""),
        Reply::ok().send("\r\n\r\n").send(lines(2).concat()).end(),
        gzip.send(flushes.concat()),
        Reply::ok().send(lines(4).concat()).hold(),
    ];
    Scenario { replies, ..Scenario::default() }
}

#[test]
fn every_post_of_a_stream_over_http_reaches_the_topic() {
    let test = "every post of a stream over http reaches the topic";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let server = StreamingServer::start(misbehaves(), &Clock::system()).unwrap();
    let (place, topic) = (Place::new(), kafka.topic("posts"));
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    // A name of its own: the records of a stream are found by it.
    place.write("posts.yaml", example.replace("name: twitter-to-kafka", &format!("name: {topic}")));
    place.write("secrets.yaml", "twitter: {token: its-secret}\n");
    let words =
        [format!("url={}", server.url("/stream")), format!("brokers={}", kafka.brokers()), format!("topic={topic}")];
    let set = words.iter().flat_map(|word| ["--set", word.as_str()]);
    let arguments: Vec<&str> = ["run", "posts.yaml", "--secrets", "secrets.yaml"].into_iter().chain(set).collect();
    let mut process = place.start(&arguments);
    let client = kafka.client();
    until("all connections were made", || server.requests_to("/stream").len() == 6);
    until("all records are committed", || client.consume(&topic).len() == 5 * EACH);
    process.signal("TERM");
    process.succeed();
    let is_ours =
        |request: &testkit::streaming_server::Request| request.header("authorization") == Some("Bearer its-secret");
    assert!(server.requests().iter().all(is_ours), "{:?}", server.requests());
    let most = (5 * EACH).to_string();
    let read = ["--bootstrap-server", kafka.brokers(), "--topic", &topic, "--from-beginning", "--isolation-level"];
    let read = [&read[..], &["read_committed", "--max-messages", &most, "--timeout-ms", "60000"]].concat();
    let seen = kafka.tool(Tool::CONSUMER).arguments(&read).output();
    let sent: Vec<String> = (0..5 * EACH).map(|number| post(number).trim_end().to_owned()).collect();
    assert_eq!(seen.lines().collect::<Vec<_>>(), sent);
}
