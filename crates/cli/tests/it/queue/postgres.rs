//! Queues whose jobs are in a real PostgreSQL: shared, refused, told of.

use serde_json::json;
use testkit::postgres;

use super::server::Place;
use crate::process::until;

/// A queue in the database at a URL.
fn spec(url: &str, workers: &str) -> String {
    format!("store: {{postgres: {{url: '{url}'}}}}\nlisten: 127.0.0.1:0\nqueues: {{default: {{}}}}\n{workers}")
}

const ECHO: &str = "workers: {echo: {queues: [default], command: [cat]}}\n";

#[test]
fn two_servers_share_the_jobs_of_one_database() {
    let Some(server) = postgres::shared("queue::postgres::two_servers") else { return };
    let schema = server.schema("servers");
    let (door, back) = (Place::new(&spec(&server.url(&schema), "")), Place::new(&spec(&server.url(&schema), ECHO)));
    let ((mut first, http), (mut second, _)) = (door.serve(), back.serve());
    let put = http.post("/v1/queues/default/jobs", &json!({"payload": 42})).ok();
    let job = http.get(&format!("/v1/jobs/{}?wait=30s", put["id"].as_str().unwrap())).ok();
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!(42)), "{job}");
    second.signal("TERM");
    second.succeed();
    // What one of them has done, the next one knows.
    first.kill();
    let (mut again, http) = door.serve();
    assert_eq!(http.get(&format!("/v1/jobs/{}", put["id"].as_str().unwrap())).ok()["result"], json!(42));
    let metrics = http.get("/metrics").body;
    assert!(metrics.contains("headwater_queue_commits_total"), "{metrics}");
    again.signal("TERM");
    again.succeed();
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let place = Place::new(&spec("postgres://somebody@127.0.0.1:1/jobs", ECHO));
    let planned = place.command(&["plan", "queue.yaml"]).output().unwrap();
    let text = String::from_utf8(planned.stdout).unwrap();
    assert!(planned.status.success() && text.contains("does not answer") && text.contains("127.0.0.1:1"), "{text}");
    let run = place.start(&["run", "queue.yaml"]);
    until("it gives up", || run.has_ended());
    assert!(run.err().contains("127.0.0.1:1: PostgreSQL: error connecting to server"), "{}", run.err());
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let Some(server) = postgres::shared("queue::postgres::tls") else { return };
    let url = format!("{}&sslmode=require", server.url("public"));
    let place = Place::new(&spec(&url, ""));
    let run = place.start(&["run", "queue.yaml"]);
    until("it gives up", || run.has_ended());
    assert!(run.err().contains("server does not support TLS"), "{}", run.err());
}
