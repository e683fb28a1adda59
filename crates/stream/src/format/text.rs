//! Lines of text, or raw bytes, as one column.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder, cast::AsArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::bisect::malformed;
use crate::format::end_message;
use crate::format::lines::{Lines, Spans};
use crate::{Chunk, Cut, Decode, Decoded, Encode, Ends, Error, Rows};

/// Lines of text, or whole messages, as one column named `value`.
///
/// Files and connections are cut at line feeds, blank lines are passed over; a message of a broker is one row whatever
/// it holds. When writing, rows must have a single column of text or bytes; each value becomes a line, a null an empty
/// one, and a value that holds a line feed becomes several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// What `value` is.
    #[serde(rename = "as")]
    pub value: ValueType,
}

/// What a line is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ValueType {
    /// A string; lines that aren't UTF-8 are put aside.
    #[default]
    Text,
    /// Bytes as they are, for other encodings and binary messages.
    Bytes,
}

/// The only column.
const COLUMN: &str = "value";

pub(crate) fn problems(_spec: &Spec, _path: &str) -> Vec<Problem> {
    Vec::new()
}

pub(crate) const fn extension(spec: &Spec) -> &'static str {
    match spec.value {
        ValueType::Text => "txt",
        ValueType::Bytes => "bin",
    }
}

pub(crate) fn cut(_spec: &Spec) -> Box<dyn Cut> {
    Box::new(Lines)
}

/// The schema, which the rows have no part in.
#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn infer(spec: &Spec, _folder: &Path, _sample: &Chunk) -> Result<SchemaRef, Problem> {
    let data_type = match spec.value {
        ValueType::Text => DataType::Utf8,
        ValueType::Bytes => DataType::Binary,
    };
    Ok(Arc::new(Schema::new(vec![Field::new(COLUMN, data_type, true)])))
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn decode(spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Decode>, Error> {
    Ok(Box::new(TextDecode { text: spec.value == ValueType::Text, schema: schema.clone(), spans: Spans::default() }))
}

struct TextDecode {
    text: bool,
    schema: SchemaRef,
    spans: Spans,
}

impl Decode for TextDecode {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        self.spans.find(chunk, 0, |_| true);
        if let Some(column) = self.shared(chunk).filter(|column| from == 0 && column.len() == self.spans.messages) {
            return self.decoded(column, Rows::Same, Vec::new());
        }
        let (mut picked, mut bad) = (Vec::new(), Vec::new());
        let mut bytes = BinaryBuilder::with_capacity(chunk.len(), chunk.bytes.len());
        let mut texts = StringBuilder::new();
        for (number, (start, end)) in (0..).zip(chunk.ranges()).skip(from) {
            let message = &chunk.bytes[start..end];
            match std::str::from_utf8(message) {
                _ if !self.text => bytes.append_value(message),
                Ok(message) => texts.append_value(message),
                Err(error) => {
                    bad.push(malformed(number, &format!("expected UTF-8: {error}")));
                    continue;
                }
            }
            picked.push(number);
        }
        let column: ArrayRef = if self.text { Arc::new(texts.finish()) } else { Arc::new(bytes.finish()) };
        let rows = if picked.len() == self.spans.messages { Rows::Same } else { Rows::Picked(picked.into()) };
        self.decoded(column, rows, bad)
    }
}

impl TextDecode {
    /// The chunk's own buffer as a column, where its messages lie end to end and are all good.
    fn shared(&self, chunk: &Chunk) -> Option<ArrayRef> {
        let Ends::At { ends, .. } = &chunk.ends else { return None };
        let offsets: Option<Vec<i32>> = std::iter::once(&0).chain(ends).map(|end| i32::try_from(*end).ok()).collect();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets?));
        let buffer = Buffer::from(chunk.bytes.clone());
        if self.text {
            Some(Arc::new(StringArray::try_new(offsets, buffer, None).ok()?))
        } else {
            Some(Arc::new(BinaryArray::try_new(offsets, buffer, None).ok()?))
        }
    }

    fn decoded(&self, column: ArrayRef, messages: Rows, bad: Vec<crate::BadRow>) -> Result<Decoded, Error> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(column.len()));
        let columns = if self.schema.fields().is_empty() { Vec::new() } else { vec![column] };
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let columns = columns.map_err(Error::arrow("make a column of lines"))?;
        Ok(Decoded { columns, messages, bad, next: self.spans.messages, wider: None })
    }
}

pub(crate) fn encodable(_spec: &Spec, schema: &Schema, path: &str) -> Vec<Problem> {
    let problem = |found: String| {
        Problem::at(path)
            .found(found)
            .expected("one column of text or bytes")
            .hint("select one in a sql step, or write json or csv")
    };
    match &schema.fields()[..] {
        [only] if is_text(only.data_type()) || is_bytes(only.data_type()) => Vec::new(),
        [only] => vec![problem(format!(
            "column `{}` of type {}",
            only.name(),
            crate::format::schema::describe_type(only.data_type())
        ))],
        several => vec![problem(format!("{} columns", several.len()))],
    }
}

const fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

const fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn encode(_spec: &Spec, _schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    Ok(Box::new(TextEncode))
}

struct TextEncode;

impl Encode for TextEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let [column] = columns.columns() else {
            return Err(Error::House(format!("text is written of {} columns", columns.num_columns())));
        };
        let column = cast(column, &DataType::LargeBinary).map_err(Error::arrow("write rows as lines"))?;
        for value in column.as_binary::<i64>() {
            out.extend_from_slice(value.unwrap_or_default());
            out.push(b'\n');
        }
        Ok(())
    }

    fn messages(&mut self, columns: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Error> {
        for row in 0..columns.num_rows() {
            self.encode(&columns.slice(row, 1), out)?;
            out.pop();
            end_message(out, ends)?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Origin;

    fn run(value: ValueType, bytes: &'static [u8], ends: Ends, from: usize) -> Decoded {
        let spec = Spec { value };
        let origins = vec![(0, Origin { input: "x".into(), offset: 0 })];
        let chunk = Chunk { bytes: Bytes::from_static(bytes), ends, header: None, origins, beside: None };
        let schema = infer(&spec, Path::new("."), &chunk).unwrap();
        decode(&spec, &schema).unwrap().decode(&chunk, from).unwrap()
    }

    #[test]
    fn lines_become_values_and_go_back() {
        let decoded = run(ValueType::Text, b"one\r\n\n\xff\nthree", Ends::Lines, 0);
        assert_eq!(decoded.columns.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!((decoded.bad[0].row, decoded.messages.before(1), decoded.next), (1, 2, 3));
        let mut out = Vec::new();
        encode(&Spec::default(), &decoded.columns.schema()).unwrap().encode(&decoded.columns, &mut out).unwrap();
        assert_eq!(out, b"one\nthree\n");
        let raw = run(ValueType::Bytes, b"one\n\xff\n", Ends::Lines, 1);
        assert_eq!(raw.columns.column(0).as_binary::<i32>().value(0), b"\xff");
        assert_eq!(raw.messages.before(0), 1);
    }

    #[test]
    fn messages_share_the_buffer_unless_one_is_bad() {
        let ends = Ends::At { ends: vec![2, 2, 4], bytes: false };
        let decoded = run(ValueType::Text, b"a\nbc", ends.clone(), 0);
        let values = decoded.columns.column(0).as_string::<i32>();
        assert_eq!(values.iter().flatten().collect::<Vec<_>>(), ["a\n", "", "bc"]);
        assert!(matches!(decoded.messages, Rows::Same));
        // Together valid, each half not: both are bad.
        let split = run(ValueType::Text, b"\xc3\xa9", Ends::At { ends: vec![1, 2], bytes: false }, 0);
        assert_eq!((split.columns.num_rows(), split.bad.len()), (0, 2));
    }

    #[test]
    fn two_columns_are_a_problem() {
        let field = |name| Field::new(name, DataType::Utf8, true);
        assert_eq!(encodable(&Spec::default(), &Schema::new(vec![field("a"), field("b")]), "x").len(), 1);
        assert!(encodable(&Spec::default(), &Schema::new(vec![field("a")]), "x").is_empty());
    }
}
