//! What a connector knows of messages beside their bytes, joined to the rows that were made of them.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Field, SchemaRef};

use crate::connector::kafka;
use crate::{Chunk, Decoded, Error, Rows};

/// The decoded rows with the columns of `schema`: those that the messages didn't hold come from beside them.
pub(crate) fn join(chunk: &Chunk, decoded: &Decoded, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns = &decoded.columns;
    if chunk.beside.is_none() && columns.num_columns() == schema.fields().len() {
        return Ok(columns.clone());
    }
    let rows = columns.num_rows();
    let messages: UInt32Array = match &decoded.messages {
        Rows::Same => (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect(),
        Rows::Picked(picked) => picked.iter().copied().collect(),
    };
    let ranges = chunk.ranges();
    let column = |field: &Arc<Field>| match columns.column_by_name(field.name()) {
        Some(column) => Ok(Arc::clone(column)),
        None => match chunk.beside.as_ref().and_then(|beside| beside.column_by_name(field.name())) {
            Some(told) => take(told, &messages, None).map_err(failed),
            // A message that was put aside comes back with its origin alone.
            None => Ok(kafka::told_by_origin(field, || {
                messages.values().iter().map(|message| chunk.origin(*message as usize, &ranges)).collect()
            })),
        },
    };
    let joined: Vec<ArrayRef> = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    batch(schema, joined, rows)
}

/// Rows that a source made itself, with the columns of `schema`, which may have grown since the source was opened:
/// columns that it doesn't know are null.
pub(crate) fn grow(columns: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    if columns.schema_ref().fields() == schema.fields() {
        return Ok(columns);
    }
    let rows = columns.num_rows();
    let column = |field: &Arc<Field>| {
        let known = columns.column_by_name(field.name()).filter(|column| column.data_type() == field.data_type());
        known.map_or_else(|| new_null_array(field.data_type(), rows), Arc::clone)
    };
    batch(schema, schema.fields().iter().map(column).collect(), rows)
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(failed)
}

fn failed(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { what: "join rows with what is known beside them", source }
}
