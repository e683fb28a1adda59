//! Rows move: sources -> steps -> sinks, described in a document of kind `Stream`.
//!
//! ```text
//!  Spec --facts--> Facts --plan--> Plan --run--> Report
//!
//!  one task = one loop:   Source -> Decode -> Step .. -> Sink      (batches, between them:)
//!                         prepare each sink | append a record to the Ledger | publish each token
//! ```
//!
//! Every part is a public trait: a job may be a document, or a program that brings its own [`Source`], [`Step`] or
//! [`Sink`] (see `examples/rust-job`). What a trait promises, its `exercise` checks.

mod batch;
pub mod connector;
mod error;
pub mod exercise;
pub mod format;
pub mod ledger;
mod memory;
pub mod step;

pub use batch::{BadRow, Batch, Chunk, Ends, Input, Origin, Payload, Reason, ReasonCode, Rows};
pub use connector::{Limit, OpenSink, OpenSource, Position, Read, Sink, Source, Token, World};
pub use error::Error;
pub use format::{Cut, Decode, Decoded, Encode, Scan};
pub use ledger::{Claimed, Ledger, Record};
pub use memory::{Lease, Pool};
pub use step::{Step, Stepped};
