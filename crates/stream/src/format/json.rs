//! JSON, one object a line.

mod direct;
mod whole;

use std::ops::Range;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use document::Problem;
use memchr::memchr2_iter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::base64_text;
use crate::format::bisect::{self, Fault};
use crate::format::end_message;
use crate::format::guess::{self, Guess};
use crate::format::lines::{Lines, Spans};
use crate::format::schema::{self, INFERRED_ROWS_MAX, SchemaSpec};
use crate::{Chunk, Cut, Decode, Decoded, Encode, Error};

use self::direct::Direct;
use self::whole::Whole;

/// JSON, one object a line (NDJSON), or one object a message.
///
/// Blank lines are passed over. A line that isn't one whole object, or has a value of another type than its column, is
/// put aside and the others go on. Fields that are not in the schema are ignored, fields that are missing are null, of
/// a name that comes twice the last one holds. Numbers may be written as text where the column is a number. Bytes are
/// base64 text, timestamps are RFC 3339 text (or whole microseconds since 1970). Objects may nest 100 deep.
///
/// Written are the same types; numbers that are not finite are written as null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// The columns when reading. Inferred columns are bool, int64 (uint64 where values need it), float64, string, lists
    /// and structs of these; text that looks like a timestamp stays text, a column that is null in all of the first rows
    /// is text.
    pub schema: SchemaSpec,
    /// What is written for a null.
    pub nulls: Nulls,
}

/// What is written for a null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Nulls {
    /// Nothing: the field is left out, which makes smaller files.
    #[default]
    Omit,
    /// `null`, for readers that want every field in every row.
    Write,
}

/// How deep objects and lists may nest.
const DEPTH_MAX: usize = 100;

pub(crate) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    spec.schema.problems(&format!("{path}.schema"))
}

pub(crate) const fn extension(_spec: &Spec) -> &'static str {
    "jsonl"
}

pub(crate) fn cut(_spec: &Spec) -> Box<dyn Cut> {
    Box::new(Lines)
}

/// The schema that is written down, or that of the first rows. Problems name paths from `schema` on.
pub(crate) fn infer(spec: &Spec, folder: &Path, sample: &Chunk) -> Result<SchemaRef, Problem> {
    if let Some(schema) = spec.schema.given(folder)? {
        return Ok(schema);
    }
    let mut spans = Spans::default();
    spans.find(sample, 0, is_text);
    let rows = spans.places.iter().take(INFERRED_ROWS_MAX);
    guess::schema(rows.filter_map(|(start, end)| serde_json::from_slice(&sample.bytes[*start..*end]).ok()).map(guess))
}

fn guess(value: Value) -> Guess {
    match value {
        Value::Null => Guess::Null,
        Value::Bool(_) => Guess::Bool,
        Value::Number(number) if number.is_f64() => Guess::Float,
        Value::Number(number) => {
            Guess::Int { negative: number.as_i64().is_some_and(i64::is_negative), large: number.as_i64().is_none() }
        }
        Value::String(_) => Guess::Text,
        Value::Array(items) => {
            let mut all = Guess::Null;
            // A list of several sorts of items gets the sort of the first; rows are put aside by it.
            for item in items {
                let _ = all.merge(guess(item));
            }
            Guess::List(Box::new(all))
        }
        Value::Object(fields) => Guess::Struct(fields.into_iter().map(|(name, value)| (name, guess(value))).collect()),
    }
}

pub(crate) fn decode(_spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Decode>, Error> {
    let careful = Careful { whole: Whole::new(schema), tape: Tape::new(schema)? };
    Ok(Box::new(JsonDecode { direct: Direct::new(schema), careful, spans: Spans::default() }))
}

/// Lines out of the ordinary in one range that are read alone; from the next on, all are read with care.
const ODD_MAX: usize = 16;

struct JsonDecode {
    direct: Option<Direct>,
    careful: Careful,
    spans: Spans,
}

impl Decode for JsonDecode {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let Self { direct, careful, spans } = self;
        spans.find(chunk, from, is_text);
        let schema = careful.tape.schema.clone();
        bisect::decode(spans, &schema, |range| match direct {
            Some(direct) => mixed(direct, careful, &chunk.bytes, spans, range),
            None => careful.read(&chunk.bytes, spans, range),
        })
    }
}

/// Reads plain lines directly, and with care those that are not.
fn mixed(
    direct: &mut Direct,
    careful: &mut Careful,
    bytes: &[u8],
    spans: &Spans,
    range: Range<usize>,
) -> Result<RecordBatch, Fault> {
    let fault = |error: ArrowError| Fault::Somewhere(error.to_string());
    let (mut pieces, mut next, mut odd) = (Vec::new(), range.start, 0);
    while next < range.end {
        let stopped = direct.read(bytes, &spans.places, next..range.end);
        if stopped > next {
            pieces.push(direct.finish().map_err(fault)?);
        }
        next = stopped;
        if stopped < range.end {
            odd += 1;
            next = if odd > ODD_MAX { range.end } else { stopped + 1 };
            pieces.push(careful.read(bytes, spans, stopped..next)?);
        }
    }
    match &pieces[..] {
        [whole] => Ok(whole.clone()),
        _ => concat_batches(&careful.tape.schema, &pieces).map_err(fault),
    }
}

/// Reads whatever is JSON, by Arrow's decoder.
struct Careful {
    whole: Whole,
    tape: Tape,
}

impl Careful {
    /// Feeds one message at a time, since only that tells a line with two halves of objects from one with a whole
    /// object.
    fn read(&mut self, bytes: &[u8], spans: &Spans, range: Range<usize>) -> Result<RecordBatch, Fault> {
        let first = range.start;
        let mut decoder = self.tape.open(range.len())?;
        for at in range {
            let (start, end) = spans.places[at];
            let text = &bytes[start..end];
            feed(&mut decoder, text, at - first + 1).map_err(|why| Fault::At(at, why))?;
            self.whole.check(text).map_err(|why| Fault::At(at, why))?;
        }
        self.tape.close(decoder)
    }
}

fn feed(decoder: &mut Decoder, text: &[u8], rows: usize) -> Result<(), String> {
    match text.iter().find(|byte| is_text(**byte)) {
        Some(b'{') => {}
        Some(byte) => return Err(format!("expected an object, found `{}`", byte.escape_ascii())),
        None => return Err("expected an object, found nothing".into()),
    }
    if is_too_deep(text) {
        return Err(format!("expected objects that nest at most {DEPTH_MAX} deep, found more"));
    }
    let read = decoder.decode(text).map_err(|error| error.to_string())?;
    if decoder.has_partial_record() {
        return Err("expected a whole object, found one that is cut off".into());
    }
    if read != text.len() || decoder.len() != rows {
        return Err("expected one object, found more after it".into());
    }
    Ok(())
}

/// Whether brackets nest too deep: printing such a value in an error would take a stack frame for each.
fn is_too_deep(text: &[u8]) -> bool {
    if text.len() < 2 * DEPTH_MAX || memchr2_iter(b'[', b'{', text).count() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

const fn is_text(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Arrow's decoder, which is thrown away whenever it found a fault: after one it fails for ever.
pub(crate) struct Tape {
    pub(crate) schema: SchemaRef,
    /// The schema with text in place of bytes, where there are bytes.
    text: Option<SchemaRef>,
    decoder: Option<Decoder>,
    /// Rows that the decoder takes.
    rows_max: usize,
}

impl Tape {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let mut tape =
            Self { schema: schema.clone(), text: base64_text::text_schema(schema), decoder: None, rows_max: 1 };
        let decoder = tape.build(1).map_err(Error::arrow("open a JSON decoder"))?;
        tape.decoder = Some(decoder);
        Ok(tape)
    }

    fn build(&self, rows: usize) -> Result<Decoder, ArrowError> {
        ReaderBuilder::new(self.text.as_ref().unwrap_or(&self.schema).clone()).with_batch_size(rows).build_decoder()
    }

    /// A decoder that takes at least `rows` rows.
    pub(crate) fn open(&mut self, rows: usize) -> Result<Decoder, Fault> {
        if let Some(decoder) = self.decoder.take().filter(|_| self.rows_max >= rows) {
            return Ok(decoder);
        }
        self.rows_max = rows.next_power_of_two();
        self.build(self.rows_max).map_err(|error| Fault::Somewhere(error.to_string()))
    }

    /// The rows that were fed; the decoder is kept for the next.
    pub(crate) fn close(&mut self, mut decoder: Decoder) -> Result<RecordBatch, Fault> {
        let fault = |error: ArrowError| Fault::Somewhere(error.to_string());
        let batch = decoder.flush().map_err(fault)?;
        self.decoder = Some(decoder);
        match batch {
            Some(batch) if self.text.is_some() => base64_text::convert(&batch, &self.schema).map_err(fault),
            Some(batch) => Ok(batch),
            None => Ok(RecordBatch::new_empty(self.schema.clone())),
        }
    }
}

pub(crate) fn encodable(_spec: &Spec, schema: &Schema, path: &str) -> Vec<Problem> {
    schema::refused(schema, path, "JSON", "select or cast what is needed in a sql step", &is_written)
}

fn is_written(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) | DataType::RunEndEncoded(..) => false,
        // Base64 is not put inside of maps.
        DataType::Map(entries, _) => base64_text::text_schema(&Schema::new(vec![entries.clone()]).into()).is_none(),
        _ => true,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn encode(spec: &Spec, _schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    Ok(Box::new(JsonEncode { nulls: spec.nulls == Nulls::Write }))
}

struct JsonEncode {
    nulls: bool,
}

impl Encode for JsonEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let text = base64_text::text_schema(columns.schema_ref());
        let text = text.map(|text| base64_text::convert(columns, &text)).transpose();
        let text = text.map_err(Error::arrow("write bytes as base64"))?;
        let builder = WriterBuilder::new().with_explicit_nulls(self.nulls);
        let mut writer = builder.build::<_, LineDelimited>(out);
        writer.write(text.as_ref().unwrap_or(columns)).map_err(Error::arrow("write rows as JSON"))
    }

    fn messages(&mut self, columns: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Error> {
        let first = out.len();
        self.encode(columns, out)?;
        // In JSON a line feed within a text is escaped: each that is there ends a row.
        let mut kept = first;
        let mut from = first;
        while let Some(length) = memchr::memchr(b'\n', &out[from..]) {
            out.copy_within(from..from + length, kept);
            kept += length;
            from += length + 1;
            end_message(&out[..kept], ends)?;
        }
        out.truncate(kept);
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
