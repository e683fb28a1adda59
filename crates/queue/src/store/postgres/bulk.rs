//! Many jobs come in at once: their keys are looked up together, and their rows go in by COPY.

use std::collections::HashMap;

use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;

use super::book::Book;
use super::db::{Broken, Done, Param};
use super::row::{self, Code, Row};
use crate::error::Error;
use crate::job::NewJob;
use crate::store::Placed;
use crate::store::asked::Asked;
use crate::store::steps::Steps as _;

/// From how many jobs on it pays: fewer are put one by one.
pub(super) const JOBS_MIN: usize = 16;

/// A key that is taken: by which job, and what that job says.
type Taken = (Placed, String);

/// Jobs of one request that are written together.
pub(super) struct Bulk {
    queue: i64,
    keys: HashMap<String, Taken>,
    /// The bound of each concurrency key as it was stored last, and the key's number.
    slots: HashMap<String, (u32, i64)>,
    /// Jobs of the queue that have not ended, these among them.
    depth: i64,
    rows: Vec<(Row, Asked)>,
}

impl Bulk {
    /// Looks at the queue, and at all keys at once.
    pub(super) fn new(book: &mut Book, queue: i64, jobs: &[NewJob]) -> Done<Self> {
        let keys: Vec<&str> =
            jobs.iter().filter_map(|job| job.key.as_deref()).filter(|key| !key.contains('\0')).collect();
        let mut taken = HashMap::new();
        if !keys.is_empty() {
            let sql = "SELECT j.serial, j.tail, j.state, b.spec, j.key FROM job j JOIN body b ON b.serial = j.serial \
                       WHERE j.queue = $1 AND j.key = ANY($2) AND j.key IS NOT NULL";
            for row in book.db()?.query(sql, &[&queue, &keys])? {
                let (id, code) = (row::id(row.get(0), row.get(1)), Code::from_stored(row.get(2)));
                let placed = Placed { id, state: code.state(), duplicate: true };
                taken.insert(row.get(4), (placed, row.get(3)));
            }
        }
        let depth = book.depth(queue)?;
        Ok(Self { queue, keys: taken, slots: HashMap::new(), depth, rows: Vec::new() })
    }

    /// Takes a job, or refuses it. It is written with the others.
    pub(super) fn add(&mut self, book: &mut Book, job: NewJob) -> Done<Placed> {
        let asked = Asked::new(job)?;
        if let Some(key) = &asked.job.key
            && let Some((first, spec)) = self.keys.get(key)
        {
            if *spec != asked.spec {
                return Err(Error::KeyReused { key: key.clone(), first: first.id }.into());
            }
            return Ok(first.clone());
        }
        book.admit(self.queue, &asked, self.depth)?;
        let placed = if asked.job.after.is_empty() {
            let slot = self.slot(book, &asked.job)?;
            let row = book.row_for(self.queue, &asked, 0, slot)?;
            book.tally(row.lane, row.code, 1);
            book.moved(&row);
            let placed = Placed { id: row.id(), state: row.code.state(), duplicate: false };
            self.keep(&asked, &placed);
            self.rows.push((row, asked));
            placed
        } else {
            // Its parents are locked and counted one by one; its rows then stand behind those before it.
            self.write(book)?;
            let placed = book.put_asked(self.queue, &asked)?;
            self.keep(&asked, &placed);
            placed
        };
        self.depth += 1;
        Ok(placed)
    }

    fn keep(&mut self, asked: &Asked, placed: &Placed) {
        if let Some(key) = &asked.job.key {
            self.keys.insert(key.clone(), (Placed { duplicate: true, ..placed.clone() }, asked.spec.clone()));
        }
    }

    fn slot(&mut self, book: &mut Book, job: &NewJob) -> Done<Option<i64>> {
        let Some(asked) = &job.concurrency else { return Ok(None) };
        if let Some((most, id)) = self.slots.get(&asked.key)
            && *most == asked.max
        {
            return Ok(Some(*id));
        }
        let id = book.slot(self.queue, &asked.key, asked.max)?;
        self.slots.insert(asked.key.clone(), (asked.max, id));
        Ok(Some(id))
    }

    /// Writes the rows. A key that another replica has put meanwhile breaks the transaction, which then begins anew and
    /// finds the key.
    pub(super) fn write(&mut self, book: &mut Book) -> Done<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        row::copy(book.db()?, rows.iter().map(|(row, _)| row))?;
        let writer = book.db()?.client.copy_in("COPY body FROM STDIN (FORMAT binary)")?;
        let mut writer = BinaryCopyInWriter::new(writer, &[Type::INT8, Type::TEXT, Type::TEXT]);
        for (row, asked) in &rows {
            let columns: [Param<'_>; 3] = [&row.serial, &asked.spec, &asked.trace];
            writer.write(&columns)?;
        }
        let written = writer.finish()?;
        if written != rows.len() as u64 {
            return Err(Broken { why: format!("{written} of {} jobs were written", rows.len()) }.into());
        }
        Ok(())
    }
}
