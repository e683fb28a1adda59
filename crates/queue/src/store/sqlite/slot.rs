//! Concurrency keys: of a key's jobs, only as many are in line as could run, so that a million behind a full key cost
//! a lease nothing. The others are parked.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done};
use super::row::{Code, Row};
use crate::store::steps::Steps as _;

impl Book {
    /// The key's own row, made where there is none. What the last job says of its bound holds.
    pub(super) fn slot(&mut self, queue: i64, key: &str, most: u32) -> Done<i64> {
        let sql = "INSERT INTO slot (queue, key, most) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (queue, key) DO UPDATE SET most = excluded.most RETURNING id";
        Ok(self.connection.prepare_cached(sql)?.query_row(params![queue, key, most], |row| row.get(0))?)
    }

    /// How many more jobs of a key may run.
    pub(super) fn room(&self, slot: i64) -> Done<i64> {
        let sql = "SELECT most - (SELECT count(*) FROM job WHERE slot = ?1 AND state = 4) FROM slot WHERE id = ?1";
        let room: Option<i64> = self.connection.prepare_cached(sql)?.query_row([slot], |row| row.get(0)).optional()?;
        Ok(room.unwrap_or(0).max(0))
    }

    /// Parks and unparks, for each key that was touched: in each lane the first of the key's jobs, as many as could
    /// run, are ready.
    pub(super) fn settle_slots(&mut self) -> Done<()> {
        while let Some(slot) = self.slots.pop_first() {
            let room = self.room(slot)?;
            let mut lane = -1;
            while let Some(next) = self.next_lane(slot, lane)? {
                lane = next;
                self.settle_lane(slot, lane, usize::try_from(room).unwrap_or(0))?;
                // Moving them touches the key again.
                self.slots.remove(&slot);
            }
        }
        Ok(())
    }

    /// The next lane that holds parked or ready jobs of a key: one step in the index, however many there are.
    fn next_lane(&self, slot: i64, after: i64) -> Done<Option<i64>> {
        let sql = "SELECT min(lane) FROM job WHERE slot = ?1 AND state = ?2 AND lane > ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut next =
            |code: Code| statement.query_row(params![slot, code as u8, after], |row| row.get::<_, Option<i64>>(0));
        let (parked, ready) = (next(Code::Parked)?, next(Code::Ready)?);
        Ok(parked.into_iter().chain(ready).min())
    }

    fn settle_lane(&mut self, slot: i64, lane: i64, room: usize) -> Done<()> {
        let mut ready = self.in_line(slot, lane, Code::Ready, usize::MAX >> 1)?;
        let mut parked = self.in_line(slot, lane, Code::Parked, room.max(1))?.into_iter().peekable();
        while ready.len() > room {
            if let Some((_, serial)) = ready.pop() {
                self.shift(serial, Code::Parked)?;
            }
        }
        while ready.len() < room {
            let Some((due, serial)) = parked.next() else { return Ok(()) };
            self.shift(serial, Code::Ready)?;
            ready.push((due, serial));
        }
        ready.sort_unstable();
        // A newcomer of higher priority takes the place of the last one in line.
        while let (Some(last), Some(first)) = (ready.last().copied(), parked.peek().copied()) {
            if first >= last {
                break;
            }
            self.shift(last.1, Code::Parked)?;
            self.shift(first.1, Code::Ready)?;
            ready.pop();
            ready.push(first);
            ready.sort_unstable();
            parked.next();
        }
        Ok(())
    }

    fn in_line(&self, slot: i64, lane: i64, code: Code, limit: usize) -> Done<Vec<(i64, i64)>> {
        let sql =
            "SELECT due, serial FROM job WHERE slot = ?1 AND state = ?2 AND lane = ?3 ORDER BY due, serial LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![slot, code as u8, lane, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn shift(&mut self, serial: i64, code: Code) -> Done<()> {
        if let Some(mut row) = Row::load(&self.connection, serial)? {
            self.move_to(&mut row, code);
            row.update(&self.connection)?;
        }
        Ok(())
    }
}
