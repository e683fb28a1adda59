//! Columns under construction, which can be cut back to the rows before a bad message.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    ArrayDataBuilder, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, ListArray,
    MapArray, NullArray, NullBufferBuilder, StringArray, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Fields, IntervalMonthDayNano, IntervalUnit, i256};
use arrow::error::ArrowError;

/// The largest buffer, in bytes, that is kept for the next batch.
const RECLAIMED_BYTES_MAX: usize = 16 << 20;

/// Rows of one column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) nulls: NullBufferBuilder,
    pub(crate) values: Values,
    /// The values that were handed out last, to be filled again once nobody reads them.
    lent: Option<Buffer>,
}

/// Values, by how they lie in memory.
#[derive(Debug)]
pub(crate) enum Values {
    Null,
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>),
    Decimal256(Vec<i256>),
    Interval(Vec<IntervalMonthDayNano>),
    Bytes { offsets: Vec<i32>, data: Vec<u8> },
    Fixed { width: usize, data: Vec<u8> },
    List { offsets: Vec<i32>, item: Box<Column> },
    Map { offsets: Vec<i32>, key: Box<Column>, value: Box<Column> },
    Struct(Vec<Column>),
}

impl Column {
    /// An empty column of type `kind`; `None` where no Avro type gives it.
    pub(crate) fn new(kind: &DataType) -> Option<Self> {
        use DataType as D;
        let values = match kind {
            D::Null => Values::Null,
            D::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            D::Int32 | D::Date32 | D::Time32(_) => Values::Int32(Vec::new()),
            D::Int64 | D::Time64(_) | D::Timestamp(..) => Values::Int64(Vec::new()),
            D::Float32 => Values::Float32(Vec::new()),
            D::Float64 => Values::Float64(Vec::new()),
            D::Decimal128(..) => Values::Decimal128(Vec::new()),
            D::Decimal256(..) => Values::Decimal256(Vec::new()),
            D::Interval(IntervalUnit::MonthDayNano) => Values::Interval(Vec::new()),
            D::Utf8 | D::Binary => Values::Bytes { offsets: vec![0], data: Vec::new() },
            D::FixedSizeBinary(width) => Values::Fixed { width: usize::try_from(*width).ok()?, data: Vec::new() },
            D::List(item) => Values::List { offsets: vec![0], item: Box::new(Self::new(item.data_type())?) },
            D::Map(entries, _) => {
                let D::Struct(fields) = entries.data_type() else { return None };
                let [key, value] = &fields[..] else { return None };
                let (key, value) = (Self::new(key.data_type())?, Self::new(value.data_type())?);
                Values::Map { offsets: vec![0], key: Box::new(key), value: Box::new(value) }
            }
            D::Struct(fields) => {
                let children: Option<Vec<Self>> = fields.iter().map(|field| Self::new(field.data_type())).collect();
                Values::Struct(children?)
            }
            _ => return None,
        };
        Some(Self::of(values))
    }

    /// An empty column of such values.
    pub(crate) fn of(values: Values) -> Self {
        Self { nulls: NullBufferBuilder::new(0), values, lent: None }
    }

    /// Whole rows. A row that failed may have left more in the parts, until [`Column::truncate`].
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends a null, and something under it.
    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.append(false),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128(values) => values.push(0),
            Values::Decimal256(values) => values.push(i256::ZERO),
            Values::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Values::Bytes { offsets, .. } | Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                offsets.push(last(offsets));
            }
            Values::Fixed { width, data } => data.resize(data.len() + *width, 0),
            Values::Struct(children) => children.iter_mut().for_each(Self::push_null),
        }
        self.nulls.append_null();
    }

    /// Cuts everything after row `rows`, whole or half written.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.truncate(rows),
            Values::Int32(values) => values.truncate(rows),
            Values::Int64(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal128(values) => values.truncate(rows),
            Values::Decimal256(values) => values.truncate(rows),
            Values::Interval(values) => values.truncate(rows),
            Values::Bytes { offsets, data } => {
                offsets.truncate(rows + 1);
                data.truncate(last(offsets).as_usize());
            }
            Values::Fixed { width, data } => data.truncate(rows * *width),
            Values::List { offsets, item } => {
                offsets.truncate(rows + 1);
                item.truncate(last(offsets).as_usize());
            }
            Values::Map { offsets, key, value } => {
                offsets.truncate(rows + 1);
                key.truncate(last(offsets).as_usize());
                value.truncate(last(offsets).as_usize());
            }
            Values::Struct(children) => children.iter_mut().for_each(|child| child.truncate(rows)),
        }
        self.nulls.truncate(rows);
    }

    /// Takes back the memory of what was handed out, where nobody reads it any more: fresh memory costs as much as
    /// filling it. The column must be empty.
    pub(crate) fn reclaim(&mut self) {
        let lent = self.lent.take();
        match &mut self.values {
            Values::Null | Values::Boolean(_) => {}
            Values::Int32(values) => reclaim(values, lent),
            Values::Int64(values) => reclaim(values, lent),
            Values::Float32(values) => reclaim(values, lent),
            Values::Float64(values) => reclaim(values, lent),
            Values::Decimal128(values) => reclaim(values, lent),
            Values::Decimal256(values) => reclaim(values, lent),
            Values::Interval(values) => reclaim(values, lent),
            Values::Bytes { data, .. } | Values::Fixed { data, .. } => reclaim(data, lent),
            Values::List { item, .. } => item.reclaim(),
            Values::Map { key, value, .. } => {
                key.reclaim();
                value.reclaim();
            }
            Values::Struct(children) => children.iter_mut().for_each(Self::reclaim),
        }
    }

    /// The rows as an array, leaving the column empty.
    pub(crate) fn finish(&mut self, kind: &DataType) -> Result<ArrayRef, ArrowError> {
        let rows = self.len();
        let nulls = self.nulls.finish();
        let lent = &mut self.lent;
        let mut plain = |buffer: Buffer, nulls| fixed_width(kind, rows, lend(lent, buffer), nulls);
        Ok(match (&mut self.values, kind) {
            (Values::Null, _) => Arc::new(NullArray::new(rows)),
            (Values::Boolean(values), _) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            (Values::Int32(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Int64(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Float32(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Float64(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Decimal128(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Decimal256(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Interval(values), _) => plain(mem::take(values).into(), nulls)?,
            (Values::Bytes { offsets, data }, DataType::Utf8) => {
                let data = lend(lent, mem::take(data).into());
                Arc::new(StringArray::try_new(take_offsets(offsets), data, nulls)?)
            }
            (Values::Bytes { offsets, data }, _) => {
                let data = lend(lent, mem::take(data).into());
                Arc::new(BinaryArray::try_new(take_offsets(offsets), data, nulls)?)
            }
            (Values::Fixed { data, width }, _) => {
                let width = i32::try_from(*width).unwrap_or(i32::MAX);
                let data = lend(lent, mem::take(data).into());
                Arc::new(FixedSizeBinaryArray::try_new_with_len(width, data, nulls, rows)?)
            }
            (Values::List { offsets, item }, DataType::List(field)) => {
                let items = item.finish(field.data_type())?;
                Arc::new(ListArray::try_new(Arc::clone(field), take_offsets(offsets), items, nulls)?)
            }
            (Values::Map { offsets, key, value }, DataType::Map(entries, sorted)) => {
                let DataType::Struct(fields) = entries.data_type() else { return Err(mismatch(kind)) };
                let parts = vec![key.finish(fields[0].data_type())?, value.finish(fields[1].data_type())?];
                let pairs = StructArray::try_new(fields.clone(), parts, None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), take_offsets(offsets), pairs, nulls, *sorted)?)
            }
            (Values::Struct(children), DataType::Struct(fields)) => {
                let children = finish_all(children, fields)?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, rows)?)
            }
            _ => return Err(mismatch(kind)),
        })
    }
}

/// The arrays of a record's fields.
pub(crate) fn finish_all(children: &mut [Column], fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
    children.iter_mut().zip(fields).map(|(child, field)| child.finish(field.data_type())).collect()
}

fn fixed_width(
    kind: &DataType,
    rows: usize,
    values: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let data = ArrayDataBuilder::new(kind.clone()).len(rows).add_buffer(values).nulls(nulls).build()?;
    Ok(make_array(data))
}

fn mismatch(kind: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column was built for another type than {kind}"))
}

fn last(offsets: &[i32]) -> i32 {
    offsets.last().copied().unwrap_or(0)
}

/// Remembers a buffer that is handed out, unless it is unusually large.
fn lend(lent: &mut Option<Buffer>, values: Buffer) -> Buffer {
    *lent = Some(values.clone()).filter(|values| values.len() <= RECLAIMED_BYTES_MAX);
    values
}

/// Gives an empty column the memory of `lent`, or as much fresh memory: the next batch is mostly as large, and growing
/// copies.
fn reclaim<T: ArrowNativeType>(values: &mut Vec<T>, lent: Option<Buffer>) {
    let Some(lent) = lent.filter(|_| values.capacity() == 0) else { return };
    *values = match lent.into_vec() {
        Ok(mut free) => {
            free.clear();
            free
        }
        Err(read) => Vec::with_capacity(read.len() / size_of::<T>()),
    };
}

/// Leaves as much room behind as the last batch needed.
fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let room = Vec::with_capacity(offsets.len());
    let taken = mem::replace(offsets, room);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}
