//! Made-up input that comes piece by piece, so that work is going on whenever the stream is killed.

use std::fs;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::columns::{self, Recipe};
use super::kafka::Producer;
use crate::Error;
use crate::format::Format;

/// What the sources of a stream are given.
pub struct Feed {
    pub(super) rows: u64,
    pub(super) released: u64,
    pub(super) inputs: Vec<Input>,
}

/// What one source is given.
pub(super) struct Input {
    pub(super) format: Format,
    pub(super) schema: SchemaRef,
    pub(super) recipe: Recipe,
    pub(super) to: To,
}

/// Where it is put.
pub(super) enum To {
    /// A file for each release, in a folder.
    Folder(PathBuf),
    /// A message for each row, spread over the topics and their partitions.
    Topics { producer: Producer, topics: Vec<String>, partitions: u32 },
}

impl Feed {
    /// The rows that each source is given in all.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows that each source was given so far.
    pub const fn released(&self) -> u64 {
        self.released
    }

    /// Whether there is a source that is given rows: others make theirs up by themselves.
    pub const fn is_fed(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Gives each source its rows up to number `upto`, as far as it doesn't have them.
    pub fn release(&mut self, upto: u64) -> Result<(), Error> {
        let upto = upto.min(self.rows);
        if upto <= self.released {
            return Ok(());
        }
        let (from, count) = (self.released, upto - self.released);
        for input in &mut self.inputs {
            let rows =
                columns::rows(&input.schema, &input.recipe, from, count).map_err(Error::arrow("make rows up"))?;
            input.take(&rows, from)?;
        }
        self.released = upto;
        Ok(())
    }
}

impl Input {
    fn take(&mut self, rows: &RecordBatch, from: u64) -> Result<(), Error> {
        match &mut self.to {
            To::Folder(folder) => {
                let bytes = encoded(&self.format, &self.schema, rows)?;
                let name = format!("{from:010}.{}", self.format.extension());
                let (hidden, path) = (folder.join(format!(".{name}")), folder.join(&name));
                // A file counts as complete when it is seen.
                fs::write(&hidden, bytes).map_err(Error::file("write", &hidden))?;
                fs::rename(&hidden, &path).map_err(Error::file("rename", &hidden))
            }
            To::Topics { producer, topics, partitions } => {
                for (number, row) in (from..).zip(0..rows.num_rows()) {
                    let bytes = message(&self.format, &self.schema, &rows.slice(row, 1))?;
                    let topic = &topics[usize::try_from(number).unwrap_or(0) % topics.len()];
                    let partition = number / topics.len() as u64 % u64::from(*partitions);
                    producer.send(topic, i32::try_from(partition).unwrap_or(0), &number.to_string(), &bytes)?;
                }
                producer.flush()
            }
        }
    }
}

/// One row as a message: lines without their ends.
fn message(format: &Format, schema: &SchemaRef, row: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut bytes = encoded(format, schema, row)?;
    if matches!(format.name(), "json" | "csv" | "text") {
        bytes.truncate(bytes.trim_ascii_end().len());
    }
    Ok(bytes)
}

fn encoded(format: &Format, schema: &SchemaRef, rows: &RecordBatch) -> Result<Vec<u8>, Error> {
    let (mut encode, mut bytes) = (format.encode(schema)?, Vec::new());
    encode.encode(rows, &mut bytes)?;
    encode.finish(&mut bytes)?;
    Ok(bytes)
}
