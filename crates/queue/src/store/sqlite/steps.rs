//! The statements beneath the rules' steps.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;
use serde_json::Value;

use super::book::{Book, Done, Fault, Wake};
use super::row::{Code, Row};
use crate::error::Error;
use crate::job::{Backoff, Failure};
use crate::limit;
use crate::moment::Moment;
use crate::settings::QueueSettings;
use crate::store::steps::Steps;

impl Steps for Book {
    type Fault = Fault;

    fn now(&self) -> i64 {
        Moment::from(self.clock.now()).millis()
    }

    fn settings(&self, id: i64) -> Result<Arc<QueueSettings>, Error> {
        self.queue(id).map(|queue| Arc::clone(&queue.settings))
    }

    fn own_backoff(&mut self, serial: i64) -> Done<Option<Backoff>> {
        Ok(self.body(serial)?.0.backoff)
    }

    fn move_to(&mut self, row: &mut Row, code: Code) {
        if row.code == Code::Running {
            self.wake_for_room(row.queue);
        }
        self.tally(row.lane, row.code, -1);
        self.tally(row.lane, code, 1);
        self.ended += usize::from(code.has_ended());
        row.code = code;
        self.moved(row);
    }

    fn event(&mut self, row: &mut Row, event: &str, data: Option<&Value>) -> Done<()> {
        row.events += 1;
        let sql = "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5)";
        let data = data.map(ToString::to_string);
        self.connection.prepare_cached(sql)?.execute(params![row.serial, row.events, self.now(), event, data])?;
        Ok(())
    }

    fn store_row(&mut self, row: &Row) -> Done<()> {
        Ok(row.update(&self.connection)?)
    }

    fn store_failure(&mut self, serial: i64, failure: &Failure) -> Done<()> {
        let sql = "INSERT INTO result (serial, error) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET error = excluded.error";
        self.connection.prepare_cached(sql)?.execute(params![serial, serde_json::to_string(failure)?])?;
        Ok(())
    }

    fn untold(&mut self, parent: i64) -> Done<Vec<Row>> {
        let sql = "SELECT child FROM edge WHERE parent = ?1 AND told = 0 ORDER BY child";
        let mut statement = self.connection.prepare_cached(sql)?;
        let children = statement.query_map([parent], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        if !children.is_empty() {
            let sql = "UPDATE edge SET told = 1 WHERE parent = ?1 AND told = 0";
            self.connection.prepare_cached(sql)?.execute([parent])?;
        }
        let load = |child| Ok(Row::load(&self.connection, child)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?);
        children.into_iter().map(load).collect()
    }

    fn forget_parents(&mut self, child: i64) -> Done<()> {
        self.connection.prepare_cached("DELETE FROM edge WHERE child = ?1")?.execute([child])?;
        Ok(())
    }

    fn let_go(&mut self, row: &Row, outcome: &str) -> Done<()> {
        self.hold(row.serial, None);
        self.logs.forget(row.serial);
        self.drop_artifacts(row)?;
        let sql = "UPDATE lease SET outcome = ?3 WHERE serial = ?1 AND number = ?2";
        self.connection.prepare_cached(sql)?.execute(params![row.serial, row.lease, outcome])?;
        if !row.code.has_ended() {
            let sql = "DELETE FROM lease WHERE serial = ?1 AND number <= \
                       (SELECT number FROM lease WHERE serial = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";
            self.connection.prepare_cached(sql)?.execute(params![row.serial, limit::LEASES_REMEMBERED])?;
        }
        Ok(())
    }

    fn moved(&mut self, row: &Row) {
        if row.code == Code::Ready {
            self.wakes.push(Wake::Ready(row.lane));
        }
        self.slots.extend(row.slot);
        self.wakes.push(Wake::Job(row.serial, row.tail));
    }

    fn store_grace(&mut self, row: &Row, grace: Duration) -> Done<()> {
        if let Some(mut held) = self.leases.get(row.serial).cloned() {
            held.cancel = Some(self.clock.elapsed() + grace);
            self.hold(row.serial, Some(held));
        }
        Ok(())
    }
}
