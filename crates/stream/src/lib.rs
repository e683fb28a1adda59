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
mod beside;
pub mod connector;
mod container;
mod error;
pub mod exercise;
mod facts;
pub mod fixture;
mod flow;
pub mod format;
mod from;
mod graph;
mod handover;
pub mod ledger;
mod memory;
mod meter;
mod plan;
pub mod positions;
pub mod program;
mod prune;
pub mod quarantine;
mod run;
mod spec;
pub mod step;
mod task;
pub mod verify;

pub use batch::{BadRow, Batch, Chunk, Ends, Input, Origin, Payload, Reason, ReasonCode, Rows};
pub use connector::{Limit, OpenSink, OpenSource, Position, Read, Sink, Source, Token, World};
pub use container::Ordinal;
pub use error::Error;
pub use facts::{Facts, LedgerFacts, SourceFacts, Unseen, facts, homes};
pub use format::{Cut, Decode, Decoded, Encode, Out, Scan};
pub use from::From;
pub use graph::check_tree;
pub use ledger::{Books, Claimed, Home, Ledger, Record, StreamRecord};
pub use memory::{Lease, Pool};
pub use meter::{Meters, PartSnapshot, Snapshot, StreamMeter, resident_bytes};
pub use plan::{DecodeOpener, Nature, Plan, Promise, SinkOpener, Sort, SourceOpener, TaskPlan, check, plan};
pub use run::{Control, Report, run};
pub use spec::{Delivery, FailAfter, Spec, Stream};
pub use step::{Step, Stepped};
