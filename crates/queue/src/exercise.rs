//! What every store must do: one suite, that each store passes. A rule is named after what it holds.

mod after;
mod artifacts;
mod attempts;
mod cancel;
mod keys;
mod leases;
mod order;
mod queues;
mod reads;
mod schedules;
mod time;

use std::time::Duration;

use stdx::{Clock, Timestamp};

use crate::error::Error;
use crate::id::{JobId, Token};
use crate::job::{NewJob, State};
use crate::json::Json;
use crate::lease::{Beat, Finish, Finished, Lease, LeaseRequest, Outcome, Pulse};
use crate::settings::QueueSettings;
use crate::store::kind::Opened;
use crate::store::{Change, Changed, Placed, Put, Store, Swept, View};
use crate::view::Job;

/// A place for one store, empty at first.
pub trait Site: Send {
    /// A handle on the store, which others may have handles on. It runs by this clock.
    fn open(&self, clock: &Clock) -> Opened;

    /// Ends the store as a kill of its process would. All handles have been dropped; a later `open` starts it again.
    fn crash(&self);
}

type Rule = (&'static str, fn(&mut Scene));

/// Runs every rule on a store of its own, and panics with the names of those that don't hold.
pub fn exercise(site: impl Fn() -> Box<dyn Site>) {
    let rules = [
        keys::RULES,
        leases::RULES,
        attempts::RULES,
        after::RULES,
        cancel::RULES,
        order::RULES,
        time::RULES,
        schedules::RULES,
        queues::RULES,
        reads::RULES,
        artifacts::RULES,
    ];
    let mut broken = Vec::new();
    for (name, rule) in rules.into_iter().flatten() {
        let site = site();
        let thread = std::thread::Builder::new().name((*name).to_owned());
        let run = thread.spawn(move || rule(&mut Scene::new(site))).expect("a thread can be started");
        if run.join().is_err() {
            broken.push(*name);
        }
    }
    assert!(broken.is_empty(), "{} rules don't hold: {}", broken.len(), broken.join(", "));
}

/// A store with a queue `q`, and a clock that only the rule moves.
struct Scene {
    site: Box<dyn Site>,
    clock: Clock,
    handle: Option<Opened>,
}

/// 2026-03-01T00:00:00Z, a Sunday.
const START: i64 = 1_772_323_200_000;

impl Scene {
    fn new(site: Box<dyn Site>) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(START));
        let handle = Some(site.open(&clock));
        let scene = Self { site, clock, handle };
        scene.queue("q", "{}");
        scene
    }

    fn handle(&self) -> &Opened {
        self.handle.as_ref().expect("the store is open")
    }

    fn store(&self) -> &dyn Store {
        &*self.handle().store
    }

    fn view(&self) -> &dyn View {
        &*self.handle().view
    }

    /// Another handle, as a second replica has.
    fn second(&self) -> Opened {
        self.site.open(&self.clock)
    }

    fn crash(&mut self) {
        self.handle = None;
        self.site.crash();
        self.handle = Some(self.site.open(&self.clock));
    }

    /// Time goes by as it does for a server: with a sweep each second, and until it has nothing left to do.
    fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.sweep();
        }
    }

    fn sweep(&self) -> Swept {
        let mut all = Swept::default();
        for _ in 0..100 {
            let swept = self.store().sweep().wait().expect("sweep");
            all.lost += swept.lost;
            all.timeouts += swept.timeouts;
            all.due += swept.due;
            all.expired += swept.expired;
            all.fired += swept.fired;
            all.next = swept.next;
            if !swept.next.is_zero() {
                break;
            }
        }
        all
    }

    fn queue(&self, name: &str, settings: &str) {
        let settings: QueueSettings = serde_json::from_str(settings).expect("settings");
        self.change(Change::PutQueue(name.to_owned(), settings)).expect("put the queue");
    }

    fn change(&self, change: Change) -> Result<Changed, Error> {
        self.store().change(change).wait()
    }

    fn try_put(&self, text: &str) -> Result<Placed, Error> {
        let placed = self.store().put(Put::one("q", job(text))).wait().expect("put");
        placed.into_iter().next().expect("a result for the job")
    }

    fn put(&self, text: &str) -> JobId {
        self.try_put(text).expect("the job is taken").id
    }

    fn put_many(&self, text: &str, jobs: usize) -> Vec<JobId> {
        let put = Put { queue: "q".to_owned(), jobs: vec![job(text); jobs], atomic: false };
        let placed = self.store().put(put).wait().expect("put");
        placed.into_iter().map(|placed| placed.expect("the job is taken").id).collect()
    }

    fn ask(&self, request: LeaseRequest) -> Vec<Lease> {
        self.store().lease(request).wait().expect("lease")
    }

    fn lease(&self, n: u32) -> Vec<Lease> {
        self.ask(LeaseRequest { n, ..LeaseRequest::new("q", "w") })
    }

    fn lease_one(&self) -> Lease {
        self.lease(1).pop().expect("a job is ready")
    }

    fn finish(&self, outcome: Outcome) -> Result<Finished, Error> {
        let reply = self.store().finish(Finish { outcomes: vec![outcome], lease: None }).wait().expect("finish");
        reply.outcomes.into_iter().next().expect("an answer to the outcome")
    }

    fn ack(&self, lease: &Lease) -> Finished {
        self.finish(Outcome::ack(lease.id, lease.token.clone(), json("1"))).expect("the lease is held")
    }

    fn ack_all(&self, leases: &[Lease]) {
        for lease in leases {
            self.ack(lease);
        }
    }

    /// Any outcome, as it comes in: `"ack": {}`.
    fn end(&self, lease: &Lease, ending: &str) -> Result<Finished, Error> {
        let text = format!(r#"{{"id": "{}", "token": "{}", {ending}}}"#, lease.id, lease.token.as_str());
        self.finish(serde_json::from_str(&text).expect("an outcome"))
    }

    fn beat(&self, id: JobId, token: &Token) -> Result<Pulse, Error> {
        let beat = Beat { id, token: token.clone(), progress: None };
        let pulses = self.store().heartbeat(vec![beat]).wait().expect("heartbeat");
        pulses.into_iter().next().expect("an answer to the beat")
    }

    fn job(&self, id: JobId) -> Job {
        self.view().get(id).wait().expect("the job is known")
    }

    fn state(&self, id: JobId) -> State {
        self.job(id).state
    }

    fn states(&self, ids: &[JobId]) -> Vec<State> {
        ids.iter().map(|id| self.state(*id)).collect()
    }

    /// Kept counts agree with the jobs that are listed, whatever happened before.
    fn counts_are_right(&self) {
        for state in State::ALL {
            let stats = self.view().stats(None).wait().expect("stats");
            let kept: u64 = stats.iter().filter(|stats| stats.state == state).map(|stats| stats.jobs).sum();
            let query = crate::JobQuery { states: vec![state], limit: 1000, ..crate::JobQuery::default() };
            let listed = self.view().list(query).wait().expect("list").items.len();
            assert_eq!(kept, listed as u64, "jobs that are {}", state.as_str());
        }
    }
}

fn job(text: &str) -> NewJob {
    serde_json::from_str(text).expect("a job")
}

fn json(text: &str) -> Json {
    Json::read(text.to_owned()).expect("JSON")
}

fn ids(leases: &[Lease]) -> Vec<JobId> {
    leases.iter().map(|lease| lease.id).collect()
}
