//! Lines of logs wait here for a commit that comes anyway, or for a moment: a line is not worth an fsync.

use std::collections::HashMap;

use rusqlite::params;

use super::book::{Book, Done};
use super::row::{self, Row};
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::limit;
use crate::store::steps::Steps as _;

#[derive(Debug, Default)]
pub(super) struct Logs {
    waiting: Vec<Line>,
    ends: HashMap<i64, End>,
}

#[derive(Debug)]
struct Line {
    serial: i64,
    number: i64,
    at: i64,
    attempt: u32,
    text: String,
}

/// Where a running job's log ends.
#[derive(Clone, Copy, Debug)]
struct End {
    number: i64,
    bytes: u64,
    full: bool,
}

/// What a log says last when it is full.
const FULL: &str = "(the log is full: what follows is dropped)";

impl Logs {
    pub(super) fn forget(&mut self, serial: i64) {
        self.ends.remove(&serial);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Book {
    pub(super) fn log(&mut self, id: JobId, token: &Token, lines: Vec<String>) -> Done<()> {
        if lines.len() > limit::LOG_LINES_MAX {
            return Err(Error::invalid("lines", format!("are more than {}", limit::LOG_LINES_MAX)).into());
        }
        if let Some(long) = lines.iter().map(String::len).find(|found| *found > limit::LOG_LINE_BYTES_MAX) {
            let field = "lines".to_owned();
            return Err(Error::TooLarge { field, found: long, max: limit::LOG_LINE_BYTES_MAX }.into());
        }
        self.held_with(id, token).ok_or(Error::LeaseLost { id })?;
        let row = self.find(id)?;
        let most = self.settings(row.queue)?.log_bytes_max.bytes();
        let mut end = self.end_of(&row)?;
        let at = self.now();
        for text in lines {
            if end.full {
                break;
            }
            let bytes = end.bytes + text.len() as u64;
            end.full = bytes > most;
            let text = if end.full { FULL.to_owned() } else { text };
            end = End { number: end.number + 1, bytes, ..end };
            self.logs.waiting.push(Line { serial: row.serial, number: end.number, at, attempt: row.attempt, text });
        }
        self.logs.ends.insert(row.serial, end);
        self.wakes.push(super::book::Wake::Job(row.serial, row::tail(id)));
        Ok(())
    }

    fn end_of(&self, row: &Row) -> Done<End> {
        if let Some(end) = self.logs.ends.get(&row.serial) {
            return Ok(*end);
        }
        let sql = "SELECT ifnull(max(number), 0), ifnull(sum(length(CAST(line AS BLOB))), 0), \
                   ifnull(max(line = ?2), 0) FROM log WHERE serial = ?1";
        let read = |sql: &rusqlite::Row<'_>| Ok(End { number: sql.get(0)?, bytes: sql.get(1)?, full: sql.get(2)? });
        Ok(self.connection.prepare_cached(sql)?.query_row(params![row.serial, FULL], read)?)
    }

    /// Writes what waits. A job that was deleted meanwhile has no log.
    pub(super) fn write_logs(&mut self) -> Done<()> {
        for line in std::mem::take(&mut self.logs.waiting) {
            let sql = "INSERT INTO log SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM job WHERE serial = ?1)";
            let Line { serial, number, at, attempt, text } = line;
            self.connection.prepare_cached(sql)?.execute(params![serial, number, at, attempt, text])?;
        }
        Ok(())
    }
}
