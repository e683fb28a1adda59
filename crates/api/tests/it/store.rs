//! A store for these tests: jobs in a map, and a switch for each thing that can go wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use queue::{
    Beat, Change, Changed, Ending, Error, Event, Finish, FinishReply, Finished, Hub, Job, JobId, JobQuery, Json, Lease,
    LeaseRequest, LogLine, Moment, NewJob, Page, Pending, Placed, Pulse, Put, QueueInfo, QueueSettings, ScheduleInfo,
    State, Stats, Store, Swept, Token, View, promise,
};

/// Jobs in a map.
#[derive(Default)]
pub(crate) struct Memory {
    jobs: Mutex<BTreeMap<JobId, Entry>>,
    queues: Mutex<BTreeMap<String, QueueInfo>>,
    hub: Hub,
    serial: AtomicU64,
    /// Whether every request is told that the store is down.
    pub(crate) is_down: AtomicBool,
    /// Whether counting panics.
    pub(crate) is_broken: AtomicBool,
    /// Whether the queue is full.
    pub(crate) is_full: AtomicBool,
    /// Milliseconds until a reply to a lease comes.
    pub(crate) lease_ms: AtomicU64,
    /// Calls of `lease`.
    pub(crate) leases: AtomicU64,
    /// Leases that were given back.
    pub(crate) releases: AtomicU64,
}

struct Entry {
    job: Job,
    new: NewJob,
    token: Option<Token>,
    last: Option<(Token, Finished)>,
    events: Vec<Event>,
    logs: Vec<LogLine>,
}

impl Entry {
    fn event(&mut self, hub: &Hub, event: &str) {
        let sequence = self.events.len() as u64 + 1;
        self.events.push(Event { sequence, at: Moment::default(), event: event.to_owned(), data: None });
        hub.wake_job(self.job.id);
    }

    fn go(&mut self, hub: &Hub, state: State) {
        self.job.state = state;
        self.event(hub, state.as_str());
        if state == State::Ready {
            hub.wake_ready(&self.job.queue, self.job.kind.as_deref(), 1);
        }
    }

    fn holds(&self, token: &Token) -> Result<(), Error> {
        let lost = Error::LeaseLost { id: self.job.id };
        if self.token.as_ref() == Some(token) { Ok(()) } else { Err(lost) }
    }
}

impl Memory {
    fn jobs(&self) -> Result<MutexGuard<'_, BTreeMap<JobId, Entry>>, Error> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Error::StoreDown { why: "told to be".to_owned() });
        }
        Ok(self.jobs.lock().unwrap())
    }

    fn put_one(&self, queue: &str, new: NewJob) -> Result<Placed, Error> {
        let mut jobs = self.jobs()?;
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Error::QueueFull {
                queue: queue.to_owned(),
                depth: 1,
                retry_after: Duration::from_millis(1500),
            });
        }
        if let Some(first) = jobs.values().find(|entry| new.key.is_some() && entry.new.key == new.key) {
            let (id, state) = (first.job.id, first.job.state);
            let key = new.key.clone().unwrap_or_default();
            let is_same = first.new == new;
            return if is_same {
                Ok(Placed { id, state, duplicate: true })
            } else {
                Err(Error::KeyReused { key, first: id })
            };
        }
        self.queues.lock().unwrap().entry(queue.to_owned()).or_insert_with(|| info(queue, QueueSettings::default()));
        let id = JobId::new(self.serial.fetch_add(1, Ordering::SeqCst) + (1 << 50), 7);
        let mut job: Job = serde_json::from_value(serde_json::json!({
            "id": id, "queue": queue, "state": "ready", "priority": 0, "attempt": 0, "attempts": 5,
            "createdAt": Moment::default(), "cancelRequested": false,
        }))
        .unwrap();
        (job.payload, job.kind) = (Some(new.payload.clone()), new.kind.clone());
        let mut entry = Entry { job, new, token: None, last: None, events: Vec::new(), logs: Vec::new() };
        entry.go(&self.hub, State::Ready);
        jobs.insert(id, entry);
        Ok(Placed { id, state: State::Ready, duplicate: false })
    }

    fn lease_now(&self, request: &LeaseRequest) -> Result<Vec<Lease>, Error> {
        let mut jobs = self.jobs()?;
        let ready = jobs
            .values_mut()
            .filter(|entry| entry.job.state == State::Ready && request.queues.contains(&entry.job.queue));
        let mut leases = Vec::new();
        for entry in ready.take(request.n as usize) {
            let token = Token::new(self.serial.fetch_add(1, Ordering::SeqCst), 99);
            entry.token = Some(token.clone());
            entry.job.attempt += 1;
            entry.job.worker = Some(request.worker.clone());
            entry.go(&self.hub, State::Running);
            leases.push(Lease {
                id: entry.job.id,
                token,
                queue: entry.job.queue.clone(),
                kind: entry.job.kind.clone(),
                payload: entry.new.payload.clone(),
                attempt: entry.job.attempt,
                attempts: 5,
                until: Moment::default(),
                lease: document::Duration::from_secs(60),
                timeout: None,
                meta: None,
                traceparent: entry.new.traceparent.clone(),
            });
        }
        Ok(leases)
    }

    fn finish_one(&self, outcome: queue::Outcome) -> Result<Finished, Error> {
        let mut jobs = self.jobs()?;
        let lost = Error::LeaseLost { id: outcome.id };
        let entry = jobs.get_mut(&outcome.id).ok_or(lost)?;
        if let Some((_, first)) = entry.last.as_ref().filter(|(token, _)| *token == outcome.token) {
            return Ok(Finished { duplicate: true, ..first.clone() });
        }
        entry.holds(&outcome.token)?;
        entry.token = None;
        let mut reason = None;
        match outcome.ending {
            Ending::Ack(ack) => {
                entry.job.result = Some(ack.result);
                entry.go(&self.hub, State::Succeeded);
            }
            Ending::Nack(nack) => {
                (entry.job.error, reason) = (Some(nack.error), Some(nack.reason));
                entry.go(&self.hub, if nack.retry { State::Ready } else { State::Failed });
            }
            Ending::Release(_) => {
                self.releases.fetch_add(1, Ordering::SeqCst);
                entry.job.attempt -= 1;
                entry.go(&self.hub, State::Ready);
            }
        }
        entry.job.reason = reason;
        let (id, state) = (entry.job.id, entry.job.state);
        let finished = Finished { id, state, reason, run_at: None, enqueued: Vec::new(), duplicate: false };
        entry.last = Some((outcome.token, finished.clone()));
        Ok(finished)
    }

    fn change_now(&self, change: Change) -> Result<Changed, Error> {
        let mut jobs = self.jobs()?;
        let job = |entry: &Entry| Changed::Job(Box::new(entry.job.clone()));
        match change {
            Change::Cancel(id) => {
                let entry = find(&mut jobs, id)?;
                entry.go(&self.hub, State::Cancelled);
                Ok(job(entry))
            }
            Change::Retry(id) => {
                let entry = find(&mut jobs, id)?;
                entry.go(&self.hub, State::Ready);
                Ok(job(entry))
            }
            Change::Reschedule(id, moment) => {
                let entry = find(&mut jobs, id)?;
                entry.job.run_at = Some(moment);
                Ok(job(entry))
            }
            Change::Delete(id) => {
                let state = find(&mut jobs, id)?.job.state;
                if !state.has_ended() {
                    return Err(Error::WrongState { id, state, needed: "only jobs that ended are deleted" });
                }
                jobs.remove(&id);
                Ok(Changed::Done)
            }
            Change::Log { id, token, lines } => {
                let entry = find(&mut jobs, id)?;
                entry.holds(&token)?;
                for line in lines {
                    let number = entry.logs.len() as u64 + 1;
                    entry.logs.push(LogLine { number, at: Moment::default(), attempt: entry.job.attempt, line });
                }
                Ok(Changed::Done)
            }
            Change::PutQueue(name, settings) => {
                let info = info(&name, settings);
                self.queues.lock().unwrap().insert(name, info.clone());
                Ok(Changed::Queue(Box::new(info)))
            }
            Change::RetryMany(_) => Ok(Changed::Count(0)),
            Change::Pause(name) | Change::Resume(name) | Change::Drain(name) => {
                let queues = self.queues.lock().unwrap();
                let found = queues.get(&name).cloned();
                found.map(|queue| Changed::Queue(Box::new(queue))).ok_or(Error::NotFound { what: "queue", name })
            }
            _ => Ok(Changed::Done),
        }
    }
}

fn find(jobs: &mut BTreeMap<JobId, Entry>, id: JobId) -> Result<&mut Entry, Error> {
    jobs.get_mut(&id).ok_or_else(|| Error::NotFound { what: "job", name: id.to_string() })
}

fn info(name: &str, settings: QueueSettings) -> QueueInfo {
    QueueInfo { name: name.to_owned(), settings, owned_by_document: false, paused: false, draining: false }
}

impl Store for Memory {
    fn put(&self, put: Put) -> Pending<Vec<Result<Placed, Error>>> {
        Pending::ready(Ok(put.jobs.into_iter().map(|job| self.put_one(&put.queue, job)).collect()))
    }

    fn lease(&self, request: LeaseRequest) -> Pending<Vec<Lease>> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        let leases = self.lease_now(&request);
        let later = Duration::from_millis(self.lease_ms.load(Ordering::SeqCst));
        if later.is_zero() {
            return Pending::ready(leases);
        }
        let (promise, pending) = promise();
        tokio::spawn(async move {
            tokio::time::sleep(later).await;
            assert!(promise.keep(leases).is_none(), "nobody took the leases");
        });
        pending
    }

    fn heartbeat(&self, beats: Vec<Beat>) -> Pending<Vec<Result<Pulse, Error>>> {
        let jobs = self.jobs.lock().unwrap();
        let pulse = |beat: Beat| {
            let entry = jobs.get(&beat.id).ok_or(Error::LeaseLost { id: beat.id })?;
            entry.holds(&beat.token)?;
            Ok(Pulse { id: beat.id, cancel: false, drain: false, until: Moment::default() })
        };
        Pending::ready(Ok(beats.into_iter().map(pulse).collect()))
    }

    fn change(&self, change: Change) -> Pending<Changed> {
        Pending::ready(self.change_now(change))
    }

    fn finish(&self, finish: Finish) -> Pending<FinishReply> {
        let outcomes = finish.outcomes.into_iter().map(|outcome| self.finish_one(outcome)).collect();
        let leases = finish.lease.map_or(Ok(Vec::new()), |request| self.lease_now(&request));
        Pending::ready(leases.map(|leases| FinishReply { outcomes, leases }))
    }

    fn sweep(&self) -> Pending<Swept> {
        Pending::ready(Ok(Swept::default()))
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn poll_every(&self) -> Option<Duration> {
        None
    }

    fn groups(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl View for Memory {
    fn get(&self, id: JobId) -> Pending<Job> {
        Pending::ready(self.jobs().and_then(|mut jobs| Ok(find(&mut jobs, id)?.job.clone())))
    }

    fn list(&self, query: JobQuery) -> Pending<Page> {
        let jobs = self.jobs.lock().unwrap();
        let wanted = jobs.values().rev().map(|entry| &entry.job).filter(|job| {
            (query.queues.is_empty() || query.queues.contains(&job.queue))
                && (query.states.is_empty() || query.states.contains(&job.state))
                && query.cursor.is_none_or(|cursor| job.id < cursor)
        });
        let bare = |job: &Job| Job { payload: None, result: None, ..job.clone() };
        let items: Vec<Job> = wanted.take(query.limit).map(bare).collect();
        let next = items.last().filter(|_| items.len() == query.limit).map(|job| job.id);
        Pending::ready(Ok(Page { items, next }))
    }

    fn stats(&self, queue: Option<String>) -> Pending<Vec<Stats>> {
        assert!(!self.is_broken.load(Ordering::SeqCst), "told to be broken");
        let stats = self.jobs().map(|jobs| {
            let mut counts: BTreeMap<(String, State), u64> = BTreeMap::new();
            for entry in jobs.values().filter(|entry| queue.as_ref().is_none_or(|queue| *queue == entry.job.queue)) {
                *counts.entry((entry.job.queue.clone(), entry.job.state)).or_default() += 1;
            }
            let oldest = document::Duration::from_secs(3);
            counts.into_iter().map(|((queue, state), jobs)| Stats { queue, kind: None, state, jobs, oldest }).collect()
        });
        Pending::ready(stats)
    }

    fn queues(&self) -> Pending<Vec<QueueInfo>> {
        let jobs = self.jobs().map(drop);
        Pending::ready(jobs.map(|()| self.queues.lock().unwrap().values().cloned().collect()))
    }

    fn schedules(&self) -> Pending<Vec<ScheduleInfo>> {
        Pending::ready(Ok(Vec::new()))
    }

    fn events(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<Event>> {
        let events = self.jobs().and_then(|mut jobs| {
            let events = &find(&mut jobs, id)?.events;
            Ok(events.iter().filter(|event| event.sequence > after).take(limit).cloned().collect())
        });
        Pending::ready(events)
    }

    fn logs(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<LogLine>> {
        let logs = self.jobs().and_then(|mut jobs| {
            let logs = &find(&mut jobs, id)?.logs;
            Ok(logs.iter().filter(|line| line.number > after).take(limit).cloned().collect())
        });
        Pending::ready(logs)
    }
}

/// A payload.
pub(crate) fn json(text: &str) -> Json {
    Json::read(text.to_owned()).unwrap()
}
