//! Cuts a stream of bytes into runs of whole lines.

use bytes::Bytes;

/// Whole lines that followed one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The number of the first byte since the stream's first start.
    pub(super) offset: u64,
    /// The lines, each with its line feed; blank ones among them.
    pub(super) bytes: Bytes,
    /// Whether this is the beginning of one line that is longer than the limit: it is no message, and put aside.
    pub(super) too_long: bool,
}

/// What came of some bytes.
#[derive(Debug, Default)]
pub(super) struct Framed {
    /// Runs with at least one line that isn't blank.
    pub(super) runs: Vec<Run>,
    /// Whether a line ended, be it a blank one.
    pub(super) ended: bool,
}

/// Holds the line that isn't whole yet.
#[derive(Debug)]
pub(super) struct Lines {
    partial: Vec<u8>,
    skipping: bool,
    offset: u64,
    line_bytes_max: usize,
}

impl Lines {
    /// Begins at byte `offset`; a line is at most `line_bytes_max` long, with its line feed.
    pub(super) const fn new(offset: u64, line_bytes_max: usize) -> Self {
        Self { partial: Vec::new(), skipping: false, offset, line_bytes_max }
    }

    /// Bytes held.
    pub(super) const fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Forgets the line that isn't whole: the connection was lost in it.
    pub(super) fn cut(&mut self) {
        self.offset += self.partial.len() as u64;
        self.partial = Vec::new();
        self.skipping = false;
    }

    /// Takes the next bytes and gives the lines that became whole.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Framed {
        let mut framed = Framed::default();
        let mut run = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = part.ends_with(b"\n");
            framed.ended |= whole;
            if self.skipping || self.partial.len() + part.len() > self.line_bytes_max {
                self.finish(&mut run, &mut framed);
                framed.runs.extend((!self.skipping).then(|| self.beginning(part)));
                self.offset += (self.partial.len() + part.len()) as u64;
                self.partial = Vec::new();
                self.skipping = !whole;
            } else if whole {
                run.append(&mut self.partial);
                run.extend_from_slice(part);
            } else {
                self.partial.extend_from_slice(part);
            }
        }
        self.finish(&mut run, &mut framed);
        framed
    }

    /// The beginning of a line that `part` makes too long.
    fn beginning(&mut self, part: &[u8]) -> Run {
        let mut bytes = std::mem::take(&mut self.partial);
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        bytes.extend_from_slice(part);
        bytes.truncate(self.line_bytes_max);
        Run { offset, bytes: bytes.into(), too_long: true }
    }

    fn finish(&mut self, run: &mut Vec<u8>, framed: &mut Framed) {
        let bytes = Bytes::from(std::mem::take(run));
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        if bytes.split(|byte| *byte == b'\n').any(|line| !is_blank(line)) {
            framed.runs.push(Run { offset, bytes, too_long: false });
        }
    }
}

/// Whether a line is no message: a keep-alive. The same as in [`crate::Chunk`].
pub(super) fn is_blank(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(framed: &[Framed]) -> Vec<(u64, Vec<u8>)> {
        let lines = |run: &Run| {
            let starts_at = run.offset;
            let mut read = 0;
            let mut numbered = Vec::new();
            for line in run.bytes.split_inclusive(|byte| *byte == b'\n') {
                numbered.push((starts_at + read, line.to_vec()));
                read += line.len() as u64;
            }
            numbered
        };
        let all = framed.iter().flat_map(|framed| &framed.runs).filter(|run| !run.too_long).flat_map(lines);
        all.filter(|(_, line)| !is_blank(line)).collect()
    }

    #[test]
    fn only_whole_lines_come_out() {
        let mut lines = Lines::new(100, 64);
        let first = lines.push(b"one\r\n\r\ntw");
        assert_eq!(first.runs, [Run { offset: 100, bytes: Bytes::from_static(b"one\r\n\r\n"), too_long: false }]);
        assert_eq!(lines.held_bytes(), 2);
        let second = lines.push(b"o\n\n");
        assert_eq!(second.runs, [Run { offset: 107, bytes: Bytes::from_static(b"two\n\n"), too_long: false }]);
        let blank = lines.push(b"\r\n");
        assert!(blank.runs.is_empty() && blank.ended);
    }

    #[test]
    fn a_cut_line_is_forgotten() {
        let mut lines = Lines::new(0, 64);
        assert!(!lines.push(b"half").ended);
        lines.cut();
        assert_eq!(
            lines.push(b"whole\n").runs,
            [Run { offset: 4, bytes: Bytes::from_static(b"whole\n"), too_long: false }]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_put_aside_once() {
        let mut lines = Lines::new(0, 4);
        let framed = [lines.push(b"abc\nlong"), lines.push(b"er"), lines.push(b"est\nxyz\n")];
        assert_eq!(framed.iter().flat_map(|framed| &framed.runs).filter(|run| run.too_long).count(), 1);
        assert_eq!(lines_of(&framed), [(0, b"abc\n".to_vec()), (14, b"xyz\n".to_vec())]);
        assert_eq!(lines.held_bytes(), 0);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            stream in prop::collection::vec(prop::sample::select(&b"ab\xff\r\n\n"[..]), 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..20),
            line_bytes_max in 1_usize..12,
        ) {
            let mut offset = 0;
            let mut expected = Vec::new();
            for line in stream.split_inclusive(|byte| *byte == b'\n') {
                if line.ends_with(b"\n") && line.len() <= line_bytes_max && !is_blank(line) {
                    expected.push((offset, line.to_vec()));
                }
                offset += line.len() as u64;
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::new(0, line_bytes_max);
            let framed: Vec<Framed> = cuts.windows(2).map(|cut| lines.push(&stream[cut[0]..cut[1]])).collect();
            prop_assert_eq!(lines_of(&framed), expected);
            prop_assert!(lines.held_bytes() <= line_bytes_max);
        }
    }
}
