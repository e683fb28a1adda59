//! The source: which file is next, and when to look again.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use stdx::Clock;

use super::cutting::{Added, Cutting, Room};
use super::done::{Done, Middle};
use super::listing::{self, Entry, Glob, Known};
use super::{Framed, MESSAGE_BYTES_MAX, ScanFile, SourceSpec};
use crate::{Chunk, Error, Limit, Origin, Position, Read, Reason, ReasonCode, Scan, Source};

/// A run that ends when it is idle waits this long for the next file.
const IDLE: Duration = Duration::from_secs(5);

/// The rows of a file's first read: how large rows are is learned from them.
const FIRST_ROWS: usize = 256;

/// Who reads.
pub(super) struct Reader {
    /// What relative paths start from.
    pub(super) folder: PathBuf,
    /// Which of how many.
    pub(super) shard: (u32, u32),
    /// Time, for looking again.
    pub(super) clock: Clock,
    /// Whether to end when nothing comes.
    pub(super) until_idle: bool,
}

/// The source.
pub(super) struct Files {
    globs: Vec<Glob>,
    spec: SourceSpec,
    framed: Framed,
    reader: Reader,
    done: Done,
    known: Known,
    /// What the last listing brought, to be taken from the end.
    queue: Vec<Entry>,
    current: Option<Current>,
    room: Room,
    look_again: Duration,
    last_news: Duration,
}

enum Current {
    Cutting(Box<Cutting>),
    Scanning(Scanning),
}

struct Scanning {
    entry: Entry,
    scan: Box<dyn Scan>,
    row: u64,
    row_bytes: usize,
}

impl Files {
    /// Lists the files, and stands at `position`.
    pub(super) fn open(
        spec: &SourceSpec,
        framed: Framed,
        reader: Reader,
        position: Option<Position>,
    ) -> Result<Self, Error> {
        let (done, middle) = Done::load(spec.order, position)?;
        let mut files = Self::new(spec, framed, reader, done)?;
        files.look()?;
        if let Some(middle) = middle {
            files.resume(&middle)?;
        }
        Ok(files)
    }

    /// Stands before files that are already listed.
    pub(super) fn listed(
        spec: &SourceSpec,
        framed: Framed,
        reader: Reader,
        mut listed: Vec<Entry>,
    ) -> Result<Self, Error> {
        let (done, _) = Done::load(spec.order, None)?;
        listed.reverse();
        Ok(Self { queue: listed, ..Self::new(spec, framed, reader, done)? })
    }

    fn new(spec: &SourceSpec, framed: Framed, reader: Reader, done: Done) -> Result<Self, Error> {
        let now = reader.clock.elapsed();
        Ok(Self {
            globs: listing::globs(spec)?,
            spec: spec.clone(),
            framed,
            reader,
            done,
            known: Known::new(),
            queue: Vec::new(),
            current: None,
            room: Room::default(),
            look_again: now,
            last_news: now,
        })
    }

    fn look(&mut self) -> Result<(), Error> {
        let (mut found, there) = listing::list(&self.globs, &self.reader.folder, self.spec.order, &self.known)?;
        if self.spec.follow.every().is_some() {
            self.known = there;
        }
        let (index, shards) = self.reader.shard;
        found.retain(|entry| {
            let ours = stdx::hash(entry.path.as_bytes()) % u64::from(shards.max(1)) == u64::from(index);
            ours && !self.done.has(entry)
        });
        if let Some(newest) = found.iter().map(|entry| entry.time).max() {
            self.done.begin(newest);
        }
        found.reverse();
        self.queue = found;
        self.look_again = self.reader.clock.elapsed() + self.spec.follow.every().unwrap_or_default();
        Ok(())
    }

    fn resume(&mut self, middle: &Middle) -> Result<(), Error> {
        let Some(place) = self.queue.iter().position(|entry| *entry.path == *middle.path) else {
            tracing::warn!(path = %middle.path, offset = middle.offset, "the file that was being read is gone");
            return Ok(());
        };
        let entry = self.queue.remove(place);
        self.enter(&entry, middle.offset)
    }

    /// Opens a file. One that vanished since it was listed is passed over.
    fn enter(&mut self, entry: &Entry, offset: u64) -> Result<(), Error> {
        let opened = match &self.framed {
            Framed::Cut { cut, whole } => Cutting::open(entry.clone(), cut.as_ref(), *whole, offset)
                .map(|opened| opened.map(|cutting| Current::Cutting(Box::new(cutting)))),
            Framed::Scan(scan) => Scanning::open(entry.clone(), scan, offset),
        }?;
        if opened.is_none() {
            tracing::warn!(path = %entry.path, "the file vanished after it was listed");
            self.known.remove(&entry.path);
        }
        self.current = opened;
        Ok(())
    }

    /// Sees to it that a file is open, if there is one.
    fn advance(&mut self) -> Result<bool, Error> {
        while self.current.is_none() {
            if let Some(entry) = self.queue.pop() {
                self.enter(&entry, 0)?;
                continue;
            }
            self.done.end();
            if self.spec.follow.every().is_none() || self.reader.clock.elapsed() < self.look_again {
                return Ok(false);
            }
            self.look()?;
            if self.queue.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn finish(&mut self) {
        let entry = match self.current.take() {
            Some(Current::Cutting(cutting)) => cutting.entry,
            Some(Current::Scanning(scanning)) => scanning.entry,
            None => return,
        };
        self.done.finish(&entry);
    }

    /// What comes next of the open file and those behind it that fit, or `None` where it had nothing more.
    fn take(&mut self, limit: Limit) -> Result<Option<Read>, Error> {
        match &mut self.current {
            None => Ok(None),
            Some(Current::Scanning(scanning)) => {
                let read = scanning.read(limit)?;
                if !matches!(read, Some(Read::Columns(..))) {
                    self.finish();
                }
                Ok(read)
            }
            Some(Current::Cutting(cutting)) => match cutting.take_rest(limit) {
                Some(chunk) => Ok(Some(Read::Chunk(chunk))),
                None => self.join(limit),
            },
        }
    }

    /// One chunk of the open file and as many of the next as fit.
    fn join(&mut self, limit: Limit) -> Result<Option<Read>, Error> {
        let mut joined = self.room.joined();
        while let Some(Current::Cutting(cutting)) = &mut self.current {
            match cutting.add_to(&mut joined, limit)? {
                Added::All => self.finish(),
                Added::Some => break,
                Added::Bad(reason) => {
                    let (chunk, reason, ended) = cutting.bad(joined, reason)?;
                    ended.then(|| self.finish());
                    return Ok(Some(Read::Bad { chunk, reason }));
                }
            }
            if !joined.has_room(limit) || !self.advance()? {
                break;
            }
        }
        Ok(self.room.chunk(joined, limit).map(Read::Chunk))
    }
}

impl Source for Files {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        while self.advance()? {
            if let Some(read) = self.take(limit)? {
                self.last_news = self.reader.clock.elapsed();
                return Ok(read);
            }
        }
        let idle_at = self.last_news + IDLE;
        if self.spec.follow.every().is_none() {
            return Ok(Read::End);
        }
        if !self.reader.until_idle {
            return Ok(Read::Idle { again: Some(self.look_again) });
        }
        if self.reader.clock.elapsed() >= idle_at {
            return Ok(Read::End);
        }
        Ok(Read::Idle { again: Some(self.look_again.min(idle_at)) })
    }

    fn position(&self) -> Position {
        let middle = |entry: &Entry, offset| Middle { path: entry.path.to_string(), offset };
        self.done.position(match &self.current {
            Some(Current::Cutting(cutting)) if cutting.offset > 0 => Some(middle(&cutting.entry, cutting.offset)),
            Some(Current::Scanning(scanning)) if scanning.row > 0 => Some(middle(&scanning.entry, scanning.row)),
            _ => None,
        })
    }

    fn lag(&self) -> Option<u64> {
        Some(self.queue.len() as u64 + u64::from(self.current.is_some()))
    }
}

impl Scanning {
    fn open(entry: Entry, scan: &ScanFile, row: u64) -> Result<Option<Current>, Error> {
        let file = match File::open(&entry.real) {
            Ok(file) => file,
            Err(fault) if listing::is_gone(&fault) => return Ok(None),
            Err(fault) => return Err(Error::file("open", &entry.real)(fault)),
        };
        let scan = match scan(file, row) {
            Ok(scan) => scan,
            Err(fault @ (Error::File { .. } | Error::Io { .. })) => return Err(fault),
            Err(fault) => Box::new(Broken(Some(fault))),
        };
        Ok(Some(Current::Scanning(Self { entry, scan, row, row_bytes: 0 })))
    }

    fn read(&mut self, limit: Limit) -> Result<Option<Read>, Error> {
        let rows = match self.row_bytes {
            0 => FIRST_ROWS,
            row_bytes => (limit.bytes / row_bytes).max(1),
        };
        match self.scan.next(rows.min(limit.rows)) {
            Ok(Some(columns)) => {
                let origin = self.origin();
                self.row += columns.num_rows() as u64;
                self.row_bytes = bytes(&columns).div_ceil(columns.num_rows().max(1)).max(1);
                Ok(Some(Read::Columns(columns, origin)))
            }
            Ok(None) => Ok(None),
            Err(fault @ (Error::File { .. } | Error::Io { .. })) => Err(fault),
            Err(fault) => self.bad(&fault).map(Some),
        }
    }

    /// The whole file, for quarantine.
    fn bad(&self, fault: &Error) -> Result<Read, Error> {
        let read = |fault| Error::file("read", &self.entry.real)(fault);
        let mut content = Vec::new();
        let file = File::open(&self.entry.real).map_err(read)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MESSAGE_BYTES_MAX as u64), &mut content)
            .map_err(read)?;
        let message = format!("the file can't be read from row {} on: {}", self.row, stdx::Chain(fault));
        let chunk = Chunk::single(content.into(), self.origin());
        Ok(Read::Bad { chunk, reason: Reason::new(ReasonCode::Malformed, message) })
    }

    fn origin(&self) -> Origin {
        Origin { input: self.entry.path.clone(), offset: self.row }
    }
}

/// A file that can't even be opened by its format.
struct Broken(Option<Error>);

impl Scan for Broken {
    fn next(&mut self, _rows: usize) -> Result<Option<RecordBatch>, Error> {
        self.0.take().map_or(Ok(None), Err)
    }
}

fn bytes(columns: &RecordBatch) -> usize {
    let size = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    columns.columns().iter().map(size).sum()
}
