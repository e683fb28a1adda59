//! Makes the plan happen: a thread for each task, until their sources end or they are told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use indexmap::IndexMap;
use serde::Serialize;
use stdx::{Level, Stop};

use crate::connector::kafka;
use crate::ledger::{Books, StreamRecord, VERSION};
use crate::meter::{Snapshot, StreamMeter};
use crate::plan::{Plan, PlannedSource};
use crate::task::{self, Context};
use crate::{Error, World, handover};

/// How a run is watched and stopped.
#[derive(Clone, Debug)]
pub struct Control {
    /// Asks the stream to drain or to halt.
    pub stop: Stop,
    /// Counts what happens.
    pub meter: Arc<StreamMeter>,
    /// Whether to end when the input is drained, also where more could come.
    pub until_idle: bool,
    /// How this process names itself to another that wants the same task.
    pub holder: String,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The stream's name.
    pub stream: String,
    /// Counted since the run began.
    pub counts: Snapshot,
    /// When the newest commit of an earlier run was written, milliseconds since 1970.
    pub earlier_commit_at_millis: Option<i64>,
    /// Whether the run was stopped before its input ended.
    pub stopped: bool,
}

/// Runs the tasks of `plan` until they end.
///
/// A task that fails is opened again from its last record; one that can't go on stops the others, and its error is
/// returned after they have committed.
pub fn run(plan: Plan, world: &World, control: &Control) -> Result<Report, Error> {
    let books = plan.ledger.open(world)?;
    let record = stream_record(&plan, &*books, world)?;
    let plan = Arc::new(plan);
    let context = Context {
        plan: Arc::clone(&plan),
        books,
        record: record.into(),
        world: world.clone(),
        stop: control.stop.clone(),
        meter: Arc::clone(&control.meter),
        until_idle: control.until_idle,
        holder: control.holder.clone(),
    };
    handover::run(&context)?;
    let ends: Vec<Result<task::TaskEnd, Error>> = thread::scope(|scope| {
        let threads: Vec<_> = plan
            .tasks
            .iter()
            .map(|task| {
                let (context, stop) = (context.clone(), control.stop.clone());
                let body = move || task::run(task, &context).inspect_err(|_| stop.ask(Level::Drain));
                thread::Builder::new().name(task.name.clone()).spawn_scoped(scope, body)
            })
            .collect();
        threads.into_iter().map(|thread| join(thread, &control.stop)).collect()
    });
    let mut report = Report {
        stream: plan.name.clone(),
        counts: Snapshot::default(),
        earlier_commit_at_millis: None,
        stopped: control.stop.level() > Level::Run,
    };
    for end in ends {
        report.earlier_commit_at_millis = report.earlier_commit_at_millis.max(end?.earlier_commit_at);
    }
    report.counts = control.meter.snapshot();
    Ok(report)
}

fn join(
    thread: std::io::Result<thread::ScopedJoinHandle<'_, Result<task::TaskEnd, Error>>>,
    stop: &Stop,
) -> Result<task::TaskEnd, Error> {
    let thread = thread.map_err(|source| Error::Io { verb: "start", what: "a task's thread".into(), source })?;
    thread.join().unwrap_or_else(|panic| {
        stop.ask(Level::Drain);
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(Error::House(format!("a task panicked: {}", words.unwrap_or_default())))
    })
}

/// The stream's record, which is written at the first start: its uid, its shards, and where its partitions begin.
fn stream_record(plan: &Plan, books: &dyn Books, world: &World) -> Result<StreamRecord, Error> {
    let found = books.stream()?;
    let is_new =
        |source: &&PlannedSource| found.as_ref().is_none_or(|record| !record.shards.contains_key(&source.name));
    let new: Vec<&PlannedSource> = plan.sources.iter().filter(is_new).collect();
    if let Some(record) = found.as_ref().filter(|_| new.is_empty()) {
        return Ok(record.clone());
    }
    let is_first = found.is_none();
    let mut record = found.unwrap_or_else(|| StreamRecord {
        version: VERSION,
        uid: format!("{:08x}", fastrand::u32(..)),
        generation: 0,
        containers: plan.containers,
        shards: IndexMap::new(),
        starts: BTreeMap::new(),
    });
    record.generation += 1;
    for source in new {
        record.shards.insert(source.name.clone(), source.shards);
        if let Some(kafka) = &source.partitioned {
            record.starts.insert(source.name.clone(), kafka::starts(kafka, &kafka::partitions(kafka, world)?, world)?);
        }
    }
    if is_first {
        books.create_stream(&record)?
    } else {
        books.write_stream(&record)?
    }
    // Another process may have been first: what is there now counts.
    Ok(books.stream()?.unwrap_or(record))
}
