use std::sync::atomic::Ordering;
use std::time::Duration;

use api::{Access, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::kit::{Answer, SOON, Server, until};

async fn server(limits: Limits) -> Server {
    Server::with(Access::open(), limits).await
}

/// Reads until the server closes, whatever comes.
async fn rest(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("cut off");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_client_whose_headers_do_not_come_is_cut_off() {
    let server = server(Limits { head_time: Duration::from_millis(200), ..Limits::default() }).await;
    let mut silent = server.write(b"").await;
    let mut slow = server.write(b"POST /v1/leases HTTP/1.1\r\nHost: localhost\r\n").await;
    let drip = async {
        while slow.write_all(b"X").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, drip).await.expect("cut off while it writes");
    rest(&mut silent).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_is_not_cut_off() {
    let (head_time, stall_time) = (Duration::from_millis(100), Duration::from_millis(100));
    let server = server(Limits { head_time, stall_time, ..Limits::default() }).await;
    let wait = r#"{"queues": ["default"], "worker": "w", "wait": "600ms"}"#;
    assert_eq!(server.post("/v1/leases", wait).await.body, "[]");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = server(Limits::default()).await;
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = server.write(b"").await;
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_its_sender_hears_why() {
    let server = server(Limits { body_bytes: 1000, ..Limits::default() }).await;
    let large = format!(r#"{{"payload": "{}"}}"#, "x".repeat(3 << 20));
    let answer = server.post("/v1/queues/default/jobs", &large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let head = "POST /v1/queues/default/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = server.write(head.as_bytes()).await;
    for _ in 0..20 {
        stream.write_all(format!("64\r\n{}\r\n", " ".repeat(100)).as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.code(), "too_large");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let server = server(Limits { stall_time: Duration::from_millis(200), ..Limits::default() }).await;
    let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{\"a\"";
    let mut stream = server.write(head.as_bytes()).await;
    let text = rest(&mut stream).await;
    assert_eq!(Answer::of(&text).code(), "timeout");
    let limits = Limits { body_time: Duration::from_millis(300), ..Limits::default() };
    let server = self::server(limits).await;
    let mut stream = server.write(head.as_bytes()).await;
    let text = rest(&mut stream).await;
    assert_eq!(Answer::of(&text).code(), "timeout");
    server.stop().await;
}

#[tokio::test]
async fn bodies_share_one_memory() {
    let server = server(Limits { bodies_bytes: 64 << 10, ..Limits::default() }).await;
    let body = format!(r#"{{"payload": "{}"}}"#, "x".repeat(80 << 10));
    let answer = server.post("/v1/queues/default/jobs", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"));
    // What was counted is free again.
    let body = format!(r#"{{"payload": "{}"}}"#, "x".repeat(50 << 10));
    for _ in 0..3 {
        assert_eq!(server.post("/v1/queues/default/jobs", &body).await.status, 201);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = server(Limits { stall_time: Duration::from_millis(300), connections: 1, ..Limits::default() }).await;
    let id = server.put(&format!("\"{}\"", "x".repeat(1 << 20))).await;
    let request = format!("GET /v1/jobs/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(40);
    let deaf = server.write(request.as_bytes()).await;
    // There is room for one connection: the next is served once the first was cut off.
    let answer = server.get("/healthz").await;
    assert_eq!(answer.status, 200);
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn only_so_many_wait() {
    let server = server(Limits { waits: 1, ..Limits::default() }).await;
    let wait = r#"{"queues": ["default"], "worker": "w", "wait": "30s"}"#;
    let mut first = server.begin("POST", "/v1/leases", &[], wait).await;
    until("it waits", || server.store.leases.load(Ordering::SeqCst) == 1).await;
    sleep(Duration::from_millis(50)).await;
    let second = server.post("/v1/leases", wait).await;
    assert_eq!((second.status, second.code().as_str()), (503, "busy"));
    assert!(second.head.contains("retry-after: 1"), "{second:?}");
    server.put("1").await;
    assert_eq!(Answer::read(&mut first).await.json()[0]["attempt"], 1);
    server.stop().await;
}

/// Bytes of memory that this process uses.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Time of the processor that this process used, in ticks of 10 ms.
fn processor_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// File descriptors, both ends being in this process, and some for the rest.
const DESCRIPTORS: usize = 4200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_who_wait_cost_little_and_none_is_woken_in_vain() {
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap();
    let open = limit.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = open.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    let count: usize = if soft >= DESCRIPTORS { 2000 } else { soft.saturating_sub(200) / 2 };
    let server = server(Limits::default()).await;
    let before = memory_bytes();
    let mut waiting = Vec::new();
    for n in 0..count {
        let body = format!(r#"{{"queues": ["default"], "worker": "w{n}", "wait": "60s"}}"#);
        waiting.push(server.begin("POST", "/v1/leases", &[], &body).await);
    }
    let asked = || server.store.leases.load(Ordering::SeqCst);
    until("all wait", || asked() == count as u64).await;
    let each = memory_bytes().saturating_sub(before) / count as u64;
    assert!(each < 64 << 10, "{each} bytes for each");
    let before = processor_ticks();
    sleep(Duration::from_millis(500)).await;
    let ticks = processor_ticks() - before;
    assert_eq!(asked(), count as u64, "nobody asks again while nothing happens");
    println!("{count} wait: {each} bytes each, {ticks} ticks in half a second");
    for _ in 0..3 {
        server.put("1").await;
    }
    until("three were woken", || asked() >= count as u64 + 3).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(asked(), count as u64 + 3, "one for each job");
    let answered = || waiting.iter().filter(|stream| stream.try_read(&mut [0]).is_ok()).count();
    assert_eq!(answered(), 3, "a lease for each job");
    drop(waiting);
    server.stop().await;
}
