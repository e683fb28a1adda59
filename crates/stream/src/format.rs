//! Bytes to columns and back: the seams [`Cut`], [`Decode`], [`Encode`] and [`Scan`], and the list of formats.

pub mod arrow;
pub mod avro;
pub(crate) mod base64_text;
pub(crate) mod bisect;
pub(crate) mod column;
pub(crate) mod conform;
pub mod csv;
mod cut;
pub(crate) mod guess;
pub mod json;
pub(crate) mod lines;
pub mod messagepack;
mod out;
pub mod parquet;
pub mod schema;
pub mod text;

use std::fs::File;
use std::path::Path;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use out::Out;

use crate::{BadRow, Chunk, Error, Reason, Rows};

/// What a decoder made of a chunk.
#[derive(Debug)]
pub struct Decoded {
    /// The good rows.
    pub columns: RecordBatch,
    /// The message that each row came from.
    pub messages: Rows,
    /// The messages that could not be decoded, `row` being the message's number; the rows of such a message are not
    /// among the good.
    pub bad: Vec<BadRow>,
    /// The messages before this number are dealt with. Less than the chunk's only when `wider` is set.
    pub next: usize,
    /// Message `next` has a schema with fields that the stream's schema lacks: the schema that holds both. The stream
    /// is planned again for this source, and a decoder opened with the wider schema goes on at `next`.
    pub wider: Option<SchemaRef>,
}

/// Makes columns of messages.
///
/// Promises: each message is wholly decoded or in `bad`; a bad one never changes what the others give; no input makes
/// it panic. It may be used again after any input.
pub trait Decode: Send {
    /// Decodes the messages from number `from` on.
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error>;
}

/// Cuts the bytes of a file or connection into messages.
///
/// Used as: [`Cut::header`] once from the input's first byte, then [`Cut::cut`] on what follows, or on what stands at a
/// stored offset that an earlier cut returned.
pub trait Cut: Send {
    /// The length of the header that every chunk of this input carries along: `Some(0)` where there is none, `None`
    /// where more bytes are needed (never when `at_end`).
    fn header(&mut self, bytes: &[u8], at_end: bool) -> Result<Option<usize>, Reason>;

    /// Takes whole messages from the front of `bytes`, at most `rows` of them as far as that can be told, appends their
    /// ends to `ends` (unless messages are lines), and returns how many bytes they span. 0 means that more bytes are
    /// needed; when `at_end`, the rest is a message, or an error: what remains of the input is one bad message.
    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, ends: &mut Vec<u32>) -> Result<usize, Reason>;

    /// Whether messages are lines, so that `ends` stays empty.
    fn lines(&self) -> bool;
}

/// Makes bytes of columns: the inside of one file, or the lines of a stream.
pub trait Encode: Send {
    /// Appends the rows to `out`, or keeps some back for a block or row group.
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Appends each row as a message of its own, without a line end, and to `ends` the length of `out` after it.
    fn messages(&mut self, columns: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Error> {
        for row in 0..columns.num_rows() {
            self.encode(&columns.slice(row, 1), out)?;
            end_message(out, ends)?;
        }
        Ok(())
    }

    /// Appends what is kept back and what must stand at the end. Nothing is encoded after it.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// As [`Encode::encode`], where what is large may go on to a file before all of it is there.
    fn encode_to(&mut self, columns: &RecordBatch, out: &mut Out) -> Result<(), Error> {
        self.encode(columns, &mut out.bytes)
    }

    /// As [`Encode::finish`], where what is large may go on to a file before all of it is there.
    fn finish_to(&mut self, out: &mut Out) -> Result<(), Error> {
        self.finish(&mut out.bytes)
    }

    /// Bytes of memory that are held from one batch to the next.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Bytes kept back that are still to be given out, as far as that can be told.
    fn pending_bytes(&self) -> u64 {
        self.memory_bytes() as u64
    }
}

/// Ends a message where `out` ends.
pub(crate) fn end_message(out: &[u8], ends: &mut Vec<u32>) -> Result<(), Error> {
    let end = u32::try_from(out.len()).map_err(|_| Error::World("a batch of messages passes 4 GiB".into()))?;
    ends.push(end);
    Ok(())
}

/// Rows of a file whose format needs the file itself (Parquet, Arrow IPC): read by position, without messages.
pub trait Scan: Send {
    /// The next rows, at most `rows`, or `None` at the end.
    fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>, Error>;
}

/// A format by its name alone, with all defaults (`format: json`), or with its settings (`format: {csv: {header: false}}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FormatSpec {
    /// The name alone.
    Name(Name),
    /// With settings.
    Settings(Format),
}

impl FormatSpec {
    /// The format with its settings.
    pub fn settings(&self) -> Format {
        match self {
            Self::Name(name) => Format::named(*name),
            Self::Settings(format) => format.clone(),
        }
    }
}

/// The names of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// JSON lines.
    Json,
    /// Comma-separated values.
    Csv,
    /// Lines, or whole messages, as they are.
    Text,
    /// MessagePack maps.
    MessagePack,
    /// Avro records.
    Avro,
    /// Parquet files.
    Parquet,
    /// Arrow IPC.
    Arrow,
}

/// A format and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON lines.
    Json(json::Spec),
    /// Comma-separated values.
    Csv(csv::Spec),
    /// Lines, or whole messages, as they are.
    Text(text::Spec),
    /// MessagePack maps.
    MessagePack(messagepack::Spec),
    /// Avro records.
    Avro(avro::Spec),
    /// Parquet files.
    Parquet(parquet::Spec),
    /// Arrow IPC.
    Arrow(arrow::Spec),
}

impl Format {
    /// The format of that name, with all defaults.
    pub fn named(name: Name) -> Self {
        match name {
            Name::Json => Self::Json(json::Spec::default()),
            Name::Csv => Self::Csv(csv::Spec::default()),
            Name::Text => Self::Text(text::Spec::default()),
            Name::MessagePack => Self::MessagePack(messagepack::Spec::default()),
            Name::Avro => Self::Avro(avro::Spec::default()),
            Name::Parquet => Self::Parquet(parquet::Spec::default()),
            Name::Arrow => Self::Arrow(arrow::Spec::default()),
        }
    }

    /// The format that a file's name tells, before `.gz` or `.zst`.
    pub fn of_file(path: &str) -> Option<Self> {
        let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
        let extension = Path::new(path).extension()?.to_str()?;
        Some(Self::named(match extension {
            "json" | "jsonl" | "ndjson" => Name::Json,
            "csv" => Name::Csv,
            "txt" | "log" => Name::Text,
            "msgpack" | "mp" => Name::MessagePack,
            "avro" => Name::Avro,
            "parquet" => Name::Parquet,
            "arrow" | "ipc" | "feather" => Name::Arrow,
            _ => return None,
        }))
    }

    /// Its name in documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::Text(_) => "text",
            Self::MessagePack(_) => "messagepack",
            Self::Avro(_) => "avro",
            Self::Parquet(_) => "parquet",
            Self::Arrow(_) => "arrow",
        }
    }

    /// How the names of files end, without a dot.
    pub(crate) fn extension(&self) -> &'static str {
        match self {
            Self::Json(spec) => json::extension(spec),
            Self::Csv(spec) => csv::extension(spec),
            Self::Text(spec) => text::extension(spec),
            Self::MessagePack(spec) => messagepack::extension(spec),
            Self::Avro(spec) => avro::extension(spec),
            Self::Parquet(spec) => parquet::extension(spec),
            Self::Arrow(spec) => arrow::extension(spec),
        }
    }

    /// What is wrong with the settings.
    pub(crate) fn problems(&self, path: &str) -> Vec<Problem> {
        let path = format!("{path}.{}", self.name());
        match self {
            Self::Json(spec) => json::problems(spec, &path),
            Self::Csv(spec) => csv::problems(spec, &path),
            Self::Text(spec) => text::problems(spec, &path),
            Self::MessagePack(spec) => messagepack::problems(spec, &path),
            Self::Avro(spec) => avro::problems(spec, &path),
            Self::Parquet(spec) => parquet::problems(spec, &path),
            Self::Arrow(spec) => arrow::problems(spec, &path),
        }
    }

    /// Whether it is read from the file itself ([`Format::scan`]) instead of being cut into messages.
    pub(crate) const fn is_scanned(&self) -> bool {
        matches!(self, Self::Parquet(_) | Self::Arrow(_))
    }

    /// Whether a file that fits into a batch may be one message: it brings what is needed to decode it.
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self, Self::Avro(_))
    }

    /// Cuts bytes into messages; nothing for formats that are scanned.
    pub fn cut(&self) -> Option<Box<dyn Cut>> {
        Some(match self {
            Self::Json(spec) => json::cut(spec),
            Self::Csv(spec) => csv::cut(spec),
            Self::Text(spec) => text::cut(spec),
            Self::MessagePack(spec) => messagepack::cut(spec),
            Self::Avro(spec) => avro::cut(spec),
            Self::Parquet(_) | Self::Arrow(_) => return None,
        })
    }

    /// The schema of the first messages, or the one that the settings give.
    pub fn infer(&self, folder: &Path, sample: &Chunk) -> Result<SchemaRef, Problem> {
        match self {
            Self::Json(spec) => json::infer(spec, folder, sample),
            Self::Csv(spec) => csv::infer(spec, folder, sample),
            Self::Text(spec) => text::infer(spec, folder, sample),
            Self::MessagePack(spec) => messagepack::infer(spec, folder, sample),
            Self::Avro(spec) => avro::infer(spec, folder, sample),
            Self::Parquet(_) | Self::Arrow(_) => Err(Problem::at("format")
                .found(format!("`{}`", self.name()))
                .expected("a format of messages: json, csv, text, messagepack, avro")),
        }
    }

    /// The schema of a file that is scanned.
    pub fn scan_schema(&self, file: &File) -> Result<SchemaRef, Error> {
        match self {
            Self::Parquet(spec) => parquet::scan_schema(spec, file),
            Self::Arrow(spec) => arrow::scan_schema(spec, file),
            _ => Err(Error::House(format!("{} files are not scanned", self.name()))),
        }
    }

    /// Opens a file that is scanned, at a row.
    pub fn scan(&self, file: File, wanted: &SchemaRef, from_row: u64) -> Result<Box<dyn Scan>, Error> {
        match self {
            Self::Parquet(spec) => parquet::scan(spec, file, Some(wanted), from_row),
            Self::Arrow(spec) => arrow::scan(spec, file, Some(wanted), from_row),
            _ => Err(Error::House(format!("{} files are not scanned", self.name()))),
        }
    }

    /// Opens a decoder that gives the columns `wanted`, a part of `full`.
    pub fn decode(&self, full: &SchemaRef, wanted: &SchemaRef, folder: &Path) -> Result<Box<dyn Decode>, Error> {
        match self {
            Self::Json(spec) => json::decode(spec, wanted),
            Self::Csv(spec) => csv::decode(spec, wanted),
            Self::Text(spec) => text::decode(spec, wanted),
            Self::MessagePack(spec) => messagepack::decode(spec, wanted),
            Self::Avro(spec) => avro::decode(spec, full, wanted, folder),
            Self::Parquet(_) | Self::Arrow(_) => Err(Error::House(format!("{} has no messages", self.name()))),
        }
    }

    /// What of a schema the format can't write.
    pub(crate) fn encodable(&self, schema: &SchemaRef, path: &str) -> Vec<Problem> {
        let path = format!("{path}.{}", self.name());
        match self {
            Self::Json(spec) => json::encodable(spec, schema, &path),
            Self::Csv(spec) => csv::encodable(spec, schema, &path),
            Self::Text(spec) => text::encodable(spec, schema, &path),
            Self::MessagePack(spec) => messagepack::encodable(spec, schema, &path),
            Self::Avro(spec) => avro::encodable(spec, schema, &path),
            Self::Parquet(spec) => parquet::encodable(spec, schema, &path),
            Self::Arrow(spec) => arrow::encodable(spec, schema, &path),
        }
    }

    /// Opens an encoder for rows of a schema.
    pub fn encode(&self, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
        match self {
            Self::Json(spec) => json::encode(spec, schema),
            Self::Csv(spec) => csv::encode(spec, schema),
            Self::Text(spec) => text::encode(spec, schema),
            Self::MessagePack(spec) => messagepack::encode(spec, schema),
            Self::Avro(spec) => avro::encode(spec, schema),
            Self::Parquet(spec) => parquet::encode(spec, schema),
            Self::Arrow(spec) => arrow::encode(spec, schema),
        }
    }
}
