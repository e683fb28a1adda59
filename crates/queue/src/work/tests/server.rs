//! A server that keeps leases in memory and misbehaves as it is told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::JobId;

/// What goes wrong with one request.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// It is done, and the reply is lost.
    Lost,
    /// It is not done.
    Down,
    /// It is done later.
    Slow(Duration),
    /// The whole request is refused.
    Refused,
}

#[derive(Default)]
pub(super) struct Job {
    pub(super) payload: Value,
    pub(super) token: String,
    pub(super) leases: u32,
    pub(super) ending: Option<Value>,
    pub(super) logs: Vec<String>,
    pub(super) timeout: Option<&'static str>,
    /// What its beats are answered with.
    pub(super) pulse: Option<Value>,
    /// What its acks are answered with.
    pub(super) refusal: Option<Value>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) jobs: BTreeMap<String, Job>,
    ready: VecDeque<String>,
    replies: HashMap<String, Value>,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    pub(super) requests: Vec<(String, Value)>,
    tokens: u64,
    /// What the last request showed to prove who it is from.
    pub(super) shown: Option<String>,
}

#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<Inner>>);

impl Server {
    /// Serves, and tells where.
    pub(super) async fn start() -> (Self, String) {
        let server = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let own = server.clone();
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            own.inner().shown = shown;
            own.serve(&uri, &body).await
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, address)
    }

    pub(super) fn add(&self, payload: Value) -> String {
        self.add_job(Job { payload, ..Job::default() })
    }

    pub(super) fn add_job(&self, job: Job) -> String {
        let mut inner = self.inner();
        let id = JobId::new((1 << 20) + inner.jobs.len() as u64, 7).to_string();
        inner.jobs.insert(id.clone(), job);
        inner.ready.push_back(id.clone());
        id
    }

    /// What goes wrong with the next requests of a path.
    pub(super) fn fail(&self, path: &'static str, faults: &[Fault]) {
        self.inner().faults.entry(path).or_default().extend(faults);
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, is: impl Fn(&Inner) -> bool) {
        let waited = async {
            while !is(&self.inner()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it never comes to that");
    }

    /// Waits until all jobs have ended, and gives their endings in the order of their making.
    pub(super) async fn endings(&self) -> Vec<Value> {
        self.until(|inner| inner.jobs.values().all(|job| job.ending.is_some())).await;
        self.inner().jobs.values().map(|job| job.ending.clone().unwrap()).collect()
    }

    async fn serve(&self, uri: &Uri, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap();
        let path = uri.path().to_owned();
        let fault = {
            let mut inner = self.inner();
            inner.requests.push((path.clone(), body.clone()));
            inner.faults.get_mut(path.as_str()).and_then(VecDeque::pop_front)
        };
        match fault {
            Some(Fault::Down) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(Fault::Refused) => {
                return (StatusCode::UNPROCESSABLE_ENTITY, r#"{"code":"invalid","detail":"no"}"#).into_response();
            }
            Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
            Some(Fault::Lost) | None => {}
        }
        let reply = self.answer(&path, &body).await;
        if matches!(fault, Some(Fault::Lost)) {
            // Ends the connection without a word.
            std::panic::resume_unwind(Box::new(()));
        }
        let status = if reply.get("code").is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
        (status, reply.to_string()).into_response()
    }

    async fn answer(&self, path: &str, body: &Value) -> Value {
        match path {
            "/v1/leases" => {
                let mut looks = if body["wait"].is_null() { 0 } else { 40 };
                while looks > 0 && self.inner().ready.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    looks -= 1;
                }
                self.inner().lease(body)
            }
            "/v1/leases/finish" => self.inner().finish(body),
            "/v1/leases/heartbeat" => self.inner().beat(body),
            _ => self.inner().log(path, body),
        }
    }
}

impl Inner {
    fn lease(&mut self, body: &Value) -> Value {
        let request = body["request"].as_str().unwrap().to_owned();
        if let Some(reply) = self.replies.get(&request) {
            return reply.clone();
        }
        let count = usize::try_from(body["n"].as_u64().unwrap()).unwrap().min(self.ready.len());
        let leased: Vec<String> = self.ready.drain(..count).collect();
        let leases: Vec<Value> = leased.iter().map(|id| self.lease_one(id)).collect();
        let reply = Value::from(leases);
        if count > 0 {
            self.replies.insert(request, reply.clone());
        }
        reply
    }

    fn lease_one(&mut self, id: &str) -> Value {
        self.tokens += 1;
        let job = self.jobs.get_mut(id).unwrap();
        job.token = format!("{:x}.{:016x}", self.tokens, 99);
        job.leases += 1;
        let mut lease = json!({
            "id": id, "token": job.token, "queue": "default", "payload": job.payload, "attempt": job.leases,
            "attempts": 5, "until": "2026-05-01T12:00:00Z", "lease": "4s",
        });
        if let Some(timeout) = job.timeout {
            lease["timeout"] = timeout.into();
        }
        lease
    }

    fn finish(&mut self, body: &Value) -> Value {
        let outcomes: Vec<Value> = body["outcomes"].as_array().unwrap().iter().map(|one| self.end(one)).collect();
        let leases = if body["lease"].is_null() { json!([]) } else { self.lease(&body["lease"]) };
        json!({ "outcomes": outcomes, "leases": leases })
    }

    fn end(&mut self, outcome: &Value) -> Value {
        let job = self.jobs.get_mut(outcome["id"].as_str().unwrap()).unwrap();
        if job.token != outcome["token"].as_str().unwrap() {
            return refused("lease_lost");
        }
        if let (Some(refusal), true) = (&job.refusal, outcome.get("ack").is_some()) {
            return refusal.clone();
        }
        let mut ending = outcome.clone();
        ending.as_object_mut().unwrap().retain(|field, _| field != "id" && field != "token");
        let duplicate = job.ending.is_some();
        assert!(job.ending.as_ref().is_none_or(|first| *first == ending), "it ended twice: {ending}");
        job.ending = Some(ending);
        json!({ "id": outcome["id"], "state": "succeeded", "duplicate": duplicate })
    }

    fn beat(&mut self, body: &Value) -> Value {
        let beats = body.as_array().unwrap().iter().map(|beat| {
            let job = &self.jobs[beat["id"].as_str().unwrap()];
            let lost = job.token != beat["token"].as_str().unwrap();
            let pulse =
                || json!({ "id": beat["id"], "cancel": false, "drain": false, "until": "2026-05-01T12:00:00Z" });
            if lost { refused("lease_lost") } else { job.pulse.clone().unwrap_or_else(pulse) }
        });
        beats.collect()
    }

    fn log(&mut self, path: &str, body: &Value) -> Value {
        let id = path.strip_prefix("/v1/jobs/").unwrap().strip_suffix("/logs").unwrap();
        let job = self.jobs.get_mut(id).unwrap();
        if job.token != body["token"].as_str().unwrap() {
            return json!({ "code": "lease_lost" });
        }
        assert!(job.ending.is_none(), "a line after the end");
        job.logs.extend(body["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()));
        Value::Null
    }

    pub(super) fn bodies(&self, path: &str) -> Vec<&Value> {
        self.requests.iter().filter(|(at, _)| at == path).map(|(_, body)| body).collect()
    }
}

fn refused(code: &str) -> Value {
    json!({ "error": { "code": code, "status": 409 } })
}
