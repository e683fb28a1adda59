//! The whole way, with the store that a laptop has.

use std::sync::Arc;

use api::{Access, Api, Limits};
use queue::{Declaration, QueueSettings, Sqlite, SqliteOptions, Store as _};
use serde_json::{Value, json};
use stdx::Clock;

use crate::kit::{Answer, Running};

async fn server(folder: &tempfile::TempDir) -> (Running, Sqlite) {
    let store = Sqlite::open(&SqliteOptions::new(folder.path().join("jobs.db"), Clock::system())).unwrap();
    let queues = [("default".to_owned(), QueueSettings::default())].into_iter().collect();
    let declared = queue::Change::Declare(Declaration { generation: 1, queues, ..Declaration::default() });
    store.change(declared).await.unwrap();
    let own = Arc::new(store.clone());
    let api = Api::new(own.clone(), own.clone(), Some(own), Access::open(), Limits::default());
    (Running::start(api).await, store)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[tokio::test]
async fn a_worker_that_is_a_shell_script_works() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = server(&folder).await;
    let path = "/v1/queues/default/jobs";
    let first = server.post(path, r#"{"payload": {"n": 1}, "key": "k"}"#).await;
    assert_eq!(first.status, 201, "{first:?}");
    let first = first.json();
    let id = text(&first["id"]);
    let after = server.post(path, &json!({"payload": 2, "after": [id]}).to_string()).await.json();
    assert_eq!(after["state"], "waiting");
    let again = server.post(path, r#"{"payload": {"n": 1}, "key": "k"}"#).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)));
    assert_eq!(server.post(path, r#"{"payload": 2, "key": "k"}"#).await.code(), "key_reused");
    let orphan = server.post(path, r#"{"after": ["0191e2a4-0000-7000-8000-000000000000"]}"#).await;
    assert_eq!((orphan.status, orphan.code().as_str()), (422, "unknown_parent"));

    let wait = r#"{"queues": ["default"], "n": 1, "wait": "30s", "worker": "sh-1"}"#;
    let lease = server.post("/v1/leases", wait).await.json();
    assert_eq!((text(&lease[0]["id"]), &lease[0]["payload"]), (id, &json!({"n": 1})));
    let token = text(&lease[0]["token"]);
    let beat = json!([{"id": id, "token": token, "progress": {"percent": 50}}]).to_string();
    assert_eq!(server.post("/v1/leases/heartbeat", &beat).await.json()[0]["cancel"], false);
    let lines = json!({"token": token, "lines": ["a line"]}).to_string();
    assert_eq!(server.post(&format!("/v1/jobs/{id}/logs"), &lines).await.status, 200);
    let ack = json!({"token": token, "result": 42, "enqueue": [{"payload": "child"}]}).to_string();
    let acked = server.post(&format!("/v1/jobs/{id}/ack"), &ack).await.json();
    assert_eq!((&acked["state"], acked["enqueued"].as_array().unwrap().len()), (&json!("succeeded"), 1));
    assert_eq!(server.get(&format!("/v1/jobs/{id}/result")).await.body, "42");
    assert_eq!(server.get(&format!("/v1/jobs/{id}/logs")).await.json()["items"][0]["line"], "a line");
    let events = server.get(&format!("/v1/jobs/{id}/events")).await.body;
    for event in ["event: created", "event: running", "event: succeeded"] {
        assert!(events.contains(event), "{event} in {events}");
    }
    let again = server.post(path, r#"{"payload": {"n": 1}, "key": "k"}"#).await;
    assert_eq!((again.status, &again.json()["result"]), (200, &json!(42)));
    // Its parent has ended.
    let after = server.get(&format!("/v1/jobs/{}", text(&after["id"]))).await.json();
    assert_eq!(after["state"], "ready");
    drop(store);
    server.stop().await;
}

#[tokio::test]
async fn queues_and_schedules_of_the_document_are_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = server(&folder).await;
    let owned = server.send("PUT", "/v1/queues/default", &[], "{}").await;
    assert_eq!((owned.status, owned.code().as_str()), (409, "owned_by_document"));
    assert_eq!(server.post("/v1/queues/default/pause", "").await.json()["paused"], true);
    let own = server.send("PUT", "/v1/queues/own", &[], r#"{"attempts": 1}"#).await;
    assert_eq!((own.status, &own.json()["ownedByDocument"]), (200, &json!(false)), "{own:?}");
    let names: Vec<String> = server
        .get("/v1/queues")
        .await
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["name"]).to_owned())
        .collect();
    assert_eq!(names, ["default", "own"]);
    let schedule = r#"{"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "queue": "own", "job": {"payload": 1}}"#;
    let put = server.send("PUT", "/v1/schedules/nightly", &[], schedule).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert!(put.json()["nextAt"].is_string(), "{put:?}");
    assert_eq!(server.get("/v1/schedules/nightly").await.json(), server.get("/v1/schedules").await.json()[0]);
    let bad = server.send("PUT", "/v1/schedules/bad", &[], r#"{"cron": "* * *", "queue": "own"}"#).await;
    assert_eq!((bad.status, &bad.json()["field"]), (422, &json!("cron")));
    assert_eq!(server.send("DELETE", "/v1/schedules/nightly", &[], "").await.status, 200);
    assert_eq!(server.get("/v1/schedules/nightly").await.code(), "not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_bulk_of_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = server(&folder).await;
    let jobs = r#"[{"payload": 1}, {"after": ["0191e2a4-0000-7000-8000-000000000000"]}, {"payload": 3}]"#;
    let path = "/v1/queues/default/jobs/bulk";
    let refused = server.post(&format!("{path}?atomic=true"), jobs).await;
    assert_eq!((refused.status, refused.code().as_str(), &refused.json()["index"]), (422, "unknown_parent", &json!(1)));
    assert_eq!(server.get("/v1/jobs").await.json()["items"], json!([]));
    let each = server.post(path, jobs).await.json();
    assert_eq!((&each[1]["error"]["code"], &each[1]["error"]["index"]), (&json!("unknown_parent"), &json!(1)));
    assert_eq!(server.get("/v1/jobs").await.json()["items"].as_array().unwrap().len(), 2);
    let many = format!("[{}]", vec![r#"{"payload": {"some": "thing"}}"#; 10_000].join(","));
    let each = server.post(path, &many).await.json();
    assert!(each.as_array().unwrap().iter().all(|item| item["id"].is_string()));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_left_has_no_lease() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = server(&folder).await;
    let one = r#"{"queues": ["default"], "worker": "w", "wait": "30s"}"#;
    for round in 0..20 {
        // Some leave before the job comes, some while it does.
        let gone = server.begin("POST", "/v1/leases", &[], one).await;
        let put = server.begin("POST", "/v1/queues/default/jobs", &[], "{}").await;
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        drop(gone);
        assert_eq!(Answer::read(&mut { put }).await.status, 201);
    }
    let mut found = 0;
    while found < 20 {
        let leases =
            server.post("/v1/leases", r#"{"queues": ["default"], "worker": "v", "n": 100, "wait": "500ms"}"#).await;
        let leases = leases.json();
        let leases = leases.as_array().unwrap();
        if leases.is_empty() {
            break;
        }
        assert!(leases.iter().all(|lease| lease["attempt"] == 1), "{leases:?}");
        found += leases.len();
    }
    // What reached the socket of a client before it closed it was sent.
    let running = server.get("/v1/jobs?state=running").await.json()["items"].as_array().unwrap().len();
    assert_eq!((running, server.get("/v1/jobs?state=ready").await.json()["items"].clone()), (20, json!([])));
    server.stop().await;
}

#[tokio::test]
async fn a_file_is_left_and_seen_at_the_ack() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = server(&folder).await;
    let id = text(&server.post("/v1/queues/default/jobs", "{}").await.json()["id"]).to_owned();
    let path = format!("/v1/jobs/{id}/artifacts");
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w"}"#).await.json();
    let token = text(&lease[0]["token"]);
    let large = "0123456789abcdef".repeat(1 << 16);
    let put = server.send("PUT", &format!("{path}/plot.png"), &[("Lease-Token", token)], &large).await;
    assert_eq!((put.status, &put.json()["bytes"]), (201, &json!(1 << 20)), "{put:?}");
    let late = server.send("PUT", &format!("{path}/plot.png"), &[("Lease-Token", "1.2")], "x").await;
    assert_eq!((late.status, late.code().as_str()), (409, "lease_lost"));
    let bare = server.send("PUT", &format!("{path}/plot.png"), &[], "x").await;
    assert_eq!((bare.status, &bare.json()["field"]), (422, &json!("Lease-Token")));
    let hidden = server.send("PUT", &format!("{path}/.%2Fx"), &[("Lease-Token", token)], "x").await;
    assert_eq!((hidden.status, &hidden.json()["field"]), (422, &json!("name")));
    assert_eq!(server.get(&format!("{path}/plot.png")).await.code(), "not_found");
    server.post(&format!("/v1/jobs/{id}/ack"), &json!({"token": token}).to_string()).await;
    let list = server.get(&path).await.json();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &json!("plot.png")));
    let got = server.get(&format!("{path}/plot.png")).await;
    assert!(got.head.contains("content-length: 1048576") && got.body == large, "{}", got.head);
    assert!(got.head.contains(&format!("etag: \"{}\"", text(&list[0]["sha256"]))), "{}", got.head);
    server.stop().await;
}
