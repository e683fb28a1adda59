//! What running jobs say.

use super::book::{Book, Wake};
use super::db::Done;
use super::row;
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::limit;
use crate::store::steps::Steps as _;

/// What a log says last when it is full.
const FULL: &str = "(the log is full: what follows is dropped)";

impl Book {
    pub(super) fn log(&mut self, id: JobId, token: &Token, lines: Vec<String>) -> Done<()> {
        if lines.len() > limit::LOG_LINES_MAX {
            return Err(Error::invalid("lines", format!("are more than {}", limit::LOG_LINES_MAX)).into());
        }
        if let Some(long) = lines.iter().map(String::len).find(|found| *found > limit::LOG_LINE_BYTES_MAX) {
            let field = "lines".to_owned();
            return Err(Error::TooLarge { field, found: long, max: limit::LOG_LINE_BYTES_MAX }.into());
        }
        let row = row::load(self.db()?, row::serial(id))?.ok_or(Error::LeaseLost { id })?;
        self.held_with(id, token)?.ok_or(Error::LeaseLost { id })?;
        let most = self.settings(row.queue)?.log_bytes_max.bytes();
        let sql = "SELECT number, bytes, is_full FROM log_end WHERE serial = $1";
        let end = self.db()?.first(sql, &[&row.serial])?;
        let (mut number, mut bytes, mut is_full) =
            end.map_or((0_i64, 0_i64, false), |end| (end.get(0), end.get(1), end.get(2)));
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for text in lines {
            if is_full {
                break;
            }
            number += 1;
            bytes = bytes.saturating_add(i64::try_from(text.len()).unwrap_or(i64::MAX));
            is_full = bytes.cast_unsigned() > most;
            numbers.push(number);
            // PostgreSQL's text holds every character but one.
            texts.push(if is_full { FULL.to_owned() } else { text.replace('\0', "\u{fffd}") });
        }
        let (now, attempt) = (self.now(), i64::from(row.attempt));
        let sql = "WITH e AS (INSERT INTO log_end VALUES ($1, $6, $7, $8) ON CONFLICT (serial) DO UPDATE \
                   SET number = excluded.number, bytes = excluded.bytes, is_full = excluded.is_full) \
                   INSERT INTO log SELECT $1, l.number, $2, $3, l.line \
                   FROM unnest($4::bigint[], $5::text[]) AS l(number, line)";
        self.db()?.execute(sql, &[&row.serial, &now, &attempt, &numbers, &texts, &number, &bytes, &is_full])?;
        self.wakes.push(Wake::Job(row.serial, row.tail));
        Ok(())
    }
}
