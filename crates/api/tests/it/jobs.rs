use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::kit::{Answer, SOON, Server};

#[tokio::test]
async fn a_job_is_put_read_and_listed() {
    let server = Server::start().await;
    let put = server.post("/v1/queues/default/jobs", r#"{"payload": {"n": 1e400}, "key": "k"}"#).await;
    assert_eq!(put.status, 201, "{put:?}");
    let id = put.json()["id"].as_str().unwrap().to_owned();
    assert!(put.head.contains(&format!("location: /v1/jobs/{id}")), "{put:?}");
    assert_eq!((&put.json()["state"], &put.json()["duplicate"]), (&json!("ready"), &json!(false)));
    let get = server.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(get.status, 200);
    assert!(get.body.contains(r#""payload":{"n": 1e400}"#), "{get:?}");
    let page = server.get("/v1/jobs?queue=default&state=ready,running&limit=1").await.json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(id), &json!(id)));
    let page = server.get(&format!("/v1/jobs?cursor={id}")).await.json();
    assert_eq!(page, json!({"items": []}));
    let stats = server.get("/v1/queues/default/stats").await.json();
    assert_eq!((&stats[0]["state"], &stats[0]["jobs"]), (&json!("ready"), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_job() {
    let server = Server::start().await;
    let body = r#"{"payload": 1, "key": "k"}"#;
    let id = server.post("/v1/queues/default/jobs", body).await.json()["id"].clone();
    let again = server.post("/v1/queues/default/jobs", body).await;
    assert_eq!((again.status, again.json()), (200, json!({"id": id, "state": "ready", "duplicate": true})));
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w"}"#).await.json();
    let ack = json!({"token": lease[0]["token"], "result": {"r": 5}}).to_string();
    assert_eq!(server.post(&format!("/v1/jobs/{}/ack", id.as_str().unwrap()), &ack).await.status, 200);
    let again = server.post("/v1/queues/default/jobs", body).await;
    assert_eq!((again.status, &again.json()["result"]), (200, &json!({"r": 5})));
    let other = server.post("/v1/queues/default/jobs", r#"{"payload": 2, "key": "k"}"#).await;
    assert_eq!((other.status, other.code().as_str()), (409, "key_reused"));
    server.stop().await;
}

#[tokio::test]
async fn wrong_bodies_are_told_where_they_are_wrong() {
    let server = Server::start().await;
    let path = "/v1/queues/default/jobs";
    for (body, status, code, field) in [
        ("", 400, "bad_json", Value::Null),
        ("{", 400, "bad_json", Value::Null),
        (r#"{"start", "2001"}"#, 400, "bad_json", Value::Null),
        ("\u{1}", 400, "bad_json", Value::Null),
        ("[]", 422, "invalid", Value::Null),
        (r#"{"payload": 1, "novel": 2}"#, 422, "invalid", json!("novel")),
        (r#"{"priority": "high"}"#, 422, "invalid", json!("priority")),
        (r#"{"backoff": {"base": "soon"}}"#, 422, "invalid", json!("backoff.base")),
        (r#"{"after": ["x"]}"#, 422, "invalid", json!("after[0]")),
        (r#"{"attempts": 0}"#, 422, "invalid", json!("attempts")),
        (r#"{"priority": -2147483648}"#, 422, "invalid", json!("priority")),
        (r#"{"queue": "other"}"#, 422, "invalid", json!("queue")),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {answer:?}");
        assert_eq!(answer.json()["field"], field, "{body}: {answer:?}");
    }
    let large = format!(r#"{{"payload": "{}"}}"#, "x".repeat(1 << 20));
    let answer = server.post(path, &large).await;
    assert_eq!((answer.status, answer.code().as_str(), &answer.json()["field"]), (413, "too_large", &json!("payload")));
    for path in ["/v1/jobs?state=done", "/v1/jobs?limit=0", "/v1/jobs?novel=1", "/v1/jobs?limit=1&limit=2"] {
        assert_eq!(server.get(path).await.code(), "invalid", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let server = Server::start().await;
    for path in
        ["/", "/v2", "/v1/jobs/1", "/v1/jobs/%ff", "/v1/jobs/0191e2a4-0000-7000-8000-000000000000", "/v1/queues/no"]
    {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let answer = server.send("DELETE", "/v1/leases", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.head.contains("allow: post"), "{answer:?}");
    for (path, status) in [("/healthz", 200), ("/nothing", 404), ("/v1/leases", 405)] {
        let head = server.send("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}");
    }
    let path = "/v1/jobs/0191e2a4-0000-7000-8000-000000000000/artifacts/a";
    let artifact = server.send("PUT", path, &[("Lease-Token", "1.2")], "x").await;
    assert_eq!((artifact.status, artifact.code().as_str()), (501, "not_implemented"));
    server.stop().await;
}

#[tokio::test]
async fn many_jobs_have_a_result_each() {
    let server = Server::start().await;
    let path = "/v1/queues/default/jobs/bulk";
    let body = r#"[{"payload": 1}, {"priority": "high"}, {"payload": 2, "attempts": 0}, {"payload": 3}]"#;
    let items = server.post(path, body).await.json();
    assert_eq!(items.as_array().unwrap().len(), 4);
    assert!(items[0]["id"].is_string() && items[3]["id"].is_string(), "{items}");
    for (at, field) in [(1, "priority"), (2, "attempts")] {
        assert_eq!((&items[at]["error"]["field"], &items[at]["error"]["index"]), (&json!(field), &json!(at)));
    }
    let refused = server.post(&format!("{path}?atomic=true"), body).await;
    assert_eq!((refused.status, refused.code().as_str(), &refused.json()["index"]), (422, "invalid", &json!(1)));
    assert_eq!(server.get("/v1/queues/default/stats").await.json()[0]["jobs"], 2);
    let many = format!("[{}]", vec!["{}"; 10_001].join(","));
    let refused = server.post(path, &many).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid"));
    assert_eq!(server.post(path, "[]").await.body, "[]");
    server.stop().await;
}

#[tokio::test]
async fn a_full_queue_and_a_store_that_is_down_say_when_to_come_again() {
    let server = Server::start().await;
    let id = server.put("1").await;
    server.store.is_full.store(true, Ordering::SeqCst);
    let full = server.post("/v1/queues/default/jobs", "{}").await;
    assert_eq!((full.status, full.code().as_str(), &full.json()["retryAfter"]), (429, "queue_full", &json!(2)));
    assert!(full.head.contains("retry-after: 2"), "{full:?}");
    assert_eq!(server.get("/readyz").await.status, 200);
    server.store.is_down.store(true, Ordering::SeqCst);
    for path in ["/readyz".to_owned(), "/v1/queues".to_owned(), format!("/v1/jobs/{id}"), "/metrics".to_owned()] {
        let down = server.get(&path).await;
        assert_eq!((down.status, down.code().as_str()), (503, "store_down"), "{path}");
        assert!(down.head.contains("retry-after: 1"), "{down:?}");
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_bug_ends_its_own_request_only() {
    let server = Server::start().await;
    server.put("1").await;
    server.store.is_broken.store(true, Ordering::SeqCst);
    let broken = server.get("/v1/queues/default/stats").await;
    assert_eq!((broken.status, broken.code().as_str()), (500, "internal"));
    assert_eq!(server.get("/v1/jobs").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_a_job_hears_of_its_end() {
    let server = Server::start().await;
    let id = server.put("1").await;
    let early = server.get(&format!("/v1/jobs/{id}/result")).await;
    assert_eq!((early.status, early.code().as_str()), (409, "wrong_state"));
    let mut waiting = server.begin("GET", &format!("/v1/jobs/{id}/result?wait=30s"), &[], "").await;
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w"}"#).await.json();
    let ack = json!({"token": lease[0]["token"], "result": "done"}).to_string();
    server.post(&format!("/v1/jobs/{id}/ack"), &ack).await;
    let answer = Answer::read(&mut waiting).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#""done""#));
    let running = server.put("2").await;
    let answer = server.get(&format!("/v1/jobs/{running}?wait=50ms")).await;
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("ready")));
    server.stop().await;
}

#[tokio::test]
async fn the_lecture_has_its_routes_and_words() {
    let server = Server::start().await;
    let job = server.post("/jobs", r#"{"start": "2001", "end": "2021"}"#).await;
    assert_eq!(job.status, 200);
    let job = job.json();
    assert_eq!((&job["status"], &job["start"], &job["end"]), (&json!("submitted"), &json!("2001"), &json!("2021")));
    let path = format!("/jobs/{}", job["id"].as_str().unwrap());
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "10.0.0.7"}"#).await.json();
    let running = server.get(&path).await.json();
    assert_eq!((&running["status"], &running["worker"]), (&json!("in progress"), &json!("10.0.0.7")));
    let ack = json!({"token": lease[0]["token"], "result": 7}).to_string();
    server.post(&format!("/v1{path}/ack"), &ack).await;
    let done = server.get(&path).await.json();
    assert_eq!((&done["status"], &done["result"], &done["start"]), (&json!("complete"), &json!(7), &json!("2001")));
    let all = server.get("/jobs").await.json();
    assert_eq!(all[job["id"].as_str().unwrap()], done);
    assert_eq!(server.post("/jobs", r#"{"start", "2001"}"#).await.code(), "bad_json");
    server.stop().await;
}

#[tokio::test]
async fn jobs_are_changed() {
    let server = Server::start().await;
    let id = server.put("1").await;
    let early = server.send("DELETE", &format!("/v1/jobs/{id}"), &[], "").await;
    assert_eq!((early.status, early.code().as_str()), (409, "wrong_state"));
    let moved = server.post(&format!("/v1/jobs/{id}/reschedule"), r#"{"runAt": "2026-05-01T12:00:00Z"}"#).await;
    assert_eq!(moved.json()["runAt"], "2026-05-01T12:00:00.000Z");
    for body in ["{}", r#"{"delay": "1s", "runAt": "2026-05-01T12:00:00Z"}"#, r#"{"delay": "99999d"}"#] {
        assert_eq!(server.post(&format!("/v1/jobs/{id}/reschedule"), body).await.code(), "invalid", "{body}");
    }
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), "").await.json()["state"], "cancelled");
    assert_eq!(server.post(&format!("/v1/jobs/{id}/retry"), "").await.json()["state"], "ready");
    server.post(&format!("/v1/jobs/{id}/cancel"), "").await;
    assert_eq!(server.send("DELETE", &format!("/v1/jobs/{id}"), &[], "").await.status, 200);
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await.status, 404);
    assert_eq!(server.post("/v1/jobs/retry", r#"{"since": "2026-05-01T12:00:00Z"}"#).await.json()["count"], 0);
    assert_eq!(server.post("/v1/jobs/retry", r#"{"state": "ready"}"#).await.code(), "invalid");
    assert_eq!(server.send("PUT", "/v1/queues/q", &[], r#"{"lease": "5s"}"#).await.json()["settings"]["lease"], "5s");
    assert_eq!(server.send("PUT", "/v1/queues/q", &[], r#"{"lease": "0s"}"#).await.json()["field"], "lease");
    assert_eq!(server.post("/v1/queues/q/pause", "").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_counted() {
    let server = Server::start().await;
    let id = server.put("1").await;
    server.put("2").await;
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w"}"#).await.json();
    let nack = json!({"token": lease[0]["token"], "error": {"message": "no"}, "retry": false}).to_string();
    assert_eq!(server.post(&format!("/v1/jobs/{id}/nack"), &nack).await.json()["state"], "failed");
    server.api.note_sweep(&queue::Swept { lost: 3, ..queue::Swept::default() });
    server.api.note_groups(2, 5);
    let text = server.get("/metrics").await.body;
    for line in [
        r#"headwater_queue_jobs{queue="default",state="ready"} 1"#,
        r#"headwater_queue_oldest_seconds{queue="default",state="ready"} 3.0"#,
        r#"headwater_queue_leases_total{queue="default"} 1"#,
        r#"headwater_queue_finishes_total{state="failed",reason="error"} 1"#,
        "headwater_queue_workers_lost_total 3",
        "headwater_queue_commits_total 2",
        "headwater_queue_committed_requests_total 5",
        r#"headwater_http_request_seconds_count{method="POST",route="/v1/jobs/{id}/nack",status="200"} 1"#,
        "headwater_http_waiting 0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_drain_ends_what_waits() {
    let mut server = Server::start().await;
    let id = server.put("1").await;
    let mut job = server.begin("GET", &format!("/v1/jobs/{id}?wait=60s"), &[], "").await;
    let mut lease = server.begin("POST", "/v1/leases", &[], r#"{"queues": ["x"], "worker": "w", "wait": "60s"}"#).await;
    crate::kit::until("both wait", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.ask();
    assert_eq!(Answer::read(&mut job).await.json()["state"], "ready");
    assert_eq!(Answer::read(&mut lease).await.body, "[]");
    timeout(SOON, server.stop()).await.unwrap();
}
