//! A jobs API by its document: served, worked on, stopped, killed, refused.

mod away;
mod document;
mod postgres;
mod faults;
mod kills;
mod server;
mod verbs;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::server::{Http, Place};
use crate::process::until;

/// A queue without workers, and one whose workers give the payload back.
const BARE: &str = "store: {sqlite: {path: jobs.db}}\nlisten: 127.0.0.1:0\nqueues: {default: {}}\n";
const ECHO: &str = "store: {sqlite: {path: jobs.db}}\nlisten: 127.0.0.1:0\nqueues: {default: {}}\n\
                    workers: {echo: {queues: [default], concurrency: 2, command: [cat]}}\n";

#[test]
fn the_lectures_session_works_with_the_example_as_it_is() {
    let place = Place::new(BARE);
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/jobs.yaml")).unwrap();
    place.write("queue.yaml", &example.replace("127.0.0.1:5000\n  queues", "127.0.0.1:0\n  queues"));
    let (mut server, http) = place.serve();
    let put = http.post("/jobs", &json!({"start": 2001, "end": 2004})).ok();
    assert_eq!((&put["start"], &put["end"], &put["status"]), (&json!(2001), &json!(2004), &json!("submitted")));
    let path = format!("/jobs/{}", put["id"].as_str().unwrap());
    let mut seen = BTreeSet::new();
    until("the job completes", || {
        let status = http.get(&path).ok()["status"].as_str().unwrap().to_owned();
        seen.insert(status.clone());
        status == "complete"
    });
    assert!(seen.contains("in progress"), "{seen:?}");
    let job = http.get(&path).ok();
    assert_eq!(job["result"], json!({"years": 4}));
    assert!(job["worker"].as_str().unwrap().starts_with("jobs-analysis-"), "{job}");
    let all = http.get("/jobs").ok();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), [put["id"].as_str().unwrap()]);
    let log = http.get(&format!("/v1{path}/logs")).ok();
    assert!(log["items"][0]["line"].as_str().unwrap().contains("attempt 1"), "{log}");
    assert_eq!(http.post_text("/jobs", "{\"start\", \"2001\"}").status, 400);
    server.signal("TERM");
    server.succeed();
}

#[test]
fn told_to_stop_it_lets_jobs_end_gives_back_what_does_not_and_leases_no_more() {
    let place = Place::new(
        "store: {sqlite: {path: jobs.db}}\nlisten: 127.0.0.1:0\nqueues: {default: {}}\ndrainTimeout: 2s\n\
         workers:\n  sleep:\n    queues: [default]\n    concurrency: 2\n    stopGrace: 1s\n    \
         command: [sh, -c, 'read s; echo started; sleep $s; echo $s']\n",
    );
    let (mut server, http) = place.serve();
    let ids: Vec<String> = [1, 100, 0].map(|seconds| http.put(&json!(seconds))).into();
    until("two run", || http.get("/v1/jobs?state=running").ok()["items"].as_array().unwrap().len() == 2);
    server.signal("INT");
    server.succeed();
    assert!(server.err().contains("draining"), "{}", server.err());
    assert!(server.err().contains("workers sleep: 1 succeeded, 0 failed, 1 given back"), "{}", server.err());
    // Without workers, what the first server left can be seen as it is.
    place.write("queue.yaml", &Place::document(BARE));
    let (mut server, http) = place.serve();
    let jobs: Vec<Value> = ids.iter().map(|id| http.get(&format!("/v1/jobs/{id}")).ok()).collect();
    let states: Vec<&str> = jobs.iter().map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["succeeded", "ready", "ready"]);
    let attempts: Vec<u64> = jobs.iter().map(|job| job["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 0, 0], "a job that is given back costs no attempt");
    server.signal("TERM");
    server.succeed();
}

#[test]
fn a_store_that_is_held_is_refused_with_its_holder() {
    let place = Place::new(BARE);
    let (mut server, _) = place.serve();
    let mut other = place.start(&["run", "queue.yaml"]);
    assert_eq!(other.code(), 1);
    let words = format!("jobs.db is in use by process {}; stop it", server.id());
    assert!(other.err().contains(&words), "{}", other.err());
    let mut plan = place.start(&["plan", "queue.yaml"]);
    plan.succeed();
    assert!(plan.out().contains(&format!("held     by process {}", server.id())), "{}", plan.out());
    server.signal("TERM");
    server.succeed();
    let mut plan = place.start(&["plan", "queue.yaml"]);
    plan.succeed();
    assert!(!plan.out().contains("held"), "{}", plan.out());
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new(&BARE.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string()));
    let mut server = place.start(&["run", "queue.yaml"]);
    assert_eq!(server.code(), 1);
    assert!(server.err().contains(&format!("listen on {}", taken.local_addr().unwrap())), "{}", server.err());
}

#[test]
fn with_tokens_only_their_holders_are_served_and_the_own_workers_work() {
    let spec = format!(
        "{ECHO}auth:\n  tokens:\n    \
         client: {{value: {{secret: {{name: queue, key: token}}}}, scopes: [enqueue, read], queues: [default]}}\n"
    );
    let place = Place::new(&spec);
    let mut missing = place.start(&["run", "queue.yaml"]);
    assert_eq!(missing.code(), 2);
    assert!(missing.err().contains("HEADWATER_SECRET_QUEUE_TOKEN"), "{}", missing.err());
    place.write("secrets.yaml", "queue: {token: short}\n");
    let mut short = place.start(&["run", "queue.yaml", "--secrets", "secrets.yaml"]);
    assert_eq!(short.code(), 2);
    assert!(short.err().contains("at least 16 characters") && !short.err().contains("short}"), "{}", short.err());
    place.write("secrets.yaml", "queue: {token: canary-0123456789}\n");
    let (mut server, http) = place.serve_with(&["--secrets", "secrets.yaml"]);
    assert_eq!(http.get("/v1/jobs").status, 401);
    let http = Http { token: Some("canary-0123456789".to_owned()), ..http };
    let id = http.put(&json!("x"));
    assert_eq!(http.get(&format!("/v1/jobs/{id}?wait=30s")).ok()["result"], json!("x"));
    assert_eq!(http.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).status, 403);
    server.signal("TERM");
    server.succeed();
    assert!(!server.err().contains("canary"), "{}", server.err());
}

#[test]
fn workers_see_the_environment_without_the_secrets() {
    let place = Place::new(&ECHO.replace("command: [cat]", "command: [env], environment: {OURS: here}"));
    let mut command = place.command(&["run", "queue.yaml"]);
    command.env("HEADWATER_SECRET_QUEUE_TOKEN", "canary-0123456789").env("THEIRS", "there");
    let (mut server, http) = place.served(&mut command);
    let id = http.put(&json!(null));
    http.get(&format!("/v1/jobs/{id}?wait=30s")).ok();
    let log = http.get(&format!("/v1/jobs/{id}/logs")).body + &http.get(&format!("/v1/jobs/{id}")).body;
    assert!(log.contains("OURS=here") && log.contains("THEIRS=there") && !log.contains("canary"), "{log}");
    server.signal("TERM");
    server.succeed();
}

#[test]
fn until_idle_ends_when_there_is_nothing_left_to_do() {
    let place = Place::new(ECHO);
    let (mut server, http) = place.serve_with(&["--until-idle", "--output", "json"]);
    let id = http.put(&json!(1));
    server.succeed();
    let summary: Value = serde_json::from_str(&server.out()).unwrap();
    assert_eq!(summary[0]["queues"]["default"]["succeeded"], json!(1), "{summary} {id}");
    assert_eq!(summary[0]["workers"]["echo"]["succeeded"], json!(1), "{summary}");
}
