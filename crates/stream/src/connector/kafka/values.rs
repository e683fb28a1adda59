//! What a sink writes of a row: keys, headers and topics, as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, LargeBinaryArray, LargeBinaryBuilder, RecordBatch};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::topics::Topics;
use crate::connector::files::EncodeFile;
use crate::{Reason, ReasonCode};

/// The value of an expression for each row.
pub(crate) type Value = Arc<dyn Fn(&RecordBatch) -> Result<ArrayRef, Reason> + Send + Sync>;

/// What a sink writes.
#[derive(Clone)]
pub(crate) struct Written {
    /// Makes an encoder of messages.
    pub(crate) encode: EncodeFile,
    /// The topic, where it isn't fixed: text.
    pub(crate) topic: Option<Value>,
    /// The key.
    pub(crate) key: Option<Value>,
    /// Headers.
    pub(crate) headers: Vec<(String, Value)>,
    /// What all tasks know of the topics.
    pub(crate) topics: Arc<Topics>,
}

/// What the expressions of a sink give for some rows.
pub(super) struct Values {
    pub(super) topic: Option<LargeBinaryArray>,
    pub(super) key: Option<LargeBinaryArray>,
    pub(super) headers: Vec<LargeBinaryArray>,
}

impl Values {
    /// Evaluates the expressions over rows that may have more columns, or wider ones, than those of `schema`.
    pub(super) fn of(written: &Written, rows: &RecordBatch, schema: &SchemaRef) -> Result<Self, Reason> {
        let narrowed = narrow(rows, schema)?;
        let each = |value: &Value| bytes(&value(&narrowed)?);
        Ok(Self {
            topic: written.topic.as_ref().map(each).transpose()?,
            key: written.key.as_ref().map(each).transpose()?,
            headers: written.headers.iter().map(|(_, value)| each(value)).collect::<Result<_, _>>()?,
        })
    }
}

/// The value of a row, if it has one.
pub(super) fn at(values: Option<&LargeBinaryArray>, row: usize) -> Option<&[u8]> {
    values.filter(|values| values.is_valid(row)).map(|values| values.value(row))
}

/// Why a row has no topic, key or header.
pub(crate) fn unwritable(what: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Unwritable, what)
}

/// The rows as the expressions were planned for.
fn narrow(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Reason> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let missing = |name: &str| ArrowError::SchemaError(format!("no column {name}"));
    let column = |field: &arrow::datatypes::FieldRef| {
        cast(rows.column_by_name(field.name()).ok_or_else(|| missing(field.name()))?, field.data_type())
    };
    let columns: Result<Vec<ArrayRef>, ArrowError> = schema.fields().iter().map(column).collect();
    columns.and_then(|columns| RecordBatch::try_new(SchemaRef::clone(schema), columns)).map_err(|error| failed(&error))
}

/// Text and binary as they are, other values as text.
fn bytes(values: &ArrayRef) -> Result<LargeBinaryArray, Reason> {
    let cast = |values: &ArrayRef, to: &DataType| cast(values, to).map_err(|error| failed(&error));
    let binary = match values.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            cast(values, &DataType::LargeBinary)?
        }
        other if can_cast_types(other, &DataType::LargeUtf8) => {
            cast(&cast(values, &DataType::LargeUtf8)?, &DataType::LargeBinary)?
        }
        _ => return written_out(values).map_err(|error| failed(&error)),
    };
    Ok(binary.as_binary::<i64>().clone())
}

/// Lists and structs, as Arrow prints them.
fn written_out(values: &ArrayRef) -> Result<LargeBinaryArray, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
    let mut builder = LargeBinaryBuilder::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            builder.append_null();
        } else {
            builder.append_value(formatter.value(row).try_to_string()?);
        }
    }
    Ok(builder.finish())
}

fn failed(error: &ArrowError) -> Reason {
    Reason::new(ReasonCode::Unwritable, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int32Array, ListArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn text_and_bytes_are_taken_as_they_are_and_others_as_text() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("")]));
        let text = bytes(&text).unwrap();
        assert_eq!(
            [at(Some(&text), 0), at(Some(&text), 1), at(Some(&text), 2)],
            [Some(&b"a"[..]), None, Some(&b""[..])]
        );
        let raw: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"\xff\0"]));
        assert_eq!(bytes(&raw).unwrap().value(0), b"\xff\0");
        let number: ArrayRef = Arc::new(Int32Array::from(vec![-7]));
        assert_eq!(bytes(&number).unwrap().value(0), b"-7");
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(2)])]));
        assert_eq!(bytes(&list).unwrap().value(0), b"[1, 2]");
    }
}
