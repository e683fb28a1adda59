//! Processes of this machine (Linux).
//!
//! Each runs in a process group of its own, which ends with it: by SIGTERM and then SIGKILL when it is asked to or its
//! time is over, and by SIGKILL for whatever outlives its first process. A descendant that leaves the group (`setsid`)
//! is out of reach. If the program that holds the launcher is killed, the kernel kills the first processes and a
//! shell that waits for this moment kills the rest. A launcher that is dropped kills all it started.
//!
//! One thread starts processes; everything else is tasks of the tokio runtime that `start` is called in, so
//! that a process that runs costs three small tasks and no thread.

mod drive;
mod keeper;
mod memory;
mod program;
mod start;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as threads};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, watch};

use self::drive::Ends;
use self::start::{Birth, Request};
use crate::output::Phase;
use crate::{Answer, Command, Ended, Error, Event, Launcher};

/// How many chunks of lines wait for a watch before the process has to.
const PENDING_MAX: usize = 4;
/// How long a stop waits for a watch to take the last lines before it drops them.
const TAKE: Duration = Duration::from_secs(2);

/// Starts processes of this machine.
pub struct Local {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    requests: threads::Sender<Request>,
}

/// What a process says. Dropping it lets another watch.
pub struct Watch(OwnedMutexGuard<mpsc::Receiver<Event>>);

impl Watch {
    /// The next event; `None` after the end was told. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// What is known of one name.
struct Entry {
    state: watch::Receiver<State>,
    phase: watch::Sender<Phase>,
    events: Arc<AsyncMutex<mpsc::Receiver<Event>>>,
    stop: watch::Sender<Option<Duration>>,
}

/// How far a process is.
#[derive(Clone)]
enum State {
    Starting,
    Running,
    Failed(Error),
    Ended(Box<Ended>),
}

/// Where the program of a command is, if it can be run. Starts nothing.
///
/// # Errors
///
/// As [`start`](Launcher::start) would refuse it.
pub fn find(command: &Command) -> Result<PathBuf, Error> {
    program::find(command)
}

impl Local {
    /// A launcher without processes.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub fn new() -> std::io::Result<Self> {
        let (requests, served) = threads::channel();
        std::thread::Builder::new().name("launch".to_owned()).spawn(move || start::serve(&served))?;
        Ok(Self { entries: Mutex::default(), requests })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries().get(name).cloned()
    }

    /// The entry of that name, made if there is none, or only one that never came to be.
    fn begin(&self, command: Command) -> Result<Arc<Entry>, Error> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&command.name)
            && !matches!(*entry.state.borrow(), State::Failed(_))
        {
            return Ok(Arc::clone(entry));
        }
        let (state, states) = watch::channel(State::Starting);
        let (events, lines) = mpsc::channel(PENDING_MAX);
        let (stop, stops) = watch::channel(None);
        let phase = watch::Sender::new(Phase::Running);
        let entry =
            Arc::new(Entry { state: states, phase: phase.clone(), events: Arc::new(AsyncMutex::new(lines)), stop });
        entries.insert(command.name.clone(), Arc::clone(&entry));
        let ends = Ends { state, phase, events, stop: stops };
        let birth = Birth { command, ends, runtime: Handle::current(), gone: self.requests.clone() };
        self.requests.send(Request::Start(Box::new(birth))).map_err(|_| Error::Over)?;
        Ok(entry)
    }

    fn forget(&self, name: &str, entry: &Arc<Entry>) {
        let mut entries = self.entries();
        if entries.get(name).is_some_and(|found| Arc::ptr_eq(found, entry)) {
            entries.remove(name);
        }
    }
}

impl Launcher for Local {
    fn start(&self, command: Command) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = command.name.clone();
            let entry = self.begin(command)?;
            let State::Failed(error) = entry.settled().await else { return Ok(()) };
            self.forget(&name, &entry);
            Err(error)
        })
    }

    fn watch<'a>(&'a self, name: &'a str) -> Answer<'a, Watch> {
        Box::pin(async move {
            let entry = self.entry(name).ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
            let events = Arc::clone(&entry.events).try_lock_owned();
            events.map(Watch).map_err(|_| Error::Watched { name: name.to_owned() })
        })
    }

    fn stop<'a>(&'a self, name: &'a str, grace: Duration) -> Answer<'a, Option<Ended>> {
        Box::pin(async move {
            let Some(entry) = self.entry(name) else { return Ok(None) };
            let ended = entry.stop(grace).await;
            self.forget(name, &entry);
            Ok(ended)
        })
    }
}

impl Entry {
    /// What came of the start.
    async fn settled(&self) -> State {
        self.until(|state| !matches!(state, State::Starting)).await
    }

    async fn stop(&self, grace: Duration) -> Option<Ended> {
        // A second stop may be more urgent than the first, not less.
        self.stop.send_if_modified(|asked| {
            let sooner = asked.is_none_or(|asked| grace < asked);
            *asked = if sooner { Some(grace) } else { *asked };
            sooner
        });
        let mut state = std::pin::pin!(self.until(is_over));
        let mut over = self.phase.subscribe();
        let exited = async { over.wait_for(|phase| *phase >= Phase::Exited).await.is_ok() };
        tokio::select! {
            _ = state.as_mut() => {}
            _ = exited => {
                let taken = tokio::time::timeout(TAKE, self.drained(state.as_mut())).await;
                self.phase.send_if_modified(|phase| taken.is_err() && phase.raise(Phase::Abandoned));
            }
        }
        let state = self.until(is_over).await;
        match state {
            State::Ended(ended) => Some(*ended),
            _ => None,
        }
    }

    /// Waits for the end and, where nobody watches, lets go of the lines that stand in its way.
    async fn drained(&self, end: impl Future<Output = State>) {
        let dropped = async {
            let mut unwatched = self.events.try_lock().ok();
            while let Some(events) = &mut unwatched
                && events.recv().await.is_some()
            {}
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            _ = end => {}
            never = dropped => match never {},
        }
    }

    async fn until(&self, is: impl Fn(&State) -> bool) -> State {
        let mut states = self.state.clone();
        match states.wait_for(|state| is(state)).await {
            Ok(state) => state.clone(),
            // The runtime that drove it is gone, and it was killed with it.
            Err(_) => State::Failed(Error::Over),
        }
    }
}

fn is_over(state: &State) -> bool {
    matches!(state, State::Failed(_) | State::Ended(_))
}
