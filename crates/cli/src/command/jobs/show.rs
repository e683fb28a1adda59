//! Jobs as a person reads them.

use std::fmt::Write as _;

use queue::{Job, Json, Moment};

use crate::figures::{duration, table, utc};
use crate::screen::Output;
use crate::session::Session;

/// One job, with all that is known of it.
pub(super) fn job(job: &Job, session: &Session) -> anyhow::Result<()> {
    match session.screen.output {
        Output::Json => session.screen.json(job),
        Output::Text => Ok(session.screen.out(text(job))?),
    }
}

fn text(job: &Job) -> String {
    let of = job.kind.as_ref().map_or_else(String::new, |kind| format!(", type {kind}"));
    let mut text = format!("job {} in queue {}{of}\n", job.id, job.queue);
    let reason = job.reason.map_or_else(String::new, |reason| format!(" ({})", reason.as_str()));
    let asked = if job.cancel_requested && !job.state.has_ended() { ", asked to stop" } else { "" };
    // Writing into a string can't fail, here and below.
    let _ = writeln!(text, "  state    {}{reason}{asked}", job.state.as_str());
    let _ = writeln!(text, "  attempt  {} of {}, priority {}", job.attempt, job.attempts, job.priority);
    for (name, moment) in
        [("put", Some(job.created_at)), ("due", job.run_at), ("started", job.started_at), ("ended", job.ended_at)]
    {
        if let Some(moment) = moment {
            let _ = writeln!(text, "  {name:<8} {}", utc(moment.millis()));
        }
    }
    if let Some(worker) = &job.worker {
        let _ = writeln!(text, "  worker   {worker}");
    }
    if let Some(key) = &job.key {
        let _ = writeln!(text, "  key      {key}");
    }
    if job.pending > 0 {
        let _ = writeln!(text, "  after    {} jobs that have not ended", job.pending);
    }
    for (name, value) in
        [("payload", &job.payload), ("meta", &job.meta), ("progress", &job.progress), ("result", &job.result)]
    {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<8} {}", value.as_str());
        }
    }
    if let Some(error) = &job.error {
        let _ = writeln!(text, "  error    {}", error.message);
        for line in error.trace.iter().flat_map(|trace| trace.lines()) {
            let _ = writeln!(text, "  | {line}");
        }
    }
    text
}

/// A line for each job.
pub(super) fn rows(jobs: &[Job], now: Moment) -> String {
    let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, now)).collect();
    if rows.is_empty() { "no jobs\n".to_owned() } else { table(&rows) }
}

fn row(job: &Job, now: Moment) -> Vec<String> {
    let reason = job.reason.map_or_else(String::new, |reason| reason.as_str().to_owned());
    let attempt = format!("{}/{}", job.attempt, job.attempts);
    let since = format!("{} ago", duration(now.since(job.created_at)));
    let kind = job.kind.clone().unwrap_or_else(|| "-".to_owned());
    let progress = job.progress.as_ref().map_or_else(String::new, |json: &Json| json.as_str().to_owned());
    vec![
        job.id.to_string(),
        job.queue.clone(),
        kind,
        job.state.as_str().to_owned(),
        attempt,
        since,
        [reason, progress].join(" ").trim().to_owned(),
    ]
}

/// What became of each job.
pub(super) fn states(jobs: &[Job]) -> String {
    let state = |job: &Job| {
        let asked = if job.cancel_requested && !job.state.has_ended() { ", asked to stop" } else { "" };
        format!("{} {}{asked}\n", job.id, job.state.as_str())
    };
    jobs.iter().map(state).collect()
}
