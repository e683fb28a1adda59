//! A stream over HTTP, end to end, with a token that must appear nowhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use document::Secrets;
use testkit::streaming_server::{Scenario, StreamingServer};

use crate::support::{Place, quarantine, row_lines, stream, wait_until};

const CANARY: &str = "canary-0b5e7d2c";

fn spec(url: &str) -> String {
    format!(
        "
sources:
  posts:
    http: {{url: '{url}', token: {{secret: {{name: stream, key: token}}}}, dedupe: {{path: n}}}}
    format: {{json: {{schema: {{columns: {{n: int64, text: string}}}}}}}}
steps:
  some: {{from: posts, sql: 'SELECT n, upper(text) AS text FROM posts WHERE n <> 3'}}
sinks:
  out: {{from: some, files: {{url: out}}, format: json}}
"
    )
}

/// Every file beneath a folder, ours and hidden ones too.
fn all_files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn rows_over_http_become_files_and_the_token_is_seen_nowhere() {
    let mut place = Place::with_manual_clock();
    let pair = ("HEADWATER_SECRET_STREAM_TOKEN".to_owned(), CANARY.to_owned());
    place.secrets = Arc::new(Secrets::new([pair]));
    let body = format!("{}\n\n{}not json\n", row_lines(0..10), row_lines(5..12));
    let server = StreamingServer::start(Scenario::steady(body), &place.clock).unwrap();
    let spec = spec(&server.url("/posts?private=1"));
    let (document, world) = (stream(&spec), place.world());
    let facts = stream::facts(&document, &[], &world).unwrap();
    let plan = stream::plan(&document, &facts).unwrap();
    assert_eq!(server.requests().len(), 0, "a plan makes no connection");

    let running = place.start(plan.clone(), true);
    wait_until("all rows came", || running.rows_in("posts") == 13);
    assert!(!running.has_ended());
    wait_until("the stream is idle for five seconds", || {
        place.clock.advance(Duration::from_millis(500));
        running.has_ended()
    });
    let report = running.end().unwrap();
    assert_eq!(place.numbers("out"), (0..12).filter(|n| *n != 3).collect::<Vec<_>>());
    assert_eq!(place.json("out")[0]["text"], "ROW-0");
    let entries = quarantine(&plan);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].payload().unwrap(), b"not json");

    let requests = server.requests();
    assert_eq!(requests[0].header("authorization"), Some(&*format!("Bearer {CANARY}")));
    assert!(requests.iter().all(|request| !request.line.contains(CANARY)));
    let mut seen = Vec::new();
    all_files(place.folder.path(), &mut seen);
    assert!(seen.len() > 3);
    let texts = [
        ("facts", serde_json::to_string(&facts).unwrap()),
        ("plan", plan.to_string()),
        ("plan as JSON", serde_json::to_string(&plan).unwrap()),
        ("plan as a chart", plan.mermaid()),
        ("report", serde_json::to_string(&report).unwrap()),
        ("world", format!("{world:?}")),
        ("document", serde_json::to_string(&document.spec).unwrap()),
    ];
    seen.extend(texts.map(|(name, text)| (name.to_owned(), text.into_bytes())));
    for (name, bytes) in seen {
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "the token is in {name}");
    }
    assert!(!plan.to_string().contains("private"), "queries aren't shown");
}

#[test]
fn ids_that_were_seen_before_a_restart_are_not_rows_again() {
    let mut place = Place::with_manual_clock();
    place.secrets = Arc::new(Secrets::new([("HEADWATER_SECRET_STREAM_TOKEN".to_owned(), CANARY.to_owned())]));
    for (body, count) in [(row_lines(10..20), 10), (row_lines(15..25), 5)] {
        let server = StreamingServer::start(Scenario::steady(body), &place.clock).unwrap();
        let running = place.start(place.plan(&spec(&server.url("/posts"))), false);
        wait_until("the new rows came", || running.rows_in("posts") == count);
        running.drain();
    }
    assert_eq!(place.numbers("out"), (10..25).collect::<Vec<_>>());
}

#[test]
fn a_server_that_refuses_ends_the_stream_with_its_reason() {
    let mut place = Place::with_manual_clock();
    place.secrets = Arc::new(Secrets::new([("HEADWATER_SECRET_STREAM_TOKEN".to_owned(), CANARY.to_owned())]));
    let server = StreamingServer::start(Scenario::status_then_ok(401, 1, &[]), &place.clock).unwrap();
    let error = place.run(&spec(&server.url("/posts"))).unwrap_err();
    assert!(matches!(error, stream::Error::Refused { status: 401, .. }), "{error}");
    place.secrets = Arc::default();
    let words = place.run(&spec(&server.url("/posts"))).unwrap_err().to_string();
    assert!(words.contains("HEADWATER_SECRET_STREAM_TOKEN"), "{words}");
}
