use api::{Access, Grant, Limits};
use document::Secret;
use queue::Scope;
use tokio::net::TcpListener;

use crate::kit::Server;

fn grant(holder: &str, scopes: &[Scope], queues: &[&str]) -> Grant {
    Grant {
        holder: holder.to_owned(),
        token: Secret::new(token(holder)),
        scopes: scopes.to_vec(),
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
    }
}

fn token(holder: &str) -> String {
    format!("{holder}-0123456789abcdef")
}

async fn server() -> Server {
    let grants = vec![
        grant("client", &[Scope::Enqueue], &["a*"]),
        grant("worker", &[Scope::Work], &["a*", "default"]),
        grant("reader", &[Scope::Read], &["*"]),
        grant("admin", &[Scope::Admin], &["*"]),
        grant("half", &[Scope::Admin, Scope::Read], &["a*"]),
    ];
    Server::with(Access::tokens(grants).unwrap(), Limits::default()).await
}

async fn ask(server: &Server, holder: &str, method: &str, path: &str, body: &str) -> u16 {
    let bearer = format!("Bearer {}", token(holder));
    let answer = server.send(method, path, &[("Authorization", &bearer)], body).await;
    if answer.status >= 400 {
        answer.code();
    }
    answer.status
}

/// Who, in this order, asks in the matrix.
const WHO: [&str; 6] = ["client", "worker", "reader", "admin", "half", "nobody"];

#[tokio::test]
async fn each_token_allows_what_it_says() {
    let server = server().await;
    let id = server.put("1").await;
    let lease = |queue: &str| format!(r#"{{"queues": ["{queue}"], "worker": "w"}}"#);
    let child = r#"{"token": "x", "enqueue": [{"queue": "b"}]}"#;
    for (method, path, body, expected) in [
        ("POST", "/v1/queues/a1/jobs", "{}", [201, 403, 403, 201, 201, 401]),
        ("POST", "/v1/queues/b1/jobs", "{}", [403, 403, 403, 201, 403, 401]),
        ("POST", "/v1/queues/a1/jobs/bulk", "[]", [200, 403, 403, 200, 200, 401]),
        ("GET", "/v1/queues", "", [403, 403, 200, 200, 200, 401]),
        ("GET", "/v1/queues/a1/stats", "", [403, 403, 200, 200, 200, 401]),
        ("PUT", "/v1/queues/a2", "{}", [403, 403, 403, 200, 200, 401]),
        ("PUT", "/v1/queues/b2", "{}", [403, 403, 403, 200, 403, 401]),
        ("POST", "/v1/queues/a2/pause", "", [403, 403, 403, 200, 200, 401]),
        ("GET", "/v1/jobs", "", [403, 403, 200, 200, 200, 401]),
        ("GET", "/v1/jobs?queue=b1", "", [403, 403, 200, 200, 403, 401]),
        ("GET", &format!("/v1/jobs/{id}"), "", [404, 403, 200, 200, 404, 401]),
        ("GET", &format!("/v1/jobs/{id}/events?after=9"), "", [404, 403, 0, 0, 404, 401]),
        ("POST", &format!("/v1/jobs/{id}/reschedule"), r#"{"delay": "0s"}"#, [403, 403, 403, 200, 404, 401]),
        ("POST", "/v1/leases", &lease("a9"), [403, 200, 403, 200, 200, 401]),
        ("POST", "/v1/leases", &lease("b9"), [403, 403, 403, 200, 403, 401]),
        ("POST", "/v1/leases/heartbeat", "[]", [403, 200, 403, 200, 200, 401]),
        ("POST", &format!("/v1/jobs/{id}/ack"), r#"{"token": "x"}"#, [403, 409, 403, 409, 409, 401]),
        ("POST", &format!("/v1/jobs/{id}/ack"), child, [403, 403, 403, 409, 403, 401]),
        ("POST", "/v1/workers/w/drain", "", [403, 403, 403, 200, 403, 401]),
        ("GET", "/v1/schedules", "", [403, 403, 200, 200, 200, 401]),
        ("POST", "/v1/jobs/retry", "{}", [403, 403, 403, 200, 403, 401]),
        ("POST", "/jobs", "{}", [403, 403, 403, 200, 403, 401]),
        ("GET", "/jobs", "", [403, 403, 200, 200, 403, 401]),
        ("GET", "/metrics", "", [403, 403, 200, 200, 403, 401]),
        ("GET", "/healthz", "", [200; 6]),
        ("GET", "/openapi.json", "", [200; 6]),
    ] {
        // 0: not asked here, since the reply does not end.
        for (who, expected) in WHO.into_iter().zip(expected).filter(|(_, expected)| *expected != 0) {
            assert_eq!(ask(&server, who, method, path, body).await, expected, "{who} {method} {path} {body}");
        }
    }
    let seen = server.send("GET", "/v1/jobs", &[("Authorization", "bearer half-0123456789abcdef")], "").await.json();
    let queues: Vec<&str> =
        seen["items"].as_array().unwrap().iter().map(|job| job["queue"].as_str().unwrap()).collect();
    assert!(!queues.is_empty() && queues.iter().all(|queue| queue.starts_with('a')), "{queues:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_token_is_no_token() {
    let server = server().await;
    for value in ["", "Bearer", "Bearer ", "Bearer reader", "Basic reader-0123456789abcdef", "reader-0123456789abcdef"]
    {
        let answer = server.send("GET", "/v1/jobs", &[("Authorization", value)], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{value}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn without_tokens_a_page_in_a_browser_reaches_nothing() {
    let server = Server::start().await;
    for headers in [[("Origin", "https://example.com")], [("Origin", "null")]] {
        let answer = server.send("POST", "/v1/queues/default/jobs", &headers, "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{headers:?}");
    }
    let own = [("Origin", "http://localhost:5000")];
    assert_eq!(server.send("POST", "/v1/queues/default/jobs", &own, "{}").await.status, 201);
    let mut stream =
        server.write(b"GET /jobs HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close\r\n\r\n").await;
    assert_eq!(crate::kit::Answer::read(&mut stream).await.status, 403);
    server.stop().await;
}

#[tokio::test]
async fn without_tokens_no_other_machine_is_listened_to() {
    let server = Server::start().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = api::serve(listener, server.api.clone(), std::future::pending()).await;
    assert!(matches!(refused, Err(api::Error::Exposed { .. })));
    server.stop().await;
}
