//! Jobs in a SQLite file: one thread writes, with one fsync for all who wait; readers have connections of their own.

mod artifacts;
mod book;
mod change;
mod copy;
mod finish;
mod held;
mod lease;
mod lock;
mod logs;
mod put;
mod queues;
mod read;
mod row;
mod slot;
mod steps;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use stdx::Clock;

use self::book::{Book, Done, Fault};
pub use self::copy::copy;
pub(crate) use self::lock::holder;
use self::writer::{Work, down, work, work_at_once};
use super::{Change, Changed, Pending, Placed, Put, Store, Swept, View, promise};
use crate::error::Error;
use crate::hub::Hub;
use crate::id::{JobId, Token};
use crate::lease::{Beat, Finish, FinishReply, Lease, LeaseRequest, Pulse};
use crate::moment::Moment;
use crate::view::{Event, Job, JobQuery, LogLine, Page, QueueInfo, ScheduleInfo, Stats};

/// The version of the tables that this code reads and writes.
const VERSION: i64 = 1;

/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 128;

/// How often whoever waits looks for itself. The hub tells all that it knows of; this is for what it doesn't, such as a
/// bell that was rung for a worker that was then drained.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// Threads that read and write the files that jobs leave.
const FILE_THREADS: usize = 2;

/// Groups of files that are still to be removed. Past it the writer waits.
const REMOVALS_MAX: usize = 1024;

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file. It is made where there is none, with its folder.
    pub path: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Threads that read. Default 2.
    pub readers: usize,
    /// The memory for the writer's pages, in KiB; each reader has a quarter of it. Default 16 MiB.
    pub cache_kib: u32,
}

impl SqliteOptions {
    /// A file, with the defaults.
    pub fn new(path: impl Into<PathBuf>, clock: Clock) -> Self {
        Self { path: path.into(), clock, readers: 2, cache_kib: 16 << 10 }
    }
}

/// Jobs in a SQLite file. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    // In this order they are dropped: nobody can ask, then the threads end, then the lock goes.
    works: Option<Sender<Work>>,
    reads: Option<Sender<Read>>,
    files: Option<Sender<FileWork>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    hub: Hub,
    clock: Clock,
    path: PathBuf,
    _lock: File,
}

/// Something slow to do with files.
type FileWork = Box<dyn FnOnce() + Send>;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// What the writer tells the handles.
#[derive(Debug, Default)]
struct Shared {
    failed: OnceLock<Error>,
    groups: AtomicU64,
    requests: AtomicU64,
}

impl Shared {
    fn fail(&self, why: &Error) {
        let _ = self.failed.set(why.clone());
    }
}

impl Inner {
    /// Does this where nobody waits for anything else.
    fn files(&self, work: FileWork) {
        if let Some(files) = &self.files {
            let _ = files.send(work);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.works = None;
        self.reads = None;
        self.files = None;
        let own = std::thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Sqlite {
    /// Opens a file, or makes it. Fails while another process has it open. Leases that are held are renewed in full.
    pub fn open(options: &SqliteOptions) -> Result<Self, Error> {
        let path = &options.path;
        let file_error = |error: std::io::Error| Error::StoreDown { why: format!("open {}: {error}", path.display()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(file_error)?;
        let lock = lock::lock(path)?;
        let connection = connect(path, options.cache_kib).map_err(refused)?;
        prepare(&connection).map_err(refused)?;
        // The names of the files must outlive a power cut as their contents do.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error)?;
        artifacts::remove_strays(&artifacts::folder(path), &connection).map_err(refused)?;
        let (hub, shared) = (Hub::default(), Arc::new(Shared::default()));
        let (remover, removals) = sync_channel(REMOVALS_MAX);
        let book = Book::open(connection, options.clock.clone(), hub.clone(), remover).map_err(refused)?;
        let (works, works_in) = channel();
        let writer_shared = Arc::clone(&shared);
        let files_folder = artifacts::folder(path);
        let mut threads = vec![
            thread("queue-write", move || writer::run(book, &works_in, &writer_shared))?,
            thread("queue-remove", move || removals.iter().for_each(|it| artifacts::remove(&files_folder, it)))?,
        ];
        let (reads, reads_in) = channel::<Read>();
        let reads_in = Arc::new(Mutex::new(reads_in));
        for _ in 0..options.readers.max(1) {
            let connection = connect(path, options.cache_kib / 4).map_err(refused)?;
            connection.pragma_update(None, "query_only", true).map_err(|error| down(&error))?;
            let reads_in = Arc::clone(&reads_in);
            threads.push(thread("queue-read", move || each(&reads_in, |read| read(&connection)))?);
        }
        let (files, files_in) = channel::<FileWork>();
        let files_in = Arc::new(Mutex::new(files_in));
        for _ in 0..FILE_THREADS {
            let files_in = Arc::clone(&files_in);
            threads.push(thread("queue-files", move || each(&files_in, |work| work()))?);
        }
        let (works, reads, files) = (Some(works), Some(reads), Some(files));
        let (clock, path) = (options.clock.clone(), path.clone());
        Ok(Self(Arc::new(Inner { works, reads, files, threads, shared, hub, clock, path, _lock: lock })))
    }

    /// Copies the store to a new file while it is in use. The files that jobs left, in the folder beside it, are not
    /// part of it: copy them after it.
    pub fn backup(&self, to: &Path) -> Pending<()> {
        let (from, to) = (self.0.path.clone(), to.to_owned());
        // A reader's own connection may not write, not even to another file.
        self.read(move |_| Ok(copy(&from, &to)?))
    }

    fn write<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Book) -> Done<T> + Send + 'static,
        untaken: fn(T) -> Option<Work>,
    ) -> Pending<T> {
        let (work, pending) = work(run, untaken);
        self.send(work, pending)
    }

    fn send<T>(&self, work: Work, pending: Pending<T>) -> Pending<T> {
        if let Some(error) = self.failure() {
            return Pending::ready(Err(error));
        }
        if let Some(works) = &self.0.works {
            // Where the writer is gone, the promise goes with the work, and says so.
            let _ = works.send(work);
        }
        pending
    }

    fn read<T: Send + 'static>(&self, run: impl FnOnce(&Connection) -> Done<T> + Send + 'static) -> Pending<T> {
        let (promise, pending) = promise();
        let read: Read = Box::new(move |connection| {
            let reply = run(connection).map_err(|fault| match fault {
                Fault::Refused(error) => error,
                Fault::Broken(error) => down(&error),
            });
            promise.keep(reply);
        });
        if let Some(reads) = &self.0.reads {
            let _ = reads.send(read);
        }
        pending
    }
}

fn refused(fault: impl Into<Fault>) -> Error {
    match fault.into() {
        Fault::Refused(error) => error,
        Fault::Broken(error) => down(&error),
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Error::StoreDown { why: format!("start a thread: {error}") })
}

/// What comes, until nobody can send any more.
fn each<T>(queue: &Mutex<Receiver<T>>, run: impl Fn(T)) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(next) = next else { return };
        run(next);
    }
}

fn connect(path: &Path, cache_kib: u32) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Otherwise SQLite reads a statement's text anew whenever its LIMIT is given another value: once for each lease.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4000, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    Ok(connection)
}

/// Makes the tables where there are none.
fn prepare(connection: &Connection) -> Done<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')";
    let is_there: bool = connection.query_row(sql, [], |row| row.get(0))?;
    if !is_there {
        let script = format!("BEGIN IMMEDIATE;\n{}\nCOMMIT;", include_str!("sqlite.sql"));
        return Ok(connection.execute_batch(&script)?);
    }
    let sql = "SELECT value FROM meta WHERE name = 'version'";
    let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if found != VERSION {
        let why = format!("its tables are of version {found}, and this program knows version {VERSION}");
        return Err(Error::StoreDown { why }.into());
    }
    Ok(())
}

fn nothing<T>(_: T) -> Option<Work> {
    None
}

/// Leases that were handed to nobody.
fn give_back(leases: Vec<Lease>) -> Option<Work> {
    if leases.is_empty() {
        return None;
    }
    let held: Vec<(JobId, Token)> = leases.into_iter().map(|lease| (lease.id, lease.token)).collect();
    let (work, _) = work(move |book| book.give_back(&held), nothing);
    Some(work)
}

/// More work for a store that may be gone.
fn send_to(store: &Weak<Inner>, more: Option<Work>) {
    if let Some(inner) = store.upgrade()
        && let (Some(works), Some(work)) = (&inner.works, more)
    {
        let _ = works.send(work);
    }
}

impl Store for Sqlite {
    fn put(&self, put: Put) -> Pending<Vec<Result<Placed, Error>>> {
        self.write(move |book| book.put(put), nothing)
    }

    fn lease(&self, request: LeaseRequest) -> Pending<Vec<Lease>> {
        let pending = self.write(move |book| book.lease(&request), give_back);
        let store = Arc::downgrade(&self.0);
        pending.or_else(move |leases| send_to(&store, give_back(leases)))
    }

    fn heartbeat(&self, beats: Vec<Beat>) -> Pending<Vec<Result<Pulse, Error>>> {
        self.write(move |book| book.heartbeat(beats), nothing)
    }

    fn change(&self, change: Change) -> Pending<Changed> {
        if matches!(change, Change::Log { .. }) {
            let (work, pending) = work_at_once(move |book| book.change(change));
            return self.send(work, pending);
        }
        self.write(move |book| book.change(change), nothing)
    }

    fn finish(&self, finish: Finish) -> Pending<FinishReply> {
        let pending = self.write(move |book| book.finish(finish), |reply| give_back(reply.leases));
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

    fn failure(&self) -> Option<Error> {
        self.0.shared.failed.get().cloned()
    }
}

impl View for Sqlite {
    fn get(&self, id: JobId) -> Pending<Job> {
        self.read(move |connection| read::job(connection, id))
    }

    fn list(&self, query: JobQuery) -> Pending<Page> {
        self.read(move |connection| read::list(connection, &query))
    }

    fn stats(&self, queue: Option<String>) -> Pending<Vec<Stats>> {
        let now = Moment::from(self.0.clock.now()).millis();
        self.read(move |connection| read::stats(connection, queue.as_deref(), now))
    }

    fn queues(&self) -> Pending<Vec<QueueInfo>> {
        self.read(read::queues)
    }

    fn schedules(&self) -> Pending<Vec<ScheduleInfo>> {
        self.read(read::schedules)
    }

    fn events(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<Event>> {
        self.read(move |connection| read::events(connection, id, after, limit))
    }

    fn logs(&self, id: JobId, after: u64, limit: usize) -> Pending<Vec<LogLine>> {
        self.read(move |connection| read::logs(connection, id, after, limit))
    }
}
