//! Bytes to columns and back: the seams [`Cut`], [`Decode`] and [`Encode`].

pub mod arrow;
pub(crate) mod base64_text;
pub(crate) mod bisect;
pub(crate) mod conform;
pub mod csv;
pub(crate) mod guess;
pub mod json;
pub(crate) mod lines;
pub mod messagepack;
pub mod parquet;
pub mod schema;
pub mod text;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;

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

    /// Appends what is kept back and what must stand at the end. Nothing is encoded after it.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Bytes kept back in memory.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Rows of a file whose format needs the file itself (Parquet, Arrow IPC): read by position, without messages.
pub trait Scan: Send {
    /// The next rows, at most `rows`, or `None` at the end.
    fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>, Error>;
}
