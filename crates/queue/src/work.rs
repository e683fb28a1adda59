//! The worker: leases jobs over HTTP, runs a process for each, and says what came of it.
//!
//! It speaks the protocol that any other worker speaks, so it works beside the server or far from it. One request a
//! second beats for all its jobs. What has ended is told in one request with the ask for what is next, and told again
//! until the server answers: a server that is away for a while costs time and no work. Only the server's word that a
//! lease is lost stops a process, since a server that comes back renews the leases it knew.

mod attempt;
mod client;
mod finish;
mod held;
mod log;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use launch::Launcher;
use stdx::Level;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::client::Client;
pub use self::client::WorkError;
use self::finish::{Settled, Verdict};
use self::held::{Held, Wish};
use crate::lease::{Ending, Finish, Lease, LeaseRequest, Outcome};
use crate::limit;

/// A pool of processes that work on jobs.
#[derive(Clone)]
pub struct Worker {
    /// Where the server is, such as `http://127.0.0.1:5000`.
    pub server: String,
    /// What the worker shows to the server, if that asks for it. Printed nowhere.
    pub token: Option<String>,
    /// What it is called. No two that run may have the same name.
    pub name: String,
    /// From which queues it leases.
    pub queues: Vec<String>,
    /// Only jobs of these types; of any if empty.
    pub types: Vec<String>,
    /// How many jobs at once.
    pub concurrency: usize,
    /// The program of the process, and its arguments. A process is given the job's payload as JSON on standard
    /// input. The last line that it writes to standard output is the result: as JSON, or as a string if it is none.
    pub command: Vec<String>,
    /// All of the processes' environment. `HEADWATER_JOB_ID`, `HEADWATER_JOB_TOKEN`, `HEADWATER_QUEUE`,
    /// `HEADWATER_ATTEMPT` and `HEADWATER_SERVER` are added.
    pub environment: Vec<(String, String)>,
    /// The folder that they start in.
    pub folder: PathBuf,
    /// How long one attempt may take where the lease doesn't say.
    pub timeout: Option<Duration>,
    /// How long a process that is told to end may take before it is killed.
    pub stop_grace: Duration,
    /// How long jobs may still run when the worker is asked to stop, before they are ended and given back.
    pub drain_grace: Duration,
    /// The memory that one process and its children may hold, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// How often it speaks to the server.
    pub pace: Pace,
}

/// How often a worker speaks to its server.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long its leases last without a beat. Default 4s.
    pub lease: Duration,
    /// The time between two beats. Default 1s, so that a lease outlives two that are lost.
    pub beat: Duration,
    /// How long a request waits for a job to come. Default 30s.
    pub wait: Duration,
    /// The longest wait before the next try when the server is away. Default 5s.
    pub retry_max: Duration,
    /// How long it goes on telling a result to a server that doesn't answer. Default one hour.
    pub finish_max: Duration,
    /// How long a worker that stops waits for answers after its last process. Default 10s.
    pub stop_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(4),
            beat: Duration::from_secs(1),
            wait: Duration::from_secs(30),
            retry_max: Duration::from_secs(5),
            finish_max: Duration::from_hours(1),
            stop_max: Duration::from_secs(10),
        }
    }
}

/// What a worker did until it was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Leases given back.
    pub released: u64,
    /// Attempts whose lease was lost.
    pub lost: u64,
    /// Attempts that the server was told of and never answered.
    pub unanswered: u64,
}

/// With how many bytes of results a request is full.
const FINISH_BYTES: usize = 4 << 20;

impl Worker {
    /// Works until it is asked to stop. At [`Level::Drain`] it leases no more and lets its jobs end within the grace;
    /// at [`Level::Halt`] it ends them at once. Either way, what did not end by itself is given back.
    ///
    /// # Errors
    ///
    /// When there is no way to speak to such a server at all. That it is away or refuses is no error but waited out.
    pub async fn work(self, launcher: Arc<dyn Launcher>, stop: watch::Receiver<Level>) -> Result<Worked, WorkError> {
        let client = Arc::new(Client::new(&self)?);
        let worker = Arc::new(self);
        let held = Arc::new(Held::new());
        let beats = tokio::spawn(held::beat(Arc::clone(&held), Arc::clone(&client), Arc::clone(&worker)));
        let (ended, endings) = mpsc::unbounded_channel();
        let run = Run {
            name: format!("{:016x}", fastrand::u64(..)),
            requests: 0,
            running: 0,
            polled: 0,
            finished: VecDeque::new(),
            worked: Worked::default(),
            ended,
            worker,
            client,
            held,
            launcher,
        };
        let worked = run.go(endings, stop).await;
        beats.abort();
        Ok(worked)
    }
}

/// An attempt that is over: its token, and what to say of it.
type Over = (Lease, Option<Outcome>);

/// A worker at work.
struct Run {
    worker: Arc<Worker>,
    client: Arc<Client>,
    held: Arc<Held>,
    launcher: Arc<dyn Launcher>,
    ended: mpsc::UnboundedSender<Over>,
    /// Makes the names of its requests differ from those of a namesake that ran before.
    name: String,
    requests: u64,
    /// Jobs whose process runs.
    running: usize,
    /// Jobs that a lease request under way may bring.
    polled: usize,
    finished: VecDeque<Outcome>,
    worked: Worked,
}

impl Run {
    async fn go(mut self, mut endings: mpsc::UnboundedReceiver<Over>, mut stop: watch::Receiver<Level>) -> Worked {
        let mut lease: Option<(LeaseRequest, JoinHandle<Vec<Lease>>)> = None;
        let mut finish: Option<JoinHandle<Settled>> = None;
        let mut level = Level::Run;
        let mut halt_at: Option<Instant> = None;
        let mut give_up_at: Option<Instant> = None;
        loop {
            let leasing = level == Level::Run && !self.held.is_draining();
            if finish.is_none() && !self.finished.is_empty() {
                finish = Some(self.tell(leasing));
            }
            if leasing && lease.is_none() && self.free() > 0 {
                let request = self.request(self.free(), Some(self.worker.pace.wait));
                self.polled += request.n as usize;
                lease = Some((request.clone(), self.poll(request)));
            }
            if level != Level::Run
                && self.running == 0
                && lease.is_none()
                && finish.is_none()
                && self.finished.is_empty()
            {
                return self.worked;
            }
            tokio::select! {
                Some((done, outcome)) = endings.recv() => self.over(&done, outcome),
                (request, leases) = joined_lease(&mut lease) => {
                    self.polled -= (request.n as usize).min(self.polled);
                    self.begin(leases, level);
                }
                settled = joined(&mut finish) => {
                    let leases = self.settle(settled);
                    self.begin(leases, level);
                }
                asked = asked(&mut stop, level) => {
                    level = asked;
                    let now = Instant::now();
                    let grace = if level == Level::Halt { Duration::ZERO } else { self.worker.drain_grace };
                    halt_at = Some(now + grace);
                    give_up_at = Some(now + grace + self.worker.stop_grace + self.worker.pace.stop_max);
                    if let Some((request, poll)) = &mut lease {
                        // What the waiting request may have been given is asked for again, and given back.
                        poll.abort();
                        request.wait = None;
                        *poll = self.poll(request.clone());
                    }
                }
                () = at(halt_at) => {
                    halt_at = None;
                    self.held.wish_all(Wish::Release);
                }
                () = at(give_up_at) => {
                    self.worked.unanswered += self.finished.len() as u64 + u64::from(finish.is_some());
                    return self.worked;
                }
            }
        }
    }

    /// How many more jobs may be asked for: none while as many results wait to be told as jobs may run.
    fn free(&self) -> usize {
        if self.finished.len() >= self.worker.concurrency {
            return 0;
        }
        self.worker.concurrency.saturating_sub(self.running + self.polled)
    }

    fn request(&mut self, n: usize, wait: Option<Duration>) -> LeaseRequest {
        self.requests += 1;
        LeaseRequest {
            queues: self.worker.queues.clone(),
            types: self.worker.types.clone(),
            n: u32::try_from(n.clamp(1, limit::LEASE_JOBS_MAX)).unwrap_or(1),
            wait: wait.map(wire),
            worker: self.worker.name.clone(),
            request: Some(format!("{}-{}", self.name, self.requests)),
            lease: Some(wire(self.worker.pace.lease)),
        }
    }

    fn poll(&self, request: LeaseRequest) -> JoinHandle<Vec<Lease>> {
        let (client, pace) = (Arc::clone(&self.client), self.worker.pace);
        tokio::spawn(async move { client.lease(&request, pace).await })
    }

    /// Tells what has ended, and asks for as many in the same breath.
    fn tell(&mut self, leasing: bool) -> JoinHandle<Settled> {
        let mut bytes = 0;
        let fits = |outcome: &&Outcome| {
            let before = bytes;
            bytes += if let Ending::Ack(ack) = &outcome.ending { ack.result.as_str().len() } else { 0 };
            before < FINISH_BYTES
        };
        let count = self.finished.iter().take(limit::BATCH_MAX).take_while(fits).count();
        let outcomes: Vec<Outcome> = self.finished.drain(..count).collect();
        let free = self.free().min(count);
        let lease = (leasing && free > 0).then(|| self.request(free, None));
        self.polled += lease.as_ref().map_or(0, |lease| lease.n as usize);
        let (client, pace) = (Arc::clone(&self.client), self.worker.pace);
        tokio::spawn(finish::finish(client, pace, Finish { outcomes, lease }))
    }

    fn begin(&mut self, leases: Vec<Lease>, level: Level) {
        for lease in leases {
            let Some(wish) = self.held.take(&lease) else { continue };
            if level != Level::Run {
                self.finished.push_back(Outcome::release(lease.id, lease.token));
                continue;
            }
            self.running += 1;
            let (worker, client) = (Arc::clone(&self.worker), Arc::clone(&self.client));
            let (launcher, ended) = (Arc::clone(&self.launcher), self.ended.clone());
            tokio::spawn(async move {
                let outcome = attempt::attempt(&worker, &*launcher, &client, &lease, wish).await;
                let _ = ended.send((lease, outcome));
            });
        }
    }

    fn over(&mut self, lease: &Lease, outcome: Option<Outcome>) {
        self.running -= 1;
        if let Some(outcome) = outcome {
            self.finished.push_back(outcome);
        } else {
            self.held.give_up(&lease.token);
            self.worked.lost += 1;
        }
    }

    fn settle(&mut self, settled: Settled) -> Vec<Lease> {
        self.polled -= settled.asked.min(self.polled);
        for (outcome, verdict) in settled.outcomes {
            self.held.give_up(&outcome.token);
            let count = match (verdict, outcome.ending) {
                (Verdict::Stored, Ending::Ack(_)) => &mut self.worked.succeeded,
                (Verdict::Stored, Ending::Nack(_)) => &mut self.worked.failed,
                (Verdict::Stored, Ending::Release(_)) => &mut self.worked.released,
                (Verdict::Lost, _) => &mut self.worked.lost,
                (Verdict::Unanswered, _) => &mut self.worked.unanswered,
            };
            *count += 1;
        }
        settled.leases
    }
}

/// What is asked, once it is more than before.
async fn asked(stop: &mut watch::Receiver<Level>, level: Level) -> Level {
    let asked = stop.wait_for(|asked| *asked > level).await.map(|asked| *asked).ok();
    match asked {
        Some(asked) => asked,
        // Whoever could ask is gone: as if asked.
        None if level == Level::Run => Level::Drain,
        None => std::future::pending().await,
    }
}

/// A time as requests write it.
fn wire(time: Duration) -> document::Duration {
    document::Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

async fn joined<T: Default>(task: &mut Option<JoinHandle<T>>) -> T {
    let Some(running) = task else { return std::future::pending().await };
    let reply = running.await.unwrap_or_default();
    *task = None;
    reply
}

async fn joined_lease(task: &mut Option<(LeaseRequest, JoinHandle<Vec<Lease>>)>) -> (LeaseRequest, Vec<Lease>) {
    let Some((request, running)) = task else { return std::future::pending().await };
    let reply = (request.clone(), running.await.unwrap_or_default());
    *task = None;
    reply
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
