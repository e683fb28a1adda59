//! `headwater run`: makes the plan happen, here.

mod drive;
mod job;
mod serve;
mod summary;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use stream::{LedgerFacts, Meters, Ordinal};

use self::drive::Manner;
use self::job::{Ended, Job, QueueWork, Work};
use super::Files;
use super::plan::{self, WorkloadFacts, WorkloadPlan};
use crate::documents::{self, Loaded, Workload};
use crate::exit::{self, Exit, Usage};
use crate::figures;
use crate::progress::Shown;
use crate::screen::Output;
use crate::server::{self, Watched};
use crate::session::Session;

/// Runs streams and queues until their input ends or they are told to stop
///
/// Each stream goes on where its last run came to. A queue serves its API and runs its workers until it is told to stop.
/// Ctrl-C or SIGTERM drains: nothing more is read or leased, what was read is flushed and committed, running jobs end or
/// are given back after `drainTimeout`, the exit code is 0; a second one stops at once (130), still without loss, since
/// what isn't committed is read again and what was leased is leased again.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater run alerts.yaml\n  \
    headwater run alerts.yaml --set input='night/*.avro' --until-idle\n  \
    headwater run jobs.yaml                           a jobs API with its workers\n  \
    headwater run alerts.yaml jobs.yaml --listen 0.0.0.0:9090 --log-level info\n  \
    headwater run alerts.yaml --fresh                 from the beginning")]
pub(crate) struct Run {
    #[command(flatten)]
    files: Files,
    /// Ends when the input is drained, also where more could come: files are all read, a connection was silent for 5 s, a
    /// queue had no job to do for 5 s
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
    let loaded = documents::load_all(&arguments.files.files, session)?;
    refuse_for_queues(arguments, &loaded)?;
    let mut facts = plan::seen(&loaded, &arguments.forget, session)?;
    if arguments.fresh {
        for facts in &mut facts {
            if let WorkloadFacts::Stream(facts) = facts {
                facts.ledger = LedgerFacts::default();
            }
        }
    }
    let plans = plan::plans(&loaded, &facts)?;
    let meters = Arc::new(Meters::default());
    let jobs = loaded.iter().zip(plans).map(|(one, plan)| job(one, plan, arguments, &meters, session));
    let jobs: Vec<Job> = jobs.collect::<anyhow::Result<_>>()?;
    if let Some(address) = arguments.listen {
        let watched = jobs.iter().map(watched).collect();
        let bound = server::serve(address, meters, watched, &session.handle())?;
        session.screen.note(&format!("listening on http://{bound}"));
    }
    let mut streams = loaded.iter().filter_map(Workload::stream);
    let has_stdout_sink = streams.any(|one| !one.parts_with("sinks", "stdout").is_empty());
    let shown = shown(arguments.quiet, has_stdout_sink, session);
    let manner = Manner { until_idle: arguments.until_idle, container: arguments.container };
    let (ended, exit) = drive::drive(jobs, manner, shown, session)?;
    report(&ended, arguments, has_stdout_sink, session)?;
    Ok(exit)
}

/// What is asked for with words that belong to streams.
fn refuse_for_queues(arguments: &Run, loaded: &[Workload]) -> Result<(), Usage> {
    let Some(queue) = loaded.iter().find(|one| one.stream().is_none()) else { return Ok(()) };
    let words = match () {
        () if arguments.fresh => "--fresh is for streams: to start over, give the store another path",
        () if arguments.container.is_some() => "--container is for streams: one server holds the store",
        () => return Ok(()),
    };
    Err(Usage(format!("{} is a queue; {words}", queue.label())))
}

/// What runs a plan.
fn job(one: &Workload, plan: WorkloadPlan, arguments: &Run, meters: &Meters, session: &Session) -> anyhow::Result<Job> {
    let (label, file) = (one.label(), one.document().file.clone());
    match (one, plan) {
        (Workload::Stream(one), WorkloadPlan::Stream(plan)) => {
            if arguments.fresh {
                put_aside(one, &plan, arguments.quiet, session)?;
            }
            let meter = Arc::new(meters.stream(&label));
            Ok(Job::stream(label, file, *plan, session.world(&one.stream), meter))
        }
        (Workload::Queue(one), WorkloadPlan::Queue(plan)) => {
            let work = QueueWork::new(*plan, one.tokens(session)?, one.world(session)?);
            Ok(Job::queue(label, file, work))
        }
        _ => Err(stream::Error::House(format!("{label} has the plan of another kind")).into()),
    }
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
    let mut job = Job::stream(loaded.label(), loaded.document.file.clone(), plan, world, Arc::clone(&meter));
    if let Work::Stream(stream) = &mut job.work {
        stream.plans = plans;
    }
    let has_stdout_sink = !loaded.parts_with("sinks", "stdout").is_empty();
    let shown = shown(is_quiet, has_stdout_sink, session);
    let (ended, exit) = drive::drive(vec![job], Manner { until_idle: true, container: None }, shown, session)?;
    for one in &ended {
        let counts = meter.snapshot();
        let rows: u64 = sources.iter().filter_map(|name| counts.parts.get(name)).map(|part| part.rows_in).sum();
        let again = counts.quarantined;
        let replayed = figures::count(rows.saturating_sub(again));
        session.screen.note(&format!("{}: {replayed} replayed, {} failed again", one.label, figures::count(again)));
    }
    Ok(exit)
}

fn watched(job: &Job) -> Watched {
    match &job.work {
        Work::Stream(stream) => {
            let (sources, sinks) = (stream.plan.sources.iter(), stream.plan.sinks.iter());
            let parts = sources.map(|source| source.name.clone()).chain(sinks.map(|sink| sink.name.clone()));
            Watched::stream(Arc::clone(&stream.meter), job.stop.clone(), parts.collect())
        }
        Work::Queue(queue) => Watched::queue(queue.is_ready.subscribe()),
    }
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
