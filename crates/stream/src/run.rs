//! Makes the plan happen: a thread for each task, until their sources end or they are told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use stdx::{Level, Stop};

use crate::connector::kafka;
use crate::ledger::{Books, StreamRecord, VERSION};
use crate::meter::{Snapshot, StreamMeter};
use crate::plan::{Plan, PlannedSource};
use crate::task::Context;
use crate::{Error, Ordinal, World, container, handover};

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
    /// Which container this process is, where several share the tasks; `None`: all tasks run here.
    pub container: Option<Ordinal>,
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
    let record = stream_record(&plan, &*books, control, world)?;
    let context = Context {
        plan: Arc::new(plan),
        books,
        record: record.into(),
        world: world.clone(),
        stop: control.stop.clone(),
        meter: Arc::clone(&control.meter),
        until_idle: control.until_idle,
        holder: control.holder.clone(),
        is_shared: control.container.is_some(),
    };
    handover::run(&context)?;
    let stream = context.plan.name.clone();
    let earlier_commit_at_millis = container::run(context, control)?;
    let stopped = control.stop.level() > Level::Run;
    Ok(Report { stream, counts: control.meter.snapshot(), earlier_commit_at_millis, stopped })
}

/// The stream's record, which is written at the first start: its uid, its shards, and where its partitions begin.
fn stream_record(plan: &Plan, books: &dyn Books, control: &Control, world: &World) -> Result<StreamRecord, Error> {
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
        containers: control.container.map_or(plan.containers, |container| container.of),
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
        books.create_stream(&record)?;
    } else {
        books.write_stream(&record)?;
    }
    // Another process may have been first: what is there now counts.
    Ok(books.stream()?.unwrap_or(record))
}
