//! Messages of one partition, put together until a limit.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Message;

use crate::connector::kafka::columns::Columns;
use crate::connector::kafka::hub::End;
use crate::{Chunk, Ends, Error, Limit, Origin, Read};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is here, or it is nothing that is handed over; reading goes on at this offset.
    Until(i64),
    /// It doesn't fit.
    Later,
    /// It is past the end.
    Past,
}

/// Messages of one partition that are handed over together.
pub(super) struct Gathered<'a> {
    input: Arc<str>,
    limit: Limit,
    keeps_tombstones: bool,
    columns: Option<&'a mut Columns>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    origins: Vec<(u32, Origin)>,
    /// Messages without a value; never together with others, since they need no decoding.
    tombstones: usize,
    /// Messages that were passed over.
    skipped: usize,
    /// The offset that continues the last run.
    expected: i64,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(input: Arc<str>, limit: Limit, keeps_tombstones: bool, columns: Option<&'a mut Columns>) -> Self {
        let (bytes, ends, origins) = (Vec::new(), Vec::new(), Vec::new());
        // Ends are 32 bits wide; the longest message Kafka can hold has 31.
        let limit = Limit { rows: limit.rows.max(1), bytes: limit.bytes.min(1 << 30) };
        let (tombstones, skipped, expected) = (0, 0, -1);
        Self { input, limit, keeps_tombstones, columns, bytes, ends, origins, tombstones, skipped, expected }
    }

    fn len(&self) -> usize {
        self.ends.len() + self.tombstones
    }

    /// Whether it is time to hand over, or to let others have a turn.
    pub(super) fn is_full(&self) -> bool {
        self.len() + self.skipped >= self.limit.rows || self.bytes.len() >= self.limit.bytes
    }

    /// Adds a message.
    pub(super) fn take(&mut self, message: &impl Message, next: i64, end: Option<End>) -> Taken {
        let offset = message.offset();
        if end.is_some_and(|end| offset >= end.offset) {
            return Taken::Past;
        }
        let payload = message.payload();
        if offset < next || (payload.is_none() && !self.keeps_tombstones) {
            self.skipped += 1;
            return Taken::Until((offset + 1).max(next));
        }
        match payload {
            None if !self.ends.is_empty() => return Taken::Later,
            None if self.tombstones > 0 && offset != self.expected => return Taken::Later,
            None => self.tombstones += 1,
            Some(_) if self.tombstones > 0 => return Taken::Later,
            Some(payload) => {
                if !self.ends.is_empty() && self.bytes.len() + payload.len() > self.limit.bytes {
                    return Taken::Later;
                }
                self.bytes.extend_from_slice(payload);
            }
        }
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        if offset != self.expected || self.origins.is_empty() {
            let origin = Origin { input: Arc::clone(&self.input), offset: u64::try_from(offset).unwrap_or(0) };
            self.origins.push((number, origin));
        }
        if payload.is_some() {
            self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        }
        if let Some(columns) = &mut self.columns {
            columns.push(message);
        }
        self.expected = offset + 1;
        Taken::Until(self.expected)
    }

    /// What is handed over, if anything is.
    pub(super) fn finish(mut self) -> Result<Option<Read>, Error> {
        if self.len() == 0 {
            return Ok(None);
        }
        if self.tombstones > 0 {
            let columns = self.columns.ok_or_else(|| Error::House("tombstones without columns".into()))?;
            return Ok(Some(Read::Columns(columns.finish_tombstones()?, self.origins.swap_remove(0).1)));
        }
        let beside = self.columns.map(Columns::finish).transpose()?.flatten();
        let (bytes, ends) = (Bytes::from(self.bytes), Ends::At { ends: self.ends, bytes: false });
        Ok(Some(Read::Chunk(Chunk { bytes, ends, header: None, origins: self.origins, beside })))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn message(offset: i64, payload: Option<&[u8]>) -> OwnedMessage {
        OwnedMessage::new(payload.map(<[u8]>::to_vec), None, "t".into(), Timestamp::NotAvailable, 0, offset, None)
    }

    fn gathered(rows: usize, bytes: usize) -> Gathered<'static> {
        Gathered::new("t-0".into(), Limit { rows, bytes }, false, None)
    }

    #[test]
    fn a_gap_in_the_offsets_begins_a_run() {
        let mut some = gathered(100, 100);
        // 5 is behind us already, 8 has no value, 9 and 10 are marks of a transaction.
        for (offset, payload) in [(5, Some("x")), (6, Some("a")), (7, Some("b")), (8, None), (11, Some("c"))] {
            let taken = some.take(&message(offset, payload.map(str::as_bytes)), 6, None);
            assert_eq!(taken, Taken::Until(offset + 1));
        }
        let Some(Read::Chunk(chunk)) = some.finish().unwrap() else { panic!("no chunk") };
        assert_eq!(&chunk.bytes[..], b"abc");
        let starts: Vec<(u32, u64)> = chunk.origins.iter().map(|(first, origin)| (*first, origin.offset)).collect();
        assert_eq!(starts, [(0, 6), (2, 11)]);
        assert_eq!(chunk.origin(1, &chunk.ranges()).offset, 7);
    }

    #[test]
    fn a_message_past_the_limit_comes_alone_and_one_past_the_end_not_at_all() {
        let mut some = gathered(100, 4);
        assert_eq!(some.take(&message(0, Some(b"abc")), 0, None), Taken::Until(1));
        assert_eq!(some.take(&message(1, Some(b"longer")), 1, None), Taken::Later);
        let mut alone = gathered(100, 4);
        assert_eq!(alone.take(&message(1, Some(b"longer")), 1, None), Taken::Until(2));
        assert!(alone.is_full());
        let end = End { offset: 2, is_there: true };
        assert_eq!(gathered(1, 1).take(&message(3, Some(b"a")), 2, Some(end)), Taken::Past);
    }
}
