//! Clients that harm: many, slow, large, senseless. The server goes on for all others.

mod disk;
mod fuzz;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use stdx::Clock;

use super::server::{Http, Place};
use super::{BARE, ECHO};
use crate::process::{Process, pause, until};

/// Another queue, for those that do no harm.
const TWO: &str = "store: {sqlite: {path: jobs.db}}\nlisten: 127.0.0.1:0\nqueues: {default: {}, quiet: {}}\n";

/// Clients that wait at once.
const WAITING: usize = 2000;

/// What memory a client that waits may cost, in a build that is not optimized, with its socket's buffers.
const WAITING_KB_MAX: u64 = 64;

/// What a request of somebody who does no harm may take, on a machine that has other tests to run.
const QUICK: Duration = Duration::from_secs(2);

/// Puts a job, leases it and ends it; tells how long the slowest of the requests took.
fn one_by_one(http: &Http) -> Duration {
    let clock = Clock::system();
    let mut slowest = Duration::ZERO;
    let mut timed = |path: &str, body: Value| {
        let before = clock.elapsed();
        let reply = http.post(path, &body).ok();
        slowest = slowest.max(clock.elapsed().saturating_sub(before));
        reply
    };
    let put = timed("/v1/queues/quiet/jobs", json!({"payload": [1, {"a": "b"}]}));
    let leases = timed("/v1/leases", json!({"queues": ["quiet"], "worker": "quiet"}));
    assert_eq!((&leases[0]["id"], &leases[0]["payload"]), (&put["id"], &json!([1, {"a": "b"}])));
    let path = format!("/v1/jobs/{}/ack", put["id"].as_str().unwrap());
    let finished = timed(&path, json!({"token": leases[0]["token"], "result": 7}));
    assert_eq!(finished["state"], "succeeded");
    slowest
}

fn assert_serves(server: &mut Process, http: &Http) {
    for _ in 0..20 {
        let took = one_by_one(http);
        assert!(took < QUICK, "{took:?} for one request");
    }
    assert!(!server.has_ended(), "{}", server.err());
}

fn stops(server: &mut Process) {
    server.signal("TERM");
    server.succeed();
}

/// The server, as a system starts it that gives processes few open files.
fn with_few_files(place: &Place) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit -Sn 256; exec '{}' run queue.yaml", env!("CARGO_BIN_EXE_headwater"))]);
    command.current_dir(place.path("")).stdin(std::process::Stdio::null());
    command
}

/// A request that is written and not yet answered.
fn begin(http: &Http, path: &str, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&http.address).unwrap();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n").unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// The whole answer of a server that closes.
fn answer(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn two_thousand_who_wait_for_jobs_do_no_harm_where_few_files_may_be_open() {
    launch::raise_open_files();
    let place = Place::new(TWO);
    let (mut server, http) = place.served(&mut with_few_files(&place));
    assert_serves(&mut server, &http);
    let before_kb = server.status_kb("VmRSS").unwrap();
    let waiting: Vec<TcpStream> = (0..WAITING)
        .map(|number| {
            let body = json!({"queues": ["default"], "worker": format!("w{number}"), "wait": "60s"}).to_string();
            begin(
                &http,
                "/v1/leases",
                &format!("Connection: close\r\nContent-Length: {}\r\n", body.len()),
                body.as_bytes(),
            )
        })
        .collect();
    assert_serves(&mut server, &http);
    let grown_kb = server.status_kb("VmRSS").unwrap().saturating_sub(before_kb);
    assert!(grown_kb < WAITING_KB_MAX * WAITING as u64, "{grown_kb} kB for {WAITING} who wait");
    let before = server.cpu_ticks();
    pause(Duration::from_secs(1));
    let ticks = server.cpu_ticks() - before;
    assert!(ticks < 30, "{ticks} ticks of processor time in a second in which nothing happened");
    for number in 0..10 {
        http.put(&json!(number));
    }
    let is_answered = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_ok()
    };
    until("ten have a job", || waiting.iter().filter(is_answered).count() >= 10);
    pause(Duration::from_millis(300));
    assert_eq!(waiting.iter().filter(is_answered).count(), 10, "nobody is answered in vain");
    stops(&mut server);
}

#[test]
fn processes_of_workers_are_given_as_many_files_as_the_server_was() {
    let place = Place::new(&ECHO.replace("[cat]", "[sh, -c, 'ulimit -Sn']"));
    let (mut server, http) = place.served(&mut with_few_files(&place));
    let id = http.put(&json!(null));
    assert_eq!(http.get(&format!("/v1/jobs/{id}?wait=30s")).ok()["result"], 256);
    stops(&mut server);
}

#[test]
fn clients_that_drip_their_requests_hold_up_nobody() {
    let place = Place::new(TWO);
    let (mut server, http) = place.serve();
    let body = json!({"payload": "drop by drop"}).to_string();
    let head = format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
    let whole = format!("POST /v1/queues/default/jobs HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}");
    let from_body = whole.len() - body.len();
    // Half of them are slow from the first byte, half in their bodies.
    let mut slow: Vec<(TcpStream, usize)> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(&http.address).unwrap();
            let from = if number % 2 == 0 { 0 } else { from_body };
            stream.write_all(&whole.as_bytes()[..from]).unwrap();
            (stream, from)
        })
        .collect();
    while slow.iter().any(|(_, at)| *at < whole.len()) {
        for (stream, at) in slow.iter_mut().filter(|(_, at)| *at < whole.len()) {
            stream.write_all(&whole.as_bytes()[*at..=*at]).unwrap();
            *at += 1;
        }
        let took = one_by_one(&http);
        assert!(took < QUICK, "{took:?} for one request");
    }
    for (stream, _) in slow {
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    stops(&mut server);
}

#[test]
fn what_is_too_large_is_refused_with_its_size_and_takes_no_memory() {
    let place = Place::new(TWO);
    let (mut server, http) = place.serve();
    let text = |bytes: usize| json!({"payload": "x".repeat(bytes)}).to_string();
    let is_refused = |path: &str, body: &str| {
        let reply = http.post_text(path, body);
        assert_eq!((reply.status, reply.body.contains("\"too_large\"")), (413, true), "{}", reply.body);
    };
    assert_eq!(http.post_text("/v1/queues/default/jobs", &text((1 << 20) - 2)).status, 201);
    is_refused("/v1/queues/default/jobs", &text(1 << 20));
    is_refused("/v1/queues/default/jobs", &text(5 << 20));
    is_refused("/v1/queues/default/jobs/bulk", &format!("[{}]", vec![text(1 << 20); 33].join(",")));
    let lease = http.post("/v1/leases", &json!({"queues": ["default"], "worker": "w"})).ok();
    let path = format!("/v1/jobs/{}/ack", lease[0]["id"].as_str().unwrap());
    is_refused(&path, &json!({"token": lease[0]["token"], "result": "x".repeat(1 << 20)}).to_string());
    assert_eq!(http.post(&path, &json!({"token": lease[0]["token"]})).status, 200, "the lease is kept");
    // Who announces more than anybody would send is refused before it is sent.
    let huge = "Connection: close\r\nContent-Length: 999999999999\r\n";
    let mut stream = begin(&http, "/v1/queues/default/jobs", huge, b"");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    stops(&mut server);
}

#[test]
fn bodies_that_are_never_whole_share_a_bounded_memory() {
    let place = Place::new(TWO);
    let (mut server, http) = place.serve();
    let before_kb = server.status_kb("VmRSS").unwrap();
    // Together half as much again as all bodies may have.
    let body = vec![b' '; 31 << 20];
    let head = format!("Connection: close\r\nContent-Length: {}\r\n", body.len() + 1);
    let unfinished: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = begin(&http, "/v1/queues/default/jobs/bulk", &head, b"");
            // The server need not take what it refuses.
            drop(stream.write_all(&body));
            stream
        })
        .collect();
    let refused = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut start = [0; 12];
        stream.peek(&mut start).is_ok_and(|bytes| bytes == 12 && &start == b"HTTP/1.1 503")
    };
    until("some are told to come again", || unfinished.iter().filter(refused).count() >= 3);
    let grown_kb = server.status_kb("VmRSS").unwrap().saturating_sub(before_kb);
    assert!(grown_kb < 400 << 10, "{grown_kb} kB");
    drop(unfinished);
    until("there is room again", || http.post_text("/v1/queues/default/jobs", "{}").status == 201);
    assert_serves(&mut server, &http);
    stops(&mut server);
}

#[test]
fn a_body_that_is_no_body_breaks_nothing() {
    let place = Place::new(BARE);
    let (mut server, http) = place.serve();
    for (head, body) in [
        ("Content-Length: -1\r\n", &b"{}"[..]),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}"),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", b"ffffffffffffffffffff\r\n{}"),
        ("Expect: 200-maybe\r\nContent-Length: 2\r\n", b"{}"),
    ] {
        let stream = begin(&http, "/v1/queues/default/jobs", &format!("Connection: close\r\n{head}"), body);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = answer(stream);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{head:?}: {answer}");
    }
    assert_eq!(http.get("/readyz").status, 200);
    stops(&mut server);
}
