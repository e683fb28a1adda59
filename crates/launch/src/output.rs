//! The outputs of a process, as lines within bounds.

use std::borrow::Cow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::{Ended, Tally};

/// How long an output is read on after the process has ended, when somebody outside its group keeps it open.
const LEFT_OPEN: Duration = Duration::from_secs(1);
/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// What a watch hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// Lines of one output, in their order.
    Lines(Stream, Vec<Line>),
    /// The process has ended and all its lines were told. Nothing follows.
    Ended(Box<Ended>),
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of an output, without its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its bytes, up to `line_bytes_max`.
    pub bytes: Vec<u8>,
    /// How many more it had.
    pub bytes_cut: u64,
}

impl Line {
    /// As text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// How far the process is, for those who carry its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It may write more.
    Running,
    /// It and its group are gone.
    Exited,
    /// It was stopped and nobody takes its last lines: they are dropped.
    Abandoned,
}

impl Phase {
    /// Goes on to `to`, never back. Whether that is a change.
    pub(crate) fn raise(&mut self, to: Self) -> bool {
        let further = to > *self;
        *self = to.max(*self);
        further
    }
}

/// What becomes of an output when it has ended.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) tally: Tally,
    pub(crate) last_line: Option<Line>,
}

/// Reads an output to its end and sends its lines. Nobody to send to is no reason to stop reading: a process must not
/// die of a broken pipe because nobody listens any more.
pub(crate) async fn read(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    mut splitter: Splitter,
    events: mpsc::Sender<Event>,
    mut phase: watch::Receiver<Phase>,
) -> Read {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut until: Option<Instant> = None;
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            _ = phase.wait_for(|phase| *phase >= Phase::Exited), if until.is_none() => {
                until = Some(Instant::now() + LEFT_OPEN);
                continue;
            }
            () = at(until) => {
                splitter.tally.left_open = true;
                break;
            }
        };
        let Ok(1..) = read else { break };
        let bytes = &chunk[..read.unwrap_or_default()];
        let mut lines = Vec::new();
        splitter.feed(bytes, &mut lines);
        pass(&events, &mut phase, stream, lines).await;
    }
    let mut lines = Vec::new();
    splitter.end(&mut lines);
    pass(&events, &mut phase, stream, lines).await;
    Read { tally: splitter.tally, last_line: splitter.last }
}

/// Waits for a moment, or for ever.
pub(crate) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn pass(events: &mpsc::Sender<Event>, phase: &mut watch::Receiver<Phase>, stream: Stream, lines: Vec<Line>) {
    if !lines.is_empty() {
        send(events, phase, Event::Lines(stream, lines)).await;
    }
}

/// Sends, unless nobody will ever take it.
pub(crate) async fn send(events: &mpsc::Sender<Event>, phase: &mut watch::Receiver<Phase>, event: Event) {
    tokio::select! {
        _ = events.send(event) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Abandoned) => {}
    }
}

/// Cuts bytes into lines.
pub(crate) struct Splitter {
    line_bytes_max: usize,
    stream_bytes_max: u64,
    keep_last: bool,
    line: Line,
    begun: bool,
    passed_bytes: u64,
    tally: Tally,
    last: Option<Line>,
}

impl Splitter {
    pub(crate) fn new(line_bytes_max: usize, stream_bytes_max: u64, keep_last: bool) -> Self {
        Self {
            line_bytes_max,
            stream_bytes_max,
            keep_last,
            line: Line::default(),
            begun: false,
            passed_bytes: 0,
            tally: Tally::default(),
            last: None,
        }
    }

    fn feed(&mut self, bytes: &[u8], lines: &mut Vec<Line>) {
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.add(&bytes[at..end]);
            self.finish(lines);
            at = end + 1;
        }
        if at < bytes.len() {
            self.add(&bytes[at..]);
        }
    }

    /// A last line may lack its end.
    fn end(&mut self, lines: &mut Vec<Line>) {
        if self.begun {
            self.finish(lines);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.begun = true;
        let kept = bytes.len().min(self.line_bytes_max - self.line.bytes.len());
        self.line.bytes.extend_from_slice(&bytes[..kept]);
        self.line.bytes_cut += (bytes.len() - kept) as u64;
    }

    fn finish(&mut self, lines: &mut Vec<Line>) {
        self.begun = false;
        let mut line = std::mem::take(&mut self.line);
        if line.bytes_cut == 0 && line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        let kept = line.bytes.len() as u64;
        self.tally.lines += 1;
        self.tally.bytes += kept + line.bytes_cut;
        self.tally.bytes_dropped += line.bytes_cut;
        if self.keep_last && !line.bytes.trim_ascii().is_empty() {
            self.last.get_or_insert_default().clone_from(&line);
        }
        if self.tally.lines_dropped == 0 && self.passed_bytes + kept <= self.stream_bytes_max {
            self.passed_bytes += kept;
            lines.push(line);
        } else {
            self.tally.lines_dropped += 1;
            self.tally.bytes_dropped += kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(parts: &[&str], line_bytes_max: usize, stream_bytes_max: u64) -> (Vec<String>, Splitter) {
        let mut splitter = Splitter::new(line_bytes_max, stream_bytes_max, true);
        let mut lines = Vec::new();
        for part in parts {
            splitter.feed(part.as_bytes(), &mut lines);
        }
        splitter.end(&mut lines);
        (lines.iter().map(|line| line.text().into_owned()).collect(), splitter)
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        for parts in [&["one\ntwo\r\n\nthree"][..], &["o", "ne\nt", "wo\r", "\n", "\nthr", "ee"]] {
            let (lines, splitter) = split(parts, 100, 100);
            assert_eq!(lines, ["one", "two", "", "three"]);
            assert_eq!(splitter.tally, Tally { lines: 4, bytes: 11, ..Tally::default() });
        }
    }

    #[test]
    fn a_long_line_is_cut_and_its_rest_counted() {
        let (lines, splitter) = split(&["abc", "def\n", "gh\n"], 4, 100);
        assert_eq!(lines, ["abcd", "gh"]);
        assert_eq!(splitter.tally, Tally { lines: 2, bytes: 8, bytes_dropped: 2, ..Tally::default() });
    }

    #[test]
    fn beyond_the_total_lines_are_counted_and_the_last_is_still_known() {
        let (lines, splitter) = split(&["abc\ndef\ng\nlast\n \n"], 100, 5);
        assert_eq!(lines, ["abc"]);
        let tally = Tally { lines: 5, bytes: 12, lines_dropped: 4, bytes_dropped: 9, left_open: false };
        assert_eq!(splitter.tally, tally);
        assert_eq!(splitter.last.unwrap().text(), "last");
    }
}
