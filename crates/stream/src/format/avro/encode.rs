//! Rows to container files.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::format::AvroOcfFormat;
use arrow_avro::writer::{AvroWriter, WriterBuilder};

use super::Compression;
use crate::format::end_message;
use crate::{Encode, Error};

/// Bytes of rows in memory that make up a block: enough for the codec to find what repeats, little to unpack at once.
const BLOCK_BYTES: usize = 1 << 20;

/// See [`super::encode`].
pub(super) struct Encoder {
    writer: AvroWriter<Pipe>,
    pipe: Pipe,
    compression: Compression,
    schema: SchemaRef,
    kept: Vec<RecordBatch>,
    kept_bytes: usize,
}

/// What the writer writes, until it is fetched: the writer owns its output.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    fn drain(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoder {
    pub(super) fn new(compression: Compression, schema: &SchemaRef) -> Result<Self, Error> {
        let pipe = Pipe::default();
        let codec = match compression {
            Compression::Null => None,
            Compression::Deflate => Some(CompressionCodec::Deflate),
            Compression::Snappy => Some(CompressionCodec::Snappy),
            Compression::Zstd => Some(CompressionCodec::ZStandard),
        };
        let builder = WriterBuilder::new(schema.as_ref().clone()).with_compression(codec);
        let writer = builder.build::<_, AvroOcfFormat>(pipe.clone());
        let writer = writer.map_err(|error| Error::World(format!("Avro can't hold these columns: {error}")))?;
        Ok(Self { writer, pipe, compression, schema: Arc::clone(schema), kept: Vec::new(), kept_bytes: 0 })
    }

    fn block(&mut self) -> Result<(), Error> {
        let kept = std::mem::take(&mut self.kept);
        self.kept_bytes = 0;
        if kept.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.schema, &kept).map_err(Error::arrow("join rows for an Avro block"))?;
        self.writer.write(&rows).map_err(|error| Error::World(format!("Avro can't hold these rows: {error}")))
    }
}

impl Encode for Encoder {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let row_bytes = row_bytes(columns);
        let mut from = 0;
        while from < columns.num_rows() {
            let room = BLOCK_BYTES.saturating_sub(self.kept_bytes) / row_bytes;
            let take = room.clamp(1, columns.num_rows() - from);
            self.kept.push(columns.slice(from, take));
            self.kept_bytes += take * row_bytes;
            from += take;
            if self.kept_bytes + row_bytes > BLOCK_BYTES {
                self.block()?;
            }
        }
        self.pipe.drain(out);
        Ok(())
    }

    /// Each message is a container of its own, with its schema.
    fn messages(&mut self, columns: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Error> {
        for row in 0..columns.num_rows() {
            let mut encode = Self::new(self.compression, &self.schema)?;
            encode.encode(&columns.slice(row, 1), out)?;
            encode.finish(out)?;
            end_message(out, ends)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.block()?;
        self.pipe.drain(out);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.kept_bytes
    }
}

/// The bytes of an average row, 1 at least.
fn row_bytes(columns: &RecordBatch) -> usize {
    let bytes = columns.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
    (bytes.sum::<usize>() / columns.num_rows().max(1)).max(1)
}
