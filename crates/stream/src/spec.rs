//! What is asked of a stream.

use document::{ByteSize, Duration, Pod};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connector::{SinkSpec, SourceSpec};
use crate::step::StepSpec;

/// A stream: named sources, steps and sinks, and how they are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Where rows come from, by name.
    pub sources: IndexMap<String, SourceSpec>,
    /// What is done to rows on their way, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub steps: IndexMap<String, StepSpec>,
    /// Where rows go, by name.
    pub sinks: IndexMap<String, SinkSpec>,
    /// The promise that every source-sink pair must keep. By default each pair keeps the best it can, and `plan` says
    /// which that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// When progress is recorded, and where.
    #[serde(default)]
    pub commit: CommitSpec,
    /// How much moves at once.
    #[serde(default)]
    pub batch: BatchSpec,
    /// The memory of the container for whatever is kept longer than a batch: open writers, buffers between I/O and
    /// tasks. Default 256MiB.
    #[serde(default = "memory_default")]
    pub memory: ByteSize,
    /// How the work is shared.
    #[serde(default)]
    pub tasks: TasksSpec,
    /// What to do when rows fail.
    #[serde(default)]
    pub errors: ErrorsSpec,
    /// Where rows that fail are put aside. Default: beside the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineSpec>,
    /// Rows in, rows out: what `headwater test` runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<FixtureSpec>,
    /// How long a stream that was told to stop may take to flush and commit. Past it the process ends, without loss:
    /// what isn't committed is read again. Default 30s.
    #[serde(default = "drain_timeout_default")]
    pub drain_timeout: Duration,
    /// How pods are made where the stream runs on Kubernetes. `headwater run` checks it and does nothing with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

const fn memory_default() -> ByteSize {
    ByteSize::from_mib(256)
}

const fn drain_timeout_default() -> Duration {
    Duration::from_secs(30)
}

/// A promise about each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// A row may come twice after a failure, never be missing.
    AtLeastOnce,
    /// Each row comes once, whatever fails.
    ExactlyOnce,
}

/// When progress is recorded, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitSpec {
    /// The longest time between a row's read and its commit. By default: the shortest `roll.every` of the files sinks
    /// where there are some (columnar files close at each commit, so nobody could see rows sooner), but at most 10s
    /// beside a sink with transactions; 100ms where there is only such a sink; otherwise 10s. A sink's transactions
    /// must be able to stay open for twice as long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// The folder that holds the ledger. By default `_headwater/` in the folder of the first files sink, otherwise
    /// `./.headwater/`. Change it when outputs are in a place that can't keep a ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How much moves at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchSpec {
    /// Rows a batch holds at most. Default 8192. Fewer use less memory, more use less processor time.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub rows: u32,
    /// Bytes a batch holds at most; a longer message travels alone. Default 8MiB.
    pub bytes: ByteSize,
    /// The longest time that a direct sink (stdout) buffers rows while more keep coming; a source that runs dry is
    /// flushed at once. Default 100ms.
    pub every: Duration,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self { rows: 8192, bytes: ByteSize::from_mib(8), every: Duration::from_millis(100) }
    }
}

/// How the work is shared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TasksSpec {
    /// The number of processes that share the tasks at the stream's first start: each is started with
    /// `headwater run --container i/N`, and `headwater scale` changes the number while they run. Default 1. Without
    /// `--container` one process runs all tasks.
    #[schemars(range(min = 1, max = 1024))]
    pub containers: u32,
    /// How often a container looks for new topics and partitions, and for another number of containers. Default 10s.
    /// New partitions become tasks, and tasks move between containers, within this time.
    pub metadata_every: Duration,
}

impl Default for TasksSpec {
    fn default() -> Self {
        Self { containers: 1, metadata_every: Duration::from_secs(10) }
    }
}

/// What to do when rows fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorsSpec {
    /// Stops the stream (exit code 1) when so many rows were put aside since it was started: a number of rows, or a
    /// fraction of the rows read such as `0.05` (looked at from the hundredth row on). Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_after: Option<FailAfter>,
}

/// How many bad rows are too many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FailAfter {
    /// So many rows.
    Rows(u64),
    /// Such a part of the rows read, between 0 and 1.
    Fraction(f64),
}

/// Rows after which a fraction is looked at: before, one bad row would be a large part.
const FRACTION_ROWS_MIN: u64 = 100;

impl FailAfter {
    /// Whether `bad` of `rows` are too many.
    #[expect(clippy::cast_precision_loss, reason = "a fraction of more than 2^53 rows may be rounded")]
    pub fn is_reached(self, bad: u64, rows: u64) -> bool {
        match self {
            Self::Rows(limit) => bad >= limit.max(1),
            Self::Fraction(limit) => rows >= FRACTION_ROWS_MIN && bad as f64 > limit * rows as f64,
        }
    }
}

/// Where rows that fail are put aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuarantineSpec {
    /// A folder.
    pub url: String,
}

/// A fixture: rows that sources are given, and the rows that must then reach sinks.
///
/// ```yaml
/// tests:
///   - name: bad alerts are dropped
///     given: {alerts: [{candidate: {nbad: 0, rb: 0.9}}, {candidate: {nbad: 2, rb: 0.9}}]}
///     expect: {science: [{candidate: {nbad: 0, rb: 0.9}}]}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixtureSpec {
    /// What is being shown, in words.
    pub name: String,
    /// Rows for each source, by its name. The columns of a source are those that its rows have in any fixture; a field
    /// that a row leaves out is null.
    pub given: IndexMap<String, Vec<Value>>,
    /// The rows of each sink, by its name, in order. Only the fields that an expected row names are compared; a sink
    /// that isn't named is not looked at.
    pub expect: IndexMap<String, Vec<Value>>,
}

/// A stream with the name its document gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// What is asked.
    pub spec: Spec,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_waits_for_a_hundred_rows() {
        assert!(!FailAfter::Fraction(0.5).is_reached(50, 50));
        assert!(FailAfter::Fraction(0.5).is_reached(51, 100));
        assert!(!FailAfter::Fraction(0.5).is_reached(50, 100));
        assert!(FailAfter::Rows(2).is_reached(2, 1_000_000));
        assert!(!FailAfter::Rows(2).is_reached(1, 1));
    }
}
