//! The tests of the workspace, and the sum of what libtest says.
//!
//! libtest can't skip with a reason. A test that lacks its part appends a line `name: reason` to the file named by
//! `HEADWATER_SKIPS` and ends; a line that begins with `note: ` says something that fails nothing. Both are told last.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::context::Context;
use crate::process::{cargo, shown};
use crate::report::{Counts, Report, say};
use crate::services::Lent;
use crate::setup;

/// Runs all tests, also after a failure, so that one run tells of all.
pub(crate) fn stage(context: &Context, report: &mut Report) -> Result<()> {
    let python = setup::python(context);
    let python = report.part(context, "Python environment", python)?;
    let services = context.whole.then(|| report.part(context, "services", Lent::all(context))).transpose()?.flatten();
    let skips = context.built.join("xtask-skips.txt");
    fs::write(&skips, "").with_context(|| format!("empty {}", skips.display()))?;

    let mut tests = cargo(context, &["test", "--workspace", "--no-fail-fast"]);
    tests.env("HEADWATER_SKIPS", &skips).env("HEADWATER_SERVICES", &context.services);
    tests.env("HEADWATER_XTASK", context.built.join("xtask"));
    if let Some(python) = python {
        tests.env("HEADWATER_PYTHON", python);
    }
    if let Some(alerts) = &context.alerts {
        tests.env("HEADWATER_ALERTS", alerts);
    }
    let (mut counts, ended_well) = count(tests)?;
    drop(services);
    let told = fs::read_to_string(&skips).with_context(|| format!("read {}", skips.display()))?;
    counts.skipped = tell(report, &told);
    report.count(counts);
    ensure!(ended_well, "{} tests failed, or a test program didn't build or end", counts.failed);
    ensure!(counts.passed > 0, "no test ran");
    Ok(())
}

/// Hands on what tests wrote into the skip file, and counts those that skipped.
fn tell(report: &mut Report, told: &str) -> usize {
    let mut skipped = 0;
    for line in told.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(note) = line.strip_prefix("note: ") {
            report.note(note.to_owned());
        } else {
            report.skip(line);
            skipped += 1;
        }
    }
    skipped
}

/// Runs the tests, shows what they print, and adds up the closing lines.
fn count(mut tests: Command) -> Result<(Counts, bool)> {
    let line = shown(&tests);
    let mut child = tests.stdout(Stdio::piped()).spawn().with_context(|| format!("start `{line}`"))?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("read what the tests print")?;
            let line = String::from_utf8_lossy(&line);
            say(&line);
            add(&mut counts, &line);
        }
    }
    let status = child.wait().with_context(|| format!("wait for `{line}`"))?;
    Ok((counts, status.success()))
}

/// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn add(counts: &mut Counts, line: &str) {
    let Some(result) = line.strip_prefix("test result: ") else { return };
    let parts = result.split_once(". ").map_or("", |(_, parts)| parts);
    for part in parts.split("; ") {
        let Some((number, word)) = part.split_once(' ') else { continue };
        let number: usize = number.parse().unwrap_or(0);
        match word {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.ignored += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        add(
            &mut counts,
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        add(
            &mut counts,
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
        );
        add(&mut counts, "test one ... ok");
        assert_eq!(counts, Counts { passed: 5, failed: 1, ignored: 1, skipped: 0 });
    }

    #[test]
    fn skips_are_counted_and_notes_are_not() {
        let mut report = Report::default();
        assert_eq!(
            tell(&mut report, "note: generated alerts\n\na: no Python\nb: no Python\nnote: generated alerts\n"),
            2
        );
        let closing = report.closing(false);
        assert!(
            closing.contains("note: generated alerts\nskipped: a: no Python\nskipped: b: no Python\n"),
            "{closing}"
        );
    }
}
