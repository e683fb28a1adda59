//! Where rows come from and where they go: the seams [`Source`] and [`Sink`].

pub mod blackhole;
pub mod files;
pub mod generate;
pub mod http;
pub mod kafka;
mod kind;
pub mod stdin;
pub mod stdout;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use document::Secrets;
use serde::{Deserialize, Serialize};
use stdx::{Bell, Clock};

pub use kind::{SinkKind, SinkSpec, SourceKind, SourceSpec};
pub(crate) use kind::{
    SinkParts, SourceParts, folder_of, full_schema, hosted, implied, look, plan_sink, plan_source, sink_problems,
    source_problems,
};

use crate::ledger::Starts;
use crate::{BadRow, Batch, Chunk, Error, Ledger, Origin, Pool, Reason};

/// Where a source stands. Only the source that made it understands it; it is stored in the task's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position(pub serde_json::Value);

/// How much one read may bring. A single message may be larger; a source then brings it alone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limit {
    /// Rows or messages.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
}

/// What a read brought.
#[derive(Debug)]
pub enum Read {
    /// Raw messages, to be decoded. At least one byte.
    Chunk(Chunk),
    /// Rows that need no decoding, and the origin of the first; offsets count rows.
    Columns(RecordBatch, Origin),
    /// Bytes that can't be cut into messages, as one message that goes to quarantine. The source goes on behind it.
    Bad {
        /// The bytes, as many as a message may have; none where they could not even be unpacked.
        chunk: Chunk,
        /// Why.
        reason: Reason,
    },
    /// Nothing now. The source rings its bell when there is more, or asks to be read again when `Clock::elapsed`
    /// reaches `again`.
    Idle {
        /// When to look again, if the source can't ring.
        again: Option<Duration>,
    },
    /// Nothing any more.
    End,
}

/// Gives rows, from a position on.
///
/// Promises: opened at a position, [`Source::read`] gives what follows it, in order, once, and doesn't wait: what isn't
/// there is [`Read::Idle`]. [`Source::position`] stands after all that was handed out. A source that is *replayable*
/// gives the same rows again when opened at the same position.
pub trait Source: Send {
    /// What comes next, at most `limit` of it.
    fn read(&mut self, limit: Limit) -> Result<Read, Error>;

    /// Where to go on after everything handed out so far.
    fn position(&self) -> Position;

    /// The position that was last asked for is in the ledger: the source may tell the outside, or forget.
    fn committed(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// What remains to be read, where the source knows: files, messages, seconds.
    fn lag(&self) -> Option<u64> {
        None
    }
}

/// Names what a sink has prepared. Only the sink that made it understands it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token(pub serde_json::Value);

/// Takes rows, and makes them visible when told to.
///
/// Promises: after [`Sink::prepare`] everything written since the last one is durable and invisible, and the token
/// names it (`None`: there was nothing). [`Sink::publish`] makes it visible, durably, and may be repeated, also by a
/// later process. [`Sink::sweep`] removes what lower claims left behind and nobody names.
/// A *direct* sink (stdout) makes rows visible as they come, and has no tokens.
pub trait Sink: Send {
    /// Takes the rows of `batch`. Rows it can't take are given back, the others are written.
    /// A batch may have another schema than the one before: new columns, wider types.
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error>;

    /// Lets go of what a direct sink still buffers. Called when the source runs dry and when `batch.every` is over.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a commit now would make rows visible that nothing else is going to be added to.
    fn wants_commit(&self) -> bool {
        false
    }

    /// Makes durable what was written, and names it. `sequence` is the number of the record that will hold the token.
    fn prepare(&mut self, sequence: u64) -> Result<Option<Token>, Error>;

    /// Makes visible what `token` names, durably: it may never be asked for again.
    fn publish(&mut self, token: &Token) -> Result<(), Error>;

    /// Removes what claims lower than ours staged, unless `keep` names it.
    fn sweep(&mut self, keep: Option<&Token>) -> Result<(), Error>;

    /// The ledger that this sink hosts: its record is appended in the sink's own transaction.
    fn ledger(&mut self) -> Option<&mut dyn Ledger> {
        None
    }

    /// The bytes handed to the outside since the sink was opened, for metrics.
    fn bytes_written(&self) -> u64 {
        0
    }
}

/// What every part is given of the world it runs in.
#[derive(Clone, Debug)]
pub struct World {
    /// Time.
    pub clock: Clock,
    /// Where I/O runs that must not hold up a task's thread.
    pub runtime: tokio::runtime::Handle,
    /// The container's memory.
    pub pool: Pool,
    /// The secrets that documents may refer to.
    pub secrets: Arc<Secrets>,
    /// What relative paths in the document start from: the folder `headwater` was started in.
    pub folder: PathBuf,
}

/// How a source is opened.
#[derive(Clone, Debug)]
pub struct OpenSource {
    /// The source's name in the document.
    pub name: Arc<str>,
    /// `<namespace>.<name>` of the stream.
    pub stream: Arc<str>,
    /// Where to go on; `None` at the first start.
    pub position: Option<Position>,
    /// Where the partitions begin that were there at the stream's first start; others begin with their first row.
    pub starts: Arc<Starts>,
    /// Which shard this task reads, of how many.
    pub shard: (u32, u32),
    /// Rung by the source when there is news.
    pub bell: Bell,
    /// Whether the run ends when the input is drained (`--until-idle`): then nothing is waited for.
    pub until_idle: bool,
    /// The paths of the columns that somebody reads, for sources that decode by themselves.
    pub schema: SchemaRef,
    /// The world.
    pub world: World,
}

/// How a sink is opened.
#[derive(Clone, Debug)]
pub struct OpenSink {
    /// The sink's name in the document.
    pub name: Arc<str>,
    /// `<namespace>.<name>` of the stream.
    pub stream: Arc<str>,
    /// The stream's uid: random, made at its first start, part of every published name.
    pub uid: Arc<str>,
    /// The task's stored name, `<subgraph>-<index>`.
    pub task: Arc<str>,
    /// Our claim on the task.
    pub claim: u64,
    /// The schema of the rows to come; a later batch may bring a wider one.
    pub schema: SchemaRef,
    /// The world.
    pub world: World,
}
