mod server;

use launch::Local;
use serde_json::{Value, json};

use self::server::{Fault, Job, Server};
use super::*;

const LEASES: &str = "/v1/leases";
const FINISH: &str = "/v1/leases/finish";
const BEAT: &str = "/v1/leases/heartbeat";

/// A worker whose beats are quick, so that tests are.
fn worker(server: &str, script: &str) -> Worker {
    Worker {
        server: server.to_owned(),
        token: None,
        name: "w 1".to_owned(),
        queues: vec!["default".to_owned()],
        types: Vec::new(),
        concurrency: 4,
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        folder: "/".into(),
        timeout: None,
        stop_grace: Duration::from_secs(5),
        drain_grace: Duration::from_secs(5),
        memory_bytes_max: None,
        pace: Pace {
            beat: Duration::from_millis(50),
            retry_max: Duration::from_millis(200),
            lease: Duration::from_secs(1),
            ..Pace::default()
        },
    }
}

/// A worker at work, and how to stop it.
struct AtWork {
    stop: watch::Sender<Level>,
    work: JoinHandle<Result<Worked, WorkError>>,
}

impl AtWork {
    fn start(worker: Worker) -> Self {
        let (stop, asked) = watch::channel(Level::Run);
        Self { stop, work: tokio::spawn(worker.work(Arc::new(Local::new().unwrap()), asked)) }
    }

    async fn stop(self, level: Level) -> Worked {
        self.stop.send_replace(level);
        let worked = tokio::time::timeout(Duration::from_secs(20), self.work).await;
        worked.expect("it does not stop").unwrap().unwrap()
    }
}

/// Runs one job to its end.
async fn one(script: &str, job: Job) -> (Value, Vec<String>) {
    let (server, address) = Server::start().await;
    let id = server.add_job(job);
    let at_work = AtWork::start(worker(&address, script));
    let ending = server.endings().await.remove(0);
    at_work.stop(Level::Drain).await;
    let logs = server.inner().jobs[&id].logs.clone();
    (ending, logs)
}

async fn ending(script: &str) -> Value {
    one(script, Job::default()).await.0
}

#[tokio::test]
async fn the_payload_goes_in_and_the_last_line_is_the_result() {
    let script = r#"read payload; echo "not this"; echo oops >&2; echo "{\"got\": $payload, \"on\": \"$HEADWATER_QUEUE\",
        \"attempt\": $HEADWATER_ATTEMPT}" | tr -d '\n'; echo; echo; test -n "$HEADWATER_JOB_TOKEN$HEADWATER_JOB_ID""#;
    let (ending, mut logs) = one(script, Job { payload: json!({"a": [1, "x"]}), ..Job::default() }).await;
    assert_eq!(ending, json!({"ack": {"result": {"got": {"a": [1, "x"]}, "on": "default", "attempt": 1}}}));
    logs.sort();
    assert_eq!(logs, ["not this", "oops"]);
}

#[tokio::test]
async fn a_last_line_that_is_no_json_is_a_string_and_none_is_null() {
    assert_eq!(ending("echo 12345678901234567890123").await["ack"]["result"].to_string(), "1.2345678901234568e+22");
    assert_eq!(ending("echo plain words").await, json!({"ack": {"result": "plain words"}}));
    assert_eq!(ending("true").await, json!({"ack": {"result": null}}));
}

#[tokio::test]
async fn a_failure_is_told_with_its_cause() {
    let nack = ending("echo out; echo what is wrong >&2; exit 3").await["nack"].clone();
    assert_eq!((&nack["reason"], &nack["retry"]), (&json!("error"), &json!(true)));
    assert_eq!(nack["error"]["message"], "the process ended with exit code 3: what is wrong");
    assert_eq!((&nack["error"]["exitCode"], &nack["error"]["trace"]), (&json!(3), &json!("what is wrong")));
    let nack = ending("kill -SEGV $$").await["nack"].clone();
    assert_eq!((&nack["reason"], &nack["error"]["signal"]), (&json!("signal"), &json!(11)));
    let (ending, _) = one("sleep 100", Job { timeout: Some("200ms"), ..Job::default() }).await;
    assert_eq!(ending["nack"]["reason"], "timeout");
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_its_jobs_and_not_the_worker() {
    let (server, address) = Server::start().await;
    server.add(Value::Null);
    server.add(Value::Null);
    let at_work = AtWork::start(Worker { command: vec!["no-such".to_owned()], ..worker(&address, "") });
    for ending in server.endings().await {
        let message = ending["nack"]["error"]["message"].as_str().unwrap();
        assert_eq!(message, r#"program "no-such" is not there: looked for /usr/bin/no-such, /bin/no-such"#);
    }
    assert_eq!(at_work.stop(Level::Drain).await, Worked { failed: 2, ..Worked::default() });
}

#[tokio::test]
async fn lost_replies_and_a_server_that_is_down_lose_nothing_and_run_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Server::start().await;
    for number in 0..30 {
        server.add(json!(number));
    }
    let bad = [Fault::Lost, Fault::Down, Fault::Lost, Fault::Slow(Duration::from_millis(100)), Fault::Down];
    server.fail(LEASES, &bad);
    server.fail(FINISH, &bad);
    server.fail(FINISH, &bad);
    server.fail(BEAT, &bad);
    let script = "read number; echo $number >> runs; sleep 0.05; echo $number";
    let at_work = AtWork::start(Worker { folder: folder.path().to_owned(), ..worker(&address, script) });
    let endings = server.endings().await;
    for (number, ending) in endings.iter().enumerate() {
        assert_eq!(*ending, json!({"ack": {"result": number}}));
    }
    assert_eq!(at_work.stop(Level::Drain).await, Worked { succeeded: 30, ..Worked::default() });
    let runs = std::fs::read_to_string(folder.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 30);
    let inner = server.inner();
    assert!(inner.jobs.values().all(|job| job.leases == 1));
    assert!(inner.bodies(FINISH).iter().any(|body| !body["lease"].is_null()), "it asks for the next as it finishes");
}

#[tokio::test]
async fn one_request_beats_for_all_jobs() {
    let (server, address) = Server::start().await;
    for _ in 0..4 {
        server.add(Value::Null);
    }
    let at_work = AtWork::start(worker(&address, "sleep 100"));
    server.until(|inner| inner.bodies(BEAT).iter().any(|body| body.as_array().unwrap().len() == 4)).await;
    assert_eq!(at_work.stop(Level::Halt).await, Worked { released: 4, ..Worked::default() });
    assert!(server.inner().bodies(LEASES).iter().all(|body| body["lease"] == "1s" && body["worker"] == "w 1"));
}

#[tokio::test]
async fn a_job_that_is_cancelled_is_stopped_and_said_to_be() {
    let job = Job { pulse: Some(json!({"cancel": true})), ..Job::default() };
    let (ending, _) = one("sleep 100", job).await;
    assert_eq!(ending["nack"]["error"]["message"], "stopped, because the job was cancelled");
}

#[tokio::test]
async fn a_timeout_that_the_server_tells_first_is_told_as_one() {
    let job = Job { pulse: Some(json!({"cancel": true})), timeout: Some("900ms"), ..Job::default() };
    let (ending, _) = one("sleep 100", job).await;
    assert_eq!(ending["nack"]["reason"], "timeout");
}

#[tokio::test]
async fn an_exit_without_error_is_no_success_when_it_was_asked_for() {
    let job = Job { pulse: Some(json!({"cancel": true})), ..Job::default() };
    let (ending, _) = one("trap 'exit 0' TERM; sleep 100 & wait", job).await;
    assert_eq!(ending["nack"]["error"]["message"], "stopped, because the job was cancelled");
}

#[tokio::test]
async fn a_lost_lease_stops_the_process_and_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Server::start().await;
    let id = server.add(Value::Null);
    let script = "trap 'echo ended > ended; exit 0' TERM; echo up > up; while :; do sleep 0.01; done";
    let at_work = AtWork::start(Worker { folder: folder.path().to_owned(), ..worker(&address, script) });
    server.until(|_| folder.path().join("up").exists()).await;
    server.inner().jobs.get_mut(&id).unwrap().token = "another's".to_owned();
    server.until(|_| folder.path().join("ended").exists()).await;
    assert_eq!(at_work.stop(Level::Drain).await, Worked { lost: 1, ..Worked::default() });
    assert!(server.inner().bodies(FINISH).is_empty());
}

#[tokio::test]
async fn asked_to_drain_it_ends_what_ends_and_gives_back_what_does_not() {
    let (server, address) = Server::start().await;
    let quick = server.add(json!(0.5));
    let slow = server.add(json!(100));
    let own = worker(&address, "read seconds; sleep $seconds");
    let at_work = AtWork::start(Worker { drain_grace: Duration::from_secs(1), concurrency: 2, ..own });
    server.until(|inner| inner.jobs.values().all(|job| job.leases == 1)).await;
    let late = server.add(json!(0));
    assert_eq!(at_work.stop(Level::Drain).await, Worked { succeeded: 1, released: 1, ..Worked::default() });
    let inner = server.inner();
    assert!(inner.jobs[&quick].ending.as_ref().unwrap().get("ack").is_some());
    assert_eq!(inner.jobs[&slow].ending, Some(json!({"release": {}})));
    assert_eq!(inner.jobs[&late].leases, 0);
}

#[tokio::test]
async fn told_by_a_beat_to_drain_it_leases_no_more_and_shows_its_token() {
    let (server, address) = Server::start().await;
    let id = server.add_job(Job { pulse: Some(json!({"cancel": false, "drain": true})), ..Job::default() });
    let own = Worker { token: Some("s3cret".to_owned()), concurrency: 1, ..worker(&address, "sleep 0.5") };
    let at_work = AtWork::start(own);
    server.until(|inner| inner.jobs[&id].leases == 1).await;
    let late = server.add(Value::Null);
    server.until(|inner| inner.jobs[&id].ending.is_some()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(at_work.stop(Level::Drain).await, Worked { succeeded: 1, ..Worked::default() });
    assert_eq!(server.inner().jobs[&late].leases, 0);
    assert_eq!(server.inner().shown.as_deref(), Some("Bearer s3cret"));
}

#[tokio::test]
async fn a_server_that_never_answers_again_holds_up_no_stop() {
    let (server, address) = Server::start().await;
    server.add(Value::Null);
    server.fail(FINISH, &[Fault::Down; 1000]);
    let own = Worker { stop_grace: Duration::ZERO, ..worker(&address, "sleep 100") };
    let pace = Pace { stop_max: Duration::from_millis(500), ..own.pace };
    let at_work = AtWork::start(Worker { pace, ..own });
    server.until(|inner| inner.jobs.values().all(|job| job.leases == 1)).await;
    assert_eq!(at_work.stop(Level::Halt).await, Worked { unanswered: 1, ..Worked::default() });
}

#[tokio::test]
async fn a_result_outlives_a_server_that_is_away_and_is_kept_by_beats() {
    let (server, address) = Server::start().await;
    server.add(Value::Null);
    server.fail(FINISH, &[Fault::Down; 12]);
    let at_work = AtWork::start(worker(&address, "echo 1"));
    assert_eq!(server.endings().await, [json!({"ack": {"result": 1}})]);
    assert_eq!(at_work.stop(Level::Drain).await, Worked { succeeded: 1, ..Worked::default() });
    let inner = server.inner();
    let first = inner.requests.iter().position(|(path, _)| path == FINISH).unwrap();
    let beats = inner.requests[first..].iter().filter(|(path, body)| path == BEAT && body[0].is_object());
    assert!(beats.count() > 5);
    let mut finishes = inner.bodies(FINISH);
    finishes.dedup();
    assert_eq!(finishes.len(), 1, "the same request, with the same name");
}

#[tokio::test]
async fn a_refused_result_is_told_as_a_failure_and_holds_up_no_neighbour() {
    let (server, address) = Server::start().await;
    let refusal = Some(json!({"error": {"code": "too_large", "status": 413, "detail": "it is too large"}}));
    server.add_job(Job { refusal, payload: json!(0.3), ..Job::default() });
    server.add(json!(0.3));
    server.add(json!(0));
    // The last is told slowly, so that the others are told together, which is refused.
    server.fail(FINISH, &[Fault::Slow(Duration::from_millis(800)), Fault::Refused]);
    let at_work = AtWork::start(worker(&address, "read seconds; sleep $seconds; echo 1"));
    let endings = server.endings().await;
    assert_eq!(endings[0]["nack"]["error"]["message"], "the server refused the result: it is too large");
    assert_eq!(endings[1..], [json!({"ack": {"result": 1}}), json!({"ack": {"result": 1}})]);
    assert_eq!(server.inner().bodies(FINISH)[1]["outcomes"].as_array().unwrap().len(), 2);
    assert_eq!(at_work.stop(Level::Drain).await, Worked { succeeded: 2, failed: 1, ..Worked::default() });
}

#[tokio::test]
async fn thousands_of_lines_arrive_in_their_order_and_a_down_server_is_asked_again() {
    let (server, address) = Server::start().await;
    let id = server.add(Value::Null);
    server.fail(format!("/v1/jobs/{id}/logs").leak(), &[Fault::Down, Fault::Down]);
    let at_work = AtWork::start(worker(&address, "seq 1 3000; echo done"));
    assert_eq!(server.endings().await, [json!({"ack": {"result": "done"}})]);
    at_work.stop(Level::Drain).await;
    let inner = server.inner();
    let expected: Vec<String> = (1..=3000).map(|number| number.to_string()).collect();
    assert_eq!(inner.jobs[&id].logs, expected);
    assert!(inner.bodies(&format!("/v1/jobs/{id}/logs")).len() < 20, "lines go in batches");
}
