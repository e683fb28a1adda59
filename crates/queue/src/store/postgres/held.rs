//! Who holds what, and until when. Times are those of leases: without jumps of the calendar.

use postgres::Row as Sql;

use super::book::Book;
use super::db::Done;
use super::row;
use crate::id::{JobId, Token};

/// A lease that is held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) number: i64,
    pub(super) secret: i64,
    pub(super) worker: String,
    /// How many jobs were leased with it.
    pub(super) batch: u32,
    pub(super) millis: i64,
    pub(super) until: i64,
    /// When the attempt has taken too long.
    pub(super) over: Option<i64>,
    /// When a cancelled job has had its grace.
    pub(super) grace: Option<i64>,
}

macro_rules! held {
    ($rest:literal) => {
        concat!("SELECT number, secret, worker, batch, millis, until, over, grace FROM lease ", $rest)
    };
}

fn read(row: &Sql) -> Held {
    Held {
        number: row.get(0),
        secret: row.get(1),
        worker: row.get(2),
        batch: u32::try_from(row.get::<_, i64>(3)).unwrap_or(1),
        millis: row.get(4),
        until: row.get(5),
        over: row.get(6),
        grace: row.get(7),
    }
}

impl Held {
    pub(super) fn token(&self) -> Token {
        Token::new(self.number.cast_unsigned(), self.secret.cast_unsigned())
    }
}

impl Held {
    /// The first moment at which something is to be done about it.
    pub(super) fn deadline(&self) -> i64 {
        self.over.into_iter().chain(self.grace).fold(self.until, i64::min)
    }
}

/// Both parts of a token, as they are stored.
pub(super) fn parts(token: &Token) -> Option<(i64, i64)> {
    token.parts().map(|(number, secret)| (number.cast_signed(), secret.cast_signed()))
}

impl Book {
    /// The lease that this token holds, kept from others until the end of the transaction.
    pub(super) fn held_with(&mut self, id: JobId, token: &Token) -> Done<Option<Held>> {
        let Some((number, secret)) = parts(token) else { return Ok(None) };
        let sql = held!("WHERE serial = $1 AND number = $2 AND secret = $3 AND outcome IS NULL FOR UPDATE");
        Ok(self.db()?.first(sql, &[&row::serial(id), &number, &secret])?.as_ref().map(read))
    }

    /// The lease of a job that runs.
    pub(super) fn held(&mut self, serial: i64) -> Done<Option<Held>> {
        let sql = held!("WHERE serial = $1 AND outcome IS NULL ORDER BY number DESC LIMIT 1 FOR UPDATE");
        Ok(self.db()?.first(sql, &[&serial])?.as_ref().map(read))
    }

    /// Jobs whose lease asks for something to be done, the first ones first.
    pub(super) fn lapsed(&mut self, limit: i64) -> Done<Vec<i64>> {
        let now = self.lease_now();
        let sql = "SELECT serial FROM lease WHERE outcome IS NULL AND least(until, over, grace) <= $1 \
                   ORDER BY least(until, over, grace), serial LIMIT $2";
        Ok(self.db()?.numbers(sql, &[&now, &limit])?)
    }

    /// What a request got, if it came before: those of its jobs that it still holds.
    pub(super) fn repeated(&mut self, worker: &str, request: &str) -> Done<Vec<i64>> {
        let sql = "SELECT serial FROM lease WHERE worker = $1 AND request = $2 AND request IS NOT NULL \
                   AND outcome IS NULL ORDER BY number";
        Ok(self.db()?.numbers(sql, &[&worker, &request])?)
    }

    /// After an outage, of the server or of all that sweep: nobody could beat.
    pub(super) fn renew_all(&mut self) -> Done<()> {
        let now = self.lease_now();
        let sql = "UPDATE lease SET until = greatest(until, $1 + millis), \
                   over = CASE WHEN over IS NOT NULL THEN greatest(over, until, $1 + millis) END, \
                   grace = CASE WHEN grace IS NOT NULL THEN greatest(grace, until, $1 + millis) END \
                   WHERE outcome IS NULL";
        self.db()?.execute(sql, &[&now])?;
        Ok(())
    }
}
