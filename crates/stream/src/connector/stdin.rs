//! Rows from standard input.

use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::Bell;

use crate::{Chunk, Cut, Ends, Error, Lease, Limit, OpenSource, Origin, Position, Read, Source};

/// What is read ahead, at most.
const AHEAD_BYTES: usize = 4 << 20;
/// A message longer than this is cut here, and its parts are handed over as messages, for the quarantine.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What is asked of the system at once.
const READ_BYTES: usize = 64 << 10;

/// Reads standard input to its end.
///
/// Ephemeral: what was read but not committed when the process ends is gone. At most 4 MiB are read ahead. A message
/// may have 64 MiB; a longer one comes out in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SourceSpec {}

/// A stream of bytes that can be read once, with the thread that reads it.
///
/// It outlives the sources that are opened on it: what was looked at for a schema, and what one source left, the next
/// one gets. The thread waits where the bytes come from and costs nothing then.
#[derive(Clone)]
pub struct Input(Arc<Shared>);

struct Shared {
    what: &'static str,
    state: Mutex<State>,
    /// Told when bytes arrive, and when there is room for more.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    buffer: BytesMut,
    /// What the cut found at the input's first byte.
    header: Option<Bytes>,
    at_end: bool,
    /// Why reading ended before the end.
    failed: Option<(std::io::ErrorKind, String)>,
    /// The length of the message that is being waited for, at least.
    wanted: usize,
    /// So many bytes at the front are known to end no line, and aren't looked at again.
    searched: usize,
    /// Bytes handed out since the input was opened, the header included.
    taken: u64,
    bell: Option<Bell>,
    lease: Option<Lease>,
}

impl Input {
    /// This process's standard input; the first call begins to read it.
    pub fn standard() -> Self {
        static STANDARD: OnceLock<Input> = OnceLock::new();
        STANDARD.get_or_init(|| Self::of("standard input", Box::new(std::io::stdin()))).clone()
    }

    /// Any reader, which errors and origins call `what`.
    pub fn of(what: &'static str, reader: Box<dyn std::io::Read + Send>) -> Self {
        let input = Self(Arc::new(Shared { what, state: Mutex::default(), changed: Condvar::new() }));
        let thread = std::thread::Builder::new().name("stdin".to_owned());
        let reading = input.clone();
        if let Err(error) = thread.spawn(move || reading.read_all(reader)) {
            let mut state = input.lock();
            state.at_end = true;
            state.failed = Some((error.kind(), error.to_string()));
        }
        input
    }

    /// Waits for the first messages and shows those that are there, at most `bytes` of them, without taking them.
    /// Empty at the end of an empty input.
    pub fn peek(&self, cut: &mut dyn Cut, bytes: usize) -> Result<Chunk, Error> {
        let mut state = self.lock();
        loop {
            if let Some((length, ends)) = state.whole(cut, Limit { rows: usize::MAX, bytes }) {
                let shown = Bytes::copy_from_slice(&state.buffer[..length]);
                return Ok(state.chunk(shown, ends, self.0.what, state.taken));
            }
            if state.at_end {
                self.failure(&state)?;
                return Ok(state.chunk(
                    Bytes::new(),
                    Ends::At { ends: Vec::new(), bytes: true },
                    self.0.what,
                    state.taken,
                ));
            }
            self.0.changed.notify_all();
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, state: &State) -> Result<(), Error> {
        match &state.failed {
            Some((kind, message)) => {
                let source = std::io::Error::new(*kind, message.clone());
                Err(Error::Io { verb: "read", what: self.0.what.to_owned(), source })
            }
            None => Ok(()),
        }
    }

    fn read_all(&self, mut reader: Box<dyn std::io::Read + Send>) {
        let mut block = vec![0; READ_BYTES];
        loop {
            let read = reader.read(&mut block);
            if matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::Interrupted) {
                continue;
            }
            let mut state = self.lock();
            match read {
                Ok(0) => state.at_end = true,
                Ok(length) => state.buffer.extend_from_slice(&block[..length]),
                Err(error) => {
                    state.at_end = true;
                    state.failed = Some((error.kind(), error.to_string()));
                }
            }
            let fits = state.account();
            if let Some(bell) = &state.bell {
                bell.ring();
            }
            self.0.changed.notify_all();
            if state.at_end {
                return;
            }
            self.wait_for_room(state, fits);
        }
    }

    fn wait_for_room(&self, mut state: MutexGuard<'_, State>, mut fits: bool) {
        // A message that is not whole yet is read on, whatever the pool says: else nobody could ever take it.
        while state.buffer.len() >= AHEAD_BYTES.max(state.wanted)
            || (!fits && !state.buffer.is_empty() && state.buffer.len() >= state.wanted)
        {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            fits = state.account();
        }
    }
}

impl State {
    /// Tells the pool what is held, and whether it still keeps its limit.
    fn account(&mut self) -> bool {
        let held = self.buffer.len();
        self.lease.as_mut().is_none_or(|lease| lease.set(held))
    }

    /// The length and ends of whole messages at the front of the buffer, taking the input's header off first.
    fn whole(&mut self, cut: &mut dyn Cut, limit: Limit) -> Option<(usize, Ends)> {
        if self.header.is_none() {
            match cut.header(&self.buffer, self.at_end) {
                Ok(Some(length)) => {
                    self.header = Some(self.buffer.split_to(length).freeze());
                    self.taken += length as u64;
                }
                Ok(None) => return self.more(),
                // The decoder says what is wrong with it.
                Err(_) => return self.rest(),
            }
        }
        let news = &self.buffer[self.searched.min(self.buffer.len())..];
        if cut.lines() && !self.at_end && self.buffer.len() < MESSAGE_BYTES_MAX && !news.contains(&b'\n') {
            self.searched = self.buffer.len();
            return self.more();
        }
        // A message longer than the limit comes alone.
        let mut bytes = limit.bytes.clamp(1, MESSAGE_BYTES_MAX);
        let ends_of = |ends, lines: bool| if lines { Ends::Lines } else { Ends::At { ends, bytes: true } };
        while !self.buffer.is_empty() {
            let seen = self.buffer.len().min(bytes);
            let all = self.at_end && seen == self.buffer.len();
            let mut ends = Vec::new();
            match cut.cut(&self.buffer[..seen], all, if bytes > limit.bytes { 1 } else { limit.rows }, &mut ends) {
                Ok(0) if seen == MESSAGE_BYTES_MAX => return Some((seen, one(seen))),
                Ok(0) if seen == self.buffer.len() => return self.more(),
                Ok(0) => bytes = bytes.saturating_mul(2).min(MESSAGE_BYTES_MAX),
                Ok(length) => {
                    self.wanted = 0;
                    return Some((length, ends_of(ends, cut.lines())));
                }
                Err(_) => return self.rest(),
            }
        }
        None
    }

    /// Asks the thread for more than there is.
    fn more(&mut self) -> Option<(usize, Ends)> {
        if self.at_end {
            return self.rest();
        }
        self.wanted = (self.buffer.len() + READ_BYTES).min(MESSAGE_BYTES_MAX + READ_BYTES);
        None
    }

    /// What remains can't be cut: it comes as one bad message, in parts where it is long.
    fn rest(&mut self) -> Option<(usize, Ends)> {
        self.header.get_or_insert_default();
        let length = self.buffer.len().min(MESSAGE_BYTES_MAX);
        (length > 0).then(|| (length, one(length)))
    }

    fn chunk(&self, bytes: Bytes, ends: Ends, what: &str, offset: u64) -> Chunk {
        let header = self.header.clone().filter(|header| !header.is_empty());
        Chunk { bytes, ends, header, origins: vec![(0, Origin { input: what.into(), offset })], beside: None }
    }
}

fn one(length: usize) -> Ends {
    Ends::At { ends: vec![u32::try_from(length).unwrap_or(u32::MAX)], bytes: true }
}

/// Opens the source on `input`, cut into messages by `cut`.
pub fn source(input: Input, cut: Box<dyn Cut>, open: &OpenSource) -> Result<Box<dyn Source>, Error> {
    let stood = match &open.position {
        Some(Position(value)) => value.as_u64().ok_or_else(|| {
            Error::House(format!("source {}: the stored position {value} is no number of bytes", open.name))
        })?,
        None => 0,
    };
    let mut state = input.lock();
    // A header that was taken off for a look counts as this source's.
    let taken_before = if state.bell.is_none() { 0 } else { state.taken };
    state.bell = Some(open.bell.clone());
    state.lease = Some(open.world.pool.lease());
    state.account();
    drop(state);
    Ok(Box::new(Stdin { input, cut, stood, taken_before }))
}

struct Stdin {
    input: Input,
    cut: Box<dyn Cut>,
    /// Bytes handed out up to the position at which it was opened, by this process or another.
    stood: u64,
    /// Bytes that this process had handed out then.
    taken_before: u64,
}

impl Source for Stdin {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        let mut state = self.input.lock();
        let Some((length, ends)) = state.whole(self.cut.as_mut(), limit) else {
            if state.at_end {
                self.input.failure(&state)?;
                return Ok(Read::End);
            }
            self.input.0.changed.notify_all();
            return Ok(Read::Idle { again: None });
        };
        let offset = state.taken;
        let bytes = state.buffer.copy_to_bytes(length);
        state.taken += length as u64;
        state.searched = 0;
        state.account();
        self.input.0.changed.notify_all();
        Ok(Read::Chunk(state.chunk(bytes, ends, self.input.0.what, offset)))
    }

    fn position(&self) -> Position {
        let taken = self.input.lock().taken;
        Position((self.stood + taken - self.taken_before).into())
    }
}

#[cfg(test)]
mod tests;
