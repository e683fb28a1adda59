//! Arrow IPC: batches as they lie in memory.

use std::io::{BufReader, Read, Seek, SeekFrom};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::error::ArrowError;
use ::arrow::ipc::CompressionType;
use ::arrow::ipc::reader::{FileReader, StreamReader};
use ::arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::conform::{Rest, conform};
use crate::{Encode, Error, Scan};

/// Arrow IPC, also known as Feather: columns as they lie in memory, the quickest to write and read.
///
/// Files of both framings are read, told apart by their first bytes. A file that is cut off or broken ends the stream
/// with an error, as no row of it can be told apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// How batches are framed when writing.
    pub framing: Framing,
    /// How buffers are compressed when writing.
    pub compression: Compression,
}

/// How batches are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Framing {
    /// With a footer that finds each batch: for files.
    #[default]
    File,
    /// One batch after another: for pipes.
    Stream,
}

/// How buffers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not at all, so that readers can map the file into memory.
    #[default]
    None,
    /// LZ4: quick, half the size or so.
    Lz4,
    /// Zstandard: smaller.
    Zstd,
}

/// The first bytes of a file with a footer.
const MAGIC: &[u8; 6] = b"ARROW1";

pub(crate) fn problems(_spec: &Spec, _path: &str) -> Vec<Problem> {
    Vec::new()
}

pub(crate) const fn extension(spec: &Spec) -> &'static str {
    match spec.framing {
        Framing::File => "arrow",
        Framing::Stream => "arrows",
    }
}

pub(crate) fn encodable(_spec: &Spec, _schema: &Schema, _path: &str) -> Vec<Problem> {
    Vec::new()
}

pub(crate) fn encode(spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    let compression = match spec.compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::default().try_with_compression(compression);
    let options = options.map_err(Error::arrow("open an Arrow writer"))?;
    let writer = match spec.framing {
        Framing::File => FileWriter::try_new_with_options(Vec::new(), schema, options).map(Writer::File),
        Framing::Stream => StreamWriter::try_new_with_options(Vec::new(), schema, options).map(Writer::Stream),
    };
    Ok(Box::new(ArrowEncode { writer: writer.map_err(Error::arrow("open an Arrow writer"))? }))
}

struct ArrowEncode {
    writer: Writer,
}

enum Writer {
    File(FileWriter<Vec<u8>>),
    Stream(StreamWriter<Vec<u8>>),
}

impl ArrowEncode {
    fn drain(&mut self, out: &mut Vec<u8>) {
        out.append(match &mut self.writer {
            Writer::File(writer) => writer.get_mut(),
            Writer::Stream(writer) => writer.get_mut(),
        });
    }
}

impl Encode for ArrowEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let written = match &mut self.writer {
            Writer::File(writer) => writer.write(columns),
            Writer::Stream(writer) => writer.write(columns),
        };
        written.map_err(Error::arrow("write rows as Arrow"))?;
        self.drain(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let finished = match &mut self.writer {
            Writer::File(writer) => writer.finish(),
            Writer::Stream(writer) => writer.finish(),
        };
        finished.map_err(Error::arrow("end an Arrow file"))?;
        self.drain(out);
        Ok(())
    }
}

/// The columns of the file.
pub(crate) fn scan_schema(_spec: &Spec, file: &std::fs::File) -> Result<SchemaRef, Error> {
    let file = file.try_clone().map_err(broken)?;
    Ok(Reader::open(file, None).map_err(broken)?.schema())
}

/// The rows of the file from row `from_row` on, with the columns of `schema`.
pub(crate) fn scan(
    _spec: &Spec,
    file: std::fs::File,
    schema: Option<&SchemaRef>,
    from_row: u64,
) -> Result<Box<dyn Scan>, Error> {
    let reader = match schema {
        None => Reader::open(file, None),
        Some(schema) => {
            let own = Reader::open(file.try_clone().map_err(broken)?, None).map_err(broken)?.schema();
            let read = schema.fields().iter().filter_map(|field| own.index_of(field.name()).ok());
            let mut read: Vec<_> = read.collect();
            read.sort_unstable();
            Reader::open(file, Some(read))
        }
    };
    let reader = reader.map_err(broken)?;
    let schema = schema.cloned().unwrap_or_else(|| reader.schema());
    Ok(Box::new(ArrowScan { reader, schema, skip: from_row, rest: Rest::default() }))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::World(format!("the Arrow file can't be read: {error}; move it away, or write it again"))
}

enum Reader {
    File(FileReader<BufReader<std::fs::File>>),
    Stream(StreamReader<BufReader<std::fs::File>>),
}

impl Reader {
    fn open(mut file: std::fs::File, columns: Option<Vec<usize>>) -> Result<Self, ArrowError> {
        let mut first = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&file).take(MAGIC.len() as u64).read_to_end(&mut first)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(if first == MAGIC {
            Self::File(FileReader::try_new_buffered(file, columns)?)
        } else {
            Self::Stream(StreamReader::try_new_buffered(file, columns)?)
        })
    }

    fn schema(&self) -> SchemaRef {
        match self {
            Self::File(reader) => reader.schema(),
            Self::Stream(reader) => reader.schema(),
        }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        match self {
            Self::File(reader) => reader.next().transpose(),
            Self::Stream(reader) => reader.next().transpose(),
        }
    }
}

struct ArrowScan {
    reader: Reader,
    schema: SchemaRef,
    /// Rows still to be passed over.
    skip: u64,
    rest: Rest,
}

impl Scan for ArrowScan {
    fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>, Error> {
        let Self { reader, schema, skip, rest } = self;
        rest.next(rows, || {
            let Some(batch) = reader.next().map_err(broken)? else { return Ok(None) };
            let passed = usize::try_from(*skip).unwrap_or(usize::MAX).min(batch.num_rows());
            *skip -= passed as u64;
            conform(&batch.slice(passed, batch.num_rows() - passed), schema).map(Some).map_err(broken)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::parquet::tests::{file, nested, pruned, read};

    #[test]
    fn both_framings_are_read_from_every_row() {
        for (framing, compression) in [
            (Framing::File, Compression::None),
            (Framing::File, Compression::Zstd),
            (Framing::Stream, Compression::Lz4),
        ] {
            let spec = Spec { framing, compression };
            let all = nested(0, 50);
            let file = file(encode(&spec, &all.schema()).unwrap(), &[nested(0, 20), nested(20, 0), nested(20, 30)]);
            assert_eq!(scan_schema(&spec, &file).unwrap(), all.schema());
            for from in 0..=51 {
                let scan = scan(&spec, file.try_clone().unwrap(), None, from as u64).unwrap();
                assert_eq!(read(scan, &all.schema(), 7), all.slice(from.min(50), 50 - from.min(50)));
            }
            let schema = pruned();
            let scan = scan(&spec, file.try_clone().unwrap(), Some(&schema), 3).unwrap();
            assert_eq!(read(scan, &schema, 7), conform(&all, &schema).unwrap().slice(3, 47));
        }
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let all = nested(0, 50);
        let file = file(encode(&Spec::default(), &all.schema()).unwrap(), std::slice::from_ref(&all));
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        assert!(scan(&Spec::default(), file, None, 0).is_err());
    }
}
