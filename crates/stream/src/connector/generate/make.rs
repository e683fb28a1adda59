//! Values out of expressions, a column at a time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray,
    StringBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use arrow::error::ArrowError;
use serde_json::Value;

use super::columns::{Columns, Expression, List, Text};
use super::draw::{at, below, mix, unit};

/// The letters of random text; 64, so that six bits choose one.
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Makes the rows of the columns that somebody reads.
#[derive(Debug)]
pub(super) struct Maker {
    schema: SchemaRef,
    columns: Vec<Make>,
    row_bytes: usize,
}

impl Maker {
    /// `schema` names the columns that are read, some of `columns`; the values don't depend on it.
    pub(super) fn new(columns: &Columns, schema: &SchemaRef, seed: u64) -> Result<Self, ArrowError> {
        let columns = makes(columns, schema.fields(), mix(seed))?;
        let row_bytes = columns.iter().map(Make::bytes).sum::<usize>().max(1);
        Ok(Self { schema: Arc::clone(schema), columns, row_bytes })
    }

    /// About how many bytes a row takes, at most.
    pub(super) const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Rows `from..from + count`.
    pub(super) fn rows(&self, from: u64, count: usize) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<u64> = (from..).take(count).collect();
        let columns = self.columns.iter().map(|column| column.values(&rows)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// How one column is made; what an expression says, with its key.
#[derive(Debug)]
enum Make {
    Sequence { start: i64, step: i64 },
    Times { start: i64, step: i64, kind: DataType },
    Int { key: u64, min: i64, bound: u64 },
    Float { key: u64, min: f64, span: f64 },
    Bool { key: u64, probability: f64 },
    Strings { key: u64, values: Vec<String> },
    Ints { key: u64, values: Vec<i64> },
    Floats { key: u64, values: Vec<f64> },
    Bools { key: u64, values: Vec<bool> },
    Text { key: u64, text: Text },
    Struct { fields: Fields, columns: Vec<Make> },
    List { key: u64, field: FieldRef, min: u32, max: u32, item: Box<Make> },
    Optional { key: u64, probability: f64, value: Box<Make> },
}

/// The columns among `columns` that `fields` names, in the order of `fields`.
fn makes(columns: &Columns, fields: &Fields, key: u64) -> Result<Vec<Make>, ArrowError> {
    let make = |field: &FieldRef| {
        let (name, expression) = columns
            .0
            .iter()
            .find(|(name, _)| name == field.name())
            .ok_or_else(|| ArrowError::SchemaError(format!("no column {}", field.name())))?;
        Make::new(expression, field, mix(key ^ stdx::hash(name.as_bytes())))
    };
    fields.iter().map(make).collect()
}

impl Make {
    fn new(expression: &Expression, field: &Field, key: u64) -> Result<Self, ArrowError> {
        Ok(match (expression, field.data_type()) {
            (Expression::Sequence(sequence), _) => Self::Sequence { start: sequence.start, step: sequence.step },
            (Expression::Int(range), _) => {
                let bound = range.max.wrapping_sub(range.min).cast_unsigned().wrapping_add(1);
                Self::Int { key, min: range.min, bound }
            }
            (Expression::Float(range), _) => Self::Float { key, min: range.min, span: range.max - range.min },
            (Expression::Bool(chance), _) => Self::Bool { key, probability: chance.probability },
            (Expression::Choice(values), kind) => Self::choice(values, kind, key),
            (Expression::Constant(value), kind) => Self::choice(std::slice::from_ref(value), kind, key),
            (Expression::Text(text), _) => Self::Text { key, text: text.clone() },
            (Expression::Timestamp(times), kind) => {
                let step = i64::try_from(times.step.get().as_micros()).unwrap_or(i64::MAX);
                Self::Times { start: times.start.micros(), step, kind: kind.clone() }
            }
            (Expression::Struct(columns), DataType::Struct(fields)) => {
                Self::Struct { fields: fields.clone(), columns: makes(columns, fields, key)? }
            }
            (Expression::List(list), DataType::List(field)) => Self::list(list, field, key)?,
            (Expression::Optional(optional), _) => {
                let value = Box::new(Self::new(&optional.of, field, mix(key))?);
                Self::Optional { key, probability: optional.probability, value }
            }
            (Expression::Struct(_) | Expression::List(_), kind) => {
                return Err(ArrowError::SchemaError(format!("column {} can't be made as {kind}", field.name())));
            }
        })
    }

    fn list(list: &List, field: &FieldRef, key: u64) -> Result<Self, ArrowError> {
        let item = Box::new(Self::new(&list.of, field, mix(key))?);
        Ok(Self::List { key, field: Arc::clone(field), min: list.min, max: list.max, item })
    }

    fn choice(values: &[Value], kind: &DataType, key: u64) -> Self {
        match kind {
            DataType::Int64 => Self::Ints { key, values: values.iter().filter_map(Value::as_i64).collect() },
            DataType::Float64 => Self::Floats { key, values: values.iter().filter_map(Value::as_f64).collect() },
            DataType::Boolean => Self::Bools { key, values: values.iter().filter_map(Value::as_bool).collect() },
            _ => Self::Strings { key, values: values.iter().filter_map(Value::as_str).map(str::to_owned).collect() },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Strings { values, .. } => 4 + values.iter().map(String::len).max().unwrap_or(0),
            Self::Text { text, .. } => 4 + text.prefix.len() + text.length as usize,
            Self::Struct { columns, .. } => columns.iter().map(Self::bytes).sum(),
            Self::List { max, item, .. } => 4 + *max as usize * item.bytes(),
            Self::Optional { value, .. } => 1 + value.bytes(),
            _ => 8,
        }
    }

    fn values(&self, rows: &[u64]) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Sequence { start, step } => Arc::new(Int64Array::from_iter_values(steps(rows, *start, *step))),
            Self::Times { start, step, kind } => {
                let times = TimestampMicrosecondArray::from_iter_values(steps(rows, *start, *step));
                Arc::new(times.with_data_type(kind.clone()))
            }
            Self::Int { key, min, bound } => {
                let value = |row: &u64| min.wrapping_add(below(at(*key, *row), *bound).cast_signed());
                Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
            }
            Self::Float { key, min, span } => {
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| min + span * unit(at(*key, *row)))))
            }
            Self::Bool { key, probability } => Arc::new(chances(rows, *key, *probability)),
            Self::Strings { key, values } => Arc::new(strings(rows, *key, values)),
            Self::Ints { key, values } => {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| values[pick(*key, *row, values.len())])))
            }
            Self::Floats { key, values } => {
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| values[pick(*key, *row, values.len())])))
            }
            Self::Bools { key, values } => {
                let value = |row: &u64| Some(values[pick(*key, *row, values.len())]);
                Arc::new(rows.iter().map(value).collect::<BooleanArray>())
            }
            Self::Text { key, text } => Arc::new(texts(rows, *key, text)?),
            Self::Struct { fields, columns } => {
                let columns = columns.iter().map(|column| column.values(rows)).collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, rows.len())?)
            }
            Self::List { key, field, min, max, item } => {
                let (offsets, items) = items(rows, *key, *min, *max);
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, item.values(&items)?, None)?)
            }
            Self::Optional { key, probability, value } => {
                let missing = chances(rows, *key, 1.0 - probability);
                arrow::compute::nullif(&value.values(rows)?, &missing)?
            }
        })
    }
}

fn steps(rows: &[u64], start: i64, step: i64) -> impl Iterator<Item = i64> {
    rows.iter().map(move |row| start.wrapping_add(row.cast_signed().wrapping_mul(step)))
}

fn chances(rows: &[u64], key: u64, probability: f64) -> BooleanArray {
    BooleanArray::new(rows.iter().map(|row| unit(at(key, *row)) < probability).collect(), None)
}

#[expect(clippy::cast_possible_truncation, reason = "below a length in memory")]
const fn pick(key: u64, row: u64, length: usize) -> usize {
    below(at(key, row), length as u64) as usize
}

fn strings(rows: &[u64], key: u64, values: &[String]) -> StringArray {
    let mut strings = StringBuilder::with_capacity(rows.len(), rows.len() * values.first().map_or(0, String::len));
    for row in rows {
        strings.append_value(&values[pick(key, *row, values.len())]);
    }
    strings.finish()
}

fn texts(rows: &[u64], key: u64, text: &Text) -> Result<StringArray, ArrowError> {
    let (min, max) = (text.length_min.unwrap_or(text.length), text.length);
    let mut bytes = Vec::with_capacity(rows.len() * (text.prefix.len() + max as usize));
    let mut ends = Vec::with_capacity(rows.len() + 1);
    ends.push(0);
    for row in rows {
        let word = at(key, *row);
        bytes.extend_from_slice(text.prefix.as_bytes());
        letters(word, drawn_length(word, min, max), &mut bytes);
        ends.push(i32::try_from(bytes.len()).map_err(|_| ArrowError::OffsetOverflowError(bytes.len()))?);
    }
    StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), None)
}

/// Appends `length` letters, ten from each random word.
fn letters(word: u64, length: usize, out: &mut Vec<u8>) {
    let (mut left, mut place) = (length, 0);
    while left > 0 {
        place += 1;
        let bits = at(word, place);
        let ten: [u8; 10] =
            std::array::from_fn(|letter| LETTERS[usize::from((bits >> (6 * letter)).to_le_bytes()[0] & 63)]);
        let some = left.min(ten.len());
        out.extend_from_slice(&ten[..some]);
        left -= some;
    }
}

/// Where each row's list ends, and the numbers of its items as rows.
fn items(rows: &[u64], key: u64, min: u32, max: u32) -> (OffsetBuffer<i32>, Vec<u64>) {
    let mut items = Vec::new();
    let mut ends: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    ends.push(0);
    for row in rows {
        let first = row.wrapping_mul(u64::from(max));
        let length = drawn_length(at(key, *row), min, max);
        items.extend((0..length as u64).map(|item| first.wrapping_add(item)));
        ends.push(i32::try_from(items.len()).unwrap_or(i32::MAX));
    }
    (OffsetBuffer::new(ScalarBuffer::from(ends)), items)
}

#[expect(clippy::cast_possible_truncation, reason = "at most `max`, 32 bits")]
const fn drawn_length(word: u64, min: u32, max: u32) -> usize {
    min as usize + below(word, (max - min) as u64 + 1) as usize
}
