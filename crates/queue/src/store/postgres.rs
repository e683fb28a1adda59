//! Jobs in PostgreSQL, for several replicas: each has one thread that writes, with one commit for all who wait, and
//! readers with connections of their own. What a replica remembers between transactions, another may have changed: it
//! is only what all can see to be out of date.

mod artifacts;
mod book;
mod bulk;
mod change;
mod db;
mod finish;
mod held;
mod lease;
mod logs;
mod migrate;
mod put;
mod queues;
mod read;
mod row;
mod server;
mod slot;
mod steps;
mod sweep;
mod tell;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use document::Secret;
use stdx::Clock;

use self::book::Book;
use self::db::{Broken, Db, Done, Fault};
use self::server::Server;
pub(crate) use self::server::problem;
use self::writer::{Work, work};
use super::{Change, Changed, Pending, Placed, Put, Store, Swept, View, promise};
use crate::error::Error;
use crate::hub::Hub;
use crate::id::{JobId, Token};
use crate::lease::{Beat, Finish, FinishReply, Lease, LeaseRequest, Pulse};
use crate::moment::Moment;
use crate::view::{Event, Job, JobQuery, LogLine, Page, QueueInfo, ScheduleInfo, Stats};

/// How often whoever waits looks for itself, behind what the replicas tell each other.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Commits that the other replicas are still to be told of. Past it they find out by their poll.
const TOLD_MAX: usize = 1024;

/// How a database is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where it is: `postgres://user@host/database`.
    pub url: String,
    /// The password, where the server asks for one.
    pub password: Option<Secret>,
    /// A PEM file with the authorities that sign the server's certificate. `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The time that timeouts of our own run by. A clock that a test moves stands for the server's.
    pub clock: Clock,
    /// Threads that read, each with a connection. Default 2.
    pub readers: usize,
}

impl PostgresOptions {
    /// A database, with the defaults.
    pub fn new(url: impl Into<String>, clock: Clock) -> Self {
        Self { url: url.into(), password: None, ca: None, clock, readers: 2 }
    }
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions").field("readers", &self.readers).finish_non_exhaustive()
    }
}

/// Jobs in PostgreSQL, as one replica sees them. Clones share it; the last one to go ends its connections.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    // Dropped in this order: nobody can ask, then the threads end.
    works: Option<Sender<Box<dyn Work>>>,
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    hub: Hub,
    clock: Clock,
}

type Read = Box<dyn FnOnce(Result<&mut Db, Error>) + Send>;

/// What the writer counts.
#[derive(Debug, Default)]
struct Shared {
    groups: AtomicU64,
    requests: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.works = None;
        self.reads = None;
        let own = std::thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// Opens a database, and makes the tables where there are none. Fails while it can't be reached: one that goes
    /// away later is waited for instead.
    pub fn open(options: &PostgresOptions) -> Result<Self, Error> {
        let server = Server::new(options)?;
        let mut db = Db::connect(&server).map_err(|broken| broken.error())?;
        migrate::migrate(&mut db, &options.clock).map_err(|broken| broken.error())?;
        let (hub, shared) = (Hub::default(), Arc::new(Shared::default()));
        let (teller, told) = sync_channel(TOLD_MAX);
        let from = getrandom::u64().map_err(|error| Error::StoreDown { why: format!("no random numbers: {error}") })?;
        let book = Book::new(server.clone(), db, options.clock.clone(), hub.clone(), teller);
        let (works, works_in) = channel();
        let writer_shared = Arc::clone(&shared);
        let tell_server = server.clone();
        let mut threads = vec![
            thread("queue-write", move || writer::run(book, &works_in, &writer_shared))?,
            thread("queue-tell", move || tell::run(&tell_server, from, &told))?,
        ];
        let (reads, reads_in) = channel::<Read>();
        let reads_in = Arc::new(Mutex::new(reads_in));
        for _ in 0..options.readers.max(1) {
            let (server, reads_in) = (server.clone(), Arc::clone(&reads_in));
            threads.push(thread("queue-read", move || serve(&server, &reads_in))?);
        }
        let clock = options.clock.clone();
        let (works, reads) = (Some(works), Some(reads));
        let inner = Arc::new(Inner { works, reads, threads, shared, hub: hub.clone(), clock });
        let alive = Arc::downgrade(&inner);
        // Not joined: it looks from time to time whether it is still needed.
        drop(thread("queue-listen", move || tell::listen(&server, from, &hub, &alive))?);
        Ok(Self(inner))
    }

    fn write<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Book) -> Done<T> + Send + 'static,
        untaken: fn(T) -> Option<Box<dyn Work>>,
    ) -> Pending<T> {
        let (work, pending) = work(run, untaken);
        if let Some(works) = &self.0.works {
            // Where the writer is gone, the promise goes with the work, and says so.
            let _ = works.send(work);
        }
        pending
    }

    fn read<T: Send + 'static>(&self, run: impl FnOnce(&mut Db) -> Done<T> + Send + 'static) -> Pending<T> {
        let (promise, pending) = promise();
        let read: Read = Box::new(move |db| {
            let reply = db.and_then(|db| {
                run(db).map_err(|fault| match fault {
                    Fault::Refused(error) => error,
                    Fault::Broken(broken) => broken.error(),
                })
            });
            promise.keep(reply);
        });
        if let Some(reads) = &self.0.reads {
            let _ = reads.send(read);
        }
        pending
    }
}

/// The version of a server, if it lets us in.
pub(crate) fn version(options: &PostgresOptions) -> Result<String, Error> {
    let asked = || -> Result<String, Broken> {
        let server = Server::new(options).map_err(|error| Broken { why: error.to_string() })?;
        Ok(server.connect()?.query_one("SHOW server_version", &[])?.get(0))
    };
    asked().map_err(|broken| broken.error())
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Error::StoreDown { why: format!("start a thread: {error}") })
}

/// Reads on a connection of its own, until nobody can ask any more. A connection that was lost is made anew.
fn serve(server: &Server, reads: &Mutex<Receiver<Read>>) {
    let mut db: Option<Db> = None;
    loop {
        let next = reads.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        if db.as_ref().is_none_or(|db| db.client.is_closed()) {
            db = None;
        }
        let connected = db.take().map_or_else(|| Db::connect(server), Ok);
        match connected {
            Ok(mut fresh) => {
                read(Ok(&mut fresh));
                db = Some(fresh);
            }
            Err(broken) => read(Err(broken.error())),
        }
    }
}

fn nothing<T>(_: T) -> Option<Box<dyn Work>> {
    None
}

/// Leases that were handed to nobody.
fn give_back(leases: Vec<Lease>) -> Option<Box<dyn Work>> {
    if leases.is_empty() {
        return None;
    }
    let held: Vec<(JobId, Token)> = leases.into_iter().map(|lease| (lease.id, lease.token)).collect();
    let (work, _) = work(move |book| book.give_back(&held), nothing);
    Some(work)
}

/// More work for a store that may be gone.
fn send_to(store: &Weak<Inner>, more: Option<Box<dyn Work>>) {
    if let Some(inner) = store.upgrade()
        && let (Some(works), Some(work)) = (&inner.works, more)
    {
        let _ = works.send(work);
    }
}

impl Store for Postgres {
    fn put(&self, put: Put) -> Pending<Vec<Result<Placed, Error>>> {
        self.write(move |book| book.put(&put), nothing)
    }

    fn lease(&self, request: LeaseRequest) -> Pending<Vec<Lease>> {
        let pending = self.write(move |book| book.lease(&request), give_back);
        let store = Arc::downgrade(&self.0);
        pending.or_else(move |leases| send_to(&store, give_back(leases)))
    }

    fn heartbeat(&self, beats: Vec<Beat>) -> Pending<Vec<Result<Pulse, Error>>> {
        self.write(move |book| book.heartbeat(&beats), nothing)
    }

    fn change(&self, change: Change) -> Pending<Changed> {
        self.write(move |book| book.change(change.clone()), nothing)
    }

    fn finish(&self, finish: Finish) -> Pending<FinishReply> {
        let pending = self.write(move |book| book.finish(&finish), |reply| give_back(reply.leases));
        let store = Arc::downgrade(&self.0);
        pending.or_else(move |reply| send_to(&store, give_back(reply.leases)))
    }

    fn sweep(&self) -> Pending<Swept> {
        self.write(Book::sweep, nothing)
    }

    fn hub(&self) -> &Hub {
        &self.0.hub
    }

    fn poll_every(&self) -> Option<Duration> {
        Some(POLL_EVERY)
    }

    fn groups(&self) -> (u64, u64) {
        (self.0.shared.groups.load(Ordering::Relaxed), self.0.shared.requests.load(Ordering::Relaxed))
    }
}

impl View for Postgres {
    fn get(&self, id: JobId) -> Pending<Job> {
        self.read(move |db| read::job(db, id))
    }

    fn list(&self, query: JobQuery) -> Pending<Page> {
        self.read(move |db| read::list(db, &query))
    }

    fn stats(&self, queue: Option<String>) -> Pending<Vec<Stats>> {
        let now = Moment::from(self.0.clock.now()).millis();
        self.read(move |db| read::stats(db, queue.as_deref(), now))
    }

    fn queues(&self) -> Pending<Vec<QueueInfo>> {
        self.read(read::queues)
    }

    fn schedules(&self) -> Pending<Vec<ScheduleInfo>> {
        self.read(read::schedules)
    }

    fn events(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<Event>> {
        self.read(move |db| read::events(db, id, after, limit))
    }

    fn logs(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<LogLine>> {
        self.read(move |db| read::logs(db, id, after, limit))
    }
}
