use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use crate::Line;

/// How a process ended, and what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why it ended.
    pub cause: Cause,
    /// With what: a process that was asked to end may do so with any code.
    pub status: Status,
    /// How long it ran.
    pub elapsed: Duration,
    /// What it wrote to standard output.
    pub stdout: Tally,
    /// What it wrote to standard error.
    pub stderr: Tally,
    /// The last line of standard output that isn't blank, also when it is beyond `stream_bytes_max`.
    pub last_line: Option<Line>,
}

impl Ended {
    /// Whether it ended of itself and with code 0.
    pub fn is_success(&self) -> bool {
        self.cause == Cause::Own && self.status == Status::Exit(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Own => write!(f, "ended with {}", self.status),
            Cause::Timeout => write!(f, "ran longer than its timeout and was ended: {}", self.status),
            Cause::OutOfMemory => write!(f, "used more memory than it may and was killed"),
            Cause::Stopped => write!(f, "was stopped: {}", self.status),
        }
    }
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Of itself, or by a signal that is not the launcher's. A program that was refused memory and gave up is here too:
    /// from outside it can't be told from any other failure.
    Own,
    /// Its timeout passed.
    Timeout,
    /// It held more than it may, or it was killed while the kernel's own killer was at work in its memory group.
    OutOfMemory,
    /// It was asked to.
    Stopped,
}

/// With what a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// An exit code.
    Exit(i32),
    /// A signal's number.
    Signal(i32),
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

/// How much one output held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that came.
    pub lines: u64,
    /// Bytes that came, without the ends of lines.
    pub bytes: u64,
    /// Of these lines, how many were dropped because the output was full.
    pub lines_dropped: u64,
    /// Of these bytes, how many were not handed out: those of dropped lines and the rest of cut ones.
    pub bytes_dropped: u64,
    /// Whether somebody outside the process group still held the output when it was left.
    pub left_open: bool,
}

fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
