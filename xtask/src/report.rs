//! What happened: a line while it happens, a table at the end, and what was skipped after all else.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;

/// Tests, as counted by the test runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Held.
    pub(crate) passed: usize,
    /// Did not hold.
    pub(crate) failed: usize,
    /// Marked `#[ignore]`, and so not run.
    pub(crate) ignored: usize,
    /// Ended at once because their part is missing, as they wrote into the skip file.
    pub(crate) skipped: usize,
}

/// One stage that ran.
#[derive(Debug)]
struct Line {
    stage: &'static str,
    held: bool,
    took: Duration,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    skips: Vec<String>,
    notes: Vec<String>,
    counts: Option<Counts>,
}

impl Report {
    /// A stage ended.
    pub(crate) fn ended(&mut self, stage: &'static str, held: bool, took: Duration) {
        self.lines.push(Line { stage, held, took });
    }

    /// Something was not done, and why. Fails the whole with `CI=true`.
    pub(crate) fn skip(&mut self, reason: impl Into<String>) {
        self.skips.push(reason.into());
    }

    /// Something worth knowing that fails nothing.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What the test runner counted.
    pub(crate) fn count(&mut self, counts: Counts) {
        self.counts = Some(counts);
    }

    /// A part that a stage needs: an error with `CI=true`, otherwise a skip.
    pub(crate) fn part<T>(&mut self, context: &Context, name: &str, part: Result<T>) -> Result<Option<T>> {
        match part {
            Ok(part) => Ok(Some(part)),
            Err(error) if context.ci => Err(error),
            Err(error) => {
                self.skip(format!("{name}: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Whether all stages held and, with `CI=true`, nothing was skipped.
    pub(crate) fn held(&self, ci: bool) -> bool {
        self.lines.iter().all(|line| line.held) && (self.skips.is_empty() || !ci)
    }

    /// The table, the notes, what was skipped, and the sum as the last line.
    pub(crate) fn closing(&self, ci: bool) -> String {
        let mut lines = vec![String::new()];
        for Line { stage, held, took } in &self.lines {
            lines.push(format!("{stage:<10} {:<7} {:>7.1} s", if *held { "ok" } else { "FAILED" }, took.as_secs_f64()));
        }
        let whole: Duration = self.lines.iter().map(|line| line.took).sum();
        lines.push(format!("{:<18} {:>7.1} s", "all", whole.as_secs_f64()));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(self.skips.iter().map(|skip| format!("skipped: {skip}")));
        if ci && !self.skips.is_empty() {
            lines.push("with CI=true nothing may be skipped: this run failed".to_owned());
        }
        let failed: Vec<&str> = self.lines.iter().filter(|line| !line.held).map(|line| line.stage).collect();
        if !failed.is_empty() {
            lines.push(format!("FAILED: {}", failed.join(", ")));
        }
        lines.push(self.sum());
        lines.join("\n")
    }

    /// A test that lacked its part counts as skipped, not as passed, though the runner saw it end well.
    fn sum(&self) -> String {
        let skipped = self.skips.len();
        let Some(Counts { passed, failed, ignored, skipped: tests_skipped }) = self.counts else {
            let held = self.lines.iter().filter(|line| line.held).count();
            let failed = self.lines.len() - held;
            return format!("stages: {held} passed, {failed} failed, {skipped} skipped");
        };
        let ignored = if ignored == 0 { String::new() } else { format!(", {ignored} ignored") };
        format!("{} passed, {failed} failed, {skipped} skipped{ignored}", passed.saturating_sub(tests_skipped))
    }
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "the one place where this program prints")]
pub(crate) fn say(line: impl Display) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(ci: bool) -> Context {
        let [root, cache, services, built] = ["r", "c", "c/services", "b"].map(Into::into);
        Context { root, cache, services, built, target: None, alerts: None, ci, check: true, whole: false }
    }

    #[test]
    fn a_skip_fails_ci_and_is_told_last() {
        let mut report = Report::default();
        report.ended("test", true, Duration::from_millis(1500));
        report.count(Counts { passed: 5, skipped: 1, ..Counts::default() });
        report.note("generated alerts".to_owned());
        assert!(report.held(true));
        report.skip("stream::parquet: no Python");
        assert!(report.held(false));
        assert!(!report.held(true));
        let closing = report.closing(false);
        let end = "note: generated alerts\nskipped: stream::parquet: no Python\n4 passed, 0 failed, 1 skipped";
        assert!(closing.ends_with(end), "{closing}");
    }

    #[test]
    fn a_missing_part_is_an_error_in_ci_and_a_skip_elsewhere() {
        let mut report = Report::default();
        let missing = || Result::<()>::Err(anyhow::anyhow!("not there"));
        assert!(report.part(&context(true), "python", missing()).is_err());
        assert!(report.part(&context(false), "python", missing()).expect("a skip").is_none());
        assert_eq!(report.skips, ["python: not there"]);
    }
}
