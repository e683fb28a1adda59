//! The book in which a task writes how far it came, which is also the lock on the task: the seam [`Ledger`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Position, Token};

/// One commit of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of this shape, 1.
    pub version: u32,
    /// The claim under which it was written.
    pub claim: u64,
    /// Grows by one with each record of a task, over all claims.
    pub sequence: u64,
    /// Random: tells our own record from another's after an unknown outcome.
    pub nonce: String,
    /// When it was written, milliseconds since 1970.
    pub at: i64,
    /// Where each source of the task stands.
    pub positions: BTreeMap<String, Position>,
    /// What each sink has prepared and must still publish.
    pub tokens: BTreeMap<String, Token>,
    /// Rows read, written and put aside since the stream's first start.
    pub totals: BTreeMap<String, u64>,
}

/// What taking a task over tells.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Our number: larger than any before.
    pub claim: u64,
    /// The newest record, by whoever wrote it.
    pub last: Option<Record>,
}

/// One task's book.
///
/// Promises: [`Ledger::claim`] fences everyone who claimed before; [`Ledger::append`] is all or nothing, durable when
/// it returns, and fails after another's claim.
pub trait Ledger: Send {
    /// Takes the task over.
    fn claim(&mut self) -> Result<Claimed, Error>;

    /// Writes the next record.
    fn append(&mut self, record: &Record) -> Result<(), Error>;
}
