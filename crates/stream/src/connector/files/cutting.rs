//! One file being cut into messages, and the chunk that its messages share with other files'.

use bytes::Bytes;

use super::MESSAGE_BYTES_MAX;
use super::input::{Fault, Input};
use super::listing::{self, Entry};
use crate::{Chunk, Cut, Ends, Error, Limit, Origin, Reason, ReasonCode};

/// A rest that is smaller than this part of a chunk is copied to the front of a new buffer and read on behind.
const SMALL_REST: usize = 8;

/// The longest header, in bytes, that is looked for when a file is resumed.
const HEADER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// An open file.
pub(super) struct Cutting {
    pub(super) entry: Entry,
    /// Where `rest` begins in the unpacked file.
    pub(super) offset: u64,
    input: Input,
    cut: Box<dyn Cut>,
    /// What every chunk carries along; `None` until it is known.
    header: Option<Bytes>,
    /// What was read and is not yet handed over.
    rest: Bytes,
    at_end: bool,
    /// Why there is no more to be had, short of the end.
    corrupt: Option<String>,
    /// Whether the file may be one message, if it is small enough.
    whole: bool,
}

/// What became of a file's bytes.
pub(super) enum Added {
    /// All are in the chunk.
    All,
    /// The rest is kept back.
    Some,
    /// The next can't be cut, and the chunk is empty.
    Bad(Reason),
}

impl Cutting {
    /// Opens a file at an offset; `None` when it is gone.
    pub(super) fn open(
        entry: Entry,
        cut: &(dyn Fn() -> Box<dyn Cut> + Send),
        whole: bool,
        offset: u64,
    ) -> Result<Option<Self>, Error> {
        let input = match Input::open(&entry.real) {
            Ok(input) => input,
            Err(fault) if listing::is_gone(&fault) => return Ok(None),
            Err(fault) => return Err(Error::file("open", &entry.real)(fault)),
        };
        let (header, rest) = (None, Bytes::new());
        let (at_end, corrupt, whole) = (false, None, whole && offset == 0);
        let mut cutting = Self { entry, offset, input, cut: cut(), header, rest, at_end, corrupt, whole };
        if offset > 0 {
            cutting.go_on()?;
        }
        Ok(Some(cutting))
    }

    /// Reads the header again, and goes to the offset.
    fn go_on(&mut self) -> Result<(), Error> {
        let mut front = Vec::new();
        while self.header.is_none() && self.corrupt.is_none() && front.len() < HEADER_BYTES_MAX {
            let more = front.len().max(4096);
            self.fill(&mut front, more)?;
            match self.cut.header(&front, self.at_end) {
                Ok(Some(length)) => self.header = Some(Bytes::copy_from_slice(&front[..length])),
                Ok(None) => {}
                Err(reason) => self.corrupt = Some(reason.message),
            }
        }
        if self.corrupt.is_some() {
            return Ok(());
        }
        self.input = Input::open(&self.entry.real).map_err(Error::file("open", &self.entry.real))?;
        self.at_end = false;
        let gone_to = self.input.go_to(self.offset);
        self.heed(gone_to.map(|()| false))
    }

    fn fill(&mut self, buffer: &mut Vec<u8>, more: usize) -> Result<(), Error> {
        if self.at_end || self.corrupt.is_some() {
            return Ok(());
        }
        let filled = self.input.fill(buffer, more);
        self.heed(filled)
    }

    fn heed(&mut self, filled: Result<bool, Fault>) -> Result<(), Error> {
        match filled {
            Ok(at_end) => self.at_end = at_end,
            Err(Fault::System(fault)) => return Err(Error::file("read", &self.entry.real)(fault)),
            Err(Fault::Corrupt(fault)) => self.corrupt = Some(format!("the file can't be unpacked: {fault}")),
        }
        Ok(())
    }

    /// A chunk of what is already in memory, without a copy.
    pub(super) fn take_rest(&mut self, limit: Limit) -> Option<Chunk> {
        let header = self.header.clone()?;
        let ended = self.at_end || self.corrupt.is_some();
        if self.whole || self.rest.is_empty() || !ended && self.rest.len() < limit.bytes / SMALL_REST {
            return None;
        }
        let window = self.rest.slice(..self.rest.len().min(limit.bytes));
        let mut ends = Vec::new();
        let at_end = self.at_end && window.len() == self.rest.len();
        let length = self.cut.cut(&window, at_end, limit.rows, &mut ends).ok().filter(|length| *length > 0)?;
        let mut joined = Joined { ends, header, lines: self.cut.lines(), ..Joined::default() };
        joined.origins.push((0, self.origin(&window[..length])));
        joined.bytes = self.rest.split_to(length);
        self.offset += length as u64;
        joined.into_chunk()
    }

    /// Adds messages to a chunk that may hold those of other files.
    pub(super) fn add_to(&mut self, joined: &mut Joined, limit: Limit) -> Result<Added, Error> {
        let start = joined.buffer.len();
        // One byte is kept free for a line feed between two files.
        let mut want = limit.bytes.saturating_sub(1).max(1);
        if start == 0 {
            want = want.max(self.rest.len());
            joined.buffer.reserve_exact(want + 1);
        }
        let mut rows = limit.rows.saturating_sub(joined.messages as usize).max(1);
        joined.buffer.extend_from_slice(&std::mem::take(&mut self.rest));
        loop {
            let more = want.saturating_sub(joined.buffer.len());
            self.fill(&mut joined.buffer, more)?;
            match self.step(joined, start, rows) {
                Step::All => return Ok(Added::All),
                Step::Upto(length) => {
                    self.rest = joined.freeze(length);
                    return Ok(Added::Some);
                }
                // What stands before is handed over first.
                Step::Short | Step::Other | Step::Bad(_) if start > 0 => {
                    self.rest = joined.freeze(start);
                    return Ok(Added::Some);
                }
                Step::Bad(reason) => return Ok(Added::Bad(reason)),
                // A message that is longer than a chunk: it comes alone.
                Step::Short | Step::Other => {
                    want = joined.buffer.len().saturating_mul(2).min(MESSAGE_BYTES_MAX + 1).max(want + 1);
                    rows = 1;
                }
            }
        }
    }

    /// Takes messages from what the buffer holds from `start` on.
    fn step(&mut self, joined: &mut Joined, start: usize, rows: usize) -> Step {
        if self.whole {
            match self.one_message(joined, start) {
                Some(step) => return step,
                None => self.whole = false,
            }
        }
        let header = match self.take_header(&mut joined.buffer, start) {
            Ok(header) => header,
            Err(step) => return step,
        };
        if start == 0 {
            joined.header = header;
            joined.lines = self.cut.lines();
        } else if joined.whole || joined.header != header {
            return Step::Other;
        }
        let segment = &joined.buffer[start..];
        if segment.is_empty() && self.at_end {
            return Step::All;
        }
        let before = joined.ends.len();
        match self.cut.cut(segment, self.at_end, rows, &mut joined.ends) {
            Err(reason) => {
                joined.ends.truncate(before);
                Step::Bad(reason)
            }
            Ok(0) => self.short(segment),
            Ok(length) => {
                let all = self.at_end && length == segment.len();
                let origin = self.origin(&segment[..length]);
                joined.add(before, start, origin);
                self.offset += length as u64;
                if all {
                    joined.end_line();
                }
                if all { Step::All } else { Step::Upto(start + length) }
            }
        }
    }

    /// The file as one message; `None` where it is too large for that.
    fn one_message(&mut self, joined: &mut Joined, start: usize) -> Option<Step> {
        let length = joined.buffer.len() - start;
        if let Some(corrupt) = &self.corrupt {
            return Some(Step::Bad(Reason::new(ReasonCode::Malformed, corrupt.clone())));
        }
        if !self.at_end {
            return (start > 0).then_some(Step::Short);
        }
        if length == 0 {
            return Some(Step::Bad(Reason::new(
                ReasonCode::Malformed,
                "expected a file with messages, found no bytes",
            )));
        }
        if start > 0 && !joined.whole {
            return Some(Step::Other);
        }
        joined.whole = true;
        let before = joined.ends.len();
        joined.ends.push(u32::try_from(length).unwrap_or(u32::MAX));
        joined.add(before, start, self.origin(&[]));
        self.offset += length as u64;
        Some(Step::All)
    }

    /// The header, taken out of the buffer.
    fn take_header(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<Bytes, Step> {
        if let Some(header) = &self.header {
            return Ok(header.clone());
        }
        let front = &buffer[start..];
        match self.cut.header(front, self.at_end) {
            Err(reason) => Err(Step::Bad(reason)),
            Ok(None) => Err(self.short(front)),
            Ok(Some(length)) => {
                let header = Bytes::copy_from_slice(&front[..length]);
                buffer.drain(start..start + length);
                self.offset += length as u64;
                self.header = Some(header.clone());
                Ok(header)
            }
        }
    }

    /// What it means that `segment` holds no whole message.
    fn short(&self, segment: &[u8]) -> Step {
        if let Some(corrupt) = &self.corrupt {
            return Step::Bad(Reason::new(ReasonCode::Malformed, corrupt.clone()));
        }
        if self.at_end {
            return Step::Bad(Reason::new(ReasonCode::Malformed, "the file ends in the middle of a message"));
        }
        if segment.len() > MESSAGE_BYTES_MAX {
            let message = format!("a message of more than {MESSAGE_BYTES_MAX} bytes");
            return Step::Bad(Reason::new(ReasonCode::TooLong, message));
        }
        Step::Short
    }

    /// What can't be cut, up to the length of the longest message, and whether the file is done with.
    ///
    /// After a line that is too long, the file goes on with the next; after anything else, nobody knows where the next
    /// message begins.
    pub(super) fn bad(&mut self, joined: Joined, mut reason: Reason) -> Result<(Chunk, Reason, bool), Error> {
        let mut content = joined.buffer;
        let origin = self.origin(&[]);
        let next_line = reason.code == ReasonCode::TooLong && self.cut.lines();
        self.offset += content.len() as u64;
        if next_line {
            self.skip_line()?;
        } else {
            let more = (MESSAGE_BYTES_MAX + 1).saturating_sub(content.len());
            self.fill(&mut content, more)?;
        }
        if content.len() > MESSAGE_BYTES_MAX {
            content.truncate(MESSAGE_BYTES_MAX);
            reason.message += "; only its beginning is kept here";
        }
        let header = self.header.clone().filter(|header| !header.is_empty());
        let chunk = Chunk { header, ..Chunk::single(content.into(), origin) };
        Ok((chunk, reason, !next_line))
    }

    fn skip_line(&mut self) -> Result<(), Error> {
        const BLOCK_BYTES: usize = 256 << 10;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        while !self.at_end && self.corrupt.is_none() {
            block.clear();
            self.fill(&mut block, BLOCK_BYTES)?;
            if let Some(end) = block.iter().position(|byte| *byte == b'\n') {
                self.offset += end as u64 + 1;
                self.rest = Bytes::from(block).slice(end + 1..);
                return Ok(());
            }
            self.offset += block.len() as u64;
        }
        Ok(())
    }

    /// Where the first message of `segment` begins, which stands at our offset.
    fn origin(&self, segment: &[u8]) -> Origin {
        let blank = if self.cut.lines() { blank_lines(segment) } else { 0 };
        Origin { input: self.entry.path.clone(), offset: self.offset + blank as u64 }
    }
}

/// What can be done with the bytes in the buffer.
enum Step {
    /// They are all taken, and the file ends.
    All,
    /// They are taken up to here.
    Upto(usize),
    /// More are needed.
    Short,
    /// They can't be in one chunk with what stands before them.
    Other,
    /// They are no messages.
    Bad(Reason),
}

/// A chunk that grows file by file.
#[derive(Default)]
pub(super) struct Joined {
    buffer: Vec<u8>,
    /// The buffer's front, once nothing is going to be added.
    bytes: Bytes,
    /// The whole buffer, from then on.
    all: Bytes,
    ends: Vec<u32>,
    lines: bool,
    /// Whether each message is a file.
    whole: bool,
    header: Bytes,
    origins: Vec<(u32, Origin)>,
    messages: u32,
    /// The lines before this byte are counted.
    counted: usize,
}

impl Joined {
    /// Whether another file may be added.
    pub(super) fn has_room(&mut self, limit: Limit) -> bool {
        if self.lines {
            self.messages += count_lines(&self.buffer[self.counted..]);
            self.counted = self.buffer.len();
        } else {
            self.messages = number(self.ends.len());
        }
        (self.messages as usize) < limit.rows && self.buffer.len() < limit.bytes - limit.bytes / SMALL_REST
    }

    /// The chunk, unless there are no messages.
    pub(super) fn into_chunk(self) -> Option<Chunk> {
        let in_bytes = !self.whole;
        let ends = if self.lines { Ends::Lines } else { Ends::At { ends: self.ends, bytes: in_bytes } };
        let header = Some(self.header).filter(|header| !header.is_empty());
        let chunk = Chunk { bytes: self.bytes, ends, header, origins: self.origins, beside: None };
        (!chunk.origins.is_empty() && !chunk.is_empty()).then_some(chunk)
    }

    /// The ends from number `before` on, relative to byte `start`, are messages of one more file.
    fn add(&mut self, before: usize, start: usize, origin: Origin) {
        let first = if self.lines { self.messages } else { number(before) };
        self.ends[before..].iter_mut().for_each(|end| *end += number(start));
        self.origins.push((first, origin));
    }

    /// Ends the last line, so that the next file begins another.
    fn end_line(&mut self) {
        if self.lines && self.buffer.last().is_some_and(|last| *last != b'\n') {
            self.buffer.push(b'\n');
        }
    }

    /// The chunk ends at `length`; gives back what stands behind it.
    fn freeze(&mut self, length: usize) -> Bytes {
        self.all = Bytes::from(std::mem::take(&mut self.buffer));
        self.bytes = self.all.clone();
        self.bytes.split_off(length)
    }
}

/// Buffers of earlier chunks, to be filled again once nobody reads them: fresh memory costs as much as reading into it.
#[derive(Default)]
pub(super) struct Room(Vec<Bytes>);

impl Room {
    /// An empty chunk, with room where some is free.
    pub(super) fn joined(&mut self) -> Joined {
        let mut joined = Joined::default();
        for kept in std::mem::take(&mut self.0) {
            match kept.try_into_mut() {
                Ok(mut free) if joined.buffer.capacity() == 0 => {
                    free.clear();
                    joined.buffer = Vec::from(free);
                }
                Ok(_) => {}
                Err(read) => self.0.push(read),
            }
        }
        joined
    }

    /// The chunk, unless there are no messages. Its buffer is kept, if it isn't larger than chunks are.
    pub(super) fn chunk(&mut self, mut joined: Joined, limit: Limit) -> Option<Chunk> {
        if !joined.buffer.is_empty() {
            let length = joined.buffer.len();
            joined.freeze(length);
        }
        // One chunk is being read while the next begins with what was left of it.
        let is_usual = joined.all.len() > limit.bytes / SMALL_REST && joined.all.len() <= limit.bytes;
        if is_usual && self.0.len() < 2 {
            self.0.push(joined.all.clone());
        }
        joined.into_chunk()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn blank_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(next) = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")) {
        rest = next;
    }
    bytes.len() - rest.len()
}

fn count_lines(bytes: &[u8]) -> u32 {
    let lines = bytes.split(|byte| *byte == b'\n');
    number(lines.filter(|line| !matches!(line, [] | [b'\r'])).count())
}
