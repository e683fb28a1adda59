//! Checks that a part keeps the promises of its trait: one function for each seam, to be called from a test.
//!
//! They are for our own connectors, formats and steps, and for those of programs that use this crate as a library. Each
//! panics, and says which promise was broken. They use no clock but the machine's, and no files.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use stdx::Clock;

use crate::{
    Batch, Chunk, Decode, Decoded, Encode, Ends, Input, Limit, Origin, Payload, Position, Read, Rows, Source, Step,
};

mod sink;

pub use sink::{direct_sink, hosting_sink, ledger, sink};

/// A read that takes longer than this has waited for something.
const READ_LONGEST: Duration = Duration::from_secs(5);

/// The schema of [`rows`]: `number`, a 64-bit integer, and `text`.
pub fn schema() -> SchemaRef {
    let number = Field::new("number", DataType::Int64, false);
    Arc::new(Schema::new(vec![number, Field::new("text", DataType::Utf8, false)]))
}

/// The rows that the sinks are given: row 7 has the number 7 and the text `row-7`.
pub fn rows(numbers: Range<i64>) -> Batch {
    let number = Int64Array::from_iter_values(numbers.clone());
    let text = StringArray::from_iter_values(numbers.clone().map(text));
    let columns = RecordBatch::try_new(schema(), vec![Arc::new(number), Arc::new(text)]).expect("columns fit");
    let origin = Origin { input: "exercise".into(), offset: numbers.start.cast_unsigned() };
    let input =
        Input { source: "exercise".into(), payload: Payload::Columns(columns.clone(), origin), messages: Rows::Same };
    Batch { columns, rows: Rows::Same, input: Arc::new(input) }
}

/// The texts of [`rows`], by which a test tells what is visible.
pub fn texts(columns: &RecordBatch) -> Vec<String> {
    let column = columns.column_by_name("text").expect("rows of `exercise::rows`");
    let texts = column.as_any().downcast_ref::<StringArray>().expect("a column of text");
    (0..texts.len()).map(|row| texts.value(row).to_owned()).collect()
}

fn text(number: i64) -> String {
    format!("row-{number}")
}

/// Checks a [`Source`] that comes to an end, and returns its messages (or rows, as text).
///
/// From each position that a read leaves behind, a source that is opened there gives exactly what follows; a read keeps
/// its limit and doesn't wait; the end stays the end. `open` opens the source at a position, on the same input each
/// time. `idle` is called when there is nothing now: it waits for the bell, or moves the clock to the moment that it is
/// given.
pub fn source(
    mut open: impl FnMut(Option<Position>) -> Box<dyn Source>,
    limit: Limit,
    mut idle: impl FnMut(Option<Duration>),
) -> Vec<Vec<u8>> {
    let mut first = open(None);
    let all = read_all(first.as_mut(), limit, &mut idle);
    let end = first.position();
    for _ in 0..2 {
        let read = first.read(limit).expect("a read after the end");
        assert!(matches!(read, Read::End), "after the end came {read:?}");
        assert_eq!(first.position(), end, "the end has one position");
    }
    drop(first);
    let messages = |reads: &[(Vec<Vec<u8>>, Position)]| -> Vec<Vec<u8>> {
        reads.iter().flat_map(|(messages, _)| messages.clone()).collect()
    };
    for (read, (_, position)) in all.iter().enumerate() {
        let mut source = open(Some(position.clone()));
        assert_eq!(source.position(), *position, "a source stands where it was opened");
        let rest = read_all(source.as_mut(), limit, &mut idle);
        let (found, expected) = (messages(&rest), messages(&all[read + 1..]));
        assert!(
            found == expected,
            "opened at {position:?}, after {} reads: {} messages follow, which are not the {} that followed before",
            read + 1,
            found.len(),
            expected.len(),
        );
    }
    messages(&all)
}

/// What each read brought, with the position after it.
fn read_all(
    source: &mut dyn Source,
    limit: Limit,
    idle: &mut impl FnMut(Option<Duration>),
) -> Vec<(Vec<Vec<u8>>, Position)> {
    const IDLE_MOST: u32 = 100_000;
    let clock = Clock::system();
    let (mut all, mut idled) = (Vec::new(), 0);
    loop {
        let before = clock.elapsed();
        let read = source.read(limit).expect("a read");
        let took = clock.elapsed().saturating_sub(before);
        assert!(took < READ_LONGEST, "a read doesn't wait, but one took {took:?}");
        let messages = match read {
            Read::Chunk(chunk) => chunk_messages(&chunk, limit),
            Read::Columns(columns, _) => {
                assert!(columns.num_rows() > 0, "a read brings at least one row");
                assert!(columns.num_rows() <= limit.rows.max(1), "{} rows, the limit is {limit:?}", columns.num_rows());
                row_texts(&columns).into_iter().map(String::into_bytes).collect()
            }
            Read::Bad { chunk, .. } => vec![chunk.bytes.to_vec()],
            Read::Idle { again } => {
                idled += 1;
                assert!(idled < IDLE_MOST, "the source neither brings anything nor ends; last asked for {again:?}");
                idle(again);
                continue;
            }
            Read::End => return all,
        };
        all.push((messages, source.position()));
    }
}

fn chunk_messages(chunk: &Chunk, limit: Limit) -> Vec<Vec<u8>> {
    assert!(!chunk.bytes.is_empty(), "a chunk has at least one byte");
    assert_eq!(chunk.origins.first().map(|(first, _)| *first), Some(0), "the first run of origins starts at message 0");
    let ranges = chunk.ranges();
    if let Ends::At { ends, .. } = &chunk.ends {
        assert!(ends.is_sorted(), "ends ascend");
        assert_eq!(
            ends.last().map(|end| *end as usize),
            Some(chunk.bytes.len()),
            "the last end is the buffer's length"
        );
    }
    let length = chunk.bytes.len();
    assert!(length <= limit.bytes || ranges.len() <= 1, "{} messages in {length} bytes, over {limit:?}", ranges.len());
    ranges.iter().map(|(start, end)| chunk.bytes[*start..*end].to_vec()).collect()
}

/// Each row as text: `name=value` for each column.
pub fn row_texts(columns: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let formatters: Vec<_> = columns
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("values that can be printed"))
        .collect();
    let schema = columns.schema();
    let row = |row: usize| {
        let values = schema.fields().iter().zip(&formatters);
        values.map(|(field, values)| format!("{}={}", field.name(), values.value(row))).collect::<Vec<_>>().join(" ")
    };
    (0..columns.num_rows()).map(row).collect()
}

/// What [`decode`] decodes.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Whether messages are lines; else each stands by itself.
    pub lines: bool,
    /// What stands at the head of the input.
    pub header: Option<Bytes>,
    /// Messages that decode. At least two.
    pub good: Vec<Vec<u8>>,
    /// Messages that don't.
    pub bad: Vec<Vec<u8>>,
}

impl Messages {
    fn chunk(&self, messages: &[&[u8]]) -> Chunk {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for message in messages {
            bytes.extend_from_slice(message);
            if self.lines {
                bytes.push(b'\n');
            }
            ends.push(u32::try_from(bytes.len()).expect("a test's messages are small"));
        }
        let ends = if self.lines { Ends::Lines } else { Ends::At { ends, bytes: true } };
        let origins = vec![(0, Origin { input: "exercise".into(), offset: 0 })];
        Chunk { bytes: bytes.into(), ends, header: self.header.clone(), origins, beside: None }
    }
}

/// Checks a [`Decode`]: each message is wholly decoded or named as bad; a bad one, wherever it stands, changes nothing
/// of what the others give; decoding can start at any message; a decoder can be used again after any input.
pub fn decode(mut open: impl FnMut() -> Box<dyn Decode>, messages: &Messages) {
    let good: Vec<&[u8]> = messages.good.iter().map(Vec::as_slice).collect();
    assert!(good.len() >= 2, "the exercise needs two good messages");
    let chunk = messages.chunk(&good);
    let expected = open().decode(&chunk, 0).expect("the good messages");
    let rows = check_decoded(&expected, 0, good.len());
    assert_eq!(expected.bad, [], "good messages");
    let mut used = open();
    for from in 0..=good.len() {
        let decoded = used.decode(&chunk, from).expect("the good messages, from the middle");
        let found = check_decoded(&decoded, from, good.len());
        let rest: Vec<_> = rows.iter().filter(|(message, _)| *message >= from).cloned().collect();
        assert_eq!(found, rest, "decoded from message {from} on");
    }
    for bad in &messages.bad {
        for at in 0..=good.len() {
            let mut mixed = good.clone();
            mixed.insert(at, bad);
            let decoded = used.decode(&messages.chunk(&mixed), 0).expect("good messages with a bad one");
            let found = check_decoded(&decoded, 0, mixed.len());
            let named: Vec<usize> = decoded.bad.iter().map(|bad| bad.row as usize).collect();
            assert_eq!(named, [at], "the bad message {} is named", bad.escape_ascii());
            let moved = |(message, row): &(usize, String)| (message + usize::from(*message >= at), row.clone());
            let others: Vec<_> = rows.iter().map(moved).collect();
            assert_eq!(found, others, "the good messages around {}", bad.escape_ascii());
        }
        let again = used.decode(&chunk, 0).expect("good messages after a bad one");
        assert_eq!(check_decoded(&again, 0, good.len()), rows, "the decoder after {}", bad.escape_ascii());
    }
}

/// The rows as text, each with its message's number.
fn check_decoded(decoded: &Decoded, from: usize, messages: usize) -> Vec<(usize, String)> {
    assert!(decoded.wider.is_none(), "messages of one schema");
    assert_eq!(decoded.next, messages, "all messages are dealt with");
    check_rows(&decoded.messages, decoded.columns.num_rows(), messages);
    let rows = row_texts(&decoded.columns).into_iter().enumerate();
    let rows: Vec<_> = rows.map(|(row, text)| (decoded.messages.before(row), text)).collect();
    assert!(rows.is_sorted_by_key(|(message, _)| *message), "rows come in the order of their messages");
    let bad: Vec<usize> = decoded.bad.iter().map(|bad| bad.row as usize).collect();
    let named = rows.iter().map(|(message, _)| *message).chain(bad.iter().copied());
    for message in named {
        assert!((from..messages).contains(&message), "message {message} is none of those given, {from}..{messages}");
    }
    for (message, _) in &rows {
        assert!(!bad.contains(message), "message {message} is bad, and still has rows");
    }
    rows
}

fn check_rows(rows: &Rows, count: usize, before: usize) {
    match rows {
        Rows::Same => assert!(count <= before, "{count} rows can't be the same as {before}"),
        Rows::Picked(picked) => {
            assert_eq!(picked.len(), count, "each row says what it was made of");
            assert!(picked.iter().all(|row| (*row as usize) < before), "rows are made of rows there were: {picked:?}");
        }
    }
}

/// Checks an [`Encode`]: what it wrote reads back as the same rows, given at once or one by one; it only appends; no
/// rows are no fault. `decode` reads what was written.
pub fn encode(
    mut open: impl FnMut(&SchemaRef) -> Box<dyn Encode>,
    mut decode: impl FnMut(&[u8]) -> Vec<RecordBatch>,
    columns: &RecordBatch,
) {
    const BEFORE: &[u8] = b"before";
    let expected = row_texts(columns);
    for piece_rows in [columns.num_rows().max(1), 1] {
        let mut encode = open(columns.schema_ref());
        let mut out = BEFORE.to_vec();
        encode.encode(&columns.slice(0, 0), &mut out).expect("no rows");
        for from in (0..columns.num_rows()).step_by(piece_rows) {
            let length = piece_rows.min(columns.num_rows() - from);
            encode.encode(&columns.slice(from, length), &mut out).expect("rows");
        }
        encode.finish(&mut out).expect("the end");
        let written = out.strip_prefix(BEFORE).expect("an encoder appends, and leaves alone what was there");
        let found: Vec<String> = decode(written).iter().flat_map(row_texts).collect();
        assert_eq!(found, expected, "written in pieces of {piece_rows} rows, and read back");
    }
}

/// Checks [`Encode::messages`]: each row is a message, alone or among others; it only appends. `decode` reads one
/// message.
pub fn encode_messages(
    mut open: impl FnMut(&SchemaRef) -> Box<dyn Encode>,
    mut decode: impl FnMut(&[u8]) -> Vec<RecordBatch>,
    columns: &RecordBatch,
) {
    const BEFORE: &[u8] = b"before";
    let expected = row_texts(columns);
    let mut encode = open(columns.schema_ref());
    let (mut out, mut ends) = (BEFORE.to_vec(), Vec::new());
    encode.messages(&columns.slice(0, 0), &mut out, &mut ends).expect("no rows");
    assert!(out == BEFORE && ends.is_empty(), "no rows are no messages");
    encode.messages(columns, &mut out, &mut ends).expect("rows");
    assert_eq!(ends.len(), columns.num_rows(), "a message for each row");
    assert_eq!(
        ends.last().map_or(BEFORE.len(), |end| *end as usize),
        out.len(),
        "the last message ends with the buffer"
    );
    assert!(out.starts_with(BEFORE), "an encoder appends, and leaves alone what was there");
    let mut start = BEFORE.len();
    let mut found = Vec::new();
    for end in ends {
        let message = &out[start..end as usize];
        let is_line = std::str::from_utf8(message).is_ok_and(|text| text.ends_with('\n'));
        assert!(!is_line, "a message has no line end");
        found.extend(decode(message).iter().flat_map(row_texts));
        start = end as usize;
    }
    assert_eq!(found, expected, "each message is read back as its row");
}

/// Checks a [`Step`]: the same rows give the same, in one piece or in two; each row that comes out says which one it
/// was made of. `from` is the number of the step's input.
pub fn step(mut open: impl FnMut() -> Box<dyn Step>, from: usize, columns: &RecordBatch) -> RecordBatch {
    let count = columns.num_rows();
    let stepped = open().run(from, columns).expect("rows that the step can work on");
    check_rows(&stepped.rows, stepped.columns.num_rows(), count);
    let expected = row_texts(&stepped.columns);
    let again = open().run(from, columns).expect("the same rows again");
    assert_eq!(row_texts(&again.columns), expected, "the same rows again");
    for cut in [0, count / 2, count] {
        let mut step = open();
        let (mut pieces, mut origins) = (Vec::new(), Vec::new());
        for (start, length) in [(0, cut), (cut, count - cut)] {
            let piece = step.run(from, &columns.slice(start, length)).expect("a piece of the rows");
            check_rows(&piece.rows, piece.columns.num_rows(), length);
            origins.extend((0..piece.columns.num_rows()).map(|row| start + piece.rows.before(row)));
            pieces.push(piece.columns);
        }
        let whole = concat_batches(stepped.columns.schema_ref(), &pieces).expect("pieces of one schema");
        assert_eq!(row_texts(&whole), expected, "cut at row {cut} of {count}");
        let before: Vec<usize> = (0..stepped.columns.num_rows()).map(|row| stepped.rows.before(row)).collect();
        assert_eq!(origins, before, "what the rows are made of, cut at row {cut} of {count}");
    }
    stepped.columns
}

#[cfg(test)]
mod tests;
