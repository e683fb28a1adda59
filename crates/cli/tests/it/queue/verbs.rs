//! `headwater jobs` and `headwater queue` beside a server that runs.

use serde_json::{Value, json};

use super::server::{Http, Place};
use super::{BARE, ECHO};

/// Runs a verb against the server, and gives the exit code and both outputs.
fn jobs(place: &Place, http: &Http, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", http.address);
    let mut ran = place.start(&[&["jobs"], arguments, &["--url", &url]].concat());
    let code = ran.code();
    (code, ran.out(), ran.err())
}

fn done(place: &Place, http: &Http, arguments: &[&str]) -> String {
    let (code, out, err) = jobs(place, http, arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

#[test]
fn jobs_are_put_listed_shown_and_their_logs_read() {
    let place = Place::new(&ECHO.replace("command: [cat]", "command: [sh, -c, 'echo hello; cat']"));
    let (mut server, http) = place.serve();
    let id = done(&place, &http, &["put", "default", r#"{"a": 1}"#, "--type", "echo"]).trim().to_owned();
    let shown = done(&place, &http, &["show", &id, "--wait", "30s"]);
    assert!(shown.contains("state    succeeded") && shown.contains(r#"result   {"a": 1}"#), "{shown}");
    let shown: Value = serde_json::from_str(&done(&place, &http, &["show", &id, "--output", "json"])).unwrap();
    assert_eq!((&shown["result"], &shown["type"]), (&json!({"a": 1}), &json!("echo")));
    assert_eq!(done(&place, &http, &["logs", &id, "--follow"]), "hello\n");
    let waited = done(&place, &http, &["put", "default", "-7", "--wait", "30s"]);
    assert!(waited.contains("result   -7"), "{waited}");
    let list = done(&place, &http, &["list", "--state", "succeeded", "--queue", "default"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    let list: Value =
        serde_json::from_str(&done(&place, &http, &["list", "--type", "echo", "--output", "json"])).unwrap();
    assert_eq!(list[0]["id"], json!(id));
    assert_eq!(done(&place, &http, &["list", "--state", "failed"]), "no jobs\n");
    let keyed = ["put", "default", "1", "--key", "k"];
    assert_eq!(done(&place, &http, &keyed), done(&place, &http, &keyed), "a key puts one job");
    let (code, _, err) = jobs(&place, &http, &["put", "default", "2", "--key", "k"]);
    assert!(code == 2 && err.contains("key_reused"), "{err}");
    let (code, _, err) = jobs(&place, &http, &["put", "default", "{no json"]);
    assert!(code == 2 && err.contains("the payload is not JSON"), "{err}");
    server.signal("TERM");
    server.succeed();
    let (code, _, err) = jobs(&place, &http, &["list"]);
    assert!(code == 1 && err.contains("ask the server at http://127.0.0.1:"), "{err}");
}

#[test]
fn jobs_are_cancelled_and_put_back_alone_and_in_bulk() {
    let place = Place::new(BARE);
    let (mut server, http) = place.serve();
    let ids: Vec<String> = (0..3).map(|number| http.put(&json!(number))).collect();
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let cancelled = done(&place, &http, &[&["cancel"], &all[..]].concat());
    let expected: String = ids.iter().flat_map(|id| [id, " cancelled\n"]).collect();
    assert_eq!(cancelled, expected);
    assert_eq!(done(&place, &http, &["retry", all[0]]), format!("{} ready\n", ids[0]));
    assert_eq!(done(&place, &http, &["retry", "--state", "cancelled", "--since", "1h"]), "2 jobs put back\n");
    assert_eq!(done(&place, &http, &["retry", "--state", "failed", "--output", "json"]).trim(), "{\n  \"count\": 0\n}");
    let (code, out, err) = jobs(&place, &http, &["retry", all[0], "01a1fede-0000-7000-8000-000000000000"]);
    assert!(code == 2 && out.is_empty() && err.contains("wrong_state") && err.contains("not_found"), "{out} {err}");
    let (code, ..) = jobs(&place, &http, &["retry", "--state", "running"]);
    assert_eq!(code, 2);
    server.signal("TERM");
    server.succeed();
}

#[test]
fn a_backup_of_a_live_store_is_whole_and_overwrites_nothing() {
    let place = Place::new(BARE);
    let mut early = place.start(&["queue", "backup", "queue.yaml"]);
    assert_eq!(early.code(), 1);
    assert!(early.err().contains("the queue has not run") && !place.path("jobs.db").exists(), "{}", early.err());
    let (mut server, http) = place.serve();
    let id = http.put(&json!({"kept": true}));
    let mut backup = place.start(&["queue", "backup", "queue.yaml", "--to", "copy.db"]);
    backup.succeed();
    assert!(backup.out().contains("copy.db ("), "{}", backup.out());
    let mut again = place.start(&["queue", "backup", "queue.yaml", "--to", "copy.db"]);
    assert_eq!(again.code(), 1);
    assert!(again.err().contains("is there already"), "{}", again.err());
    server.kill();
    place.write("queue.yaml", &Place::document(&BARE.replace("jobs.db", "copy.db")));
    let (mut server, http) = place.serve();
    assert_eq!(http.get(&format!("/v1/jobs/{id}")).ok()["payload"], json!({"kept": true}));
    server.signal("TERM");
    server.succeed();
}
