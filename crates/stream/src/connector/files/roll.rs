use document::{ByteSize, Duration, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a file ends; whichever comes first.
///
/// Larger files read faster and come later. Memory may end a file sooner: with many partitions, the writer that was
/// not used for longest is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Roll {
    /// The longest time that rows stay invisible, 60 s by default.
    pub every: Duration,
    /// The bytes of a file, 256 MiB by default; what the encoder still holds is counted as it lies in memory.
    pub bytes: ByteSize,
    /// The rows of a file; not limited by default.
    pub rows: Option<u64>,
}

impl Default for Roll {
    fn default() -> Self {
        Self { every: Duration::from_secs(60), bytes: ByteSize::from_mib(256), rows: None }
    }
}

impl Roll {
    /// Problems of its own words.
    pub(super) fn problems(&self, path: &str) -> Vec<Problem> {
        let zero = |is_zero: bool, key: &str| {
            let problem = Problem::at(format!("{path}.{key}")).found("0").expected("more than zero");
            is_zero.then(|| problem.hint("leave it out for the default"))
        };
        let every = zero(self.every.get().is_zero(), "every");
        let bytes = zero(self.bytes.bytes() == 0, "bytes");
        let rows = zero(self.rows == Some(0), "rows");
        [every, bytes, rows].into_iter().flatten().collect()
    }

    /// How many more rows a file of `rows` may take.
    pub(super) fn rows_left(&self, rows: u64) -> usize {
        self.rows.map_or(usize::MAX, |most| usize::try_from(most.saturating_sub(rows)).unwrap_or(usize::MAX).max(1))
    }

    /// Whether a file of so many rows and bytes ends.
    pub(super) fn is_full(&self, rows: u64, bytes: u64) -> bool {
        bytes >= self.bytes.bytes() || self.rows.is_some_and(|most| rows >= most)
    }
}
