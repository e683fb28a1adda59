//! What the connection has brought and the task has not yet taken, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use stdx::{Bell, Clock, Timestamp};
use tokio::sync::Notify;

use super::lines::Run;
use crate::{Error, Lease, Limit, Pool};

/// Whole lines, with the moment they came.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) run: Run,
    pub(super) received: Timestamp,
    /// Until when nothing is missing, once these lines are handed out.
    complete_until: Option<Timestamp>,
}

/// What the connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Asking the server.
    Connecting,
    /// Reading.
    Open,
    /// Waiting until the clock's `elapsed` reaches this.
    Waiting(Duration),
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Piece>,
    bytes: usize,
    held_bytes: usize,
    lease: Lease,
    room: bool,
    status: Status,
    complete_until: Option<Timestamp>,
    quiet_since: Option<Duration>,
    stopped: Option<(String, u16, String)>,
    failed: Option<String>,
}

/// Shared by the connection's task and the source.
#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    taken: Notify,
    clock: Clock,
    bell: Bell,
    bytes_max: usize,
}

impl Buffer {
    /// An empty buffer; `complete_until` is what the last record knows.
    pub(super) fn new(
        bytes_max: usize,
        pool: &Pool,
        clock: &Clock,
        bell: &Bell,
        complete_until: Option<Timestamp>,
    ) -> Self {
        let state = State {
            pieces: VecDeque::new(),
            bytes: 0,
            held_bytes: 0,
            lease: pool.lease(),
            room: true,
            status: Status::Connecting,
            complete_until,
            quiet_since: None,
            stopped: None,
            failed: None,
        };
        Self { state: Mutex::new(state), taken: Notify::new(), clock: clock.clone(), bell: bell.clone(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room. An empty buffer has room even when the pool is used up: somebody must go on.
    pub(super) async fn room(&self) {
        loop {
            // Enabled before the look, so that a take between look and wait isn't missed.
            let taken = self.taken.notified();
            if self.state().room {
                return;
            }
            taken.await;
        }
    }

    /// Adds what the connection brought. `held_bytes` is what it keeps of a line that isn't whole; `complete` says that
    /// everything up to now has come.
    pub(super) fn push(&self, runs: Vec<Run>, held_bytes: usize, complete: bool) {
        let received = self.clock.now();
        let mut state = self.state();
        if complete {
            state.complete_until = Some(received);
        }
        if !runs.is_empty() {
            state.quiet_since = Some(self.clock.elapsed());
        }
        let (news, complete_until) = (!runs.is_empty(), state.complete_until);
        for run in runs {
            state.bytes += run.bytes.len();
            state.pieces.push_back(Piece { run, received, complete_until });
        }
        state.held_bytes = held_bytes;
        state.count(self.bytes_max);
        drop(state);
        if news {
            self.bell.ring();
        }
    }

    /// Says what the connection is doing.
    pub(super) fn set_status(&self, status: Status) {
        let mut state = self.state();
        state.status = status;
        if status == Status::Open && state.quiet_since.is_none() {
            state.quiet_since = Some(self.clock.elapsed());
        }
        drop(state);
        self.bell.ring();
    }

    /// The connection's task has ended for good.
    pub(super) fn stop(&self, error: Error) {
        let mut state = self.state();
        match error {
            Error::Refused { what, status, reason } => state.stopped = Some((what, status, reason)),
            other => state.failed = Some(other.to_string()),
        }
        drop(state);
        self.bell.ring();
    }

    /// Takes whole lines, as many as `limit` allows and at least one if there is one.
    pub(super) fn take(&self, limit: Limit) -> (Vec<Piece>, Option<Timestamp>) {
        let mut state = self.state();
        let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while let Some(front) = state.pieces.front_mut() {
            // What is no message comes alone.
            if front.run.too_long && !taken.is_empty() {
                break;
            }
            if front.run.too_long {
                bytes = front.run.bytes.len();
                taken.extend(state.pieces.pop_front());
                break;
            }
            let (end, lines) =
                fitting(&front.run.bytes, limit.rows - rows.min(limit.rows), limit.bytes - bytes, bytes == 0);
            if end == 0 {
                break;
            }
            let whole = end == front.run.bytes.len();
            let part = Run { offset: front.run.offset, bytes: front.run.bytes.split_to(end), too_long: false };
            front.run.offset += end as u64;
            taken.push(Piece { run: part, received: front.received, complete_until: front.complete_until });
            if whole {
                state.pieces.pop_front();
            }
            (rows, bytes) = (rows + lines, bytes + end);
            if bytes >= limit.bytes || rows >= limit.rows {
                break;
            }
        }
        if !taken.is_empty() {
            state.quiet_since = Some(self.clock.elapsed());
            state.bytes -= bytes;
            state.count(self.bytes_max);
        }
        let complete_until = match taken.last() {
            Some(last) if !state.pieces.is_empty() => last.complete_until,
            _ => state.complete_until,
        };
        let room = state.room;
        drop(state);
        if room {
            self.taken.notify_waiters();
        }
        (taken, complete_until)
    }

    /// Why the connection's task ended, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        let state = self.state();
        if let Some((what, status, reason)) = state.stopped.clone() {
            return Some(Error::Refused { what, status, reason });
        }
        state.failed.clone().map(Error::World)
    }

    /// Since when no line came or was taken, counted from the first connection.
    pub(super) fn quiet_since(&self) -> Option<Duration> {
        self.state().quiet_since
    }

    /// What the connection is doing, and until when nothing is missing.
    pub(super) fn standing(&self) -> (Status, Option<Timestamp>) {
        let state = self.state();
        (state.status, state.complete_until)
    }

    /// Bytes waiting to be taken.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }
}

impl State {
    fn count(&mut self, bytes_max: usize) {
        let pool_has_room = self.lease.set(self.bytes + self.held_bytes);
        self.room = self.bytes == 0 || (self.bytes < bytes_max && pool_has_room);
    }
}

/// Where the lines that fit end, and how many they are.
fn fitting(bytes: &Bytes, rows: usize, room: usize, first: bool) -> (usize, usize) {
    let (mut end, mut lines) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let fits = lines < rows && end + line.len() <= room;
        if !(fits || first && lines == 0) {
            break;
        }
        end += line.len();
        lines += 1;
    }
    (end, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes_max: usize, pool_bytes: usize) -> Buffer {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        Buffer::new(bytes_max, &Pool::new(pool_bytes), &clock, &Bell::default(), None)
    }

    fn run(offset: u64, text: &'static str) -> Run {
        Run { offset, bytes: Bytes::from_static(text.as_bytes()), too_long: false }
    }

    fn taken(buffer: &Buffer, rows: usize, bytes: usize) -> Vec<(u64, Bytes)> {
        let (pieces, _) = buffer.take(Limit { rows, bytes });
        pieces.into_iter().map(|piece| (piece.run.offset, piece.run.bytes)).collect()
    }

    #[test]
    fn takes_whole_lines_within_the_limit() {
        let buffer = buffer(100, 1000);
        buffer.push(vec![run(10, "one\ntwo\n"), run(30, "three\n")], 0, true);
        assert_eq!(taken(&buffer, 1, 100), [(10, "one\n".into())]);
        assert_eq!(taken(&buffer, 10, 5), [(14, "two\n".into())]);
        assert_eq!(taken(&buffer, 10, 2), [(30, "three\n".into())]);
        assert_eq!(taken(&buffer, 10, 10), []);
        buffer.push(vec![run(40, "a\n"), run(50, "b\n")], 0, true);
        assert_eq!(taken(&buffer, 10, 10), [(40, "a\n".into()), (50, "b\n".into())]);
    }

    #[test]
    fn is_full_by_its_own_bytes_and_by_the_pool() {
        let full = |bytes_max, pool_bytes| {
            let buffer = buffer(bytes_max, pool_bytes);
            buffer.push(vec![run(0, "123456789\n")], 0, true);
            let room = buffer.state().room;
            taken(&buffer, 9, 99);
            assert!(buffer.state().room);
            assert_eq!(buffer.state().lease.bytes(), 0);
            !room
        };
        assert!(full(10, 1000));
        assert!(full(1000, 5));
        assert!(!full(1000, 1000));
    }

    #[test]
    fn completeness_is_that_of_what_was_handed_out() {
        let buffer = buffer(100, 1000);
        buffer.push(vec![run(0, "a\n")], 0, true);
        buffer.clock.advance(Duration::from_secs(5));
        buffer.push(vec![run(2, "b\n")], 0, true);
        let one = Limit { rows: 1, bytes: 100 };
        assert_eq!(buffer.take(one).1, Some(Timestamp::from_millis(1_000_000)));
        assert_eq!(buffer.take(one).1, Some(Timestamp::from_millis(1_005_000)));
        buffer.clock.advance(Duration::from_secs(5));
        buffer.push(Vec::new(), 0, true);
        assert_eq!(buffer.take(one).1, Some(Timestamp::from_millis(1_010_000)));
    }
}
