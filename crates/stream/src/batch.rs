//! What passes between seams: raw messages ([`Chunk`]), then columns with the way back to those messages ([`Batch`]).

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where a message came from, precise enough to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// A file's path, a URL without its query, `topic-partition`, or the source's own word for it.
    pub input: Arc<str>,
    /// Where in it: bytes for files, the offset for Kafka, a count of messages or rows otherwise.
    pub offset: u64,
}

/// Raw messages in one buffer, as a source read them.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The messages, one after another.
    pub bytes: Bytes,
    /// Where each message ends.
    pub ends: Ends,
    /// What stands once at the head of the input and all messages of this chunk need: the header line of a CSV file,
    /// the header of an Avro container whose blocks these are. `None` where messages stand alone.
    pub header: Option<Bytes>,
    /// Runs of messages with one origin: the first message's number and its origin. Never empty, the first is 0.
    pub origins: Vec<(u32, Origin)>,
    /// What the connector knows of each message beside its bytes: a row for each, with the columns that somebody reads.
    pub beside: Option<RecordBatch>,
}

/// How a [`Chunk`] is cut into messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// At line feeds; the last line may lack one. Offsets in an origin's run count bytes. Blank lines are no messages.
    Lines,
    /// Message `i` ends at byte `ends[i]`. Offsets in a run are bytes where `bytes` is set, otherwise they count
    /// messages.
    At {
        /// Ascending; the last is the buffer's length.
        ends: Vec<u32>,
        /// Whether offsets within a run of origins count bytes instead of messages.
        bytes: bool,
    },
}

impl Chunk {
    /// One message that stands alone.
    pub fn single(bytes: Bytes, origin: Origin) -> Self {
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            bytes,
            ends: Ends::At { ends: vec![end], bytes: false },
            header: None,
            origins: vec![(0, origin)],
            beside: None,
        }
    }

    /// The byte ranges of all messages, without line ends. Costs a scan where messages are lines: for the slow path.
    pub fn ranges(&self) -> Vec<(usize, usize)> {
        match &self.ends {
            Ends::Lines => line_ranges(&self.bytes),
            Ends::At { ends, .. } => {
                let starts = std::iter::once(0).chain(ends.iter().map(|end| *end as usize));
                starts.zip(ends.iter().map(|end| *end as usize)).collect()
            }
        }
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        match &self.ends {
            Ends::Lines => line_ranges(&self.bytes).len(),
            Ends::At { ends, .. } => ends.len(),
        }
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        match &self.ends {
            Ends::Lines => self.bytes.iter().all(|byte| matches!(byte, b'\n' | b'\r')),
            Ends::At { ends, .. } => ends.is_empty(),
        }
    }

    /// The origin of message number `message`, given what [`Chunk::ranges`] returned.
    pub fn origin(&self, message: usize, ranges: &[(usize, usize)]) -> Origin {
        let run = self.origins.partition_point(|(first, _)| *first as usize <= message).saturating_sub(1);
        let (first, origin) = &self.origins[run];
        let in_bytes = match &self.ends {
            Ends::Lines => true,
            Ends::At { bytes, .. } => *bytes,
        };
        let start = |message: usize| ranges.get(message).map_or(0, |range| range.0);
        let past = if in_bytes { start(message) - start(*first as usize) } else { message - *first as usize };
        Origin { input: Arc::clone(&origin.input), offset: origin.offset + past as u64 }
    }
}

fn line_ranges(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() {
            ranges.push((start, start + text.len()));
        }
        start += line.len();
    }
    ranges
}

/// Which rows of what came before each row is made of.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Row `i` is row `i`.
    Same,
    /// Row `i` is row `picked[i]`.
    Picked(Arc<[u32]>),
}

impl Rows {
    /// The rows that `picked` names.
    pub fn picked(picked: &UInt32Array) -> Self {
        Self::Picked(Arc::from(&picked.values()[..]))
    }

    /// Row `row`'s place before.
    pub fn before(&self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Picked(picked) => picked[row] as usize,
        }
    }

    /// These rows, whose places are rows of `earlier`, as places in what came before `earlier`.
    #[must_use]
    pub fn through(&self, earlier: &Self) -> Self {
        match (self, earlier) {
            (Self::Same, _) => earlier.clone(),
            (_, Self::Same) => self.clone(),
            (Self::Picked(picked), Self::Picked(earlier)) => {
                Self::Picked(picked.iter().map(|row| earlier[*row as usize]).collect())
            }
        }
    }

    /// Rows `from..from + length`.
    #[must_use]
    pub fn slice(&self, from: usize, length: usize) -> Self {
        let number = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        match self {
            Self::Same if from == 0 => Self::Same,
            Self::Same => Self::Picked((from..from + length).map(number).collect()),
            Self::Picked(picked) => Self::Picked(Arc::from(&picked[from..from + length])),
        }
    }
}

/// What a source handed over, kept until the fused steps and sinks are done with it, so that a bad row can be put
/// aside with its own bytes.
#[derive(Debug)]
pub struct Input {
    /// The name of the source in the document.
    pub source: Arc<str>,
    /// What was read.
    pub payload: Payload,
    /// The message of each decoded row.
    pub messages: Rows,
}

/// What was read.
#[derive(Debug)]
pub enum Payload {
    /// Raw messages.
    Chunk(Chunk),
    /// Columns, from a source that has no messages (Parquet, Arrow, `generate`); the origin is that of the first row,
    /// offsets count rows.
    Columns(RecordBatch, Origin),
}

/// Rows on an edge of the graph.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The values.
    pub columns: RecordBatch,
    /// The decoded row that each row came from.
    pub rows: Rows,
    /// Where they all came from.
    pub input: Arc<Input>,
}

impl Batch {
    /// Rows `from..from + length`, without copying values.
    #[must_use]
    pub fn slice(&self, from: usize, length: usize) -> Self {
        Self {
            columns: self.columns.slice(from, length),
            rows: self.rows.slice(from, length),
            input: Arc::clone(&self.input),
        }
    }
}

/// Why a row was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of fault, a label of `headwater_quarantined_total`.
    pub code: ReasonCode,
    /// What was expected and what was found.
    pub message: String,
}

impl Reason {
    /// A reason in words.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReasonCode {
    /// The bytes can't be decoded: cut off, broken structure, bad UTF-8, a wrong type.
    Malformed,
    /// The writer's schema can't be read as the stream's.
    SchemaIncompatible,
    /// The message is longer than the limit.
    TooLong,
    /// A step's expression failed on the row.
    Evaluation,
    /// A sink can't take the row.
    Unwritable,
}

impl ReasonCode {
    /// The code as documents, metrics and files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SchemaIncompatible => "schemaIncompatible",
            Self::TooLong => "tooLong",
            Self::Evaluation => "evaluation",
            Self::Unwritable => "unwritable",
        }
    }
}

/// A message or row that was put aside while the others went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The message's number in its chunk, or the row's number in the batch that was given.
    pub row: u32,
    /// Why.
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(input: &str, offset: u64) -> Origin {
        Origin { input: input.into(), offset }
    }

    #[test]
    fn lines_are_messages_with_byte_offsets() {
        let chunk = Chunk {
            bytes: Bytes::from_static(b"one\r\n\ntwo\nthree"),
            ends: Ends::Lines,
            header: None,
            origins: vec![(0, origin("a", 100))],
            beside: None,
        };
        let ranges = chunk.ranges();
        assert_eq!(ranges, [(0, 3), (6, 9), (10, 15)]);
        assert_eq!(chunk.origin(1, &ranges), origin("a", 106));
    }

    #[test]
    fn runs_of_origins_count_messages() {
        let chunk = Chunk {
            bytes: Bytes::from_static(b"aabbb"),
            ends: Ends::At { ends: vec![1, 2, 5], bytes: false },
            header: None,
            origins: vec![(0, origin("t-0", 7)), (2, origin("t-0", 20))],
            beside: None,
        };
        let ranges = chunk.ranges();
        assert_eq!(ranges, [(0, 1), (1, 2), (2, 5)]);
        assert_eq!(chunk.origin(1, &ranges), origin("t-0", 8));
        assert_eq!(chunk.origin(2, &ranges), origin("t-0", 20));
    }

    #[test]
    fn rows_compose() {
        let first = Rows::Picked(Arc::from([5, 7, 9]));
        let second = Rows::Picked(Arc::from([2, 0]));
        assert_eq!(second.through(&first).before(0), 9);
        assert_eq!(Rows::Same.through(&first).before(1), 7);
        assert_eq!(first.slice(1, 2).before(1), 9);
        assert_eq!(Rows::Same.slice(3, 2).before(0), 3);
    }
}
