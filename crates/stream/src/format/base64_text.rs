//! Bytes as base64 text, for formats that only know text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringBuilder, StructArray, cast::AsArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The schema with text in place of bytes, or `None` where there are no bytes.
pub(crate) fn text_schema(schema: &SchemaRef) -> Option<SchemaRef> {
    let fields: Fields = schema.fields().iter().map(text_field).collect();
    (fields != *schema.fields()).then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn text_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(text_type(field.data_type())))
}

fn text_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Utf8
        }
        DataType::List(item) => DataType::List(text_field(item)),
        DataType::LargeList(item) => DataType::LargeList(text_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(text_field).collect()),
        other => other.clone(),
    }
}

/// The batch with its base64 text as the bytes that `schema` has in its place, or the other way round.
pub(crate) fn convert(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| array(column, field.data_type())).collect::<Result<_, _>>()?;
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn array(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(column.clone()),
        (T::Utf8, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)) => {
            let bytes = bytes(column)?;
            if *to == T::Binary { Ok(Arc::new(bytes)) } else { cast(&bytes, to) }
        }
        (T::Binary, T::Utf8) => Ok(text(column.as_binary::<i32>())),
        (T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Utf8) => {
            Ok(text(cast(column, &T::Binary)?.as_binary::<i32>()))
        }
        (T::List(_), T::List(item)) => list::<i32>(column, item),
        (T::LargeList(_), T::LargeList(item)) => list::<i64>(column, item),
        (T::Struct(_), T::Struct(fields)) => {
            let structs = column.as_struct();
            let parts = structs.columns().iter().zip(fields);
            let parts = parts.map(|(part, field)| array(part, field.data_type())).collect::<Result<_, _>>()?;
            let length = structs.len();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, structs.nulls().cloned(), length)?))
        }
        (from, to) => Err(ArrowError::CastError(format!("{from} is not the text of {to}"))),
    }
}

fn list<O: OffsetSizeTrait>(column: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let lists = column.as_list::<O>();
    let values = array(lists.values(), item.data_type())?;
    let nulls = lists.nulls().cloned();
    Ok(Arc::new(GenericListArray::<O>::try_new(item.clone(), lists.offsets().clone(), values, nulls)?))
}

fn text(bytes: &BinaryArray) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len() / 3 * 4 + 4);
    let mut scratch = String::new();
    for value in bytes {
        scratch.clear();
        let value = value.map(|value| STANDARD.encode_string(value, &mut scratch));
        builder.append_option(value.map(|()| scratch.as_str()));
    }
    Arc::new(builder.finish())
}

fn bytes(column: &ArrayRef) -> Result<BinaryArray, ArrowError> {
    let texts = column.as_string::<i32>();
    let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len() / 4 * 3 + 3);
    let mut scratch = Vec::new();
    for value in texts {
        scratch.clear();
        let decoded = value.map(|value| STANDARD.decode_vec(value, &mut scratch)).transpose();
        let decoded = decoded.map_err(|error| ArrowError::ParseError(format!("bytes must be base64 text: {error}")))?;
        builder.append_option(decoded.map(|()| &scratch[..]));
    }
    Ok(builder.finish())
}
