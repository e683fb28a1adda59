mod rules;
mod secrets;

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use document::{Secret, Secrets};
use stdx::Bell;
use testkit::streaming_server::{self as server, Reply, Request, Scenario, StreamingServer};
use tokio::runtime::Runtime;

use super::*;
use crate::{Pool, World};

const CANARY: &str = "canary-5d1f";
const LIMIT: Limit = Limit { rows: 1000, bytes: 1 << 20 };

/// A source against a server, on a clock that the test moves.
struct Bench {
    runtime: Runtime,
    clock: Clock,
    pool: Pool,
    bell: Bell,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        Self { runtime, clock, pool: Pool::new(256 << 20), bell: Bell::default() }
    }

    fn server(&self, scenario: Scenario) -> StreamingServer {
        StreamingServer::start(scenario, &self.clock).unwrap()
    }

    fn open_at(&self, spec: &SourceSpec, position: Option<Position>, until_idle: bool) -> HttpSource {
        let world = World {
            clock: self.clock.clone(),
            runtime: self.runtime.handle().clone(),
            pool: self.pool.clone(),
            secrets: Arc::new(Secrets::default()),
            folder: ".".into(),
        };
        let open = OpenSource {
            name: "alerts".into(),
            stream: "default.test".into(),
            starts: Arc::default(),
            position,
            shard: (0, 1),
            bell: self.bell.clone(),
            until_idle,
            schema: Arc::new(Schema::empty()),
            world,
        };
        let credentials = Credentials {
            token: Some(Secret::new(CANARY)),
            headers: vec![("x-api-key".to_owned(), Secret::new(format!("{CANARY}-key")))],
        };
        HttpSource::open(spec, credentials, open).unwrap()
    }

    fn open(&self, spec: &SourceSpec) -> HttpSource {
        self.open_at(spec, None, false)
    }

    /// Waits until the source waits for its next try, and tells how long that is from now.
    fn wait_of(&self, source: &HttpSource) -> Time {
        let mut wait = None;
        eventually("the source waits", || {
            if let (Status::Waiting(until), _) = source.buffer.standing() {
                wait = Some(until.saturating_sub(self.clock.elapsed()));
            }
            wait.is_some()
        });
        wait.unwrap()
    }

    /// Checks the wait, and that no request comes before it is over and one comes when it is.
    fn expect_wait(&self, source: &HttpSource, server: &StreamingServer, wait: Time) {
        assert_eq!(self.wait_of(source), wait);
        let before = server.requests().len();
        self.clock.advance(wait.saturating_sub(Time::from_millis(1)));
        pause(20);
        assert_eq!(server.requests().len(), before, "a request came too early");
        self.clock.advance(Time::from_millis(1));
        eventually("the next request", || server.requests().len() > before);
    }
}

fn spec(url: String) -> SourceSpec {
    SourceSpec { url, ..SourceSpec::default() }
}

fn pause(millis: u64) {
    let real = Clock::system();
    Bell::default().wait(&real, Some(real.elapsed() + Time::from_millis(millis)));
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let real = Clock::system();
    while !is_so() {
        assert!(real.elapsed() < Time::from_secs(20), "not within 20 s: {what}");
        pause(1);
    }
}

fn lines_of(chunk: &Chunk) -> Vec<String> {
    let text = |(start, end): (usize, usize)| String::from_utf8_lossy(&chunk.bytes[start..end]).into_owned();
    chunk.ranges().into_iter().map(text).collect()
}

/// Reads `count` lines.
#[track_caller]
fn lines(source: &mut HttpSource, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("enough lines", || {
        // Reads no further than asked: what follows may be an error that another line of the test is about.
        while lines.len() < count
            && let Read::Chunk(chunk) = source.read(LIMIT).unwrap()
        {
            lines.extend(lines_of(&chunk));
        }
        lines.len() >= count
    });
    lines
}

#[track_caller]
fn error(source: &mut HttpSource) -> Error {
    let mut error = None;
    eventually("an error", || {
        error = source.read(LIMIT).err();
        error.is_some()
    });
    error.unwrap()
}

#[track_caller]
fn is_idle(source: &mut HttpSource) -> bool {
    pause(20);
    matches!(source.read(LIMIT).unwrap(), Read::Idle { .. })
}

#[test]
fn keep_alives_hold_a_quiet_connection() {
    let bench = Bench::new();
    let server = bench.server(Scenario::keep_alives(Time::from_secs(15), 20));
    let mut source = bench.open(&spec(server.url("/stream")));
    assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
    for _ in 0..20 {
        bench.clock.advance(Time::from_secs(15));
        eventually("the keep-alive", || source.buffer.standing().1 == Some(bench.clock.now()));
    }
    assert_eq!(lines(&mut source, 1), [r#"{"n":2}"#]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(source.lag(), Some(0));
}

#[test]
fn silence_is_a_loss_after_the_heartbeat() {
    let bench = Bench::new();
    let server = bench.server(Scenario::silence());
    let mut source = bench.open(&spec(server.url("/stream")));
    assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
    // The watchdog must have been set before the clock moves.
    pause(200);
    bench.clock.advance(Time::from_millis(19_999));
    pause(20);
    assert_eq!(server.requests().len(), 1);
    bench.clock.advance(Time::from_millis(1));
    assert_eq!(lines(&mut source, 1), [r#"{"n":2}"#]);
    let at: Vec<Time> = server.requests().iter().map(|request| request.at).collect();
    assert_eq!(at, [Time::ZERO, Time::from_secs(20)]);
}

#[test]
fn a_record_cut_by_a_disconnect_never_comes_out() {
    let bench = Bench::new();
    let server = bench.server(Scenario::cut_mid_record());
    let mut source = bench.open(&spec(server.url("/stream")));
    let mut all = lines(&mut source, 2);
    bench.expect_wait(&source, &server, Time::from_millis(250));
    all.extend(lines(&mut source, 1));
    assert_eq!(all, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
    assert!(is_idle(&mut source));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_end_of_a_stream_is_a_loss_and_its_unfinished_line_is_no_record() {
    let bench = Bench::new();
    let server = bench.server(Scenario::ended());
    let mut source = bench.open(&spec(server.url("/stream")));
    assert_eq!(lines(&mut source, 2), [r#"{"n":1}"#, r#"{"n":2}"#]);
}

#[test]
fn a_gzip_stream_is_decoded_as_it_comes() {
    let bench = Bench::new();
    let long = format!("{{\"x\":\"{}\"}}\n", "0123456789".repeat(100_000));
    let server = bench.server(Scenario::gzip(&["{\"n\":1}\n", "\r\n", &long, "{\"n\":3}\n"]));
    let mut source = bench.open(&spec(server.url("/stream")));
    let lines = lines(&mut source, 3);
    assert_eq!((lines[0].as_str(), lines[1].len(), lines[2].as_str()), (r#"{"n":1}"#, long.len() - 1, r#"{"n":3}"#));
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("gzip"));
}

#[test]
fn a_cut_gzip_stream_gives_only_whole_lines() {
    let bench = Bench::new();
    let server = bench.server(Scenario::cut_mid_gzip());
    let mut source = bench.open(&spec(server.url("/stream")));
    assert_eq!(lines(&mut source, 2), [r#"{"n":1,"text":"first"}"#, r#"{"n":2}"#]);
}

#[test]
fn gzip_can_be_turned_off() {
    let bench = Bench::new();
    let server = bench.server(Scenario::steady("a\n"));
    let mut source = bench.open(&SourceSpec { gzip: false, ..spec(server.url("/stream")) });
    assert_eq!(lines(&mut source, 1), ["a"]);
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn losses_wait_nothing_then_longer_in_a_line() {
    let bench = Bench::new();
    let server = bench.server(Scenario::lost_then_ok(4));
    let mut source = bench.open(&spec(server.url("/stream")));
    for wait in [250, 500, 750] {
        bench.expect_wait(&source, &server, Time::from_millis(wait));
    }
    assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
    let at: Vec<u128> = server.requests().iter().map(|request| request.at.as_millis()).collect();
    assert_eq!(at, [0, 0, 250, 750, 1500]);
}

#[test]
fn a_connection_that_proved_itself_starts_the_waits_over() {
    let bench = Bench::new();
    let mut scenario = Scenario::lost_then_ok(2);
    scenario.replies[2] =
        Reply::ok().send("a\n").wait(Time::from_secs(15)).send("\n").wait(Time::from_secs(15)).send("b\n");
    scenario.replies.push(Reply::ok().send("c\n").hold());
    let server = bench.server(scenario);
    let mut source = bench.open(&spec(server.url("/stream")));
    bench.expect_wait(&source, &server, Time::from_millis(250));
    assert_eq!(lines(&mut source, 1), ["a"]);
    bench.clock.advance(Time::from_secs(15));
    eventually("the keep-alive", || source.buffer.standing().1 == Some(bench.clock.now()));
    bench.clock.advance(Time::from_secs(15));
    // No clock moves here: the next connection comes at once.
    assert_eq!(lines(&mut source, 2), ["b", "c"]);
}

#[test]
fn server_errors_double_the_wait() {
    let bench = Bench::new();
    let server = bench.server(Scenario::status_then_ok(503, 3, &[]));
    let mut source = bench.open(&spec(server.url("/stream")));
    for wait in [5, 10, 20] {
        bench.expect_wait(&source, &server, Time::from_secs(wait));
    }
    assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
}

#[test]
fn a_rate_limit_without_a_time_doubles_from_a_minute() {
    let bench = Bench::new();
    let server = bench.server(Scenario::status_then_ok(429, 2, &[]));
    let mut source = bench.open(&spec(server.url("/stream")));
    bench.expect_wait(&source, &server, Time::from_mins(1));
    bench.expect_wait(&source, &server, Time::from_mins(2));
    assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
}

#[test]
fn a_rate_limit_is_waited_for_as_retry_after_says() {
    for (header, value, seconds) in [
        ("retry-after", "17", 17),
        ("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("x-rate-limit-reset", "1700000900", 900),
    ] {
        let bench = Bench::new();
        let server = bench.server(Scenario::status_then_ok(429, 1, &[(header, value)]));
        let mut source = bench.open(&spec(server.url("/stream")));
        bench.expect_wait(&source, &server, Time::from_secs(seconds));
        assert_eq!(lines(&mut source, 1), [r#"{"n":1}"#]);
    }
}

#[test]
fn refusals_stop_with_the_reason_and_are_not_tried_again() {
    for (wanted, word) in [(401, "secret"), (403, "ask the server's owner"), (404, "correct `url`"), (400, "check")] {
        let bench = Bench::new();
        let server = bench.server(Scenario::status_then_ok(wanted, 1, &[]));
        let mut source = bench.open(&spec(server.url("/stream?key=value")));
        let error = error(&mut source);
        assert!(error.is_lasting());
        let Error::Refused { what, status, reason } = error else { panic!("{error}") };
        assert_eq!((what, status), (server.url("/stream"), wanted));
        assert!(reason.contains(word) && reason.ends_with("it said: no"), "{reason}");
        bench.clock.advance(Time::from_hours(1));
        pause(20);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let bench = Bench::new();
    let address = StreamingServer::free_address().unwrap();
    let mut source = bench.open(&spec(format!("http://{address}/stream")));
    assert_eq!(bench.wait_of(&source), Time::from_millis(250));
    assert_eq!(source.lag(), None);
    let server = StreamingServer::start_at(address, Scenario::steady("a\n"), &bench.clock).unwrap();
    bench.clock.advance(Time::from_millis(250));
    assert_eq!(lines(&mut source, 1), ["a"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_does_not_answer_is_a_loss() {
    let bench = Bench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let source = bench.open(&spec(format!("http://{}/", listener.local_addr().unwrap())));
    let _first = listener.accept().unwrap();
    pause(20);
    bench.clock.advance(Time::from_secs(10));
    let _second = listener.accept().unwrap();
    assert_eq!(source.buffer.standing().0, Status::Connecting);
}

fn overlap(server: &StreamingServer) -> SourceSpec {
    SourceSpec {
        backfill: Some(Backfill { max: Duration::from_secs(3 * 60), ..Backfill::default() }),
        dedupe: Some(Dedupe::default()),
        ..spec(server.url("/stream"))
    }
}

fn row(n: u32) -> String {
    format!("{{\"data\":{{\"text\":\"row\",\"id\":\"{n}\"}}}}")
}

#[test]
fn a_reconnect_asks_for_what_was_missed_and_drops_what_came_before() {
    let bench = Bench::new();
    let server = bench.server(Scenario::reconnect_overlap());
    let mut source = bench.open(&overlap(&server));
    assert_eq!(lines(&mut source, 4), [row(1), row(2), row(3), row(4)]);
    assert!(is_idle(&mut source));
    let backfills: Vec<_> =
        server.requests().iter().map(|request| request.parameter("backfill_minutes").map(str::to_owned)).collect();
    assert_eq!(backfills, [None, Some("1".to_owned())]);
}

#[test]
fn a_long_outage_asks_for_its_minutes_up_to_the_most() {
    let bench = Bench::new();
    let mut scenario = Scenario::status_then_ok(503, 6, &[]);
    scenario.replies.insert(0, Reply::ok().send("a\n"));
    let server = bench.server(scenario);
    let mut source = bench.open(&overlap(&server));
    assert_eq!(lines(&mut source, 1), ["a"]);
    let mut missing = 0;
    for wait in [5, 10, 20, 40, 80, 160] {
        bench.wait_of(&source);
        assert_eq!(source.lag(), Some(missing));
        bench.expect_wait(&source, &server, Time::from_secs(wait));
        missing += wait;
    }
    let requests = server.requests();
    let minutes: Vec<_> = requests.iter().filter_map(|request| request.parameter("backfill_minutes")).collect();
    // Asked 0, 5, 15, 35, 75, 155 and 315 seconds after the loss; the most is three minutes.
    assert_eq!(minutes, ["1", "1", "1", "1", "2", "3", "3"]);
}

#[test]
fn a_backfill_that_is_cut_is_asked_for_again() {
    let bench = Bench::new();
    let mut scenario = Scenario::status_then_ok(503, 4, &[]);
    scenario.replies.insert(0, Reply::ok().send("a\n"));
    scenario.replies[5] = Reply::ok().send("b\n");
    let server = bench.server(scenario);
    let mut source = bench.open(&overlap(&server));
    assert_eq!(lines(&mut source, 1), ["a"]);
    for wait in [5, 10, 20, 40] {
        bench.expect_wait(&source, &server, Time::from_secs(wait));
    }
    assert_eq!(lines(&mut source, 1), ["b"]);
    // The second loss waits 250 ms; the gap is still that of the outage.
    bench.expect_wait(&source, &server, Time::from_millis(250));
    let last = server.requests().pop().unwrap();
    assert_eq!(last.parameter("backfill_minutes"), Some("2"));
}

#[test]
fn a_restart_goes_on_from_the_record() {
    let bench = Bench::new();
    let server = bench.server(Scenario::reconnect_overlap());
    let mut first = bench.open(&overlap(&server));
    eventually("three rows", || first.buffer.bytes() > 120);
    let before = first.position();
    assert_eq!(before.0["offset"], 0);
    // Only the first row is handed out: the record must not know the other two.
    let one = Limit { rows: 1, bytes: 1 << 20 };
    let Ok(Read::Chunk(chunk)) = first.read(one) else { panic!("a row") };
    assert_eq!(lines_of(&chunk), [row(1)]);
    let position = first.position();
    drop(first);
    assert_eq!(position.0["lastReceived"], 1_700_000_000_000_i64);
    bench.clock.advance(Time::from_secs(61));
    let server = bench.server(Scenario::steady(format!("{}\n{}\n", row(1), row(2))));
    let mut second = bench.open_at(&overlap(&server), Some(position), false);
    let mut origin = None;
    eventually("a row", || {
        if let Read::Chunk(chunk) = second.read(LIMIT).unwrap() {
            assert_eq!(lines_of(&chunk), [row(2)]);
            origin = Some(chunk.origin(0, &chunk.ranges()));
        }
        origin.is_some()
    });
    let length = row(1).len() as u64 + 1;
    assert_eq!(origin.unwrap(), Origin { input: server.url("/stream").into(), offset: 2 * length });
    assert_eq!(server.requests()[0].parameter("backfill_minutes"), Some("2"));
}

#[test]
fn a_slow_reader_holds_the_server_back_and_is_not_taken_for_silence() {
    let bench = Bench::new();
    let (line_bytes, times) = (1 << 16, 1024);
    let server = bench.server(Scenario::flood(line_bytes, times));
    let spec = SourceSpec { buffer: ByteSize::from_bytes(1 << 20), ..spec(server.url("/stream")) };
    let mut source = bench.open(&spec);
    let mut before = 0;
    eventually("the server is held back", || {
        pause(100);
        let now = server.bytes_sent();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 48 << 20, "{before} bytes of 64 MiB were taken");
    assert!(source.buffer.bytes() < 4 << 20);
    assert_eq!(bench.pool.leased_bytes() / line_bytes, source.buffer.bytes() / line_bytes);
    bench.clock.advance(Time::from_mins(10));
    pause(50);
    let mut count = 0;
    eventually("all lines", || {
        while let Read::Chunk(chunk) = source.read(LIMIT).unwrap() {
            assert!(chunk.bytes.len() <= LIMIT.bytes);
            count += chunk.len();
        }
        count == times as usize
    });
    assert_eq!(server.requests().len(), 1);
    drop(source);
    eventually("the lease is given back", || bench.pool.leased_bytes() == 0);
}

#[test]
fn a_line_past_the_limit_is_put_aside_with_its_beginning() {
    let bench = Bench::new();
    let server = bench.server(Scenario::long_line(100_000));
    let spec = SourceSpec { max_message: ByteSize::from_bytes(50_000), ..spec(server.url("/stream")) };
    let mut source = bench.open(&spec);
    let (mut chunks, mut bad) = (Vec::new(), Vec::new());
    eventually("two lines and a bad one", || {
        loop {
            match source.read(LIMIT).unwrap() {
                Read::Chunk(chunk) => {
                    let ranges = chunk.ranges();
                    chunks.extend((0..ranges.len()).map(|message| chunk.origin(message, &ranges).offset));
                }
                Read::Bad { chunk, reason } => bad.push((chunk.bytes.len(), chunk.origins[0].1.offset, reason.code)),
                _ => break chunks.len() == 2,
            }
        }
    });
    assert_eq!(chunks, [0, 100_009]);
    assert_eq!(bad, [(50_000, 8, ReasonCode::TooLong)]);
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let bench = Bench::new();
    let server = bench.server(Scenario::not_utf8());
    let mut source = bench.open(&overlap(&server));
    let mut all = Vec::new();
    eventually("three lines", || {
        while let Read::Chunk(chunk) = source.read(LIMIT).unwrap() {
            all.extend_from_slice(&chunk.bytes);
        }
        all.len() >= 20
    });
    assert_eq!(all, b"{\"n\":1}\n\xff\xfe\x00\n{\"n\":2}\n");
}

#[test]
fn until_idle_ends_five_seconds_after_the_last_row() {
    let bench = Bench::new();
    let server = bench.server(Scenario::steady("a\n"));
    let mut source = bench.open_at(&spec(server.url("/stream")), None, true);
    assert_eq!(lines(&mut source, 1), ["a"]);
    let Ok(Read::Idle { again: Some(again) }) = source.read(LIMIT) else { panic!("idle") };
    assert_eq!(again, Time::from_secs(5));
    bench.clock.advance(Time::from_millis(4999));
    assert!(is_idle(&mut source));
    bench.clock.advance(Time::from_millis(1));
    assert!(matches!(source.read(LIMIT), Ok(Read::End)));
    // Without it, nothing ends.
    let mut source = bench.open(&spec(server.url("/stream")));
    bench.clock.advance(Time::from_secs(6));
    assert!(is_idle(&mut source));
}

#[test]
fn dropping_the_source_closes_the_connection() {
    let bench = Bench::new();
    let server = bench.server(Scenario::flood(1 << 16, 100_000));
    let mut source = bench.open(&spec(server.url("/stream")));
    lines(&mut source, 1);
    drop(source);
    let mut before = 0;
    eventually("the server sends no more", || {
        pause(50);
        let now = server.bytes_sent();
        std::mem::replace(&mut before, now) == now
    });
    assert!(before < 100_000 << 16);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn problems_are_all_named() {
    let wrong: SourceSpec = serde_json::from_value(serde_json::json!({
        "url": "ftp://example.org/?q=hidden",
        "token": {"secret": {"name": "a", "key": "b"}},
        "query": {"ok": "x", "n": 5, "yes": true, "key": {"secret": {"name": "a", "key": "b"}}, "backfill_minutes": 1},
        "headers": {"Authorization": "x", "Accept-Encoding": "br", "bad name": "x", "fine": "x"},
        "rules": {"url": "nowhere", "owner": "a/b"},
        "backfill": {},
        "dedupe": {"path": "a..b", "max": 0}
    }))
    .unwrap();
    let found = problems(&wrong, "spec.sources.a.http");
    let paths: BTreeSet<&str> =
        found.iter().map(|problem| problem.path.trim_start_matches("spec.sources.a.http.")).collect();
    let expected = [
        "backfill.parameter",
        "dedupe.max",
        "dedupe.path",
        "headers.Accept-Encoding",
        "headers.Authorization",
        "headers.bad name",
        "query.key",
        "rules.owner",
        "rules.url",
        "url",
    ];
    assert_eq!(paths, expected.into());
    assert!(!format!("{found:?}").contains("hidden"));
    assert!(problems(&spec("http://example.org/s?a=b".into()), "").is_empty());
    assert!(serde_json::from_str::<SourceSpec>(r#"{"uri": ""}"#).is_err());
    let schema = serde_json::to_string(&schemars::schema_for!(SourceSpec)).unwrap();
    assert!(schema.contains("connectTimeout") && !schema.contains(CANARY));
}
