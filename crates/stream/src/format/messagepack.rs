//! MessagePack, one map a row.

mod value;

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::bisect::{self, Fault};
use crate::format::json::Tape;
use crate::format::lines::Spans;
use crate::format::schema::{self, INFERRED_ROWS_MAX, SchemaSpec};
use crate::format::{cut, guess};
use crate::{Chunk, Cut, Decode, Decoded, Encode, Error, Reason, ReasonCode};

/// MessagePack: maps one after another in a file, or one map a message.
///
/// A value that isn't a map, or has a value of another type than its column, is put aside and the others go on. Keys that
/// are not in the schema are ignored, keys that are missing are null. Timestamps are the extension type -1, or RFC 3339
/// text. Maps and lists may nest 100 deep. In a file, bytes that can't be MessagePack end it, as nothing tells where the
/// next value begins.
///
/// Written are maps with every column, nulls as nil, bytes as bin, timestamps as the extension type; dates, times and
/// decimals are written as text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// The columns when reading. Inferred columns are bool, int64 (uint64 where values need it), float64, string, bytes,
    /// timestamp, lists and structs of these.
    pub schema: SchemaSpec,
}

pub(crate) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    spec.schema.problems(&format!("{path}.schema"))
}

pub(crate) const fn extension(_spec: &Spec) -> &'static str {
    "msgpack"
}

pub(crate) fn cut(_spec: &Spec) -> Box<dyn Cut> {
    Box::new(Values)
}

struct Values;

impl Cut for Values {
    fn header(&mut self, _bytes: &[u8], _at_end: bool) -> Result<Option<usize>, Reason> {
        Ok(Some(0))
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, ends: &mut Vec<u32>) -> Result<usize, Reason> {
        let length = |bytes: &[u8]| value::length(bytes).map_err(|why| Reason::new(ReasonCode::Malformed, why));
        cut::each(bytes, at_end, rows, ends, length)
    }

    fn lines(&self) -> bool {
        false
    }
}

/// The schema that is written down, or that of the first rows. Problems name paths from `schema` on.
pub(crate) fn infer(spec: &Spec, folder: &Path, sample: &Chunk) -> Result<SchemaRef, Problem> {
    if let Some(schema) = spec.schema.given(folder)? {
        return Ok(schema);
    }
    let mut spans = Spans::default();
    spans.find(sample, 0, |_| true);
    let rows = spans.places.iter().take(INFERRED_ROWS_MAX);
    guess::schema(
        rows.filter_map(|(start, end)| value::read(&sample.bytes[*start..*end]).ok()).map(|row| value::guess(&row)),
    )
}

pub(crate) fn decode(_spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Decode>, Error> {
    Ok(Box::new(MessagePackDecode { tape: Tape::new(schema)?, spans: Spans::default() }))
}

struct MessagePackDecode {
    tape: Tape,
    spans: Spans,
}

impl Decode for MessagePackDecode {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let Self { tape, spans } = self;
        spans.find(chunk, from, |_| true);
        let schema = tape.schema.clone();
        let whole = DataType::Struct(schema.fields().clone());
        bisect::decode(spans, &schema, |range| {
            let mut decoder = tape.open(range.len())?;
            for at in range {
                let (start, end) = spans.places[at];
                let row = value::read(&chunk.bytes[start..end]).map_err(|why| Fault::At(at, why))?;
                value::check(&row, &whole).map_err(|why| Fault::At(at, why))?;
                let fed = decoder.serialize(&[value::Row(&row)]);
                fed.map_err(|error| Fault::At(at, error.to_string()))?;
            }
            tape.close(decoder)
        })
    }
}

pub(crate) fn encodable(_spec: &Spec, schema: &Schema, path: &str) -> Vec<Problem> {
    let hint = "select or cast what is needed in a sql step";
    schema::refused(schema, path, "MessagePack", hint, &|data_type| {
        use DataType as T;
        !matches!(
            data_type,
            T::Union(..) | T::RunEndEncoded(..) | T::Map(..) | T::ListView(_) | T::LargeListView(_) | T::Interval(_)
        )
    })
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn encode(_spec: &Spec, _schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    Ok(Box::new(MessagePackEncode))
}

struct MessagePackEncode;

impl Encode for MessagePackEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        value::write(columns, out).map_err(Error::arrow("write rows as MessagePack"))
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
