//! Columns of one file as the columns that the stream has, and a reader's batches in the sizes that are asked for.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray, cast::AsArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;

/// The batch with the columns of `schema`, found by name: what is missing is null, what has another type is cast, what
/// nobody asked for is dropped.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let part = |field: &FieldRef| match batch.column_by_name(field.name()) {
        Some(column) => array(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = schema.fields().iter().map(part).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn array(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(column.clone()),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let structs = column.as_struct();
            let part = |field: &FieldRef| match structs.column_by_name(field.name()) {
                Some(column) => array(column, field.data_type()),
                None => Ok(new_null_array(field.data_type(), structs.len())),
            };
            let parts = fields.iter().map(part).collect::<Result<_, _>>()?;
            let nulls = structs.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, structs.len())?))
        }
        (DataType::List(_), DataType::List(item)) => list::<i32>(column, item),
        (DataType::LargeList(_), DataType::LargeList(item)) => list::<i64>(column, item),
        _ => cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}

fn list<O: OffsetSizeTrait>(column: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let lists = column.as_list::<O>();
    let values = array(lists.values(), item.data_type())?;
    let nulls = lists.nulls().cloned();
    Ok(Arc::new(GenericListArray::<O>::try_new(item.clone(), lists.offsets().clone(), values, nulls)?))
}

/// Hands out batches in parts.
#[derive(Debug, Default)]
pub(crate) struct Rest(Option<RecordBatch>);

impl Rest {
    /// At most `rows` rows, of what is kept or of what `more` gives.
    pub(crate) fn next<E>(
        &mut self,
        rows: usize,
        mut more: impl FnMut() -> Result<Option<RecordBatch>, E>,
    ) -> Result<Option<RecordBatch>, E> {
        let batch = loop {
            match self.0.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                _ => match more()? {
                    Some(batch) => self.0 = Some(batch),
                    None => return Ok(None),
                },
            }
        };
        let rows = rows.max(1);
        if batch.num_rows() <= rows {
            return Ok(Some(batch));
        }
        self.0 = Some(batch.slice(rows, batch.num_rows() - rows));
        Ok(Some(batch.slice(0, rows)))
    }
}
