//! What a run did, told once at its end.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stdx::Level;
use stream::{Report, Snapshot};

use super::job::{Ended, Outcome, QueueWork, StreamWork, Work};
use crate::figures::{bytes, count, counted, duration, table, utc};
use crate::screen::Screen;

/// For people.
pub(super) fn text(ended: &Ended, screen: &Screen) -> String {
    match &ended.work {
        Work::Stream(stream) => stream_text(ended, stream, screen),
        Work::Queue(queue) => queue_text(ended, queue, screen),
    }
}

/// For programs.
pub(super) fn json(ended: &Ended, now_millis: i64) -> Value {
    match &ended.work {
        Work::Stream(stream) => stream_json(ended, stream, now_millis),
        Work::Queue(queue) => queue_json(ended, queue, now_millis),
    }
}

fn report(ended: &Ended) -> Option<&Report> {
    match &ended.result {
        Some(Ok(Outcome::Stream(report))) => Some(report),
        _ => None,
    }
}

fn queue_text(ended: &Ended, work: &QueueWork, screen: &Screen) -> String {
    let how = match &ended.result {
        Some(Ok(_)) if *work.level.borrow() < Level::Halt => "drained",
        Some(Err(_)) => "failed",
        Some(Ok(_)) | None => "stopped",
    };
    let mut text = format!("{}: {how} after {}\n", screen.paint("1", &ended.label), duration(ended.took));
    let tallies = work.meter.snapshot();
    let rows = tallies.iter().map(|(name, tally)| {
        let counts = [
            (tally.waiting, "waiting"),
            (tally.ready, "ready"),
            (tally.running, "running"),
            (tally.succeeded, "succeeded"),
            (tally.failed, "failed"),
            (tally.cancelled, "cancelled"),
        ];
        let cells = counts.into_iter().flat_map(|(jobs, state)| [count(jobs), state.to_owned()]);
        std::iter::once(format!("queue {name}")).chain(cells).collect()
    });
    let mut lines = table(&rows.collect::<Vec<_>>());
    if let Some(Ok(Outcome::Queue(served))) = &ended.result {
        for (name, did) in &served.worked {
            let _ = writeln!(
                lines,
                "workers {name}: {} succeeded, {} failed, {} given back, {} lost",
                count(did.succeeded),
                count(did.failed),
                count(did.released),
                count(did.lost)
            );
        }
    }
    for line in lines.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn queue_json(ended: &Ended, work: &QueueWork, now_millis: i64) -> Value {
    let workers: serde_json::Map<String, Value> = match &ended.result {
        Some(Ok(Outcome::Queue(served))) => {
            let did = |did: &queue::Worked| {
                json!({
                    "succeeded": did.succeeded, "failed": did.failed, "released": did.released, "lost": did.lost,
                    "unanswered": did.unanswered,
                })
            };
            served.worked.iter().map(|(name, worked)| (name.clone(), did(worked))).collect()
        }
        _ => serde_json::Map::new(),
    };
    json!({
        "queue": ended.label,
        "seconds": ended.took.as_secs_f64(),
        "endedAtMillis": now_millis,
        "stopped": !matches!(&ended.result, Some(Err(_))),
        "queues": work.meter.snapshot(),
        "workers": workers,
        "store": work.plan.store,
        "error": error(ended),
    })
}

fn error(ended: &Ended) -> Option<String> {
    match &ended.result {
        Some(Err(error)) => Some(stdx::Chain(error.as_ref()).to_string()),
        _ => None,
    }
}

fn stream_text(ended: &Ended, stream: &StreamWork, screen: &Screen) -> String {
    let (label, counts) = (screen.paint("1", &ended.label), stream.meter.snapshot());
    if let Some(since) = nothing_new_since(ended, stream, &counts) {
        return format!("{label}: nothing new since {}", utc(since));
    }
    let how = match &ended.result {
        Some(Ok(_)) if report(ended).is_some_and(|report| report.stopped) => "drained",
        Some(Ok(_)) => "done",
        Some(Err(_)) => "failed",
        None => "stopped",
    };
    let mut text = format!("{label}: {how} in {}, {}\n", duration(ended.took), counted(counts.commits, "commit"));
    let mut rows = Vec::new();
    for source in &stream.plan.sources {
        let part = counts.parts.get(&source.name).copied().unwrap_or_default();
        rows.push(line(&source.name, "in", part.rows_in, part.bytes_in, &source.what));
    }
    for sink in &stream.plan.sinks {
        let part = counts.parts.get(&sink.name).copied().unwrap_or_default();
        rows.push(line(&sink.name, "out", part.rows_out, part.bytes_out, &sink.what));
    }
    for line in table(&rows).lines() {
        // Writing into a string can't fail.
        let _ = writeln!(text, "  {line}");
    }
    if counts.quarantined > 0 {
        let words = format!("{} put aside in {}", counted(counts.quarantined, "row"), stream.plan.quarantine.display());
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

fn stream_json(ended: &Ended, stream: &StreamWork, now_millis: i64) -> Value {
    let counts = stream.meter.snapshot();
    json!({
        "stream": ended.label,
        "seconds": ended.took.as_secs_f64(),
        "endedAtMillis": now_millis,
        "stopped": match &ended.result {
            Some(Ok(_)) => report(ended).is_some_and(|report| report.stopped),
            Some(Err(_)) => false,
            None => true,
        },
        "nothingNewSinceMillis": nothing_new_since(ended, stream, &counts),
        "counts": counts,
        "outputs": stream.plan.outputs(),
        "quarantine": stream.plan.quarantine,
        "ledger": stream.plan.ledger.to_string(),
        "error": error(ended),
    })
}

/// When the newest commit of an earlier run was written, where this one found nothing to read.
fn nothing_new_since(ended: &Ended, stream: &StreamWork, counts: &Snapshot) -> Option<i64> {
    let report = report(ended)?;
    let mut sources = stream.plan.sources.iter().filter_map(|source| counts.parts.get(&source.name));
    if report.stopped || sources.any(|part| part.rows_in > 0) {
        return None;
    }
    report.earlier_commit_at_millis
}
