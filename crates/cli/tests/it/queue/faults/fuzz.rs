//! Bodies that nobody means: valid ones, changed by a seeded generator in their bytes and in their values.
//!
//! `HEADWATER_FUZZ` says how many (3,000 by default), `HEADWATER_SEED` repeats a run.

use serde_json::{Value, json};

use super::{TWO, assert_serves, stops};
use crate::process::{draw, given};
use crate::queue::server::{Http, Place};

/// Requests as they should be. `ID` and `TOKEN` are of a job that is leased.
fn valid() -> Vec<(&'static str, &'static str, Value)> {
    let id = "00000000-0001-7000-8000-000000000000";
    let job = json!({
        "type": "t", "payload": {"a": [1, 2.5, null, "x"]}, "key": "k", "priority": 3, "delay": "1s", "timeout": "5s",
        "attempts": 3, "backoff": {"base": "1s", "factor": 2.0, "max": "1m", "jitter": 0.5}, "after": [], "onFail": "run",
        "concurrency": {"key": "c", "max": 2}, "resultTtl": "1h", "keyTtl": "1h", "meta": {"m": 1}, "traceparent": "00-a-b-01",
    });
    let lease = json!({"queues": ["default"], "types": ["t"], "n": 2, "worker": "w", "request": "r", "lease": "1m"});
    let outcomes = json!([
        {"id": "ID", "token": "TOKEN", "ack": {"result": {"r": 1}, "enqueue": [{"payload": 1, "queue": "default"}]}},
        {"id": id, "token": "1.2", "nack": {"error": {"message": "m", "type": "E", "exitCode": 1}, "reason": "error", "retry": true}},
        {"id": id, "token": "1.2", "release": {}},
    ]);
    let schedule = json!({"cron": "*/5 * * * *", "timeZone": "Europe/Berlin", "queue": "default", "job": {"payload": 1}, "overlap": "skip"});
    let settings =
        json!({"attempts": 3, "lease": "30s", "retention": "1d", "payload": {"type": "object"}, "depthMax": 1000});
    vec![
        ("POST", "/v1/queues/default/jobs", job.clone()),
        ("POST", "/v1/queues/default/jobs/bulk", json!([job, {"payload": 1}])),
        ("POST", "/v1/queues/default/jobs/bulk?atomic=true", json!([{"payload": 1}, job])),
        ("POST", "/v1/leases", lease.clone()),
        ("POST", "/v1/leases/finish", json!({"outcomes": outcomes, "lease": lease})),
        ("POST", "/v1/leases/heartbeat", json!([{"id": "ID", "token": "TOKEN", "progress": {"done": 0.5}}])),
        ("POST", "/v1/jobs/ID/ack", json!({"token": "TOKEN", "result": [1], "enqueue": [{"payload": 1}]})),
        ("POST", "/v1/jobs/ID/nack", json!({"token": "TOKEN", "error": {"message": "m"}, "snooze": "1s"})),
        ("POST", "/v1/jobs/ID/release", json!({"token": "TOKEN"})),
        ("POST", "/v1/jobs/ID/logs", json!({"token": "TOKEN", "lines": ["one", "two"]})),
        ("POST", "/v1/jobs/ID/reschedule", json!({"delay": "1s"})),
        (
            "POST",
            "/v1/jobs/retry",
            json!({"queue": "default", "state": "failed", "since": "2026-01-01T00:00:00Z", "limit": 10}),
        ),
        ("PUT", "/v1/queues/other", settings),
        ("PUT", "/v1/schedules/s", schedule),
        ("POST", "/jobs", json!({"start": 2001, "end": 2004})),
    ]
}

/// Values that are seldom thought of.
const ODD: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "-0.0",
    "18446744073709551616",
    "99999999999999999999999999",
    "1e-400",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{202e}\u{1f4a9}\"",
    "[]",
    "{}",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    "{\"\":{\"\":{\"\":null}}}",
    "\"-5s\"",
    "\"99999999999999999d\"",
    "\"0s\"",
    "\"9999-12-31T23:59:59Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"* * * * * * *\"",
    "{\"$ref\":\"#\"}",
];

/// Changes one value somewhere in it.
fn change_value(value: &mut Value, draw: &mut fastrand::Rng) {
    let children = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if children == 0 || draw.u32(..4) == 0 {
        // Told by a word, since not each of them can be held as a value.
        *value = Value::from(format!("ODD {}", draw.usize(..ODD.len())));
        return;
    }
    let at = draw.usize(..children);
    match value {
        Value::Array(items) => change_value(&mut items[at], draw),
        Value::Object(fields) => change_value(fields.values_mut().nth(at).unwrap(), draw),
        _ => {}
    }
}

/// Changes some bytes of it.
fn change_bytes(bytes: &mut Vec<u8>, draw: &mut fastrand::Rng) {
    for _ in 0..draw.usize(1..4) {
        let at = draw.usize(..=bytes.len());
        let end = (at + draw.usize(..20)).min(bytes.len());
        match draw.u32(..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, draw.u8(..)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec().repeat(draw.usize(..50)))),
            4 => drop(bytes.splice(at..at, *b"\xff\xfe")),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << draw.u32(..8)),
        }
    }
}

fn changed(value: &Value, draw: &mut fastrand::Rng) -> Vec<u8> {
    let mut value = value.clone();
    let way = draw.u32(..4);
    if way < 3 {
        for _ in 0..draw.usize(1..3) {
            change_value(&mut value, draw);
        }
    }
    let mut text = value.to_string();
    for (number, odd) in ODD.iter().enumerate().rev() {
        text = text.replace(&format!("\"ODD {number}\""), odd);
    }
    let mut bytes = text.into_bytes();
    if way > 1 {
        change_bytes(&mut bytes, draw);
    }
    bytes
}

/// A lease of a fresh job, so that some of what comes in passes the first checks.
fn leased(http: &Http) -> Option<(String, String)> {
    http.put(&json!(1));
    let leases = http.post("/v1/leases", &json!({"queues": ["default"], "worker": "fuzz"})).ok();
    Some((leases[0]["id"].as_str()?.to_owned(), leases[0]["token"].as_str()?.to_owned()))
}

#[test]
fn bodies_that_nobody_means_are_refused_and_break_nothing() {
    let mut draw = draw();
    // Nothing that is put with odd settings keeps the jobs of this test from being leased.
    let place = Place::new(TWO);
    let (mut server, http) = place.serve();
    let valid = valid();
    let (mut taken, mut refused) = (0, 0);
    let mut held = leased(&http).unwrap();
    for _ in 0..given("HEADWATER_FUZZ").unwrap_or(3000) {
        let (method, path, body) = &valid[draw.usize(..valid.len())];
        if draw.u32(..20) == 0 {
            held = leased(&http).unwrap_or(held);
        }
        let (id, token) = &held;
        let mut body = body.to_string().replace("TOKEN", token).replace("ID", id);
        if draw.u32(..10) != 0 {
            let value: Value = serde_json::from_str(&body).unwrap();
            let bytes = changed(&value, &mut draw);
            let reply = http.send(method, &path.replace("ID", id), &bytes);
            let shown = String::from_utf8_lossy(&bytes);
            assert!((200..500).contains(&reply.status), "{method} {path} {shown}\n{reply:?}");
            let is_problem = reply.header("content-type") == Some("application/problem+json");
            assert_eq!(is_problem, reply.status >= 400, "{method} {path} {shown}\n{reply:?}");
            if is_problem {
                refused += 1
            } else {
                taken += 1
            }
            continue;
        }
        // As it is meant, among the others.
        body.insert(0, ' ');
        let reply = http.send(method, &path.replace("ID", id), body.as_bytes());
        assert!(reply.status < 500, "{reply:?}");
    }
    assert!(taken > 100 && refused > 500, "{taken} taken, {refused} refused");
    assert_serves(&mut server, &http);
    assert!(!server.err().contains("panicked"), "{}", server.err());
    stops(&mut server);
    // What was taken can be read, by a server that starts with it.
    let (mut server, http) = place.serve();
    for path in ["/v1/jobs?limit=1000", "/v1/queues", "/v1/schedules", "/jobs", "/metrics"] {
        assert_eq!(http.get(path).status, 200, "{path}");
    }
    assert_serves(&mut server, &http);
    stops(&mut server);
}
