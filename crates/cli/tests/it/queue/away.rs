//! Workers and servers that are away for a while: stopped, frozen, or killed and started again later.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::BARE;
use super::server::{Http, Place};
use crate::process::{pause, until};

/// A worker in bash: it leases a job for a second, beats until it hears that the lease is lost, and acks all the same.
const WORKER: &str = r#"
ask() {
  exec 3<> "/dev/tcp/127.0.0.1/$PORT"
  printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "$1" "${#2}" "$2" >&3
  cat <&3
}
lease=$(ask /v1/leases '{"queues": ["default"], "worker": "frozen", "lease": "1s"}')
id=$(sed -n 's/.*"id":"\([^"]*\)".*/\1/p' <<< "$lease")
token=$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' <<< "$lease")
while beat=$(ask /v1/leases/heartbeat "[{\"id\": \"$id\", \"token\": \"$token\"}]"); [[ $beat != *lease_lost* ]]; do
  echo beat
  sleep 0.1
done
ask "/v1/jobs/$id/ack" "{\"token\": \"$token\", \"result\": \"too late\"}"
"#;

fn port(http: &Http) -> &str {
    http.address.rsplit(':').next().unwrap()
}

/// Leases a job for a second.
fn lease(http: &Http, worker: &str, wait: &str) -> Value {
    let wanted = json!({"queues": ["default"], "worker": worker, "lease": "1s", "wait": wait});
    http.post("/v1/leases", &wanted).ok()[0].take()
}

fn ack(http: &Http, lease: &Value, result: &str) -> u16 {
    let path = format!("/v1/jobs/{}/ack", lease["id"].as_str().unwrap());
    http.post(&path, &json!({"token": lease["token"], "result": result})).status
}

/// The beat's answer: `None`, where the lease is lost.
fn beat(http: &Http, lease: &Value) -> Option<Value> {
    let beats = json!([{"id": lease["id"], "token": lease["token"]}]);
    let pulse = http.post("/v1/leases/heartbeat", &beats).ok()[0].take();
    pulse["error"].is_null().then_some(pulse)
}

/// How often a job was leased, and how often it ended.
fn runs_and_ends(http: &Http, id: &str) -> (usize, usize) {
    let events = http.get(&format!("/v1/jobs/{id}/events")).body;
    (events.matches("event: running").count(), events.matches("event: succeeded").count())
}

#[test]
fn a_worker_that_comes_back_from_a_stop_is_told_that_its_job_is_anothers() {
    let place = Place::new(BARE);
    let (mut server, http) = place.serve();
    let id = http.put(&json!(1));
    let mut bash = Command::new("bash");
    bash.args(["-c", WORKER]).env("PORT", port(&http)).stdin(Stdio::null());
    let mut worker = place.started(&mut bash);
    until("it beats", || worker.out().matches("beat").count() > 15);
    assert_eq!(runs_and_ends(&http, &id), (1, 0), "a worker that beats keeps its job for longer than a lease");
    worker.signal("STOP");
    let again = lease(&http, "other", "30s");
    assert_eq!((again["id"].as_str(), again["attempt"].as_u64()), (Some(id.as_str()), Some(2)));
    worker.signal("CONT");
    worker.succeed();
    assert!(worker.out().contains("HTTP/1.1 409") && worker.out().contains("lease_lost"), "{}", worker.out());
    assert_eq!(ack(&http, &again, "in time"), 200);
    let job = http.get(&format!("/v1/jobs/{id}")).ok();
    assert_eq!((&job["result"], runs_and_ends(&http, &id)), (&json!("in time"), (2, 1)), "{job}");
    server.signal("TERM");
    server.succeed();
}

#[test]
fn a_server_that_was_down_for_longer_than_a_lease_runs_nothing_twice() {
    let place = Place::new(BARE);
    let (mut server, http) = place.serve();
    let id = http.put(&json!(1));
    let held = lease(&http, "w", "0s");
    server.kill();
    pause(Duration::from_millis(2500));
    let (mut server, http) = place.serve();
    assert_eq!(lease(&http, "other", "500ms"), Value::Null, "its worker could not beat, and may be at work");
    assert!(beat(&http, &held).is_some());
    assert_eq!((ack(&http, &held, "once"), runs_and_ends(&http, &id)), (200, (1, 1)));
    server.signal("TERM");
    server.succeed();
}

#[test]
fn a_server_that_stood_still_for_longer_than_a_lease_runs_nothing_twice() {
    let place = Place::new(BARE);
    let (mut server, http) = place.serve();
    let id = http.put(&json!(1));
    let held = lease(&http, "w", "0s");
    server.signal("STOP");
    pause(Duration::from_millis(3500));
    server.signal("CONT");
    assert!(beat(&http, &held).is_some());
    assert_eq!((ack(&http, &held, "once"), runs_and_ends(&http, &id)), (200, (1, 1)));
    server.signal("TERM");
    server.succeed();
}
