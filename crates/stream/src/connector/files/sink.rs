//! The sink: one writer for each folder, as many as memory allows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use stdx::Clock;

use super::staging::{Staged, StagedFile, Staging};
use super::{Roll, Written, partition};
use crate::{BadRow, Batch, Encode, Error, Lease, OpenSink, Out, Sink, Token};

/// Encoded bytes are written to the disk in pieces of at least this size.
const WRITE_BYTES: usize = 64 << 10;

/// Room for encoded bytes that is kept from one batch to the next.
const SCRATCH_BYTES: usize = 1 << 20;

/// What a writer costs, in halves of what it holds. As writers are closed and others opened, their buffers leave holes
/// in memory that none of the next fits into; with a thousand Parquet writers, resident memory was seen to grow to 2.3
/// times what they held.
const COST_HALVES: usize = 5;

/// The most writers that are open at once, however little memory they take.
const WRITERS_MAX: usize = 4096;

/// The sink.
pub(super) struct FilesSink {
    staging: Staging,
    written: Written,
    roll: Roll,
    clock: Clock,
    lease: Lease,
    /// What published names begin with.
    prefix: String,
    shape: Option<Shape>,
    writers: HashMap<Arc<str>, Writer>,
    /// The open writers' folders, the least recently used first.
    uses: BTreeMap<u64, Arc<str>>,
    next_use: u64,
    ended: Vec<Ended>,
    scratch: Vec<u8>,
    writer_bytes: usize,
    bytes_written: u64,
    /// When the oldest row that isn't prepared came.
    since: Option<Duration>,
    has_full: bool,
}

/// How rows become the rows of a file.
struct Shape {
    rows: SchemaRef,
    file: SchemaRef,
    kept: Vec<usize>,
}

struct Writer {
    encode: Box<dyn Encode>,
    file: Staged,
    /// Encoded and not yet on the disk.
    buffer: Vec<u8>,
    rows: u64,
    last_use: u64,
    /// What it was last counted with.
    memory_bytes: usize,
}

/// A file that only waits for its commit.
struct Ended {
    file: Staged,
    folder: Arc<str>,
}

#[derive(Serialize, Deserialize)]
struct Prepared {
    files: Vec<StagedFile>,
}

impl FilesSink {
    /// Opens the sink; nothing is made before the first row.
    pub(super) fn open(root: &Path, roll: &Roll, written: Written, open: OpenSink) -> Self {
        let OpenSink { name, uid, task, claim, world, .. } = open;
        Self {
            staging: Staging::open(root, &uid, &name, &task, claim),
            written,
            roll: roll.clone(),
            clock: world.clock,
            lease: world.pool.lease(),
            prefix: format!("{uid}-{name}-{task}-{claim}"),
            shape: None,
            writers: HashMap::new(),
            uses: BTreeMap::new(),
            next_use: 0,
            ended: Vec::new(),
            scratch: Vec::new(),
            writer_bytes: 0,
            bytes_written: 0,
            since: None,
            has_full: false,
        }
    }

    /// The columns that go into the file. Other columns than before end all open files.
    fn shape(&mut self, columns: &RecordBatch) -> Result<RecordBatch, Error> {
        let rows = columns.schema();
        let is_same = |shape: &Shape| Arc::ptr_eq(&shape.rows, &rows) || shape.rows == rows;
        if !self.shape.as_ref().is_some_and(is_same) {
            self.end_all()?;
            let is_kept = |index: &usize| !self.written.without.contains(rows.field(*index).name());
            let kept: Vec<usize> = (0..rows.fields().len()).filter(is_kept).collect();
            let file = Arc::new(rows.project(&kept).map_err(Error::arrow("leave out partition columns"))?);
            self.shape = Some(Shape { rows, file, kept });
        }
        match &self.shape {
            Some(shape) if shape.kept.len() < columns.num_columns() => {
                columns.project(&shape.kept).map_err(Error::arrow("leave out partition columns"))
            }
            _ => Ok(columns.clone()),
        }
    }

    /// Writes rows of one folder, ending files as they get full.
    fn append(&mut self, folder: &str, columns: &RecordBatch) -> Result<(), Error> {
        let mut from = 0;
        while from < columns.num_rows() {
            let (folder, mut writer) = self.writer(folder)?;
            let count = self.roll.rows_left(writer.rows).min(columns.num_rows() - from);
            let rows = columns.slice(from, count);
            self.bytes_written += writer.put(&mut self.scratch, |encode, out| encode.encode_to(&rows, out))?;
            writer.rows += count as u64;
            from += count;
            if self.roll.is_full(writer.rows, writer.bytes()) {
                self.has_full = true;
                self.end(folder, writer)?;
            } else {
                self.keep(folder, writer);
            }
            self.fit()?;
        }
        Ok(())
    }

    /// Takes out the open writer of a folder, or a new one.
    fn writer(&mut self, folder: &str) -> Result<(Arc<str>, Writer), Error> {
        if let Some((folder, writer)) = self.writers.remove_entry(folder) {
            self.uses.remove(&writer.last_use);
            self.writer_bytes -= writer.memory_bytes;
            return Ok((folder, writer));
        }
        let Some(shape) = &self.shape else { return Err(Error::House("rows came before their columns".to_owned())) };
        let encode = (self.written.encode)(&shape.file)?;
        let file = self.staging.create()?;
        Ok((folder.into(), Writer { encode, file, buffer: Vec::new(), rows: 0, last_use: 0, memory_bytes: 0 }))
    }

    /// Puts a writer back as the most recently used.
    fn keep(&mut self, folder: Arc<str>, mut writer: Writer) {
        writer.last_use = self.next_use;
        self.next_use += 1;
        let held_bytes = writer.encode.memory_bytes() + writer.buffer.capacity();
        writer.memory_bytes = held_bytes * COST_HALVES / 2;
        self.writer_bytes += writer.memory_bytes;
        self.uses.insert(writer.last_use, Arc::clone(&folder));
        self.writers.insert(folder, writer);
    }

    /// Closes the least recently used writers until memory suffices, or one is left.
    fn fit(&mut self) -> Result<(), Error> {
        while (!self.lease.set(self.writer_bytes + self.scratch.capacity()) || self.writers.len() > WRITERS_MAX)
            && self.writers.len() > 1
        {
            self.end_oldest()?;
        }
        Ok(())
    }

    fn end_oldest(&mut self) -> Result<(), Error> {
        let Some((_, folder)) = self.uses.pop_first() else { return Ok(()) };
        let Some((folder, writer)) = self.writers.remove_entry(&folder) else { return Ok(()) };
        self.writer_bytes -= writer.memory_bytes;
        self.end(folder, writer)
    }

    fn end(&mut self, folder: Arc<str>, mut writer: Writer) -> Result<(), Error> {
        self.bytes_written += writer.put(&mut self.scratch, |encode, out| encode.finish_to(out))?;
        self.bytes_written += writer.write_out()?;
        self.ended.push(Ended { file: writer.file, folder });
        Ok(())
    }

    fn end_all(&mut self) -> Result<(), Error> {
        while !self.writers.is_empty() {
            self.end_oldest()?;
        }
        self.lease.set(self.scratch.capacity());
        Ok(())
    }
}

impl Writer {
    /// Encodes behind what is buffered, in `scratch`, and tells how many bytes went to the disk.
    fn put(
        &mut self,
        scratch: &mut Vec<u8>,
        encode: impl FnOnce(&mut dyn Encode, &mut Out) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        scratch.clear();
        scratch.append(&mut self.buffer);
        let before = self.file.bytes();
        let mut out = Out::file(std::mem::take(scratch), self.file.path().to_owned());
        encode(&mut *self.encode, &mut out)?;
        self.file.grew(out.spilled_bytes());
        *scratch = out.bytes;
        if scratch.len() < WRITE_BYTES {
            self.buffer = scratch.clone();
        } else {
            self.file.append(scratch)?;
        }
        scratch.shrink_to(SCRATCH_BYTES);
        Ok(self.file.bytes() - before)
    }

    /// Writes what is buffered to the disk, and tells how many bytes that were.
    fn write_out(&mut self) -> Result<u64, Error> {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.file.append(&buffer)?;
        }
        Ok(buffer.len() as u64)
    }

    /// The bytes of the file if it ended now, as far as that can be told.
    fn bytes(&self) -> u64 {
        self.file.bytes() + self.buffer.len() as u64 + self.encode.pending_bytes()
    }
}

impl Sink for FilesSink {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        let mut bad = Vec::new();
        if batch.columns.num_rows() == 0 {
            return Ok(bad);
        }
        self.since.get_or_insert_with(|| self.clock.elapsed());
        let columns = self.shape(&batch.columns)?;
        for group in partition::split(&self.written.partitions, &batch.columns, &mut bad)? {
            match &group.rows {
                None => self.append(&group.folder, &columns)?,
                Some(rows) => {
                    let picked = take_record_batch(&columns, rows).map_err(Error::arrow("pick a folder's rows"))?;
                    self.append(&group.folder, &picked)?;
                }
            }
        }
        bad.sort_unstable_by_key(|bad| bad.row);
        Ok(bad)
    }

    fn wants_commit(&self) -> bool {
        let is_due = |since| self.clock.elapsed().saturating_sub(since) >= self.roll.every.get();
        (self.has_full && self.writers.is_empty()) || self.since.is_some_and(is_due)
    }

    fn prepare(&mut self, sequence: u64) -> Result<Option<Token>, Error> {
        self.end_all()?;
        self.since = None;
        self.has_full = false;
        if self.ended.is_empty() {
            return Ok(None);
        }
        let (mut files, folders): (Vec<Staged>, Vec<Arc<str>>) =
            self.ended.drain(..).map(|ended| (ended.file, ended.folder)).unzip();
        self.staging.seal(&mut files)?;
        let name = |(part, (file, folder)): (usize, (&Staged, &Arc<str>))| {
            let slash = if folder.is_empty() { "" } else { "/" };
            let name = format!("{}-{sequence}-{part}.{}", self.prefix, self.written.extension);
            StagedFile { staged: file.name().to_owned(), path: format!("{folder}{slash}{name}") }
        };
        let files = files.iter().zip(&folders).enumerate().map(name).collect();
        let token = serde_json::to_value(Prepared { files });
        Ok(Some(Token(token.map_err(|fault| Error::House(format!("a token can't be written: {fault}")))?)))
    }

    fn publish(&mut self, token: &Token) -> Result<(), Error> {
        self.staging.publish(&self.read(token)?)
    }

    fn sweep(&mut self, keep: Option<&Token>) -> Result<(), Error> {
        let keep = keep.map(|token| self.read(token)).transpose()?.unwrap_or_default();
        self.staging.sweep(&keep)
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

impl FilesSink {
    fn read(&self, token: &Token) -> Result<Vec<StagedFile>, Error> {
        let prepared: Result<Prepared, _> = serde_json::from_value(token.0.clone());
        let found = |fault: serde_json::Error| Error::Stored {
            what: "a token of the files sink",
            path: self.staging.root().to_owned(),
            found: fault.to_string(),
        };
        prepared.map(|prepared| prepared.files).map_err(found)
    }
}
