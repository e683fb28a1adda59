use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use stdx::{Clock, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::{Batch, Cut, Input, Origin, Payload, Pool, Position, Reason, ReasonCode, Rows, World};

mod done;
mod sink;
mod source;
mod staging;

/// Lines of text; the first is a header where asked for.
pub(super) struct Lines {
    has_header: bool,
}

impl Cut for Lines {
    fn header(&mut self, bytes: &[u8], at_end: bool) -> Result<Option<usize>, Reason> {
        match bytes.iter().position(|byte| *byte == b'\n') {
            _ if !self.has_header => Ok(Some(0)),
            Some(end) => Ok(Some(end + 1)),
            None => Ok(at_end.then_some(bytes.len())),
        }
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, _: &mut Vec<u32>) -> Result<usize, Reason> {
        let mut length = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n').take(rows) {
            if line.ends_with(b"\n") || at_end {
                length += line.len();
            }
        }
        Ok(length)
    }

    fn lines(&self) -> bool {
        true
    }
}

/// Messages of one byte that says how long the rest is; 255 is an error.
pub(super) struct Frames;

impl Cut for Frames {
    fn header(&mut self, _: &[u8], _: bool) -> Result<Option<usize>, Reason> {
        Ok(Some(0))
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, ends: &mut Vec<u32>) -> Result<usize, Reason> {
        let mut length = 0;
        while length < bytes.len() && ends.len() < rows {
            let next = length + 1 + usize::from(bytes[length]);
            let is_bad = bytes[length] == 255 || at_end && next > bytes.len();
            if is_bad && length == 0 {
                return Err(Reason::new(ReasonCode::Malformed, "no frame"));
            }
            if is_bad || next > bytes.len() {
                break;
            }
            length = next;
            ends.push(u32::try_from(length).unwrap());
        }
        Ok(length)
    }

    fn lines(&self) -> bool {
        false
    }
}

pub(super) fn lines() -> Framed {
    Framed::Cut { cut: Box::new(|| Box::new(Lines { has_header: false })), whole: false }
}

pub(super) fn headed() -> Framed {
    Framed::Cut { cut: Box::new(|| Box::new(Lines { has_header: true })), whole: false }
}

pub(super) fn frames(whole: bool) -> Framed {
    Framed::Cut { cut: Box::new(|| Box::new(Frames)), whole }
}

pub(super) fn world(folder: &Path, pool: Pool) -> World {
    World {
        clock: Clock::manual(Timestamp::from_millis(0)),
        runtime: runtime(),
        pool,
        secrets: Arc::default(),
        folder: folder.to_owned(),
    }
}

fn runtime() -> tokio::runtime::Handle {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    RUNTIME.get_or_init(build).handle().clone()
}

pub(super) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Sets a file's modification time, in hours since 1970.
pub(super) fn set_hour(path: &Path, hour: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(hour * 3600);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A batch of one column of numbers, and of one of text where given.
pub(super) fn batch(numbers: Vec<i64>, text: Option<Vec<Option<&str>>>) -> Batch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    let mut columns = vec![("n", numbers, true)];
    if let Some(text) = text {
        columns.push(("t", Arc::new(StringArray::from(text)) as ArrayRef, true));
    }
    let columns = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let chunk = Chunk::single(Bytes::new(), Origin { input: "test".into(), offset: 0 });
    let input = Input { source: "test".into(), payload: Payload::Chunk(chunk), messages: Rows::Same };
    Batch { columns, rows: Rows::Same, input: Arc::new(input) }
}
