//! The seam between the queue and where it keeps its jobs.

mod asked;
pub(crate) mod kind;
pub(crate) mod postgres;
mod row;
pub(crate) mod sqlite;
mod steps;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::hub::Hub;
use crate::id::{JobId, Token};
use crate::job::{NewJob, State};
use crate::lease::{Beat, Finish, FinishReply, Lease, LeaseRequest, Pulse};
use crate::moment::Moment;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::view::{Event, Job, JobQuery, LogLine, Page, QueueInfo, ScheduleInfo, Stats};

/// Where jobs are kept, and the only way to change them.
///
/// Each call hands its request over at once and returns a [`Pending`] reply, which comes after everything that it
/// rests on is durable. Requests of one handle are not ordered: wait for a reply before a request that needs it.
/// A refused request changes nothing. A store that could not make something durable answers [`Error::StoreDown`] to
/// all who wait and to all who come: its process must end, so that the next one reads what is really there.
pub trait Store: Send + Sync {
    /// Puts jobs. The reply has one result for each job.
    fn put(&self, put: Put) -> Pending<Vec<Result<Placed, Error>>>;

    /// Leases ready jobs, never one that somebody holds. The reply may be empty, and comes at once whatever `wait`
    /// says: see [`lease_wait`](crate::lease_wait). Leases whose reply nobody takes are given back.
    fn lease(&self, request: LeaseRequest) -> Pending<Vec<Lease>>;

    /// Renews leases. The reply has one result for each beat.
    fn heartbeat(&self, beats: Vec<Beat>) -> Pending<Vec<Result<Pulse, Error>>>;

    /// Does what people and documents ask for.
    fn change(&self, change: Change) -> Pending<Changed>;

    /// Ends attempts, and leases the next in the same transaction. Each outcome is stored or refused by itself.
    fn finish(&self, finish: Finish) -> Pending<FinishReply>;

    /// Does what time asks for: leases that lapsed, timeouts, jobs whose time has come, schedules, retention. To be
    /// called each second, or as the last reply says; a bounded piece of work each time.
    fn sweep(&self) -> Pending<Swept>;

    /// Where to wait for jobs to become ready, and for jobs to change.
    fn hub(&self) -> &Hub;

    /// How often whoever waits looks for itself, behind the hub. `None`: the hub tells all.
    fn poll_every(&self) -> Option<Duration>;

    /// Transactions so far, and requests that they held: how well requests share a commit.
    fn groups(&self) -> (u64, u64);

    /// Why the store has stopped for good, if it has. The process must end then.
    fn failure(&self) -> Option<Error> {
        None
    }
}

/// Reads what a [`Store`] keeps. Never waits for a writer, and sees only what is durable.
pub trait View: Send + Sync {
    /// A job with all that is known of it.
    fn get(&self, id: JobId) -> Pending<Job>;

    /// Jobs, newest first.
    fn list(&self, query: JobQuery) -> Pending<Page>;

    /// How many jobs there are, by queue, type and state. The counts are kept, not counted.
    fn stats(&self, queue: Option<String>) -> Pending<Vec<Stats>>;

    /// The queues, by name.
    fn queues(&self) -> Pending<Vec<QueueInfo>>;

    /// The schedules, by name.
    fn schedules(&self) -> Pending<Vec<ScheduleInfo>>;

    /// Events of a job with a sequence number above `after`, in their order.
    fn events(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<Event>>;

    /// Lines of a job's log with a number above `after`, in their order.
    fn logs(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<LogLine>>;
}

/// Whether a queue, a schedule or a pool may have this name, which stands in paths of requests.
pub(crate) fn name_is_fine(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    starts_well && name.bytes().all(is_fine) && name.len() <= crate::limit::NAME_BYTES_MAX
}

/// Jobs to put.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Put {
    /// The queue.
    pub queue: String,
    /// The jobs.
    pub jobs: Vec<NewJob>,
    /// Whether one that is refused refuses all: the others are then told [`Error::Atomic`].
    pub atomic: bool,
}

impl Put {
    /// One job.
    pub fn one(queue: &str, job: NewJob) -> Self {
        Self { queue: queue.to_owned(), jobs: vec![job], atomic: false }
    }
}

/// Where a job was put.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// What it is called.
    pub id: JobId,
    /// Where it is.
    pub state: State,
    /// Whether its key had put it before.
    pub duplicate: bool,
}

/// What people and documents ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Ends a job that has not ended; asks the worker of one that runs. Replies with [`Changed::Job`].
    Cancel(JobId),
    /// Puts a job that failed or was cancelled back, with all its attempts. Replies with [`Changed::Job`].
    Retry(JobId),
    /// Puts all such jobs back. Replies with [`Changed::Count`]; repeat while it is `limit`.
    RetryMany(RetryMany),
    /// Moves the time of a job that is scheduled or ready. Replies with [`Changed::Job`].
    Reschedule(JobId, Moment),
    /// Forgets a job that has ended. Replies with [`Changed::Done`].
    Delete(JobId),
    /// Appends to a job's log under its token. The reply does not wait for the disk. Replies with [`Changed::Done`].
    Log {
        /// The job.
        id: JobId,
        /// Its token.
        token: Token,
        /// Lines, without their ends.
        lines: Vec<String>,
    },
    /// Makes a queue, or changes how it treats its jobs. Replies with [`Changed::Queue`].
    PutQueue(String, QueueSettings),
    /// Leases nothing from a queue. Replies with [`Changed::Queue`].
    Pause(String),
    /// Takes new jobs and leases them again. Replies with [`Changed::Queue`].
    Resume(String),
    /// Takes no new jobs into a queue, other than children. Replies with [`Changed::Queue`].
    Drain(String),
    /// Makes or changes a schedule. Replies with [`Changed::Schedule`].
    PutSchedule(String, Box<ScheduleSpec>),
    /// Removes a schedule; its jobs stay. Replies with [`Changed::Done`].
    DeleteSchedule(String),
    /// Leases nothing more to a worker, and tells it so at its next beat. Replies with [`Changed::Done`].
    DrainWorker(String),
    /// Applies a document. Replies with [`Changed::Done`].
    Declare(Declaration),
}

/// Which jobs to put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryMany {
    /// Only of this queue.
    pub queue: Option<String>,
    /// `failed` or `cancelled`.
    pub state: State,
    /// Only jobs that ended since.
    pub since: Option<Moment>,
    /// How many at most, up to 10,000.
    pub limit: usize,
}

/// What a document says of queues and schedules. What an earlier one named and this one doesn't is given up: such a
/// queue stays, for HTTP to change; such a schedule goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration {
    /// Which version of the document it is. An older one than the last is refused.
    pub generation: u64,
    /// The queues.
    pub queues: IndexMap<String, QueueSettings>,
    /// The schedules.
    pub schedules: IndexMap<String, ScheduleSpec>,
}

/// What a [`Change`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// The job as it is now.
    Job(Box<Job>),
    /// The queue as it is now.
    Queue(Box<QueueInfo>),
    /// The schedule as it is now.
    Schedule(Box<ScheduleInfo>),
    /// So many jobs.
    Count(usize),
    /// It is done.
    Done,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases that lapsed.
    pub lost: usize,
    /// Attempts that took too long.
    pub timeouts: usize,
    /// Jobs whose time had come.
    pub due: usize,
    /// Jobs that were forgotten.
    pub expired: usize,
    /// Schedules that fired.
    pub fired: usize,
    /// When to sweep next: at once where there was more to do than one sweep does.
    pub next: Duration,
}

/// A reply that has not come yet: await it, or [`wait`](Pending::wait) for it on a thread of one's own.
#[must_use = "the request may fail"]
pub struct Pending<T> {
    receiver: oneshot::Receiver<Result<T, Error>>,
    untaken: Option<Untaken<T>>,
}

/// What is done with a reply that came, and that nobody took.
type Untaken<T> = Box<dyn FnOnce(T) + Send>;

impl<T> Pending<T> {
    /// Blocks until the reply comes. Not for async code.
    pub fn wait(mut self) -> Result<T, Error> {
        self.untaken = None;
        let (_, empty) = oneshot::channel();
        let receiver = std::mem::replace(&mut self.receiver, empty);
        receiver.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// A reply that is already there.
    pub fn ready(reply: Result<T, Error>) -> Self {
        let (promise, pending) = promise();
        promise.keep(reply);
        pending
    }

    /// Does this with a reply that came, but that was dropped before anybody took it.
    pub fn or_else(self, untaken: impl FnOnce(T) + Send + 'static) -> Self {
        let mut own = self;
        own.untaken = Some(Box::new(untaken));
        own
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.receiver).poll(context);
        if polled.is_ready() {
            self.untaken = None;
        }
        polled.map(|reply| reply.unwrap_or_else(|_| Err(gone())))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        let Some(untaken) = self.untaken.take() else { return };
        // From here on the sender hears that nobody waits; what it had sent before is dealt with here.
        self.receiver.close();
        if let Ok(Ok(reply)) = self.receiver.try_recv() {
            untaken(reply);
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

fn gone() -> Error {
    Error::StoreDown { why: "it has stopped".to_owned() }
}

/// The other end of a [`Pending`] reply. Dropped unkept, it tells that the store is down.
#[derive(Debug)]
pub struct Promise<T>(oneshot::Sender<Result<T, Error>>);

impl<T> Promise<T> {
    /// Sends the reply, and hands it back if nobody waits for it any more.
    pub fn keep(self, reply: Result<T, Error>) -> Option<Result<T, Error>> {
        self.0.send(reply).err()
    }
}

/// Both ends of a reply, for whoever implements a [`Store`].
pub fn promise<T>() -> (Promise<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    (Promise(sender), Pending { receiver, untaken: None })
}
