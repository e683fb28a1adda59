//! A job's row, as every store with tables keeps it.

use crate::id::JobId;
use crate::job::{Reason, State};

/// Where a job is, as it is stored: [`State::Waiting`] is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Code {
    Scheduled,
    Waiting,
    Parked,
    Ready,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

pub(super) const CODES: usize = 8;

/// Those that count for a queue's depth.
pub(super) const NOT_ENDED: [Code; 5] = [Code::Scheduled, Code::Waiting, Code::Parked, Code::Ready, Code::Running];

const ALL: [Code; CODES] = [
    Code::Scheduled,
    Code::Waiting,
    Code::Parked,
    Code::Ready,
    Code::Running,
    Code::Succeeded,
    Code::Failed,
    Code::Cancelled,
];

impl Code {
    pub(super) fn from_stored(stored: i64) -> Self {
        usize::try_from(stored).ok().and_then(|at| ALL.get(at)).copied().unwrap_or(Self::Failed)
    }

    pub(super) const fn stored(self) -> i64 {
        self as i64
    }

    pub(super) const fn at(self) -> usize {
        self as usize
    }

    pub(super) const fn state(self) -> State {
        match self {
            Self::Scheduled => State::Scheduled,
            Self::Waiting | Self::Parked => State::Waiting,
            Self::Ready => State::Ready,
            Self::Running => State::Running,
            Self::Succeeded => State::Succeeded,
            Self::Failed => State::Failed,
            Self::Cancelled => State::Cancelled,
        }
    }

    pub(super) fn of(state: State) -> impl Iterator<Item = Self> {
        ALL.into_iter().filter(move |code| code.state() == state)
    }

    pub(super) fn has_ended(self) -> bool {
        self >= Self::Succeeded
    }
}

pub(super) fn reason_code(reason: Reason) -> i64 {
    Reason::ALL.iter().zip(0..).find(|(own, _)| **own == reason).map_or(0, |(_, at)| at)
}

pub(super) fn reason(stored: i64) -> Option<Reason> {
    usize::try_from(stored).ok().and_then(|at| Reason::ALL.get(at)).copied()
}

/// What changes while a job lives.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) serial: i64,
    pub(super) tail: i64,
    pub(super) queue: i64,
    pub(super) lane: i64,
    pub(super) code: Code,
    pub(super) reason: Option<Reason>,
    pub(super) due: i64,
    pub(super) priority: i32,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    pub(super) pending: u32,
    pub(super) runs_on_fail: bool,
    pub(super) slot: Option<i64>,
    pub(super) cancel: bool,
    pub(super) alone: bool,
    pub(super) created: i64,
    pub(super) started: Option<i64>,
    pub(super) ended: Option<i64>,
    pub(super) keep: i64,
    pub(super) lease: Option<i64>,
    pub(super) events: i64,
    pub(super) key: Option<String>,
}

impl Row {
    pub(super) fn id(&self) -> JobId {
        id(self.serial, self.tail)
    }
}

/// Both halves of an id fit 63 bits, so nothing is lost.
pub(super) fn id(serial: i64, tail: i64) -> JobId {
    JobId::new(serial.cast_unsigned(), tail.cast_unsigned())
}

pub(super) const fn serial(id: JobId) -> i64 {
    id.serial().cast_signed()
}

pub(super) const fn tail(id: JobId) -> i64 {
    id.tail().cast_signed()
}
