//! Attempts end.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Fault};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::lease::{Ack, Ending, Finish, FinishReply, Finished, Outcome};
use crate::limit;
use crate::moment::Moment;
use crate::store::steps::Steps as _;

impl Book {
    pub(super) fn finish(&mut self, finish: Finish) -> Done<FinishReply> {
        if finish.outcomes.len() > limit::BATCH_MAX {
            return Err(Error::invalid("outcomes", format!("are more than {}", limit::BATCH_MAX)).into());
        }
        // A lease that can't be had refuses all, before anything is done.
        if let Some(request) = &finish.lease {
            request.check()?;
            request.queues.iter().try_for_each(|name| self.queue_id(name).map(drop))?;
        }
        let mut outcomes = Vec::with_capacity(finish.outcomes.len());
        for outcome in finish.outcomes {
            outcomes.push(match self.attempt(|book| book.outcome(outcome)) {
                Ok(finished) => Ok(finished),
                Err(Fault::Refused(error)) => Err(error),
                Err(broken) => return Err(broken),
            });
        }
        let leases = finish.lease.map(|request| self.lease(&request)).transpose()?.unwrap_or_default();
        Ok(FinishReply { outcomes, leases })
    }

    fn outcome(&mut self, outcome: Outcome) -> Done<Finished> {
        outcome.check()?;
        let Outcome { id, token, ending } = outcome;
        if self.held_with(id, &token).is_none() {
            return self.stored(id, &token);
        }
        let mut row = self.find(id)?;
        let mut enqueued = Vec::new();
        match ending {
            Ending::Ack(ack) => enqueued = self.ack(&mut row, ack)?,
            Ending::Nack(nack) => self.nack(&mut row, &nack)?,
            Ending::Release(_) => self.go_back(&mut row, "released")?,
        }
        let finished = Finished {
            id,
            state: row.code.state(),
            reason: row.reason,
            run_at: (row.code == Code::Scheduled).then(|| Moment::from_millis(row.due)),
            enqueued,
            duplicate: false,
        };
        self.let_go(&row, &serde_json::to_string(&finished)?)?;
        self.settle_slots()?;
        Ok(finished)
    }

    /// What an earlier finish with this token was answered.
    fn stored(&self, id: JobId, token: &Token) -> Done<Finished> {
        let lost = || Fault::Refused(Error::LeaseLost { id });
        let (number, secret) = token.parts().ok_or_else(lost)?;
        let row = self.find(id)?;
        let sql = "SELECT outcome FROM lease WHERE serial = ?1 AND number = ?2 AND secret = ?3";
        let found = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![row.serial, number.cast_signed(), secret.cast_signed()], |row| {
                row.get::<_, Option<String>>(0)
            });
        let outcome = found.optional()?.flatten().filter(|outcome| !outcome.is_empty()).ok_or_else(lost)?;
        Ok(Finished { duplicate: true, ..serde_json::from_str(&outcome)? })
    }

    fn ack(&mut self, row: &mut Row, ack: Ack) -> Done<Vec<JobId>> {
        let sql = "INSERT INTO result (serial, result) VALUES (?1, ?2) \
                   ON CONFLICT DO UPDATE SET result = excluded.result, error = NULL";
        self.connection.prepare_cached(sql)?.execute(params![row.serial, ack.result.as_str()])?;
        self.end(row, Code::Succeeded, None)?;
        let mut enqueued = Vec::with_capacity(ack.enqueue.len());
        for child in ack.enqueue {
            let queue = child.queue.as_deref().map_or(Ok(row.queue), |name| self.queue_id(name))?;
            enqueued.push(self.put_one(queue, child, true)?.id);
        }
        Ok(enqueued)
    }

    /// Gives back leases whose reply nobody took.
    pub(super) fn give_back(&mut self, leases: &[(JobId, Token)]) -> Done<()> {
        for (id, token) in leases {
            if self.held_with(*id, token).is_none() {
                continue;
            }
            if let Some(mut row) = Row::load(&self.connection, row::serial(*id))? {
                self.go_back(&mut row, "released")?;
                self.let_go(&row, "")?;
            }
        }
        self.settle_slots()
    }
}
