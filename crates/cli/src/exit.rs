//! How the process ends.

use std::io::{self, Write as _};
use std::panic;
use std::process::ExitCode;

use document::Problem;
use stdx::{Blame, Chain};

use crate::command::Refused;
use crate::screen::Screen;

/// Why the process ends, as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It is done, or was asked to stop and drained: 0.
    Done,
    /// The world failed, or a fixture did: 1.
    World,
    /// The document or the command line is wrong: 2.
    Document,
    /// A bug of ours: 70.
    House,
    /// A second signal: 130.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::World => 1,
            Exit::Document => 2,
            Exit::House => 70,
            Exit::Interrupted => 130,
        })
    }
}

impl From<Blame> for Exit {
    fn from(blame: Blame) -> Exit {
        match blame {
            Blame::Document => Exit::Document,
            Blame::World => Exit::World,
            Blame::House => Exit::House,
        }
    }
}

/// The command line asks for something that doesn't fit: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// All that is wrong with the documents: exit code 2.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", crate::figures::counted(self.0.len() as u64, "problem"))
    }
}

impl std::error::Error for Problems {}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Problems {
        Problems(problems)
    }
}

/// The world couldn't be seen: what is wrong with the documents, and how the world failed.
#[derive(Debug, Default)]
pub(crate) struct Unseen(pub(crate) stream::Unseen);

impl std::fmt::Display for Unseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (problems, failures) = (self.0.problems.len() as u64, self.0.failures.len() as u64);
        write!(
            f,
            "{} and {}",
            crate::figures::counted(problems, "problem"),
            crate::figures::counted(failures, "failure")
        )
    }
}

impl std::error::Error for Unseen {}

impl Unseen {
    /// A document that is wrong is wrong in any world: problems decide the exit code where there are some.
    fn report(&self, screen: &Screen) -> Exit {
        for failure in &self.0.failures {
            screen.error(&Chain(failure).to_string());
        }
        if !self.0.problems.is_empty() {
            return screen.problems(&self.0.problems);
        }
        self.0.failures.iter().map(|failure| Exit::from(failure.blame())).max().unwrap_or(Exit::World)
    }
}

/// Prints an error and its causes, and tells the exit code.
pub(crate) fn report(error: &anyhow::Error, screen: &Screen) -> Exit {
    if let Some(Problems(problems)) = error.downcast_ref() {
        return screen.problems(problems);
    }
    if let Some(unseen) = error.downcast_ref::<Unseen>() {
        return unseen.report(screen);
    }
    if is_closed_pipe(error.as_ref()) {
        return Exit::Done;
    }
    let exit = of(error);
    screen.error(&Chain(error.as_ref()).to_string());
    if exit == Exit::House {
        screen.note(REPORT_US);
    }
    exit
}

/// The exit code of an error.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    let is_refused = error.downcast_ref::<Refused>().is_some_and(Refused::is_ours);
    if error.is::<Usage>() || is_refused {
        return Exit::Document;
    }
    error.chain().find_map(blame).map_or(Exit::World, Exit::from)
}

/// Whose part an error of ours is.
fn blame(cause: &(dyn std::error::Error + 'static)) -> Option<Blame> {
    let stream = cause.downcast_ref::<stream::Error>().map(stream::Error::blame);
    let queue = || cause.downcast_ref::<queue::Error>().map(queue::Error::blame);
    stream.or_else(queue).or_else(|| cause.downcast_ref::<api::Error>().map(api::Error::blame))
}

/// Whether whoever read our output has gone away, which is no failure: `headwater plan x.yaml | head`.
pub(crate) fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let is_stream = matches!(error.downcast_ref(), Some(stream::Error::Closed(_)));
        if is_stream || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What to do about a bug.
pub(crate) const REPORT_US: &str = "this is a bug of Headwater, not of the document; please report it with the document, \
                                    the command and what stands above";

/// Makes a panic readable: it is always a bug of ours.
pub(crate) fn explain_panics() {
    panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("no reason given");
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let thread = std::thread::current();
        let name = thread.name().filter(|name| *name != "main").map_or_else(String::new, |name| format!(" in {name}"));
        // Nobody is left to tell when this can't be printed.
        let _ = writeln!(io::stderr(), "headwater: panic{name}{place}: {words}\nheadwater: {REPORT_US}");
    }));
}
