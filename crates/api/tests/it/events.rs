use std::sync::atomic::Ordering;
use std::time::Duration;

use api::{Access, Limits};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::kit::{Answer, SOON, Server};

/// The events of a reply: number, name, data.
fn events(text: &str) -> Vec<(u64, String, Value)> {
    let line = |piece: &str, name: &str| {
        let found = piece.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {piece}")).to_owned()
    };
    let pieces = text.split("id: ").skip(1).map(|piece| format!("id: {piece}"));
    pieces
        .map(|piece| {
            let data = serde_json::from_str(&line(&piece, "data")).unwrap();
            (line(&piece, "id").parse().unwrap(), line(&piece, "event"), data)
        })
        .collect()
}

#[tokio::test]
async fn events_go_on_after_the_last_one_that_was_seen() {
    let server = Server::start().await;
    let id = server.put("1").await;
    let path = format!("/v1/jobs/{id}/events");
    let mut broken = server.begin("GET", &path, &[], "").await;
    let mut seen = String::new();
    while !seen.contains("event: ready") {
        let mut bytes = [0; 1024];
        let read = timeout(SOON, broken.read(&mut bytes)).await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(seen.to_ascii_lowercase().contains("content-type: text/event-stream"), "{seen}");
    drop(broken);
    let lease = server.post("/v1/leases", r#"{"queues": ["default"], "worker": "w"}"#).await.json();
    let mut resumed = server.begin("GET", &path, &[("Last-Event-ID", "1")], "").await;
    let ack = json!({"token": lease[0]["token"]}).to_string();
    server.post(&format!("/v1/jobs/{id}/ack"), &ack).await;
    // The stream ends with the job.
    let answer = Answer::read(&mut resumed).await;
    let found = events(&answer.body);
    let names: Vec<(u64, &str)> = found.iter().map(|(number, name, _)| (*number, name.as_str())).collect();
    assert_eq!(names, [(2, "running"), (3, "succeeded")]);
    assert_eq!((&found[0].2["sequence"], &found[0].2["event"]), (&json!(2), &json!("running")));
    let rest = server.send("GET", &path, &[("Last-Event-ID", "3")], "").await;
    assert_eq!((rest.status, events(&rest.body).len()), (200, 0));
    assert_eq!(events(&server.get(&path).await.body).len(), 3);
    assert_eq!(events(&server.get(&format!("{path}?after=2")).await.body).len(), 1);
    let bad = server.send("GET", &path, &[("Last-Event-ID", "x")], "").await;
    assert_eq!((bad.status, bad.code().as_str()), (422, "invalid"));
    server.stop().await;
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_alive_and_streams_are_counted() {
    let limits = Limits { streams: 1, events_silence: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(Access::open(), limits).await;
    let id = server.put("1").await;
    let path = format!("/v1/jobs/{id}/events");
    let mut stream = server.begin("GET", &path, &[], "").await;
    let mut seen = String::new();
    while seen.matches(": alive").count() < 2 {
        let mut bytes = [0; 1024];
        let read = timeout(SOON, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "it ended: {seen}");
        seen.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    let busy = server.get(&path).await;
    assert_eq!((busy.status, busy.code().as_str()), (503, "busy"));
    drop(stream);
    // Once its client has left, its place is free.
    let mut next = loop {
        let mut next = server.begin("GET", &path, &[], "").await;
        let mut bytes = [0; 12];
        timeout(SOON, next.read_exact(&mut bytes)).await.unwrap().unwrap();
        if &bytes == b"HTTP/1.1 200" {
            break next;
        }
    };
    assert_eq!(server.store.leases.load(Ordering::SeqCst), 0);
    server.stop().await;
    let mut rest = Vec::new();
    timeout(SOON, next.read_to_end(&mut rest)).await.unwrap().unwrap();
}
