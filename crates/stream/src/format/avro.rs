//! Avro: object container files, and bare bodies with a schema file.
//!
//! Values go from the bytes straight into columns, by a program that is made once for each writer's schema and steps
//! over what nobody reads. Fields are found by name, whatever the records are called. How types are held:
//!
//! | Avro | Arrow | |
//! |---|---|---|
//! | `null` | `Null` | |
//! | `boolean`, `int`, `long`, `float`, `double` | `Boolean`, `Int32`, `Int64`, `Float32`, `Float64` | |
//! | `bytes`, `string` | `Binary`, `Utf8` | |
//! | `fixed` of n bytes | `FixedSizeBinary(n)` | |
//! | `enum` | `Utf8` | the symbol |
//! | `record` | `Struct` | one that contains itself is refused |
//! | `array` | `List` | |
//! | `map` | `Map` with `Utf8` keys | |
//! | `["null", T]`, `[T, "null"]` | T, nullable | |
//! | a union of several types | `Struct` | a nullable field for each, named as in Avro's JSON (`string`, `long`, a record's own name): one is filled, none where the value is null |
//! | `decimal` on `bytes` or `fixed` | `Decimal128` to 38 digits, `Decimal256` to 76 | |
//! | `date` | `Date32` | |
//! | `time-millis`, `time-micros` | `Time32(ms)`, `Time64(us)` | |
//! | `timestamp-millis`, `-micros`, `-nanos` | `Timestamp(unit, "+00:00")` | |
//! | `local-timestamp-millis`, `-micros`, `-nanos` | `Timestamp(unit)` | |
//! | `duration` | `Interval(MonthDayNano)` | Parquet has no such type |
//! | `uuid`, other logical types | as their base | |
//!
//! A message whose schema differs from the stream's is read by name: a nullable column that it lacks is null, numbers
//! are widened (`int` to `long`, `float`, `double`; `long` to `float`, `double`; `float` to `double`), `string` and
//! `bytes` are read as each other. New fields, wider numbers and new nulls widen the stream's schema.

mod container;
mod cursor;
mod decode;
mod encode;
mod read;
mod schema;
mod skip;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Chunk, Cut, Decode, Encode, Error};

/// Avro records, in container files or bare.
///
/// A message is a whole container file (as alert brokers send them) or one bare record. A file is read block by block.
/// A sink writes container files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// What surrounds the records of a source. Default `auto`; name it when bare records might begin like a container.
    pub framing: Framing,
    /// The schema, when the messages don't bring theirs. Bare records need one.
    ///
    /// With containers it names the columns to start with; each container is still read by its own schema.
    pub schema: Option<SchemaFile>,
    /// How a sink packs its blocks. Default `deflate`, which every reader knows; `zstd` is smaller and faster to write.
    pub compression: Compression,
}

/// What surrounds a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Framing {
    /// A container where the bytes begin with `Obj` and a 1, otherwise bare.
    #[default]
    Auto,
    /// Object container files, which bring their schema.
    Container,
    /// One record's bytes and nothing else.
    Bare,
    /// A zero, a schema's id in a registry, then the record. Not yet read.
    Confluent,
}

/// Where a schema is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaFile {
    /// An `.avsc` file, or a container whose header has the schema. Relative to the folder `headwater` was started in.
    pub file: PathBuf,
}

/// How blocks are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not at all.
    Null,
    /// Deflate.
    #[default]
    Deflate,
    /// Snappy: fast, less small.
    Snappy,
    /// Zstandard.
    Zstd,
}

/// What is wrong with a spec, before anything is read.
pub(crate) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    match spec.framing {
        Framing::Bare if spec.schema.is_none() => vec![
            Problem::at(format!("{path}.schema"))
                .found("nothing")
                .expected("the schema of the bare records")
                .hint("name an .avsc file, or a container with the same schema: schema: {file: alert.avsc}"),
        ],
        Framing::Confluent => vec![
            Problem::at(format!("{path}.framing"))
                .found("confluent")
                .expected("auto, container or bare")
                .hint("schema registries are not read yet; where all messages have one schema, cut the first five bytes off before"),
        ],
        _ => Vec::new(),
    }
}

/// Cuts files: containers at their blocks; a file with a bare record is one message.
pub(crate) fn cut(spec: &Spec) -> Box<dyn Cut> {
    Box::new(container::Cutter::new(spec.framing))
}

/// The columns of the schema file, or of the first message in `sample` that has a readable schema.
pub(crate) fn infer(spec: &Spec, folder: &Path, sample: &Chunk) -> Result<SchemaRef, Problem> {
    let avro = match &spec.schema {
        Some(file) => read_schema(file, folder)?,
        None => sample_schema(sample)?,
    };
    Ok(Arc::new(Schema::new(avro.columns())))
}

/// The columns of a schema in Avro's JSON.
pub(crate) fn columns_of(json: &str) -> Result<SchemaRef, Problem> {
    let avro = schema::parse(json.as_bytes());
    let avro = avro.map_err(|found| Problem::at("schema").expected("an Avro schema").found(found))?;
    Ok(Arc::new(Schema::new(avro.columns())))
}

/// What of a schema Avro can't write.
pub(crate) fn encodable(spec: &Spec, schema: &SchemaRef, path: &str) -> Vec<Problem> {
    let refused = encode::Encoder::new(spec.compression, schema).err();
    let problem = |error| Problem::at(path).found(stdx::Chain(&error).to_string()).expected("columns that Avro has");
    refused.map(problem).into_iter().collect()
}

/// Opens a decoder that gives the columns `wanted`, a part of the stream's schema `full`.
///
/// What `wanted` lacks, also within records, is stepped over: only the lengths in it are looked at.
pub(crate) fn decode(
    spec: &Spec,
    full: &SchemaRef,
    wanted: &SchemaRef,
    folder: &Path,
) -> Result<Box<dyn Decode>, Error> {
    let bare = match (&spec.schema, spec.framing) {
        (Some(file), Framing::Auto | Framing::Bare) => {
            let read = read_schema(file, folder);
            Some(read.map_err(|problem| Error::World(format!("{}, found {}", problem.expected, problem.found)))?)
        }
        _ => None,
    };
    Ok(Box::new(decode::Decoder::new(spec.framing, full, wanted, bare.as_ref())?))
}

/// Opens an encoder for one container file.
pub(crate) fn encode(spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    Ok(Box::new(encode::Encoder::new(spec.compression, schema)?))
}

/// What file names end in.
pub(crate) const fn extension(_spec: &Spec) -> &'static str {
    "avro"
}

fn read_schema(schema: &SchemaFile, folder: &Path) -> Result<schema::Avro, Problem> {
    let path = folder.join(&schema.file);
    let problem = |found: String| {
        Problem::at("schema.file").expected(format!("an Avro schema in {}", path.display())).found(found)
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(|error| problem(error.to_string()))?;
    let limit = container::HEADER_BYTES_MAX as u64;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| problem(error.to_string()))?;
    let json = if bytes.starts_with(container::MAGIC) {
        container::header(&bytes).map_err(|lack| problem(lack.reason("the header", bytes.len()).message))?.schema
    } else {
        &bytes
    };
    schema::parse(json).map_err(problem)
}

fn sample_schema(sample: &Chunk) -> Result<schema::Avro, Problem> {
    let read = |bytes: &[u8]| {
        let header = container::header(bytes).map_err(|lack| lack.reason("the header", bytes.len()).message)?;
        schema::parse(header.schema)
    };
    let mut found = "no message".to_owned();
    let heads = sample.header.iter().map(|header| &header[..]);
    for bytes in heads.chain(sample.ranges().into_iter().map(|(start, end)| &sample.bytes[start..end])) {
        match read(bytes) {
            Ok(avro) => return Ok(avro),
            Err(what) => found = what,
        }
    }
    Err(Problem::at("schema")
        .expected("a container whose header has the schema")
        .found(found)
        .hint("bare records need their schema: schema: {file: alert.avsc}"))
}
