//! What will happen: made of the spec and the facts alone, printable, and obeyed by the run.

mod make;
mod print;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use document::Problem;
use serde::{Serialize, Serializer};
use stdx::Clock;

use crate::connector::kafka;
use crate::ledger::Home;
use crate::spec::{Delivery, FailAfter, Stream};
use crate::step::Planned;
use crate::{Decode, Error, Facts, Limit, OpenSink, OpenSource, Sink, Source};

pub(crate) use make::promise;
pub use make::{check, plan};

/// Opens a source.
pub type SourceOpener = Arc<dyn Fn(OpenSource) -> Result<Box<dyn Source>, Error> + Send + Sync>;
/// Opens a decoder.
pub type DecodeOpener = Arc<dyn Fn() -> Result<Box<dyn Decode>, Error> + Send + Sync>;
/// Opens a sink.
pub type SinkOpener = Arc<dyn Fn(OpenSink) -> Result<Box<dyn Sink>, Error> + Send + Sync>;

/// What will happen.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The stream's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The folder of its ledger.
    #[serde(serialize_with = "ledger_folder")]
    pub ledger: Home,
    /// The folder of rows that are put aside.
    pub quarantine: PathBuf,
    /// Sources, in the order of the document.
    pub sources: Vec<PlannedSource>,
    /// Steps, in the order of the document.
    pub steps: Vec<PlannedStep>,
    /// Sinks, in the order of the document.
    pub sinks: Vec<PlannedSink>,
    /// The tasks, each a loop of its own.
    pub tasks: Vec<TaskPlan>,
    /// What is promised of the rows of each source in each sink.
    pub promises: Vec<Promise>,
    /// What may surprise.
    pub warnings: Vec<String>,
    /// The number of processes that share the tasks.
    pub containers: u32,
    /// How often containers look for new partitions, and for another number of containers.
    #[serde(serialize_with = "seconds")]
    pub metadata_every: Duration,
    /// The longest time between a row's read and its commit.
    #[serde(serialize_with = "seconds")]
    pub commit_every: Duration,
    /// The longest time a direct sink buffers rows.
    #[serde(serialize_with = "seconds")]
    pub flush_every: Duration,
    /// How much is read at once.
    pub batch: Limit,
    /// The container's memory.
    pub memory_bytes: u64,
    /// How long a drain may take.
    #[serde(serialize_with = "seconds")]
    pub drain_timeout: Duration,
    /// How many bad rows are too many.
    pub fail_after: Option<FailAfter>,
    /// Whether every source has an end.
    pub is_bounded: bool,
    /// The parts of the graph that have tasks of their own.
    #[serde(skip)]
    pub(crate) groups: Vec<Group>,
    /// What the plan was made of, to make it again when a schema grows.
    #[serde(skip)]
    pub(crate) made_of: Option<Arc<(Stream, Facts)>>,
}

/// How a source will be read.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSource {
    /// Its name.
    pub name: String,
    /// The connector, and what it reads.
    pub what: String,
    /// The format of its messages, where it has any.
    pub format: Option<String>,
    /// What its rows look like: only what somebody reads.
    #[serde(serialize_with = "edge")]
    pub schema: SchemaRef,
    /// Leaves that are read, of those there are.
    pub columns_read: usize,
    /// Leaves in the input.
    pub columns: usize,
    /// Whether its rows can be read again.
    pub nature: Nature,
    /// The tasks that share it.
    pub shards: u32,
    /// Whether it has an end by itself.
    pub is_bounded: bool,
    #[serde(skip)]
    pub(crate) consumers: Vec<Consumer>,
    #[serde(skip)]
    pub(crate) open: SourceOpener,
    #[serde(skip)]
    pub(crate) decode: Option<DecodeOpener>,
    /// Where its partitions are learnt, for sources whose tasks follow them.
    #[serde(skip)]
    pub(crate) partitioned: Option<Arc<kafka::SourceSpec>>,
}

impl PlannedSource {
    /// Opens it.
    pub fn open(&self, open: OpenSource) -> Result<Box<dyn Source>, Error> {
        (self.open)(open)
    }

    /// A decoder of its messages; `None` where it hands over columns.
    pub fn decoder(&self) -> Result<Option<Box<dyn Decode>>, Error> {
        self.decode.as_ref().map(|decode| decode()).transpose()
    }
}

/// A step as it will run.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub from: Vec<String>,
    /// What it does.
    pub what: String,
    /// What its rows look like.
    #[serde(serialize_with = "edge")]
    pub schema: SchemaRef,
    #[serde(skip)]
    pub(crate) consumers: Vec<Consumer>,
    #[serde(skip)]
    pub(crate) planned: Planned,
}

impl PlannedStep {
    pub(crate) fn open(&self, clock: &Clock) -> Result<Box<dyn crate::Step>, Error> {
        self.planned.open(clock)
    }
}

/// A sink as it will be written.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSink {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub from: Vec<String>,
    /// The connector, and where it writes.
    pub what: String,
    /// The format, where it has one.
    pub format: Option<String>,
    /// What its rows look like.
    #[serde(serialize_with = "edge")]
    pub schema: SchemaRef,
    /// How its rows become visible.
    pub sort: Sort,
    #[serde(skip)]
    pub(crate) open: SinkOpener,
}

impl PlannedSink {
    /// Opens it.
    pub fn open(&self, open: OpenSink) -> Result<Box<dyn Sink>, Error> {
        (self.open)(open)
    }
}

/// Whether rows can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Nature {
    /// The same rows come again from the same position.
    Replayable,
    /// What was lost before it was committed is gone.
    Ephemeral,
}

/// How rows become visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// Prepared out of sight, published after the record.
    Staged,
    /// Rows and record in one transaction of the sink's own.
    Hosting,
    /// At once: rows that were not committed come again after a failure.
    Direct,
}

/// What is promised of one source's rows in one sink.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// The source.
    pub source: String,
    /// The sink.
    pub sink: String,
    /// The promise.
    pub delivery: Delivery,
    /// Why it isn't more, or what it rests on.
    pub because: &'static str,
}

/// A consumer of an edge: a part, and which of its inputs the edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) part: Part,
    pub(crate) slot: usize,
}

/// A part that takes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Step(usize),
    Sink(usize),
}

/// A connected part of the graph: each of its tasks reads one shard or partition of its sources.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) sources: Vec<usize>,
    pub(crate) sinks: Vec<usize>,
}

/// A task: what one loop reads and writes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPlan {
    /// Its stored name, `<subgraph>-<index>`; a subgraph is named after its first source.
    pub name: String,
    /// Its sources: their number, and the shard of each.
    pub sources: Vec<(usize, u32)>,
    /// Its sinks' numbers.
    pub sinks: Vec<usize>,
}

impl Plan {
    /// `<namespace>.<name>`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// The tasks where each source, by its number, has so many shards or partitions; with each, the number that the
    /// containers share it out by.
    pub(crate) fn tasks_of(&self, shards: impl Fn(usize) -> u32) -> Vec<(u32, TaskPlan)> {
        let mut tasks = Vec::new();
        for (offset, group) in (0..).zip(&self.groups) {
            let Some(subgraph) = group.sources.first().map(|number| &self.sources[*number].name) else { continue };
            let most = group.sources.iter().map(|number| shards(*number)).max().unwrap_or(0);
            tasks.extend((0..most).map(|index| {
                let members = group.sources.iter().filter(|number| index < shards(**number));
                let sources = members.map(|number| (*number, index)).collect();
                (offset + index, TaskPlan { name: format!("{subgraph}-{index}"), sources, sinks: group.sinks.clone() })
            }));
        }
        tasks
    }

    /// Whether a source's partitions may become more.
    pub(crate) fn grows(&self) -> bool {
        self.sources.iter().any(|source| source.partitioned.is_some())
    }

    /// When a row that was read at `read_at` is committed at the latest, on a clock that all tasks have.
    ///
    /// A reader of a partition sees nothing behind the first transaction that is open in it. So tasks that write in
    /// transactions end them at the same moments: otherwise a row would wait for all of them in turn.
    pub(crate) fn commit_at(&self, read_at: Duration) -> Duration {
        let is_hosted = self.sinks.iter().any(|sink| sink.sort == Sort::Hosting);
        if is_hosted { next_end(read_at, self.commit_every) } else { read_at + self.commit_every }
    }

    /// The number of the sink among `sinks` that hosts the ledger.
    pub(crate) fn hosting_sink(&self, sinks: &[usize]) -> Option<usize> {
        sinks.iter().copied().find(|number| self.sinks[*number].sort == Sort::Hosting)
    }

    /// Whether the caller gives up what an earlier run kept of the part `name` (`--forget`).
    pub(crate) fn is_forgotten(&self, name: &str) -> bool {
        self.made_of.as_ref().is_some_and(|made_of| made_of.1.forget.iter().any(|forgotten| forgotten == name))
    }

    /// The plan with wider schemas for some sources, by their number, or why there can be none.
    pub(crate) fn widened(&self, wider: &BTreeMap<usize, SchemaRef>) -> Result<Self, String> {
        let made_of =
            self.made_of.as_ref().ok_or("new fields, where the schema can't grow: in a program or a replay")?;
        let (stream, mut facts) = (&made_of.0, made_of.1.clone());
        for (number, schema) in wider {
            if let Some(source) = facts.sources.get_mut(&self.sources[*number].name) {
                source.schema = Some(Arc::clone(schema));
            }
        }
        plan(stream, &facts).map_err(|problems| {
            let words: Vec<String> = problems.iter().map(Problem::to_string).collect();
            format!("new fields that the document doesn't fit: {}", words.join("; "))
        })
    }

    /// The folders that the stream writes to.
    pub fn outputs(&self) -> Vec<String> {
        self.sinks.iter().filter(|sink| sink.sort == Sort::Staged).map(|sink| sink.what.clone()).collect()
    }
}

fn edge<S: Serializer>(schema: &SchemaRef, serializer: S) -> Result<S::Ok, S::Error> {
    let columns = schema.fields().iter();
    serializer.collect_map(columns.map(|field| (field.name(), crate::format::schema::describe_type(field.data_type()))))
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn ledger_folder<S: Serializer>(home: &Home, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(home)
}

/// The first multiple of `every` behind `at`.
fn next_end(at: Duration, every: Duration) -> Duration {
    let into = at.as_nanos().checked_rem(every.as_nanos()).unwrap_or(0);
    at + every.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_end_together_and_none_later_than_asked_for() {
        let every = Duration::from_millis(100);
        let ends = [1, 50, 99, 100, 250].map(|at| next_end(Duration::from_millis(at), every).as_millis());
        assert_eq!(ends, [100, 100, 100, 200, 300]);
        let now = Duration::from_millis(7);
        assert_eq!(next_end(now, Duration::ZERO), now);
        assert_eq!(next_end(now, Duration::MAX), Duration::MAX);
    }
}
