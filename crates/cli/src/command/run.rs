//! `headwater run`: makes the plan happen, here.

mod drive;
mod summary;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use stream::{LedgerFacts, Meters, Ordinal};

use self::drive::{Ended, Job, Manner};
use super::{Files, plan};
use crate::documents::{self, Loaded};
use crate::exit::{self, Exit};
use crate::figures;
use crate::progress::Shown;
use crate::screen::Output;
use crate::server::{self, Watched};
use crate::session::Session;

/// Runs streams until their input ends or they are told to stop
///
/// Each stream goes on where its last run came to. Ctrl-C or SIGTERM drains: nothing more is read, what was read is
/// flushed and committed, the exit code is 0; a second one stops at once (130), still without loss, since what isn't
/// committed is read again.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater run alerts.yaml\n  \
    headwater run alerts.yaml --set input='night/*.avro' --until-idle\n  \
    headwater run alerts.yaml jobs.yaml --listen 0.0.0.0:9090 --log-level info\n  \
    headwater run alerts.yaml --fresh                 from the beginning")]
pub(crate) struct Run {
    #[command(flatten)]
    files: Files,
    /// Ends when the input is drained, also where more could come: files are all read, a connection was silent for 5 s
    #[arg(long)]
    until_idle: bool,
    /// Starts over: puts the ledger aside and reads from the beginning; what earlier runs wrote remains
    #[arg(long)]
    fresh: bool,
    /// Gives up the position of a source, or what is prepared for a sink, that the document no longer has; may be repeated
    #[arg(long, value_name = "NAME")]
    forget: Vec<String>,
    /// Serves /metrics, /healthz and /readyz on an address such as 127.0.0.1:9090
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Runs one of several containers that share the tasks: `0/3` is the first of three. The number of containers counts
    /// at the stream's first start; later `headwater scale` changes it
    #[arg(long, value_name = "I/N", value_parser = ordinal)]
    container: Option<Ordinal>,
    /// Shows neither progress nor summary
    #[arg(long, short)]
    quiet: bool,
    /// How the summary is printed: text to standard error, or json to standard output (to standard error where a
    /// `stdout` sink writes to standard output)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Reads `I/N`.
fn ordinal(text: &str) -> Result<Ordinal, String> {
    let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    let known = numbers.filter(|(index, of): &(u32, u32)| index < of && *of <= 1024);
    let ordinal = known.map(|(index, of)| Ordinal { index, of });
    ordinal.ok_or_else(|| "expected `I/N`, the container's number from 0 and how many there are, as `0/3`".into())
}

pub(crate) fn act(arguments: &Run, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = arguments.output;
    let loaded = documents::load(&arguments.files.files, session)?;
    let mut facts = plan::seen(&loaded, &arguments.forget, session)?;
    if arguments.fresh {
        for facts in &mut facts {
            facts.ledger = LedgerFacts::default();
        }
    }
    let plans = plan::plans(&loaded, &facts)?;
    if arguments.fresh {
        for (one, plan) in loaded.iter().zip(&plans) {
            put_aside(one, plan, arguments.quiet, session)?;
        }
    }
    let meters = Arc::new(Meters::default());
    let jobs: Vec<Job> = loaded
        .iter()
        .zip(plans)
        .map(|(one, plan)| {
            let label = one.label();
            let meter = Arc::new(meters.stream(&label));
            Job::new(label, one.document.file.clone(), plan, session.world(&one.stream), meter)
        })
        .collect();
    if let Some(address) = arguments.listen {
        let watched = jobs.iter().map(watched).collect();
        let bound = server::serve(address, meters, watched, &session.handle())?;
        session.screen.note(&format!("listening on http://{bound}"));
    }
    let has_stdout_sink = loaded.iter().any(|one| !one.parts_with("sinks", "stdout").is_empty());
    let shown = shown(arguments.quiet, has_stdout_sink, session);
    let manner = Manner { until_idle: arguments.until_idle, container: arguments.container };
    let (ended, exit) = drive::drive(jobs, manner, shown, session)?;
    report(&ended, arguments, has_stdout_sink, session)?;
    Ok(exit)
}

/// Runs the plans of a replay one after the other, as one stream.
pub(crate) fn replay(
    loaded: &Loaded,
    plan: stream::Plan,
    plans: Vec<stream::Plan>,
    is_quiet: bool,
    session: &Session,
) -> anyhow::Result<Exit> {
    let meter = Arc::new(Meters::default().stream(&loaded.label()));
    let world = session.world(&loaded.stream);
    let sources: Vec<String> = plan.sources.iter().map(|source| source.name.clone()).collect();
    let mut job = Job::new(loaded.label(), loaded.document.file.clone(), plan, world, meter);
    job.plans = plans;
    let has_stdout_sink = !loaded.parts_with("sinks", "stdout").is_empty();
    let shown = shown(is_quiet, has_stdout_sink, session);
    let (ended, exit) = drive::drive(vec![job], Manner { until_idle: true, container: None }, shown, session)?;
    for one in &ended {
        let counts = one.meter.snapshot();
        let rows: u64 = sources.iter().filter_map(|name| counts.parts.get(name)).map(|part| part.rows_in).sum();
        let again = counts.quarantined;
        let replayed = figures::count(rows.saturating_sub(again));
        session.screen.note(&format!("{}: {replayed} replayed, {} failed again", one.label, figures::count(again)));
    }
    Ok(exit)
}

fn watched(job: &Job) -> Watched {
    let (sources, sinks) = (job.plan.sources.iter(), job.plan.sinks.iter());
    let parts = sources.map(|source| source.name.clone()).chain(sinks.map(|sink| sink.name.clone()));
    Watched { meter: Arc::clone(&job.meter), stop: job.stop.clone(), parts: parts.collect() }
}

fn shown(is_quiet: bool, has_stdout_sink: bool, session: &Session) -> Shown {
    use std::io::IsTerminal as _;
    match () {
        () if is_quiet => Shown::Hidden,
        // Rows and progress on one terminal would overwrite each other.
        () if has_stdout_sink && std::io::stdout().is_terminal() => Shown::Hidden,
        () if session.screen.is_terminal => Shown::Bars,
        () => Shown::Lines,
    }
}

/// Puts the ledgers of earlier runs aside, and says what they leave behind.
fn put_aside(loaded: &Loaded, plan: &stream::Plan, is_quiet: bool, session: &Session) -> anyhow::Result<()> {
    let suffix = figures::utc_compact(session.clock.now().millis());
    for home in stream::homes(&loaded.stream, &session.folder) {
        let books = home.open(&session.world(&loaded.stream))?;
        let Some(aside) = books.put_aside(&suffix)? else { continue };
        if is_quiet {
            continue;
        }
        let label = loaded.label();
        session.screen.note(&format!("{label}: starting over; the earlier ledger is now {aside}"));
        let outputs = plan.outputs();
        if !outputs.is_empty() {
            session.screen.note(&format!("{label}: what earlier runs wrote remains, beside what is written now, in"));
            session.screen.note(&format!("  {}", outputs.join("\n  ")));
        }
    }
    Ok(())
}

fn report(ended: &[Ended], arguments: &Run, has_stdout_sink: bool, session: &Session) -> anyhow::Result<()> {
    let now_millis = session.clock.now().millis();
    match arguments.output {
        Output::Text if arguments.quiet => {}
        Output::Text => {
            for one in ended.iter().filter(|one| !one.is_closed_pipe()) {
                session.screen.note(&summary::text(one, &session.screen));
            }
        }
        Output::Json => {
            let all: Vec<Value> = ended.iter().map(|one| summary::json(one, now_millis)).collect();
            if has_stdout_sink {
                session.screen.note(&serde_json::to_string(&all)?);
            } else {
                session.screen.json(&all)?;
            }
        }
    }
    if ended.iter().any(|one| one.exit() == Exit::House) {
        session.screen.note(exit::REPORT_US);
    }
    Ok(())
}
