//! Messages to rows: finds each message's schema, runs its program, cuts back what a bad message left.

use std::mem;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::Framing;
use super::container::{self, BLOCK_BYTES_MAX, Block, Codec, MAGIC, bad};
use super::cursor::Cursor;
use super::read::Read;
use super::schema::{Avro, merge, parse};
use crate::format::column::{Column, Values, finish_all};
use crate::{BadRow, Chunk, Decode, Decoded, Error, Reason, ReasonCode, Rows};

/// Writers' schemas that one decoder keeps, made into programs. The one that was made first goes first.
pub(super) const SCHEMAS_MAX: usize = 64;

/// Bytes of one bare message.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// Bytes that the messages of one chunk may unpack to.
pub(super) const CHUNK_BYTES_MAX: usize = 512 << 20;

/// See [`super::decode`].
#[derive(Debug)]
pub(super) struct Decoder {
    framing: Framing,
    full: SchemaRef,
    wanted: SchemaRef,
    /// The program of the schema file, for bare messages.
    bare: Option<Fit>,
    writers: Vec<Writer>,
    /// The writer of the last message.
    latest: usize,
    rows: Column,
    room: Vec<u8>,
    unpacked_bytes: usize,
}

#[derive(Debug)]
struct Writer {
    schema: Vec<u8>,
    fit: Fit,
}

/// What a writer's schema is to the stream's.
#[derive(Debug)]
enum Fit {
    /// Its records can be read by this program; each takes so many bytes at least.
    Reads(Box<Read>, usize),
    /// It has more than the stream.
    Wider(SchemaRef),
    /// It can't be read.
    Unfit(Reason),
}

/// Why a message gave no rows.
enum Stop {
    Bad(Reason),
    Wider(SchemaRef),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Bad(reason)
    }
}

/// The header that all messages of a chunk share.
#[derive(Clone, Copy)]
struct Shared {
    writer: usize,
    codec: Codec,
    sync: [u8; 16],
}

impl Decoder {
    pub(super) fn new(
        framing: Framing,
        full: &SchemaRef,
        wanted: &SchemaRef,
        bare: Option<&Avro>,
    ) -> Result<Self, Error> {
        let kind = DataType::Struct(wanted.fields().clone());
        let rows = Column::new(&kind);
        let rows = rows.ok_or_else(|| Error::House(format!("no Avro schema gives the columns {kind}")))?;
        let mut decoder = Self {
            framing,
            full: Arc::clone(full),
            wanted: Arc::clone(wanted),
            bare: None,
            writers: Vec::new(),
            latest: 0,
            rows,
            room: Vec::new(),
            unpacked_bytes: 0,
        };
        decoder.bare = bare.map(|schema| decoder.fit(schema));
        Ok(decoder)
    }

    /// Writers' schemas that are kept.
    #[cfg(test)]
    pub(super) fn schemas(&self) -> usize {
        self.writers.len()
    }

    fn fit(&self, writer: &Avro) -> Fit {
        let unfit = |what| Fit::Unfit(Reason::new(ReasonCode::SchemaIncompatible, what));
        let merged = match merge(self.full.fields(), &writer.columns(), "") {
            Ok(merged) => merged,
            Err(what) => return unfit(what),
        };
        if merged != *self.full.fields() {
            return Fit::Wider(Arc::new(Schema::new_with_metadata(merged, self.full.metadata().clone())));
        }
        match Read::new(writer, &DataType::Struct(self.wanted.fields().clone())) {
            Ok(read) => Fit::Reads(Box::new(read), writer.bytes_min()),
            Err(what) => unfit(what),
        }
    }

    /// The place of the writer with this schema. Comparing is cheaper than hashing: bytes that differ, differ soon.
    fn writer(&mut self, schema: &[u8]) -> usize {
        if self.writers.get(self.latest).is_some_and(|writer| writer.schema == schema) {
            return self.latest;
        }
        let known = self.writers.iter().position(|writer| writer.schema == schema);
        self.latest = known.unwrap_or_else(|| {
            let fit = match parse(schema) {
                Ok(avro) => self.fit(&avro),
                Err(what) => Fit::Unfit(bad(what)),
            };
            if self.writers.len() >= SCHEMAS_MAX {
                self.writers.remove(0);
            }
            self.writers.push(Writer { schema: schema.to_vec(), fit });
            self.writers.len() - 1
        });
        self.latest
    }

    fn shared(&mut self, header: &[u8]) -> Result<Shared, Reason> {
        let read = container::header(header).map_err(|lack| lack.reason("the container's header", header.len()))?;
        Ok(Shared { writer: self.writer(read.schema), codec: read.codec, sync: read.sync })
    }

    fn message(&mut self, bytes: &[u8], shared: Option<&Result<Shared, Reason>>) -> Result<(), Stop> {
        if let Some(shared) = shared {
            let shared = shared.as_ref().map_err(Reason::clone)?;
            return self.blocks(bytes, 0, *shared);
        }
        let container = match self.framing {
            Framing::Container => true,
            Framing::Auto => self.bare.is_none() || bytes.starts_with(MAGIC),
            Framing::Bare | Framing::Confluent => false,
        };
        if container {
            let header = container::header(bytes).map_err(|l| l.reason("the container's header", bytes.len()))?;
            let (codec, sync) = (header.codec, header.sync);
            let shared = Shared { writer: self.writer(header.schema), codec, sync };
            self.blocks(bytes, header.length, shared)
        } else {
            self.bare_body(bytes)
        }
    }

    fn bare_body(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.len() > RECORD_BYTES_MAX {
            let what = format!("the message has {} bytes, the limit is {RECORD_BYTES_MAX}", bytes.len());
            return Err(Reason::new(ReasonCode::TooLong, what).into());
        }
        let Some(fit) = &self.bare else { return Err(bad("a bare message, and no schema to read it by").into()) };
        records(fit, bytes, 1, &mut self.rows)
    }

    fn blocks(&mut self, bytes: &[u8], from: usize, shared: Shared) -> Result<(), Stop> {
        let fit = &self.writers[shared.writer].fit;
        // A message that has no rows still has a schema.
        program(fit)?;
        let mut room = mem::take(&mut self.room);
        let mut at = from;
        while at < bytes.len() {
            let result = container::block(&bytes[at..], Some(&shared.sync))
                .map_err(|lack| lack.reason("a block", bytes.len()).into())
                .and_then(|block| {
                    one_block(fit, &block, shared.codec, &mut room, &mut self.unpacked_bytes, &mut self.rows)?;
                    Ok(block.length)
                });
            match result {
                Ok(length) => at += length,
                Err(Stop::Bad(reason)) => {
                    let message = format!("block at byte {at}: {}", reason.message);
                    return Err(Reason::new(reason.code, message).into());
                }
                Err(wider @ Stop::Wider(_)) => return Err(wider),
            }
        }
        self.room = room;
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch, Error> {
        let count = self.rows.len();
        let fields = self.wanted.fields();
        self.rows.nulls.finish();
        let columns = match &mut self.rows.values {
            Values::Struct(children) => finish_all(children, fields),
            _ => return Err(Error::House("the rows of an Avro decoder are not a record".to_owned())),
        };
        let columns = columns.map_err(Error::arrow("build columns from Avro"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.wanted), columns, &options)
            .map_err(Error::arrow("build a batch from Avro"))
    }
}

impl Decode for Decoder {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let ranges = chunk.ranges();
        let shared = chunk.header.as_ref().map(|header| self.shared(header));
        self.rows.truncate(0);
        self.rows.reclaim();
        self.unpacked_bytes = 0;
        let (mut picked, mut bad) = (Vec::with_capacity(ranges.len()), Vec::new());
        let (mut next, mut wider) = (ranges.len(), None);
        for (message, &(start, end)) in ranges.iter().enumerate().skip(from) {
            let before = self.rows.len();
            let number = u32::try_from(message).unwrap_or(u32::MAX);
            match self.message(&chunk.bytes[start..end], shared.as_ref()) {
                Ok(()) => picked.extend(std::iter::repeat_n(number, self.rows.len() - before)),
                Err(Stop::Bad(reason)) => {
                    self.rows.truncate(before);
                    bad.push(BadRow { row: number, reason });
                }
                Err(Stop::Wider(schema)) => {
                    (next, wider) = (message, Some(schema));
                    break;
                }
            }
        }
        let same = picked.iter().enumerate().all(|(row, message)| row == *message as usize);
        let messages = if same { Rows::Same } else { Rows::Picked(picked.into()) };
        Ok(Decoded { columns: self.finish()?, messages, bad, next, wider })
    }
}

fn one_block(
    fit: &Fit,
    block: &Block<'_>,
    codec: Codec,
    room: &mut Vec<u8>,
    unpacked_bytes: &mut usize,
    rows: &mut Column,
) -> Result<(), Stop> {
    let body = container::unpack(codec, block.data, room)?;
    *unpacked_bytes += body.len();
    if body.len() > BLOCK_BYTES_MAX || *unpacked_bytes > CHUNK_BYTES_MAX {
        let what = format!("the messages read at once unpack to more than {CHUNK_BYTES_MAX} bytes; lower batch.bytes");
        return Err(Reason::new(ReasonCode::TooLong, what).into());
    }
    records(fit, body, block.count, rows)
}

fn program(fit: &Fit) -> Result<(&Read, usize), Stop> {
    match fit {
        Fit::Reads(read, bytes_min) => Ok((read, *bytes_min)),
        Fit::Wider(schema) => Err(Stop::Wider(Arc::clone(schema))),
        Fit::Unfit(reason) => Err(Stop::Bad(reason.clone())),
    }
}

/// Reads `count` records that make up all of `body`.
fn records(fit: &Fit, body: &[u8], count: u64, rows: &mut Column) -> Result<(), Stop> {
    let (read, bytes_min) = program(fit)?;
    let mut cursor = Cursor::new(body);
    let claimed = usize::try_from(count).unwrap_or(usize::MAX);
    cursor.bounded(claimed, bytes_min).map_err(|fault| bad(fault.to_string()))?;
    for record in 0..claimed {
        read.run(&mut cursor, rows).map_err(|fault| match count {
            1 => bad(fault.to_string()),
            _ => bad(format!("record {record}: {fault}")),
        })?;
    }
    match cursor.left() {
        0 => Ok(()),
        left => Err(bad(format!("byte {}: {left} bytes are left over after the last field", body.len() - left)).into()),
    }
}
