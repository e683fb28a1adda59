//! A job's row.

use rusqlite::{Connection, OptionalExtension, Row as Sql, params};

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

/// The columns that [`Row::read`] reads, in its order.
macro_rules! columns {
    () => {
        "serial, tail, queue, lane, state, reason, due, priority, attempt, attempts, pending, on_fail, slot, cancel, \
         alone, created, started, ended, keep, lease, events, key"
    };
}

impl Row {
    pub(super) fn read(sql: &Sql<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            serial: sql.get(0)?,
            tail: sql.get(1)?,
            queue: sql.get(2)?,
            lane: sql.get(3)?,
            code: Code::from_stored(sql.get(4)?),
            reason: sql.get::<_, Option<i64>>(5)?.and_then(reason),
            due: sql.get(6)?,
            priority: sql.get(7)?,
            attempt: sql.get(8)?,
            attempts: sql.get(9)?,
            pending: sql.get(10)?,
            runs_on_fail: sql.get(11)?,
            slot: sql.get(12)?,
            cancel: sql.get(13)?,
            alone: sql.get(14)?,
            created: sql.get(15)?,
            started: sql.get(16)?,
            ended: sql.get(17)?,
            keep: sql.get(18)?,
            lease: sql.get(19)?,
            events: sql.get(20)?,
            key: sql.get(21)?,
        })
    }

    pub(super) fn load(connection: &Connection, serial: i64) -> rusqlite::Result<Option<Self>> {
        let sql = concat!("SELECT ", columns!(), " FROM job WHERE serial = ?1");
        connection.prepare_cached(sql)?.query_row([serial], Self::read).optional()
    }

    pub(super) fn find(connection: &Connection, id: JobId) -> rusqlite::Result<Option<Self>> {
        let row = Self::load(connection, serial(id))?;
        Ok(row.filter(|row| row.tail == tail(id)))
    }

    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = concat!(
            "INSERT INTO job (",
            columns!(),
            ") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)"
        );
        connection.prepare_cached(sql)?.execute(params![
            self.serial,
            self.tail,
            self.queue,
            self.lane,
            self.code as u8,
            self.reason.map(reason_code),
            self.due,
            self.priority,
            self.attempt,
            self.attempts,
            self.pending,
            self.runs_on_fail,
            self.slot,
            self.cancel,
            self.alone,
            self.created,
            self.started,
            self.ended,
            self.keep,
            self.lease,
            self.events,
            self.key,
        ])?;
        Ok(())
    }

    pub(super) fn update(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE job SET state = ?2, reason = ?3, due = ?4, attempt = ?5, pending = ?6, cancel = ?7, \
                   alone = ?8, started = ?9, ended = ?10, lease = ?11, events = ?12 WHERE serial = ?1";
        connection.prepare_cached(sql)?.execute(params![
            self.serial,
            self.code as u8,
            self.reason.map(reason_code),
            self.due,
            self.attempt,
            self.pending,
            self.cancel,
            self.alone,
            self.started,
            self.ended,
            self.lease,
            self.events,
        ])?;
        Ok(())
    }

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
