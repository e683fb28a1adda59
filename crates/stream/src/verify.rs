//! A stream shown to keep its promises: the same document over made-up input, killed at random, and what its sinks then
//! hold counted. `headwater verify` drives it.
//!
//! ```text
//!  document --StandIn--> the same stream in a world of its own   (sources, sinks and ledger are temporary)
//!                          |  Feed      rows are released piece by piece, while whoever drives kills the stream
//!                          |            the same input again, undisturbed and twice: what should be there
//!                          v
//!                        outcome::compare: lost, duplicated, unexpected
//! ```

mod columns;
mod feed;
mod kafka;
mod outcome;
mod read;
mod stand_in;

pub use columns::{Recipe, rows};
pub use feed::Feed;
pub use outcome::{Comparison, Example, Fault, Row, compare, unstable};
pub use stand_in::{Asked, Checked, StandIn};
