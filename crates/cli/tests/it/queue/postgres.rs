//! Queues whose jobs are in a real PostgreSQL: shared, refused, told of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::postgres;

use super::server::{Http, Place};
use crate::process::{pause, until};

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

/// Leases jobs of a key, holds each for a moment, and ends it, until there are none. How many were held at once at most.
fn work(http: &Http, worker: &str, held: &AtomicUsize) -> usize {
    let mut most = 0;
    loop {
        let wanted = json!({"queues": ["default"], "n": 2, "worker": worker, "wait": "1s"});
        let leases = http.post("/v1/leases", &wanted).ok();
        let leases = leases.as_array().unwrap();
        if leases.is_empty() {
            return most;
        }
        most = most.max(held.fetch_add(leases.len(), Ordering::SeqCst) + leases.len());
        pause(Duration::from_millis(20));
        for lease in leases {
            // Before the server knows that it has ended.
            held.fetch_sub(1, Ordering::SeqCst);
            let path = format!("/v1/jobs/{}/ack", lease["id"].as_str().unwrap());
            assert_eq!(http.post(&path, &json!({"token": lease["token"]})).status, 200);
        }
    }
}

#[test]
fn two_servers_never_run_three_jobs_of_a_key_of_two() {
    let Some(server) = postgres::shared("queue::postgres::a_key_of_two") else { return };
    let schema = server.schema("key");
    let places = [(); 2].map(|()| Place::new(&spec(&server.url(&schema), "")));
    let mut servers = places.each_ref().map(Place::serve);
    let job = json!({"payload": 1, "concurrency": {"key": "k", "max": 2}});
    servers[0].1.post("/v1/queues/default/jobs/bulk", &json!(vec![job; 60])).ok();
    let held = AtomicUsize::new(0);
    let most: Vec<usize> = thread::scope(|scope| {
        let workers = [0, 1, 0, 1].map(|at| {
            let (http, held) = (&servers[at].1, &held);
            scope.spawn(move || work(http, &format!("w{at}"), held))
        });
        workers.map(|worker| worker.join().unwrap()).into()
    });
    assert_eq!(most.iter().max(), Some(&2), "held at once: {most:?}");
    let left = servers[1].1.get("/v1/jobs?state=scheduled,waiting,ready,running").ok();
    assert_eq!(left["items"], json!([]));
    for (server, _) in &mut servers {
        server.signal("TERM");
        server.succeed();
    }
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
