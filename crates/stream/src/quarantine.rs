//! Rows that could not be decoded, evaluated or written: kept with their bytes, coordinates and reason, as part of the
//! same commit as the good ones. One JSON object a line, in files beside the ledger.

mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use stdx::Clock;

use crate::connector::files::staging::{StagedFile, Staging};
use crate::meter::StreamMeter;
use crate::{Batch, Chunk, Error, Origin, Payload, Reason, ReasonCode, Token};

pub(crate) use replay::ReplaySource;

/// A row that was put aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// The source it came from.
    pub source: String,
    /// The part that refused it: the source (decoding), a step, or a sink.
    pub part: String,
    /// Where its message came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The row's number within its message, where a message holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// The kind of fault.
    pub code: ReasonCode,
    /// The fault in words.
    pub message: String,
    /// What `bytes` is.
    pub encoding: Encoding,
    /// The message, or the row as an Arrow stream, in base64.
    pub bytes: String,
    /// The head of the input that the message needs (a CSV header line, an Avro container's header), in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// What the bytes of an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// The message as it was read.
    Message,
    /// An Arrow IPC stream of one row, from a source that has no messages.
    Arrow,
}

impl Entry {
    /// The bytes, decoded.
    pub fn payload(&self) -> Result<Vec<u8>, Error> {
        BASE64.decode(&self.bytes).map_err(|error| Error::World(format!("an entry's bytes are not base64: {error}")))
    }

    /// The header, decoded.
    pub fn header(&self) -> Result<Option<Vec<u8>>, Error> {
        let decode = |text: &String| BASE64.decode(text);
        let header = self.header.as_ref().map(decode).transpose();
        header.map_err(|error| Error::World(format!("an entry's header is not base64: {error}")))
    }
}

/// Where one task puts rows aside.
pub(crate) struct Quarantine {
    staging: Staging,
    file: Option<StagedFile>,
    sequence: u64,
    meter: Arc<StreamMeter>,
    clock: Clock,
    /// The messages' ranges of the chunk that was looked at last: finding them costs a scan.
    ranges: Option<(usize, Vec<(usize, usize)>)>,
}

impl Quarantine {
    /// Opens the quarantine of `task` in `folder`.
    pub(crate) fn open(
        folder: &Path,
        uid: &str,
        task: &str,
        claim: u64,
        sequence: u64,
        (meter, clock): (Arc<StreamMeter>, Clock),
    ) -> Result<Self, Error> {
        let staging = Staging::open(folder, uid, crate::task::QUARANTINE, task, claim)?;
        Ok(Self { staging, file: None, sequence, meter, clock, ranges: None })
    }

    /// Puts a message aside that `part` refused.
    pub(crate) fn put_message(
        &mut self,
        source: &str,
        part: &str,
        chunk: &Chunk,
        message: usize,
        reason: &Reason,
    ) -> Result<(), Error> {
        let entry = self.message_entry(source, part, chunk, message, None, reason);
        self.put(&entry)
    }

    /// Puts row `row` of `batch` aside, which `part` refused.
    pub(crate) fn put_row(&mut self, part: &str, batch: &Batch, row: usize, reason: &Reason) -> Result<(), Error> {
        let input = &batch.input;
        let decoded_row = batch.rows.before(row);
        let entry = match &input.payload {
            Payload::Chunk(chunk) => {
                let message = input.messages.before(decoded_row);
                let first = (0..decoded_row).rev().take_while(|row| input.messages.before(*row) == message).count();
                let within = u32::try_from(first).unwrap_or(u32::MAX);
                self.message_entry(&input.source, part, chunk, message, Some(within), reason)
            }
            Payload::Columns(columns, origin) => Entry {
                at: self.clock.now().millis(),
                source: input.source.to_string(),
                part: part.into(),
                origin: Origin { input: Arc::clone(&origin.input), offset: origin.offset + decoded_row as u64 },
                row: None,
                code: reason.code,
                message: reason.message.clone(),
                encoding: Encoding::Arrow,
                bytes: BASE64.encode(arrow_stream(&columns.slice(decoded_row, 1))?),
                header: None,
            },
        };
        self.put(&entry)
    }

    fn message_entry(
        &mut self,
        source: &str,
        part: &str,
        chunk: &Chunk,
        message: usize,
        row: Option<u32>,
        reason: &Reason,
    ) -> Entry {
        let key = chunk.bytes.as_ptr() as usize;
        let ranges = match self.ranges.take() {
            Some((known, ranges)) if known == key => ranges,
            _ => chunk.ranges(),
        };
        let (start, end) = ranges.get(message).copied().unwrap_or((0, chunk.bytes.len()));
        let entry = Entry {
            at: self.clock.now().millis(),
            source: source.into(),
            part: part.into(),
            origin: chunk.origin(message, &ranges),
            row,
            code: reason.code,
            message: reason.message.clone(),
            encoding: Encoding::Message,
            bytes: BASE64.encode(&chunk.bytes[start..end]),
            header: chunk.header.as_ref().map(|header| BASE64.encode(header)),
        };
        self.ranges = Some((key, ranges));
        entry
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Error> {
        self.meter.quarantined(entry.code);
        let mut line = serde_json::to_vec(entry)
            .map_err(|error| Error::House(format!("an entry can't be written as JSON: {error}")))?;
        line.push(b'\n');
        if self.file.is_none() {
            self.file = Some(self.staging.create(self.sequence + 1)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write(&line))
    }

    /// Forgets the chunk that was looked at last.
    pub(crate) fn next_chunk(&mut self) {
        self.ranges = None;
    }

    pub(crate) fn prepare(&mut self, sequence: u64) -> Result<Option<Token>, Error> {
        self.sequence = sequence;
        let Some(file) = self.file.take() else { return Ok(None) };
        self.staging.seal(file, Path::new(""), "jsonl")?;
        self.staging.prepare()
    }

    pub(crate) fn publish(&mut self, token: &Token) -> Result<(), Error> {
        self.staging.publish(token)
    }

    pub(crate) fn sweep(&mut self, keep: Option<&Token>) -> Result<(), Error> {
        self.staging.sweep(keep)
    }
}

fn arrow_stream(row: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), &row.schema()).map_err(Error::arrow("open an Arrow stream"))?;
    writer.write(row).map_err(Error::arrow("write a row to an Arrow stream"))?;
    writer.into_inner().map_err(Error::arrow("end an Arrow stream"))
}

/// The published files of a quarantine, oldest first.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for name in crate::ledger::local::names(folder)? {
        if !name.starts_with('_') && Path::new(&name).extension().is_some_and(|extension| extension == "jsonl") {
            let path = folder.join(name);
            let modified = std::fs::metadata(&path).and_then(|data| data.modified()).map_err(Error::file("look at", &path))?;
            files.push((modified, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The entries of one published file, each with its number there.
pub fn entries(path: &Path) -> Result<Vec<Entry>, Error> {
    let text = std::fs::read(path).map_err(Error::file("read", path))?;
    let mut entries = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        entries.push(serde_json::from_slice(line).map_err(|error| Error::Stored {
            what: "a quarantine file",
            path: path.into(),
            found: error.to_string(),
        })?);
    }
    Ok(entries)
}
