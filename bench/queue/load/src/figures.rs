use std::time::Duration;

use serde_json::{Value, json};

/// How long each of some operations took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, taken: Duration) {
        self.0.push(taken);
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The median, the 99th percentile and the longest, in milliseconds.
    pub(crate) fn quantiles(&self) -> Value {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |hundredths: usize| sorted.get(sorted.len() * hundredths / 100).copied().unwrap_or_default();
        let longest = sorted.last().copied().unwrap_or_default();
        json!({ "p50": millis(at(50)), "p99": millis(at(99)), "max": millis(longest) })
    }

    /// How many in a second, where all were made within this time, beside how long each took.
    pub(crate) fn rate(&self, within: Duration) -> Value {
        json!({ "operations": self.len(), "perSecond": per_second(self.len(), within), "millis": self.quantiles() })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
pub(crate) fn per_second(operations: usize, within: Duration) -> f64 {
    (operations as f64 / within.as_secs_f64()).round()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
