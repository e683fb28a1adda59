//! What a run did, told once at its end.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stream::Snapshot;

use super::drive::Ended;
use crate::figures::{bytes, count, counted, duration, table, utc};
use crate::screen::Screen;

/// For people.
pub(super) fn text(ended: &Ended, screen: &Screen) -> String {
    let (label, counts) = (screen.paint("1", &ended.label), ended.meter.snapshot());
    if let Some(since) = nothing_new_since(ended, &counts) {
        return format!("{label}: nothing new since {}", utc(since));
    }
    let how = match &ended.result {
        Some(Ok(report)) if report.stopped => "drained",
        Some(Ok(_)) => "done",
        Some(Err(_)) => "failed",
        None => "stopped",
    };
    let mut text = format!("{label}: {how} in {}, {}\n", duration(ended.took), counted(counts.commits, "commit"));
    let mut rows = Vec::new();
    for source in &ended.plan.sources {
        let part = counts.parts.get(&source.name).copied().unwrap_or_default();
        rows.push(line(&source.name, "in", part.rows_in, part.bytes_in, &source.what));
    }
    for sink in &ended.plan.sinks {
        let part = counts.parts.get(&sink.name).copied().unwrap_or_default();
        rows.push(line(&sink.name, "out", part.rows_out, part.bytes_out, &sink.what));
    }
    for line in table(&rows).lines() {
        // Writing into a string can't fail.
        let _ = writeln!(text, "  {line}");
    }
    if counts.quarantined > 0 {
        let words = format!("{} put aside in {}", counted(counts.quarantined, "row"), ended.plan.quarantine.display());
        let _ = writeln!(text, "  {}", screen.paint("33", &words));
        let _ = writeln!(text, "  look at them with `headwater quarantine list {}`", ended.file);
    }
    text.truncate(text.trim_end().len());
    text
}

fn line(name: &str, direction: &str, rows: u64, size: u64, what: &str) -> Vec<String> {
    let noun = if rows == 1 { "row" } else { "rows" };
    vec![name.to_owned(), direction.to_owned(), count(rows), noun.to_owned(), bytes(size), what.to_owned()]
}

/// For programs.
pub(super) fn json(ended: &Ended, now_millis: i64) -> Value {
    let counts = ended.meter.snapshot();
    let error = match &ended.result {
        Some(Err(error)) => Some(stdx::Chain(error).to_string()),
        _ => None,
    };
    json!({
        "stream": ended.label,
        "seconds": ended.took.as_secs_f64(),
        "endedAtMillis": now_millis,
        "stopped": match &ended.result { Some(Ok(report)) => report.stopped, Some(Err(_)) => false, None => true },
        "nothingNewSinceMillis": nothing_new_since(ended, &counts),
        "counts": counts,
        "outputs": ended.plan.outputs(),
        "quarantine": ended.plan.quarantine,
        "ledger": ended.plan.ledger.to_string(),
        "error": error,
    })
}

/// When the newest commit of an earlier run was written, where this one found nothing to read.
fn nothing_new_since(ended: &Ended, counts: &Snapshot) -> Option<i64> {
    let Some(Ok(report)) = &ended.result else { return None };
    let mut sources = ended.plan.sources.iter().filter_map(|source| counts.parts.get(&source.name));
    if report.stopped || sources.any(|part| part.rows_in > 0) {
        return None;
    }
    report.earlier_commit_at_millis
}
