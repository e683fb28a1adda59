//! Starts, watches and stops one process somewhere. No word of what the process is for.
//!
//! A [`Command`] says what to start and under which limits. A [`Launcher`] is a place where processes live: [`Local`]
//! is this machine. Whoever watches is given the lines of both outputs and, last, an [`Ended`] that tells what ended it:
//!
//! ```text
//!   Command ──start──▶ process ──watch──▶ Lines, Lines, …, Ended
//!                         ▲
//!                        stop
//! ```
//!
//! What a place promises: a process never outlives its timeout, its stop, its launcher or the program that holds the
//! launcher, and neither do its children as long as they stay in its process group.

mod command;
mod ended;
mod error;
mod local;
mod open_files;
mod output;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use command::Command;
pub use ended::{Cause, Ended, Status, Tally};
pub use error::Error;
pub use local::{Local, Watch, find};
pub use open_files::raise_open_files;
pub use output::{Event, Line, Stream};

/// What a launcher's verbs give: an answer that is awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A place where processes live. Each is known by its name.
///
/// A name is taken by `start` and given back by `stop`, also when the process has ended meanwhile; so a `start` that is
/// repeated because its answer was lost starts nothing new.
pub trait Launcher: Send + Sync {
    /// Starts a process, unless one of that name was started before and not stopped: then that one is meant, whatever
    /// the command says now. The answer comes when the process runs or is known not to.
    ///
    /// An error leaves the name free. Whoever drops the answer may or may not have started it: `stop` settles that.
    fn start(&self, command: Command) -> Answer<'_, ()>;

    /// What the process says and how it ends. One at a time: a watch that is dropped can be taken up by another, which
    /// hears what the first did not. A process whose lines nobody reads waits once a few are pending.
    fn watch<'a>(&'a self, name: &'a str) -> Answer<'a, Watch>;

    /// Ends the process with its children, if it still runs: SIGTERM, and SIGKILL after `grace`; then gives the name
    /// back. `None` if there is none of that name. Lines that no watch takes are dropped.
    fn stop<'a>(&'a self, name: &'a str, grace: Duration) -> Answer<'a, Option<Ended>>;
}
