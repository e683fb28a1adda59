//! The columns that tell of a message: its key, its time, its headers, and where it stood.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int32Builder, Int64Array, Int64Builder, ListBuilder, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, StructBuilder, TimestampMillisecondBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use document::Problem;
use rdkafka::Message;
use rdkafka::message::Headers;

use super::SourceSpec;
use crate::{Error, Origin};

const UTC: &str = "+00:00";

fn header_fields() -> Fields {
    vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)].into()
}

fn fields() -> [Field; 6] {
    let headers = Field::new("item", DataType::Struct(header_fields()), true);
    [
        Field::new("_key", DataType::Binary, true),
        Field::new("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())), true),
        Field::new("_headers", DataType::List(Arc::new(headers)), true),
        Field::new("_topic", DataType::Utf8, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
    ]
}

fn is_metadata(field: &Field) -> bool {
    fields().iter().any(|known| known.name() == field.name())
}

/// The schema of rows whose values have the columns of `value`: with `metadata`, also the columns that tell of the
/// message, and all of the value's may be null.
pub(crate) fn with_metadata(spec: &SourceSpec, value: &SchemaRef, path: &str) -> Result<SchemaRef, Problem> {
    if !spec.metadata {
        return Ok(SchemaRef::clone(value));
    }
    if let Some(taken) = value.fields().iter().find(|field| is_metadata(field)) {
        return Err(Problem::at(path)
            .found(format!("messages that have a column `{}` themselves", taken.name()))
            .expected("messages without columns of these names")
            .hint("leave `metadata` out"));
    }
    let values = value.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    let all: Vec<FieldRef> = values.chain(fields().map(Arc::new)).collect();
    Ok(Arc::new(Schema::new_with_metadata(all, value.metadata().clone())))
}

/// The part of `schema` that messages' values hold.
pub(crate) fn without_metadata(spec: &SourceSpec, schema: &SchemaRef) -> SchemaRef {
    if !spec.metadata {
        return SchemaRef::clone(schema);
    }
    let values = schema.fields().iter().filter(|field| !is_metadata(field)).cloned();
    Arc::new(Schema::new_with_metadata(values.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// A column that tells of messages of which only the origins are left.
pub(crate) fn told_by_origin(field: &Field, origins: impl FnOnce() -> Vec<Origin>) -> ArrayRef {
    let origins = origins();
    let of = |origin: &Origin| origin.input.rsplit_once('-').map(|(topic, id)| (topic.to_owned(), id.parse().ok()));
    match field.name().as_str() {
        "_topic" => Arc::new(origins.iter().map(|origin| of(origin).map(|of| of.0)).collect::<StringArray>()),
        "_partition" => Arc::new(origins.iter().map(|origin| of(origin)?.1).collect::<Int32Array>()),
        "_offset" => Arc::new(origins.iter().map(|origin| i64::try_from(origin.offset).ok()).collect::<Int64Array>()),
        _ => new_null_array(field.data_type(), origins.len()),
    }
}

/// The columns that tell of messages, as far as somebody reads them.
pub(super) struct Columns {
    /// All columns of the rows.
    rows: SchemaRef,
    schema: SchemaRef,
    builders: Vec<Builder>,
    messages: usize,
}

enum Builder {
    Key(BinaryBuilder),
    Timestamp(TimestampMillisecondBuilder),
    Headers(ListBuilder<StructBuilder>),
    Topic(StringBuilder),
    Partition(Int32Builder),
    Offset(Int64Builder),
}

impl Columns {
    /// For rows of `schema`; `None` where the source adds no columns.
    pub(super) fn new(spec: &SourceSpec, schema: &SchemaRef) -> Option<Self> {
        let wanted: Vec<FieldRef> = schema.fields().iter().filter(|field| is_metadata(field)).cloned().collect();
        let builders = wanted.iter().filter_map(|field| Builder::new(field)).collect();
        let rows = SchemaRef::clone(schema);
        spec.metadata.then(|| Self { rows, schema: Arc::new(Schema::new(wanted)), builders, messages: 0 })
    }

    /// Adds what is known of a message.
    pub(super) fn push(&mut self, message: &impl Message) {
        self.messages += 1;
        for builder in &mut self.builders {
            builder.push(message);
        }
    }

    /// What was added, a row for each message; `None` where nobody reads any of it.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, Error> {
        let messages = std::mem::take(&mut self.messages);
        if self.builders.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(messages));
        let schema = SchemaRef::clone(&self.schema);
        RecordBatch::try_new_with_options(schema, columns, &options).map(Some).map_err(failed)
    }

    /// What was added, as whole rows of messages that have no value.
    pub(super) fn finish_tombstones(&mut self) -> Result<RecordBatch, Error> {
        let messages = self.messages;
        let beside = self.finish()?;
        let column = |field: &FieldRef| {
            let told = beside.as_ref().and_then(|beside| beside.column_by_name(field.name())).cloned();
            told.unwrap_or_else(|| new_null_array(field.data_type(), messages))
        };
        let columns = self.rows.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(messages));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.rows), columns, &options).map_err(failed)
    }
}

fn failed(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { what: "tell of messages in columns", source }
}

fn push_headers(pairs: &mut StructBuilder, headers: &impl Headers) {
    for number in 0..headers.count() {
        // The client panics at a name that is no UTF-8, which a broker lets pass: that header is left out.
        let Ok(Some(header)) = catch_unwind(AssertUnwindSafe(|| headers.try_get(number))) else { continue };
        if let Some(keys) = pairs.field_builder::<StringBuilder>(0) {
            keys.append_value(header.key);
        }
        if let Some(values) = pairs.field_builder::<BinaryBuilder>(1) {
            values.append_option(header.value);
        }
        pairs.append(true);
    }
}

impl Builder {
    fn new(field: &Field) -> Option<Self> {
        Some(match field.name().as_str() {
            "_key" => Self::Key(BinaryBuilder::new()),
            "_timestamp" => Self::Timestamp(TimestampMillisecondBuilder::new().with_timezone(UTC)),
            "_headers" => {
                let (key, value) = (Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new()));
                Self::Headers(ListBuilder::new(StructBuilder::new(header_fields(), vec![key, value])))
            }
            "_topic" => Self::Topic(StringBuilder::new()),
            "_partition" => Self::Partition(Int32Builder::new()),
            "_offset" => Self::Offset(Int64Builder::new()),
            _ => return None,
        })
    }

    fn push(&mut self, message: &impl Message) {
        match self {
            Self::Key(keys) => keys.append_option(message.key()),
            Self::Timestamp(times) => times.append_option(message.timestamp().to_millis()),
            Self::Headers(lists) => {
                if let Some(headers) = message.headers() {
                    push_headers(lists.values(), headers);
                }
                lists.append(message.headers().is_some());
            }
            Self::Topic(topics) => topics.append_value(message.topic()),
            Self::Partition(partitions) => partitions.append_value(message.partition()),
            Self::Offset(offsets) => offsets.append_value(message.offset()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Key(keys) => Arc::new(keys.finish()),
            Self::Timestamp(times) => Arc::new(times.finish()),
            Self::Headers(lists) => Arc::new(lists.finish()),
            Self::Topic(topics) => Arc::new(topics.finish()),
            Self::Partition(partitions) => Arc::new(partitions.finish()),
            Self::Offset(offsets) => Arc::new(offsets.finish()),
        }
    }
}
