//! The statements beneath the rules' steps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::book::{Book, Wake};
use super::db::{Done, Fault};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::job::{Backoff, Failure};
use crate::limit;
use crate::settings::QueueSettings;
use crate::store::steps::{Steps, millis};

impl Steps for Book {
    type Fault = Fault;

    fn now(&self) -> i64 {
        self.wall()
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
        row.code = code;
        self.moved(row);
    }

    fn event(&mut self, row: &mut Row, event: &str, data: Option<&Value>) -> Done<()> {
        row.events += 1;
        let data = data.map(ToString::to_string);
        let now = self.now();
        let sql = "INSERT INTO event VALUES ($1, $2, $3, $4, $5)";
        self.db()?.execute(sql, &[&row.serial, &row.events, &now, &event, &data])?;
        Ok(())
    }

    fn store_row(&mut self, row: &Row) -> Done<()> {
        Ok(row::update(self.db()?, row)?)
    }

    fn store_failure(&mut self, serial: i64, failure: &Failure) -> Done<()> {
        let sql = "INSERT INTO result (serial, error) VALUES ($1, $2) ON CONFLICT (serial) DO UPDATE SET error = excluded.error";
        self.db()?.execute(sql, &[&serial, &serde_json::to_string(failure)?])?;
        Ok(())
    }

    fn untold(&mut self, parent: i64) -> Done<Vec<Row>> {
        let sql = "UPDATE edge SET told = true WHERE parent = $1 AND NOT told RETURNING child";
        let mut children = self.db()?.numbers(sql, &[&parent])?;
        // Locked in their order, as all lock them.
        children.sort_unstable();
        let mut rows = Vec::with_capacity(children.len());
        for child in children {
            rows.extend(row::load(self.db()?, child)?);
        }
        Ok(rows)
    }

    fn forget_parents(&mut self, child: i64) -> Done<()> {
        self.db()?.execute("DELETE FROM edge WHERE child = $1", &[&child])?;
        Ok(())
    }

    fn let_go(&mut self, row: &Row, outcome: &str) -> Done<()> {
        self.drop_artifacts(row)?;
        let sql = "UPDATE lease SET outcome = $3 WHERE serial = $1 AND number = $2";
        self.db()?.execute(sql, &[&row.serial, &row.lease, &outcome])?;
        if !row.code.has_ended() {
            let sql = "DELETE FROM lease WHERE serial = $1 AND number <= \
                       (SELECT number FROM lease WHERE serial = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)";
            self.db()?.execute(sql, &[&row.serial, &i64::from(limit::LEASES_REMEMBERED)])?;
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
        let until = self.lease_now() + millis(grace);
        let sql = "UPDATE lease SET grace = $3 WHERE serial = $1 AND number = $2 AND outcome IS NULL";
        self.db()?.execute(sql, &[&row.serial, &row.lease, &until])?;
        Ok(())
    }
}
