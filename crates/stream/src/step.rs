//! What is done to rows on their way: the seam [`Step`].

use arrow::array::RecordBatch;

use crate::{Reason, Rows};

/// What a step made of a batch.
#[derive(Debug)]
pub struct Stepped {
    /// The rows that come out.
    pub columns: RecordBatch,
    /// The row of the input that each was made of.
    pub rows: Rows,
}

/// Turns columns into columns.
///
/// Promises: the same input gives the same output; each row that comes out is made of one row that went in; an error
/// means that nothing came out, so that the batch can be halved until the row that fails stands alone.
pub trait Step: Send {
    /// Works on rows from input number `from` (the order of `from:` in the document).
    fn run(&mut self, from: usize, columns: &RecordBatch) -> Result<Stepped, Reason>;
}
