//! Rows that could not be decoded, evaluated or written: kept with their bytes, coordinates and reason, as part of the
//! same commit as the good ones. One JSON object a line, in files beside the ledger.

mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stdx::Clock;

use crate::connector::files::{Staged, StagedFile, Staging};
use crate::meter::StreamMeter;
use crate::spec::Stream;
use crate::{Batch, Chunk, Error, Origin, Payload, Reason, ReasonCode, Token};

pub(crate) use replay::is_replay;
pub use replay::{is_replayed, replay_plan};

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

enum Place {
    Folder { staging: Staging, stem: String, file: Option<Staged> },
    Memory(Vec<Entry>),
}

/// Where one task puts rows aside.
pub(crate) struct Quarantine {
    place: Place,
    meter: Arc<StreamMeter>,
    clock: Clock,
    /// The messages' ranges of the chunk that was looked at last: finding them costs a scan. Its bytes are kept with
    /// them, so that no other chunk gets their address.
    ranges: Option<(Bytes, Vec<(usize, usize)>)>,
}

impl Quarantine {
    /// Opens the quarantine of `task` in `folder`.
    pub(crate) fn open(
        folder: &Path,
        (uid, task, claim): (&str, &str, u64),
        meter: Arc<StreamMeter>,
        clock: Clock,
    ) -> Self {
        let staging = Staging::open(folder, uid, "quarantine", task, claim);
        let stem = format!("{uid}-{task}-{claim}");
        Self { place: Place::Folder { staging, stem, file: None }, meter, clock, ranges: None }
    }

    /// A quarantine in memory, for fixtures.
    pub(crate) fn in_memory(meter: Arc<StreamMeter>, clock: Clock) -> Self {
        Self { place: Place::Memory(Vec::new()), meter, clock, ranges: None }
    }

    /// What a quarantine in memory holds.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        match self.place {
            Place::Folder { .. } => Vec::new(),
            Place::Memory(entries) => entries,
        }
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
        let same = |known: &Bytes| known.as_ptr() == chunk.bytes.as_ptr() && known.len() == chunk.bytes.len();
        let ranges = match self.ranges.take() {
            Some((known, ranges)) if same(&known) => ranges,
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
        self.ranges = Some((chunk.bytes.clone(), ranges));
        entry
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Error> {
        self.meter.quarantined(entry.code);
        let (staging, file) = match &mut self.place {
            Place::Memory(entries) => {
                entries.push(entry.clone());
                return Ok(());
            }
            Place::Folder { staging, file, .. } => (staging, file),
        };
        let mut line = serde_json::to_vec(entry)
            .map_err(|error| Error::House(format!("an entry can't be written as JSON: {error}")))?;
        line.push(b'\n');
        if file.is_none() {
            *file = Some(staging.create()?);
        }
        file.as_mut().map_or(Ok(()), |file| file.append(&line))
    }

    /// Makes durable what was put aside since the last record, and names it.
    pub(crate) fn prepare(&mut self, sequence: u64) -> Result<Option<Token>, Error> {
        self.ranges = None;
        let Place::Folder { staging, stem, file } = &mut self.place else { return Ok(None) };
        let Some(mut file) = file.take() else { return Ok(None) };
        staging.seal(std::slice::from_mut(&mut file))?;
        let named = StagedFile { staged: file.name().to_owned(), path: format!("{stem}-{sequence}.jsonl") };
        let token = serde_json::to_value([named]);
        token
            .map(|token| Some(Token(token)))
            .map_err(|error| Error::House(format!("a token can't be written: {error}")))
    }

    /// Makes visible what `token` names.
    pub(crate) fn publish(&mut self, token: &Token) -> Result<(), Error> {
        match &self.place {
            Place::Folder { staging, .. } => staging.publish(&named(token)?),
            Place::Memory(_) => Ok(()),
        }
    }

    /// Removes what lower claims staged and `keep` doesn't name.
    pub(crate) fn sweep(&mut self, keep: Option<&Token>) -> Result<(), Error> {
        match &self.place {
            Place::Folder { staging, .. } => staging.sweep(&keep.map(named).transpose()?.unwrap_or_default()),
            Place::Memory(_) => Ok(()),
        }
    }
}

fn named(token: &Token) -> Result<Vec<StagedFile>, Error> {
    serde_json::from_value(token.0.clone())
        .map_err(|error| Error::World(format!("a quarantine's token can't be understood: {error}")))
}

fn arrow_stream(row: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), &row.schema()).map_err(Error::arrow("open an Arrow stream"))?;
    writer.write(row).map_err(Error::arrow("write a row to an Arrow stream"))?;
    writer.into_inner().map_err(Error::arrow("end an Arrow stream"))
}

/// The folder of a stream's quarantine: what the document says, otherwise beside its ledger.
pub fn folder(stream: &Stream, folder: &Path) -> PathBuf {
    match &stream.spec.quarantine {
        Some(quarantine) => crate::connector::files::local_folder(&quarantine.url, folder),
        None => crate::facts::homes(stream, folder).swap_remove(0).quarantine(),
    }
}

/// The published files of a quarantine, oldest first.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for name in crate::ledger::local::names(folder)? {
        if !name.starts_with('_') && Path::new(&name).extension().is_some_and(|extension| extension == "jsonl") {
            let path = folder.join(name);
            let modified =
                std::fs::metadata(&path).and_then(|data| data.modified()).map_err(Error::file("look at", &path))?;
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
