//! The SQLite store by itself, without HTTP: `cargo bench -p queue --bench store -- 10000 1000000`.
//!
//! For each number of jobs, a fresh store is filled with so many ready ones and so many behind a full concurrency key.
//! Then each operation is timed: one client after the other, and 64 requests in flight. One line of JSON a number.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::collections::VecDeque;
use std::time::Duration;

use queue::{
    Change, Finish, JobQuery, Json, Lease, LeaseRequest, NewJob, Outcome, Put, QueueSettings, Sqlite, SqliteOptions,
    State, Store, View,
};
use stdx::Clock;

/// Operations that are timed one by one.
const ROUNDS: usize = 300;

/// Requests in flight.
const IN_FLIGHT: usize = 64;

/// Operations that are timed with many in flight.
const MANY: u32 = 10_000;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for size in if sizes.is_empty() { vec![10_000] } else { sizes } {
        run(size);
    }
}

fn run(size: usize) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let store = Sqlite::open(&SqliteOptions::new(folder.path().join("q.sqlite"), Clock::system())).expect("open");
    let settings = QueueSettings { depth_max: u64::MAX >> 1, ..QueueSettings::default() };
    for queue in ["ready", "parked"] {
        store.change(Change::PutQueue(queue.to_owned(), settings.clone())).wait().expect("put the queue");
    }
    let job: NewJob = serde_json::from_str(r#"{"payload": {"n": 1}}"#).expect("a job");
    let text = r#"{"payload": {"n": 1}, "concurrency": {"key": "k", "max": 1}}"#;
    let of_key: NewJob = serde_json::from_str(text).expect("a job");
    let bulk = fill(&store, "ready", &job, size);
    let bulk_of_key = fill(&store, "parked", &of_key, size);
    let enqueue = percentiles(|| drop(store.put(Put::one("ready", job.clone())).wait().expect("put")));
    let work = percentiles(|| lease_and_finish(&store, "ready"));
    let work_of_key = percentiles(|| lease_and_finish(&store, "parked"));
    let list = percentiles(|| {
        let query = JobQuery { states: vec![State::Ready], limit: 100, ..JobQuery::default() };
        drop(store.list(query).wait().expect("list"));
    });
    let many_put = in_flight(|| store.put(Put::one("ready", job.clone())));
    let many_work = finish_and_lease(&store);
    println!(
        "{}",
        serde_json::json!({
            "jobs": size, "bulkPerSecond": bulk, "bulkOfKeyPerSecond": bulk_of_key, "enqueueMillis": enqueue,
            "leaseAndFinishMillis": work, "leaseAndFinishOfKeyMillis": work_of_key, "listMillis": list,
            "enqueuePerSecond64": many_put, "finishAndLeasePerSecond64": many_work, "residentKib": resident_kib(),
        })
    );
}

fn fill(store: &Sqlite, queue: &str, job: &NewJob, size: usize) -> f64 {
    let clock = Clock::system();
    let mut left = size;
    while left > 0 {
        let jobs = left.min(queue::BULK_JOBS_MAX);
        let put = Put { queue: queue.to_owned(), jobs: vec![job.clone(); jobs], atomic: false };
        store.put(put).wait().expect("put");
        left -= jobs;
    }
    rate(size, clock.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn rate(operations: usize, elapsed: Duration) -> f64 {
    (operations as f64 / elapsed.as_secs_f64()).round()
}

/// The median and the 99th percentile, in milliseconds.
fn percentiles(mut operation: impl FnMut()) -> [f64; 2] {
    let clock = Clock::system();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let before = clock.elapsed();
            operation();
            clock.elapsed().saturating_sub(before)
        })
        .collect();
    times.sort_unstable();
    [ROUNDS / 2, ROUNDS * 99 / 100].map(|at| (times[at].as_secs_f64() * 1e5).round() / 100.0)
}

fn outcome(lease: Lease) -> Outcome {
    Outcome::ack(lease.id, lease.token, Json::null())
}

fn lease_and_finish(store: &Sqlite, queue: &str) {
    let leases = store.lease(LeaseRequest::new(queue, "w")).wait().expect("lease");
    let outcomes: Vec<_> = leases.into_iter().map(outcome).collect();
    assert_eq!(outcomes.len(), 1, "a job is ready");
    store.finish(Finish { outcomes, lease: None }).wait().expect("finish");
}

fn in_flight<T>(request: impl Fn() -> queue::Pending<T>) -> f64 {
    let clock = Clock::system();
    let mut waiting: VecDeque<_> = (0..IN_FLIGHT).map(|_| request()).collect();
    for _ in 0..MANY {
        let reply = waiting.pop_front().expect("some are in flight").wait();
        assert!(reply.is_ok(), "the request is answered");
        waiting.push_back(request());
    }
    let elapsed = clock.elapsed();
    for pending in waiting {
        drop(pending.wait());
    }
    rate(MANY as usize, elapsed)
}

/// Workers that do nothing: each finishes a job and leases the next in one request.
fn finish_and_lease(store: &Sqlite) -> f64 {
    let next = |outcomes: Vec<Outcome>| store.finish(Finish { outcomes, lease: Some(LeaseRequest::new("ready", "w")) });
    let mut waiting: VecDeque<_> = (0..IN_FLIGHT).map(|_| next(Vec::new())).collect();
    let clock = Clock::system();
    let mut done = 0;
    while let Some(pending) = waiting.pop_front() {
        let leases = pending.wait().expect("finish").leases;
        done += leases.len();
        if done < MANY as usize && !leases.is_empty() {
            waiting.push_back(next(leases.into_iter().map(outcome).collect()));
        }
    }
    rate(done, clock.elapsed())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
