use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::kit::{Answer, Server, until};

const ONE: &str = r#"{"queues": ["default"], "worker": "w"}"#;
const WAIT: &str = r#"{"queues": ["default"], "worker": "w", "wait": "30s"}"#;

#[tokio::test]
async fn a_batch_is_finished_and_the_next_leased() {
    let server = Server::start().await;
    for n in 0..4 {
        server.put(&n.to_string()).await;
    }
    let leases = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w", "n": 3}"#).await.json();
    let of = |at: usize| (leases[at]["id"].clone(), leases[at]["token"].clone());
    let ((first, one), (second, two), (third, three)) = (of(0), of(1), of(2));
    let body = json!({
        "outcomes": [
            {"id": first, "token": one, "ack": {"result": {"big": 1}}},
            {"id": second, "token": "wrong", "ack": {}},
            {"id": third, "token": three, "nack": {"reason": "expired"}},
        ],
        "lease": {"queues": ["default"], "worker": "w"},
    });
    let answer = server.post("/v1/leases/finish", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let outcomes = &answer["outcomes"];
    assert_eq!((&outcomes[0]["state"], &outcomes[0]["id"]), (&json!("succeeded"), &first));
    assert_eq!((&outcomes[1]["error"]["code"], &outcomes[1]["id"]), (&json!("lease_lost"), &second));
    assert_eq!((&outcomes[2]["error"]["field"], &outcomes[2]["error"]["index"]), (&json!("reason"), &json!(2)));
    assert_eq!(answer["leases"][0]["payload"], 3);
    let beats = json!([{"id": second, "token": two, "progress": 0.5}, {"id": first, "token": one}]).to_string();
    let pulses = server.post("/v1/leases/heartbeat", &beats).await.json();
    assert_eq!((&pulses[0]["id"], &pulses[0]["cancel"]), (&second, &json!(false)));
    assert_eq!((&pulses[1]["id"], &pulses[1]["error"]["code"]), (&first, &json!("lease_lost")));
    let bad = json!({"outcomes": [{"id": first, "token": one, "ack": {}, "nack": {}}]}).to_string();
    let bad = server.post("/v1/leases/finish", &bad).await;
    assert_eq!((bad.status, &bad.json()["field"]), (422, &json!("outcomes[0]")));
    server.stop().await;
}

#[tokio::test]
async fn one_job_is_acked_by_its_id() {
    let server = Server::start().await;
    let id = server.put("1").await;
    let lease = server.post("/v1/leases", ONE).await.json();
    let token = lease[0]["token"].clone();
    let lines = json!({"token": token, "lines": ["one", "two"]}).to_string();
    assert_eq!(server.post(&format!("/v1/jobs/{id}/logs"), &lines).await.status, 200);
    let logs = server.get(&format!("/v1/jobs/{id}/logs?after=1")).await.json();
    assert_eq!((&logs["items"][0]["line"], &logs["next"]), (&json!("two"), &json!(2)));
    let long = json!({"token": token, "lines": ["", "x".repeat(20_000)]}).to_string();
    assert_eq!(server.post(&format!("/v1/jobs/{id}/logs"), &long).await.json()["field"], "lines[1]");
    let ack = json!({"token": token, "result": 1}).to_string();
    let first = server.post(&format!("/v1/jobs/{id}/ack"), &ack).await.json();
    assert_eq!(first, json!({"id": id, "state": "succeeded"}));
    let again = server.post(&format!("/v1/jobs/{id}/ack"), &ack).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)));
    let other = server.post(&format!("/v1/jobs/{id}/ack"), r#"{"token": "x"}"#).await;
    assert_eq!((other.status, other.code().as_str()), (409, "lease_lost"));
    let none = server.post(&format!("/v1/jobs/{id}/ack"), "{}").await;
    assert_eq!((none.status, none.code().as_str()), (422, "invalid"));
    assert!(none.body.contains("token"), "{none:?}");
    server.stop().await;
}

#[tokio::test]
async fn whoever_waits_gets_the_next_job() {
    let server = Server::start().await;
    let mut waiting = server.begin("POST", "/v1/leases", &[], WAIT).await;
    until("it waits", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    let id = server.put("5").await;
    let leases = Answer::read(&mut waiting).await.json();
    assert_eq!((&leases[0]["id"], &leases[0]["attempt"]), (&json!(id), &json!(1)));
    let lease = r#"{"queues": ["default"], "worker": "w", "wait": "20ms"}"#;
    assert_eq!(server.post("/v1/leases", lease).await.body, "[]");
    let lease = r#"{"outcomes": [], "lease": {"queues": ["default"], "worker": "w", "wait": "30s"}}"#;
    let mut waiting = server.begin("POST", "/v1/leases/finish", &[], lease).await;
    until("it waits", || server.store.leases.load(Ordering::SeqCst) == 4).await;
    let id = server.put("6").await;
    assert_eq!(Answer::read(&mut waiting).await.json()["leases"][0]["id"], json!(id));
    server.stop().await;
}

#[tokio::test]
async fn a_lease_reply_that_was_never_sent_gives_its_leases_back() {
    let server = Server::start().await;
    let id = server.put("1").await;
    server.store.lease_ms.store(200, Ordering::SeqCst);
    let gone = server.begin("POST", "/v1/leases", &[], ONE).await;
    until("it was asked", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    // The client leaves while the store works.
    drop(gone);
    until("it is given back", || server.store.releases.load(Ordering::SeqCst) == 1).await;
    server.store.lease_ms.store(0, Ordering::SeqCst);
    let lease = server.post("/v1/leases", ONE).await.json();
    assert_eq!((&lease[0]["id"], &lease[0]["attempt"]), (&json!(id), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn a_lease_that_was_sent_stays() {
    let server = Server::start().await;
    server.put("1").await;
    let lease = server.post("/v1/leases", ONE).await.json();
    assert!(lease[0]["token"].is_string());
    // The connection is closed by now; that means nothing.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.store.releases.load(Ordering::SeqCst), 0);
    assert_eq!(server.get("/v1/jobs?state=running").await.json()["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_not_undone_by_the_first() {
    let server = Server::start().await;
    server.put("1").await;
    let named = r#"{"queues": ["default"], "worker": "w", "request": "r"}"#;
    server.store.lease_ms.store(200, Ordering::SeqCst);
    let gone = server.begin("POST", "/v1/leases", &[], named).await;
    until("it was asked", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    let mut again = server.begin("POST", "/v1/leases", &[], named).await;
    until("it was asked again", || server.store.leases.load(Ordering::SeqCst) == 2).await;
    drop(gone);
    Answer::read(&mut again).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.store.releases.load(Ordering::SeqCst), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_left_while_it_waited_takes_no_job() {
    let server = Server::start().await;
    let gone = server.begin("POST", "/v1/leases", &[], WAIT).await;
    until("it waits", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    drop(gone);
    sleep(Duration::from_millis(100)).await;
    server.put("1").await;
    let lease = server.post("/v1/leases", ONE).await.json();
    assert_eq!(lease[0]["attempt"], 1, "{lease}");
    server.stop().await;
}
