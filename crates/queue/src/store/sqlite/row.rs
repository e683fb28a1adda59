//! A job's row in SQLite.

use rusqlite::{Connection, OptionalExtension, Row as Sql, params};

use crate::id::JobId;
pub(super) use crate::store::row::{CODES, Code, Row, id, reason, reason_code, serial, tail};

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
}
