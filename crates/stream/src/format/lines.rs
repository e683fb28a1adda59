//! Messages that are lines, and where they lie in a chunk.

use memchr::memchr_iter;

use crate::{Chunk, Cut, Ends, Reason};

/// Cuts at line feeds.
#[derive(Debug)]
pub(crate) struct Lines;

impl Cut for Lines {
    fn header(&mut self, _bytes: &[u8], _at_end: bool) -> Result<Option<usize>, Reason> {
        Ok(Some(0))
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, _ends: &mut Vec<u32>) -> Result<usize, Reason> {
        let mut last = 0;
        for (count, feed) in memchr_iter(b'\n', bytes).enumerate() {
            last = feed + 1;
            if count + 1 >= rows {
                return Ok(last);
            }
        }
        Ok(if at_end { bytes.len() } else { last })
    }

    fn lines(&self) -> bool {
        true
    }
}

/// The messages of a chunk that a decoder has to make rows of, from one number on.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Where each lies, without its line end.
    pub(crate) places: Vec<(usize, usize)>,
    /// The number of the message in its chunk, for each.
    pub(crate) numbers: Vec<u32>,
    /// Messages in the chunk.
    /// The numbers of messages that stand alone and hold nothing.
    pub(crate) blank: Vec<u32>,
    pub(crate) messages: usize,
}

impl Spans {
    /// Finds the messages; those without any byte that `counts` are left out.
    pub(crate) fn find(&mut self, chunk: &Chunk, from: usize, counts: fn(u8) -> bool) {
        self.places.clear();
        self.numbers.clear();
        self.blank.clear();
        self.messages = 0;
        match &chunk.ends {
            Ends::Lines => {
                let mut start = 0;
                for feed in memchr_iter(b'\n', &chunk.bytes) {
                    self.line(&chunk.bytes, (start, feed), from, counts);
                    start = feed + 1;
                }
                self.line(&chunk.bytes, (start, chunk.bytes.len()), from, counts);
            }
            Ends::At { ends, bytes } => {
                let mut start = 0;
                for end in ends {
                    let end = *end as usize;
                    let kept = self.places.len();
                    self.push(&chunk.bytes, (start, end), from, counts);
                    let is_blank = kept == self.places.len() && self.messages > from;
                    // Between the records of a file there may be nothing. A message of nothing is still one.
                    let blank = (is_blank && !bytes).then(|| u32::try_from(self.messages - 1).unwrap_or(u32::MAX));
                    self.blank.extend(blank);
                    start = end;
                }
            }
        }
    }

    fn line(&mut self, bytes: &[u8], (start, end): (usize, usize), from: usize, counts: fn(u8) -> bool) {
        let end = if end > start && bytes[end - 1] == b'\r' { end - 1 } else { end };
        if end > start {
            self.push(bytes, (start, end), from, counts);
        }
    }

    fn push(&mut self, bytes: &[u8], (start, end): (usize, usize), from: usize, counts: fn(u8) -> bool) {
        let number = self.messages;
        self.messages += 1;
        if number >= from && bytes[start..end].iter().any(|byte| counts(*byte)) {
            self.places.push((start, end));
            self.numbers.push(u32::try_from(number).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Origin;

    #[test]
    fn lines_are_cut_whole_and_at_most_so_many() {
        let mut ends = Vec::new();
        assert_eq!(Lines.cut(b"one\ntwo\nthr", false, 10, &mut ends), Ok(8));
        assert_eq!(Lines.cut(b"one\ntwo\nthr", false, 1, &mut ends), Ok(4));
        assert_eq!(Lines.cut(b"one\ntwo\nthr", true, 10, &mut ends), Ok(11));
        assert_eq!(Lines.cut(b"thr", false, 10, &mut ends), Ok(0));
        assert!(ends.is_empty());
    }

    proptest! {
        #[test]
        fn spans_agree_with_the_chunk(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..60),
        ) {
            let origins = vec![(0, Origin { input: "x".into(), offset: 0 })];
            let chunk = Chunk { bytes: Bytes::from(bytes), ends: Ends::Lines, header: None, origins, beside: None };
            let mut spans = Spans::default();
            spans.find(&chunk, 0, |_| true);
            prop_assert_eq!(&spans.places, &chunk.ranges());
        }
    }
}
