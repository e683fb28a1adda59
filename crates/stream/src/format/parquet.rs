//! Parquet: columns in files, for analysis.

mod pages;

use std::fs::File;
use std::sync::Arc;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use ::parquet::basic::{Compression as Codec, ConvertedType, GzipLevel, Type, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::ColumnDescriptor;
use document::{ByteSize, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::conform::{Rest, conform};
use crate::format::schema;
use crate::{Encode, Error, Out, Scan};

use self::pages::Pages;

/// Parquet.
///
/// When reading, only the columns and nested fields that somebody uses are read, columns that a file lacks are null, and
/// a stream goes on in the middle of a file without reading what it had. A file that is cut off or broken ends the stream
/// with an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// How pages are compressed when writing.
    pub compression: Compression,
    /// When a row group is closed. Larger ones are quicker to read, smaller ones take less memory while writing.
    pub row_group: RowGroup,
    /// Whether repeated values are written once. Columns of bytes and of floating-point numbers never are: they seldom
    /// repeat, and looking costs half of the speed.
    pub dictionary: bool,
    /// What readers can skip by. Columns of bytes have none.
    pub statistics: Statistics,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            row_group: RowGroup::default(),
            dictionary: true,
            statistics: Statistics::default(),
        }
    }
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy: quick, and every reader knows it.
    Snappy,
    /// Zstandard at level 1: smaller than Snappy at nearly the speed.
    #[default]
    Zstd,
    /// Gzip: slow; for readers that know nothing else.
    Gzip,
    /// LZ4: quicker to read than Snappy, known by fewer readers.
    Lz4,
}

/// When a row group is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RowGroup {
    /// At so many bytes, encoded.
    pub bytes: ByteSize,
}

impl Default for RowGroup {
    fn default() -> Self {
        Self { bytes: ByteSize::from_mib(64) }
    }
}

/// What readers can skip by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Statistics {
    /// Nothing.
    None,
    /// The least and greatest value of each column in each row group.
    #[default]
    Chunk,
    /// Those of each page too: larger files, for queries that look for few rows.
    Page,
}

/// Pages of columns of bytes end at this size: buffers of pages are then small enough to be used again by the next.
const BYTES_PAGE_BYTES: usize = 16 << 10;

pub(crate) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    if spec.row_group.bytes.bytes() > 0 {
        return Vec::new();
    }
    vec![Problem::at(format!("{path}.rowGroup.bytes")).found("0").expected("a size such as 64MiB")]
}

pub(crate) const fn extension(_spec: &Spec) -> &'static str {
    "parquet"
}

pub(crate) fn encodable(_spec: &Spec, schema: &Schema, path: &str) -> Vec<Problem> {
    let hint = "select or cast what is needed in a sql step";
    schema::refused(schema, path, "Parquet", hint, &|data_type| match data_type {
        DataType::Struct(fields) => !fields.is_empty(),
        DataType::Union(..) | DataType::RunEndEncoded(..) | DataType::Interval(_) => false,
        _ => true,
    })
}

pub(crate) fn encode(spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    let pages = Pages::default();
    let options = ArrowWriterOptions::new().with_properties(properties(spec, schema)?);
    let options = options.with_page_store_factory(Arc::new(pages.clone()));
    let writer = ArrowWriter::try_new_with_options(Out::default(), schema.clone(), options);
    Ok(Box::new(ParquetEncode { writer: Some(writer.map_err(refused("open a Parquet writer"))?), pages }))
}

fn properties(spec: &Spec, schema: &SchemaRef) -> Result<WriterProperties, Error> {
    let refused = refused("open a Parquet writer");
    let compression = match spec.compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).map_err(refused)?),
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        Compression::Lz4 => Codec::LZ4_RAW,
    };
    let statistics = match spec.statistics {
        Statistics::None => EnabledStatistics::None,
        Statistics::Chunk => EnabledStatistics::Chunk,
        Statistics::Page => EnabledStatistics::Page,
    };
    let bytes = usize::try_from(spec.row_group.bytes.bytes()).unwrap_or(usize::MAX);
    let mut properties = WriterProperties::builder()
        .set_created_by("headwater".into())
        .set_compression(compression)
        .set_max_row_group_bytes(Some(bytes))
        .set_dictionary_enabled(spec.dictionary)
        .set_statistics_enabled(statistics);
    let columns = ArrowSchemaConverter::new().convert(schema).map_err(refused)?;
    for column in columns.columns() {
        let path = column.path();
        if is_bytes(column) {
            properties = properties
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_data_page_size_limit(path.clone(), BYTES_PAGE_BYTES);
        }
        if is_bytes(column) || matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
    }
    Ok(properties.build())
}

fn is_bytes(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY)
        && column.logical_type_ref().is_none()
        && column.converted_type() == ConvertedType::NONE
}

fn refused(what: &'static str) -> impl Fn(ParquetError) -> Error + Copy {
    move |error| Error::Arrow { what, source: error.into() }
}

struct ParquetEncode {
    /// Gone once finished.
    writer: Option<ArrowWriter<Out>>,
    pages: Pages,
}

impl Encode for ParquetEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        in_memory(out, |out| self.encode_to(columns, out))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        in_memory(out, |out| self.finish_to(out))
    }

    fn encode_to(&mut self, columns: &RecordBatch, out: &mut Out) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Err(Error::House("a Parquet file was ended".into())) };
        std::mem::swap(out, writer.inner_mut());
        let written = writer.write(columns).and_then(|()| Ok(writer.sync()?));
        std::mem::swap(out, writer.inner_mut());
        written.map_err(|fault| unwritten(fault, out))
    }

    fn finish_to(&mut self, out: &mut Out) -> Result<(), Error> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        std::mem::swap(out, writer.inner_mut());
        let ended = writer.finish().and_then(|_| Ok(writer.sync()?));
        std::mem::swap(out, writer.inner_mut());
        ended.map_err(|fault| unwritten(fault, out))
    }

    fn memory_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.memory_size() + self.pages.held_bytes())
    }

    fn pending_bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.memory_size() + self.pages.used_bytes()) as u64
    }
}

fn in_memory(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Out) -> Result<(), Error>) -> Result<(), Error> {
    let mut out = Out::memory(std::mem::take(bytes));
    let written = write(&mut out);
    *bytes = out.bytes;
    written
}

/// A file that takes no more bytes is the system's fault, all else the writer's.
fn unwritten(fault: ParquetError, out: &Out) -> Error {
    match fault {
        ParquetError::External(fault) => match fault.downcast::<std::io::Error>() {
            Ok(fault) => out.refused(*fault),
            Err(fault) => refused("write rows as Parquet")(ParquetError::External(fault)),
        },
        fault => refused("write rows as Parquet")(fault),
    }
}

/// The columns of the file.
pub(crate) fn scan_schema(_spec: &Spec, file: &File) -> Result<SchemaRef, Error> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(broken)?;
    Ok(metadata.schema().clone())
}

/// The rows of the file from row `from_row` on, with the columns of `schema`. Row groups before it are not read.
pub(crate) fn scan(
    _spec: &Spec,
    file: File,
    schema: Option<&SchemaRef>,
    from_row: u64,
) -> Result<Box<dyn Scan>, Error> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let mut offset = usize::try_from(from_row).unwrap_or(usize::MAX);
    let mut groups = Vec::new();
    for (number, group) in builder.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        if groups.is_empty() && offset >= rows {
            offset -= rows;
        } else {
            groups.push(number);
        }
    }
    let offset = if groups.is_empty() { 0 } else { offset };
    let own = builder.schema().clone();
    let leaves = schema.map(|schema| leaves(own.fields(), Some(schema.fields())));
    let mask = match leaves {
        None => ProjectionMask::all(),
        Some(leaves) => {
            let read = leaves.iter().enumerate().filter_map(|(leaf, read)| read.then_some(leaf));
            ProjectionMask::leaves(builder.parquet_schema(), read)
        }
    };
    let builder = builder.with_row_groups(groups).with_offset(offset).with_projection(mask);
    let schema = schema.unwrap_or(&own).clone();
    Ok(Box::new(ParquetScan { builder: Some(builder), reader: None, schema, rest: Rest::default() }))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::World(format!("the Parquet file can't be read: {error}; move it away, or write it again"))
}

/// For each leaf of the file's columns, in order, whether the columns that are asked for hold it.
fn leaves(own: &Fields, asked: Option<&Fields>) -> Vec<bool> {
    let find = |name: &String| asked.and_then(|asked| asked.find(name)).map(|(_, field)| field.data_type());
    own.iter().flat_map(|field| leaves_of(field.data_type(), find(field.name()))).collect()
}

fn leaves_of(own: &DataType, asked: Option<&DataType>) -> Vec<bool> {
    use DataType as T;
    match (own, asked) {
        (T::Struct(own), Some(T::Struct(asked))) => {
            let mut leaves = leaves(own, Some(asked));
            // A struct whose fields nobody reads is still null or not: its first leaf tells.
            if !leaves.contains(&true)
                && let Some(first) = leaves.first_mut()
            {
                *first = true;
            }
            leaves
        }
        (T::Struct(own), asked) => own.iter().flat_map(|field| leaves_of(field.data_type(), asked)).collect(),
        (T::List(own) | T::LargeList(own) | T::FixedSizeList(own, _), asked) => {
            let asked = match asked {
                Some(T::List(asked) | T::LargeList(asked) | T::FixedSizeList(asked, _)) => Some(asked.data_type()),
                other => other,
            };
            leaves_of(own.data_type(), asked)
        }
        (T::Map(entries, _), Some(_)) => vec![true; leaves_of(entries.data_type(), None).len()],
        (T::Map(entries, _), None) => leaves_of(entries.data_type(), None),
        (_, asked) => vec![asked.is_some()],
    }
}

struct ParquetScan {
    /// Until the first rows are asked for.
    builder: Option<ParquetRecordBatchReaderBuilder<File>>,
    reader: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
    rest: Rest,
}

impl Scan for ParquetScan {
    fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>, Error> {
        let Self { builder, reader, schema, rest } = self;
        if let Some(builder) = builder.take() {
            *reader = Some(builder.with_batch_size(rows.max(1)).build().map_err(broken)?);
        }
        rest.next(rows, || match reader.as_mut().and_then(Iterator::next) {
            Some(batch) => conform(&batch.map_err(broken)?, schema).map(Some).map_err(broken),
            None => Ok(None),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
