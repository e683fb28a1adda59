//! Ways into nested columns that steps share: fields of structs, elements of lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow::compute::{cast, nullif, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

/// Field number `index` of a struct, null where the struct is null: what the child holds there is not a value.
pub(crate) fn field(parent: &StructArray, index: usize) -> Result<ArrayRef, ArrowError> {
    let child = parent.column(index);
    let Some(nulls) = parent.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(Arc::clone(child));
    };
    // These keep no nulls of their own: a union's null is one of its branches, which the decoder has chosen.
    if matches!(child.data_type(), DataType::Null | DataType::Union(..)) {
        return Ok(Arc::clone(child));
    }
    nullif(child, &BooleanArray::new(!nulls.inner(), None))
}

/// A batch that may have no columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The type of the elements of a list.
pub(crate) fn element(data_type: &DataType) -> Option<&arrow::datatypes::FieldRef> {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Some(field),
        _ => None,
    }
}

/// Which rows lists of one or several columns unfold to.
pub(crate) struct Unfolded {
    /// The row that each new row was made of.
    pub(crate) rows: UInt32Array,
    /// The elements of each list column; shorter lists are filled with nulls.
    pub(crate) elements: Vec<ArrayRef>,
}

/// Unfolds lists side by side: a row gives as many rows as its longest list has elements. With `outer`, a row whose
/// lists are all empty or null gives one row of nulls, otherwise none.
pub(crate) fn unfold(lists: &[ArrayRef], outer: bool) -> Result<Unfolded, ArrowError> {
    let lists: Vec<ArrayRef> = lists.iter().map(as_list).collect::<Result<_, _>>()?;
    let length = |list: &ArrayRef, row: usize| {
        let list = list.as_list::<i32>();
        if list.is_null(row) { 0 } else { list.value_length(row).unsigned_abs() }
    };
    let count = lists.first().map_or(0, Array::len);
    let mut rows = Vec::new();
    let mut places: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
    for row in 0..count {
        let longest = lists.iter().map(|list| length(list, row)).max().unwrap_or(0).max(u32::from(outer));
        rows.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(u32::MAX), longest as usize));
        for (list, places) in lists.iter().zip(&mut places) {
            let start = list.as_list::<i32>().value_offsets()[row].unsigned_abs();
            let own = length(list, row);
            places.extend((0..longest).map(|element| (element < own).then_some(start + element)));
        }
    }
    let elements = lists.iter().zip(places);
    let elements =
        elements.map(|(list, places)| take(list.as_list::<i32>().values(), &UInt32Array::from(places), None));
    Ok(Unfolded { rows: UInt32Array::from(rows), elements: elements.collect::<Result<_, _>>()? })
}

fn as_list(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::List(_) => Ok(Arc::clone(array)),
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            cast(array, &DataType::List(Arc::clone(field)))
        }
        other => Err(ArrowError::InvalidArgumentError(format!("expected a list, found {other}"))),
    }
}
