//! Clients and workers that go on whatever becomes of the server, and remember all that it told them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use stdx::Clock;

use crate::process::pause;
use crate::queue::server::{Http, Reply};

/// Jobs that may wait for the workers of the test, so that the last server soon comes to an end.
const BACKLOG_MAX: usize = 400;

/// How long a lease lasts without a beat, as the document says.
const LEASE: Duration = Duration::from_secs(3);

/// How an attempt ended, as the server acknowledged it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub(super) state: &'static str,
    /// The result, or the error's message: each attempt has its own.
    pub(super) mark: String,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Jobs that were put: their keys, by their ids.
    pub(super) put: BTreeMap<String, String>,
    /// Children that were put with an ack: their keys, by their ids.
    pub(super) children: BTreeMap<String, String>,
    /// Ends of the jobs that workers of the test had.
    pub(super) ended: BTreeMap<String, Vec<End>>,
    /// Puts that were answered as duplicates, since their first reply was lost or they were sent twice.
    pub(super) duplicates: u64,
    /// Finishes that were answered as duplicates.
    pub(super) finished_twice: u64,
    /// Leases that had ended by the time of the finish, and those that a worker let end.
    pub(super) lost: u64,
    pub(super) left: u64,
    /// Replies that said that the store is away.
    pub(super) unavailable: u64,
}

/// The load, and what it was told.
#[derive(Default)]
pub(super) struct Load {
    http: Mutex<Option<Http>>,
    /// Another server of the same jobs.
    beside: OnceLock<Http>,
    next: AtomicU64,
    pub(super) told: Mutex<Told>,
    /// Clients put no more.
    pub(super) is_enough: AtomicBool,
    /// Workers lease no more.
    pub(super) is_over: AtomicBool,
    /// The test has failed.
    is_abandoned: AtomicBool,
}

/// Dropped by a test that has failed, it ends the load.
pub(super) struct Abandon<'a>(&'a Load);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.is_abandoned.store(std::thread::panicking(), Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn abandon(&self) -> Abandon<'_> {
        Abandon(self)
    }

    /// Where the server is from now on.
    pub(super) fn is_at(&self, http: &Http) {
        *self.http.lock().unwrap() = Some(http.clone());
    }

    /// Where another server is. Requests go to either, and one that is sent again perhaps to the other.
    pub(super) fn is_also_at(&self, http: &Http) {
        assert!(self.beside.set(http.clone()).is_ok(), "there is one other");
    }

    /// A request that is sent until it is answered.
    fn post(&self, path: &str, body: &Value) -> Reply {
        loop {
            assert!(!self.is_abandoned.load(Ordering::Relaxed), "the test has failed");
            let http = self.beside.get().filter(|_| fastrand::bool()).cloned();
            let http = http.or_else(|| self.http.lock().unwrap().clone());
            match http.and_then(|http| http.try_post(path, body)) {
                Some(reply) if reply.status == 503 => {
                    assert!(reply.header("retry-after").is_some(), "{reply:?}");
                    self.told.lock().unwrap().unavailable += 1;
                    pause(Duration::from_millis(50));
                }
                Some(reply) => return reply,
                None => pause(Duration::from_millis(3)),
            }
        }
    }

    /// Puts jobs, each with a key of its own, one by one and in bulk.
    pub(super) fn put(&self, client: usize, mut draw: fastrand::Rng) {
        while !self.is_enough.load(Ordering::Relaxed) && !self.is_abandoned.load(Ordering::Relaxed) {
            pause(Duration::from_micros(draw.u64(..6000)));
            let waiting = {
                let told = self.told.lock().unwrap();
                told.put.len().saturating_sub(told.ended.len())
            };
            // A tenth is for the document's own workers, and is counted as waiting for ever.
            let put = self.next.load(Ordering::Relaxed);
            if waiting > BACKLOG_MAX + usize::try_from(put / 5).unwrap() {
                pause(Duration::from_millis(20));
                continue;
            }
            if draw.u32(..20) == 0 {
                self.put_bulk(client, &mut draw);
            } else {
                self.put_one(client, &mut draw);
            }
        }
    }

    fn job(&self, client: usize, draw: &mut fastrand::Rng) -> Value {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let what = ["ack", "ack", "ack", "ack", "ack", "twice", "fail", "child"][draw.usize(..8)];
        json!({"payload": {"number": number, "do": what}, "key": format!("{client}-{number}")})
    }

    fn put_one(&self, client: usize, draw: &mut fastrand::Rng) {
        let job = self.job(client, draw);
        let queue = if draw.u32(..10) == 0 { "own" } else { "theirs" };
        let path = format!("/v1/queues/{queue}/jobs");
        let reply = self.post(&path, &job);
        let put = reply.ok();
        assert_eq!(reply.status == 200, put["duplicate"].as_bool().unwrap(), "{reply:?}");
        self.was_put(&job, &put);
        if draw.u32(..20) == 0 {
            // Nobody knows whether a reply was lost: the same again is the same.
            let again = self.post(&path, &job).ok();
            assert_eq!((&again["id"], &again["duplicate"]), (&put["id"], &json!(true)));
            self.was_put(&job, &again);
        }
    }

    fn put_bulk(&self, client: usize, draw: &mut fastrand::Rng) {
        let jobs: Vec<Value> = (0..draw.usize(1..40)).map(|_| self.job(client, draw)).collect();
        let atomic = draw.bool();
        let reply = self.post(&format!("/v1/queues/theirs/jobs/bulk?atomic={atomic}"), &json!(jobs)).ok();
        let all = reply.as_array().unwrap();
        assert_eq!(all.len(), jobs.len());
        jobs.iter().zip(all).for_each(|(job, put)| self.was_put(job, put));
    }

    fn was_put(&self, job: &Value, put: &Value) {
        let id = put["id"].as_str().unwrap_or_else(|| panic!("{job} came to {put}")).to_owned();
        let key = job["key"].as_str().unwrap().to_owned();
        let mut told = self.told.lock().unwrap();
        told.duplicates += u64::from(put["duplicate"] == true);
        let before = told.put.insert(id, key.clone());
        assert!(before.is_none_or(|before| before == key), "two keys have one job");
    }

    /// Leases jobs and does with them what their payloads say.
    pub(super) fn work(&self, worker: usize, mut draw: fastrand::Rng) {
        let clock = Clock::system();
        let name = format!("w{worker}");
        let mut worker = Worker { load: self, name, requests: 0, attempts: 0, clock, asked: Duration::ZERO };
        let mut held = Vec::new();
        while !(self.is_over.load(Ordering::Relaxed) && held.is_empty()) {
            held = worker.round(&held, &mut draw);
        }
    }
}

/// A worker that speaks HTTP.
struct Worker<'a> {
    load: &'a Load,
    name: String,
    requests: u64,
    attempts: u64,
    clock: Clock,
    /// When it first asked for what it holds: no lease of it began before.
    asked: Duration,
}

impl Worker<'_> {
    /// Finishes what it holds, and leases what comes next: in one request, or in several.
    fn round(&mut self, held: &[Value], draw: &mut fastrand::Rng) -> Vec<Value> {
        if !held.is_empty() && draw.u32(..4) == 0 {
            self.beat(held);
        }
        if draw.u32(..8) == 0 {
            // A worker now and then takes its time.
            pause(Duration::from_millis(draw.u64(..40)));
        }
        let outcomes: Vec<(&Value, Value, Option<End>)> =
            held.iter().filter_map(|lease| self.outcome(lease, draw)).collect();
        let asked = self.asked;
        let wanted = self.wanted(draw);
        if draw.bool() {
            let all: Vec<&Value> = outcomes.iter().map(|(_, outcome, _)| outcome).collect();
            let mut reply = self.load.post("/v1/leases/finish", &json!({"outcomes": all, "lease": wanted})).ok();
            for ((lease, _, end), finished) in outcomes.into_iter().zip(reply["outcomes"].as_array().unwrap()) {
                self.finished(lease, end, finished, asked);
            }
            return items(reply["leases"].take());
        }
        for (lease, outcome, end) in outcomes {
            let (verb, mut body) = if outcome["ack"].is_object() {
                ("ack", outcome["ack"].clone())
            } else {
                ("nack", outcome["nack"].clone())
            };
            body["token"] = lease["token"].clone();
            let reply = self.load.post(&format!("/v1/jobs/{}/{verb}", lease["id"].as_str().unwrap()), &body);
            self.finished(lease, end, &serde_json::from_str(&reply.body).unwrap(), asked);
        }
        items(self.load.post("/v1/leases", &wanted).ok())
    }

    /// The next lease. It has a name, so that a lost reply leaves no job behind.
    fn wanted(&mut self, draw: &mut fastrand::Rng) -> Value {
        self.requests += 1;
        self.asked = self.clock.elapsed();
        let (name, requests) = (&self.name, self.requests);
        json!({"queues": ["theirs"], "n": draw.u32(1..12), "wait": "200ms", "worker": name, "request": format!("{name}-{requests}")})
    }

    fn beat(&self, held: &[Value]) {
        let beats: Vec<Value> = held.iter().map(|lease| json!({"id": lease["id"], "token": lease["token"]})).collect();
        let pulses = self.load.post("/v1/leases/heartbeat", &json!(beats)).ok();
        for pulse in pulses.as_array().unwrap() {
            assert!(pulse["cancel"] == false || pulse["error"]["code"] == "lease_lost", "{pulse}");
        }
    }

    /// What to say of a job, and how it has ended once that is acknowledged. `None`: it is left to the end of its lease.
    fn outcome<'a>(&mut self, lease: &'a Value, draw: &mut fastrand::Rng) -> Option<(&'a Value, Value, Option<End>)> {
        let payload = &lease["payload"];
        if draw.u32(..100) == 0 {
            self.load.told.lock().unwrap().left += 1;
            return None;
        }
        self.attempts += 1;
        let mark = format!("{} of {}", self.attempts, self.name);
        let result = json!({"number": payload["number"], "by": mark});
        let nack = |retry| json!({"error": {"message": mark}, "retry": retry});
        let (outcome, state) = match payload["do"].as_str().unwrap() {
            "twice" if lease["attempt"] == 1 => (json!({"nack": nack(true)}), None),
            "fail" => (json!({"nack": nack(false)}), Some("failed")),
            "child" => {
                let key = format!("child of {}", lease["id"].as_str().unwrap());
                let child = json!({"queue": "own", "key": key, "payload": {"number": payload["number"]}});
                (json!({"ack": {"result": result, "enqueue": [child]}}), Some("succeeded"))
            }
            _ => (json!({"ack": {"result": result}}), Some("succeeded")),
        };
        let mut outcome = outcome;
        outcome["id"] = lease["id"].clone();
        outcome["token"] = lease["token"].clone();
        Some((lease, outcome, state.map(|state| End { state, mark })))
    }

    fn finished(&self, lease: &Value, end: Option<End>, finished: &Value, asked: Duration) {
        let mut told = self.load.told.lock().unwrap();
        let id = lease["id"].as_str().unwrap();
        let code = finished["code"].as_str().or_else(|| finished["error"]["code"].as_str());
        if let Some(code) = code {
            assert_eq!(code, "lease_lost", "{finished}");
            let held = self.clock.elapsed().saturating_sub(asked);
            assert!(held >= LEASE, "a lease of {LEASE:?} ended after {held:?}: {lease}");
            told.lost += 1;
            return;
        }
        told.finished_twice += u64::from(finished["duplicate"] == true);
        let Some(end) = end else { return };
        assert_eq!(finished["state"], end.state, "{lease} {finished}");
        for child in finished["enqueued"].as_array().into_iter().flatten() {
            told.children.insert(child.as_str().unwrap().to_owned(), format!("child of {id}"));
        }
        told.ended.entry(id.to_owned()).or_default().push(end);
    }
}

fn items(leases: Value) -> Vec<Value> {
    let Value::Array(leases) = leases else { panic!("no leases: {leases}") };
    let distinct: BTreeSet<&str> = leases.iter().map(|lease| lease["id"].as_str().unwrap()).collect();
    assert_eq!(distinct.len(), leases.len(), "a job is leased once in a reply");
    leases
}
