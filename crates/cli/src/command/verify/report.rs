//! What became of each sink, told.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;
use stream::Delivery;
use stream::verify::{Checked, Comparison, StandIn, compare, unstable};

use crate::figures::{count, counted, table};
use crate::screen::{Output, Screen};

/// What became of a verification.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) rows: u64,
    pub(super) kills_asked: u32,
    pub(super) kills: u32,
    pub(super) sinks: Vec<SinkOutcome>,
}

/// What became of one sink.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SinkOutcome {
    name: String,
    promise: Delivery,
    #[serde(flatten)]
    comparison: Option<Comparison>,
    /// Columns that differ between two undisturbed runs, and were not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    verdict: Verdict,
    /// Why, where the numbers don't say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Kept,
    Broken,
    /// Nothing can be said, although it should.
    Unproven,
    /// Not looked at.
    NotChecked,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Broken => "BROKEN",
            Verdict::Unproven => "UNPROVEN",
            Verdict::NotChecked => "not checked",
        }
    }
}

/// Compares what a sink holds after kills with what it holds without.
pub(super) fn sink(checked: &Checked, stand_in: &StandIn) -> anyhow::Result<SinkOutcome> {
    let rows = |run| stand_in.rows(run, &checked.name);
    let mut outcome = SinkOutcome {
        name: checked.name.clone(),
        promise: checked.promise,
        comparison: None,
        left_out: Vec::new(),
        verdict: Verdict::NotChecked,
        because: checked.unchecked.map(str::to_owned),
    };
    if checked.unchecked.is_some() {
        return Ok(outcome);
    }
    let (killed, once, again) = (rows(StandIn::KILLED)?, rows(StandIn::ONCE)?, rows(StandIn::AGAIN)?);
    match unstable(&once, &again) {
        Ok(left_out) => outcome.left_out = left_out,
        Err(because) => {
            (outcome.verdict, outcome.because) = (Verdict::Unproven, Some(because));
            return Ok(outcome);
        }
    }
    let comparison = compare(&once, &killed, &outcome.left_out);
    outcome.verdict = verdict(checked.promise, &comparison);
    if outcome.verdict == Verdict::Unproven {
        let words = "no made-up row reaches it; rows in `spec.tests` (`given`) are made use of: write some that do";
        outcome.because = Some(words.into());
    }
    outcome.comparison = Some(comparison);
    Ok(outcome)
}

fn verdict(promise: Delivery, comparison: &Comparison) -> Verdict {
    let allowed = if promise == Delivery::ExactlyOnce { comparison.duplicated } else { 0 };
    match comparison.lost + comparison.unexpected + allowed {
        0 if comparison.expected == 0 => Verdict::Unproven,
        0 => Verdict::Kept,
        _ => Verdict::Broken,
    }
}

impl Outcome {
    /// Whether every promise that can be checked was kept, and one was.
    pub(super) fn is_kept(&self) -> bool {
        let bad = |sink: &SinkOutcome| matches!(sink.verdict, Verdict::Broken | Verdict::Unproven);
        self.kills > 0 && !self.sinks.iter().any(bad) && self.sinks.iter().any(|sink| sink.verdict == Verdict::Kept)
    }

    /// Prints the outcome to standard output.
    pub(super) fn print(&self, label: &str, screen: &Screen) -> anyhow::Result<()> {
        if screen.output == Output::Json {
            return screen.json(&json!({
                "stream": label,
                "seed": self.seed,
                "rows": self.rows,
                "killsAsked": self.kills_asked,
                "kills": self.kills,
                "isKept": self.is_kept(),
                "sinks": self.sinks,
            }));
        }
        Ok(screen.out(self.text(label))?)
    }

    fn text(&self, label: &str) -> String {
        let head = ["SINK", "EXPECTED", "FOUND", "LOST", "DUPLICATED", "UNEXPECTED", "PROMISE", "VERDICT"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.sinks.iter().map(SinkOutcome::cells));
        let kills = counted(self.kills.into(), "kill");
        let mut text = format!("{label}: {kills}, --seed {}\n{}", self.seed, table(&rows));
        // Writing into a string can't fail, here and below.
        for sink in &self.sinks {
            if let Some(because) = &sink.because {
                let _ = writeln!(text, "{}: {because}", sink.name);
            }
            if !sink.left_out.is_empty() {
                let columns = sink.left_out.join(", ");
                let _ = writeln!(text, "{}: not compared, since they differ without kills too: {columns}", sink.name);
            }
            for example in sink.comparison.iter().flat_map(|comparison| &comparison.examples) {
                let (fault, times) = (example.fault.as_str(), counted(example.found, "time"));
                let _ = writeln!(
                    text,
                    "{}: {fault}, there {times} instead of {}: {}",
                    sink.name, example.expected, example.row
                );
            }
        }
        if self.kills == 0 {
            text.push_str("the stream was not killed once: give it more --rows, or a shorter --every\n");
        }
        text
    }
}

impl SinkOutcome {
    fn cells(&self) -> Vec<String> {
        let promise = match self.promise {
            Delivery::ExactlyOnce => "exactly once",
            Delivery::AtLeastOnce => "at least once",
        };
        let found = self.comparison.as_ref().map(|it| [it.expected, it.found, it.lost, it.duplicated, it.unexpected]);
        let cells = found.map_or_else(|| ["-"; 5].map(str::to_owned), |found| found.map(count));
        let mut row = vec![self.name.clone()];
        row.extend(cells);
        row.extend([promise.to_owned(), self.verdict.as_str().to_owned()]);
        row
    }
}

#[cfg(test)]
mod tests {
    use stream::verify::Row;

    use super::*;

    fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<Row> {
        ids.into_iter().map(|id| Row::from([("id".to_owned(), json!(id))])).collect()
    }

    fn outcome(promise: Delivery, found: &[Row]) -> Outcome {
        let comparison = compare(&rows(0..100), found, &[]);
        let verdict = verdict(promise, &comparison);
        let (comparison, left_out) = (Some(comparison), Vec::new());
        let sink = SinkOutcome { name: "out".into(), promise, comparison, left_out, verdict, because: None };
        Outcome { seed: 7, rows: 100, kills_asked: 3, kills: 3, sinks: vec![sink] }
    }

    #[test]
    fn a_lost_row_breaks_every_promise() {
        for promise in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
            let outcome = outcome(promise, &rows((0..100).filter(|id| *id != 42)));
            assert!(!outcome.is_kept());
            let text = outcome.text("s");
            assert!(
                text.contains("BROKEN") && text.contains("lost, there 0 times instead of 1: {\"id\":42}"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_doubled_row_breaks_exactly_once_and_nothing_else() {
        let doubled = || rows((0..100).chain([9]));
        let broken = outcome(Delivery::ExactlyOnce, &doubled());
        assert!(!broken.is_kept());
        assert!(broken.text("s").contains("duplicated, there 2 times instead of 1: {\"id\":9}"));
        assert!(outcome(Delivery::AtLeastOnce, &doubled()).is_kept());
        assert!(outcome(Delivery::ExactlyOnce, &rows(0..100)).is_kept());
    }

    #[test]
    fn what_nothing_reached_is_not_proven() {
        assert_eq!(verdict(Delivery::ExactlyOnce, &Comparison::default()), Verdict::Unproven);
    }
}
