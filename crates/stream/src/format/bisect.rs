//! Finding the bad messages among good ones, by trying fewer at a time.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::format::lines::Spans;
use crate::{BadRow, Decoded, Error, Reason, ReasonCode, Rows};

/// Bytes of a reason that are kept: values stand in them, and values may be long.
const REASON_BYTES_MAX: usize = 300;

/// Why messages could not be decoded together.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This one is bad.
    At(usize, String),
    /// One of them is.
    Somewhere(String),
}

/// Decodes all messages of `spans` by `attempt`, which gives one row for each message of the range it is given, or the
/// fault. After a fault it is asked again with fewer, so that only the bad are put aside.
pub(crate) fn decode(
    spans: &Spans,
    schema: &SchemaRef,
    mut attempt: impl FnMut(Range<usize>) -> Result<RecordBatch, Fault>,
) -> Result<Decoded, Error> {
    let (mut pieces, mut good, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let mut waiting = vec![(0, spans.places.len())];
    while let Some((first, last)) = waiting.pop() {
        if first == last {
            continue;
        }
        match attempt(first..last) {
            Ok(piece) if piece.num_rows() == last - first => {
                pieces.push(piece);
                good.push(first..last);
            }
            Ok(piece) => {
                return Err(Error::House(format!("{} messages became {} rows", last - first, piece.num_rows())));
            }
            Err(Fault::At(at, why)) if (first..last).contains(&at) => {
                bad.push(malformed(spans.numbers[at], &why));
                waiting.extend([(at + 1, last), (first, at)]);
            }
            Err(Fault::At(_, why) | Fault::Somewhere(why)) if last - first == 1 => {
                bad.push(malformed(spans.numbers[first], &why));
            }
            Err(_) => {
                let middle = usize::midpoint(first, last);
                waiting.extend([(middle, last), (first, middle)]);
            }
        }
    }
    bad.extend(spans.blank.iter().map(|number| malformed(*number, "a message without content")));
    bad.sort_by_key(|bad| bad.row);
    let columns = match &pieces[..] {
        [whole] => whole.clone(),
        [] => RecordBatch::new_empty(schema.clone()),
        _ => concat_batches(schema, &pieces).map_err(Error::arrow("join decoded rows"))?,
    };
    let messages = if columns.num_rows() == spans.messages {
        Rows::Same
    } else {
        Rows::Picked(good.into_iter().flatten().map(|at| spans.numbers[at]).collect())
    };
    Ok(Decoded { columns, messages, bad, next: spans.messages, wider: None })
}

/// A message put aside as malformed, with at most 300 bytes of the reason.
pub(crate) fn malformed(row: u32, why: &str) -> BadRow {
    let why = if why.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
        format!("{}...", &why[..end])
    } else {
        why.to_owned()
    };
    BadRow { row, reason: Reason::new(ReasonCode::Malformed, why) }
}
