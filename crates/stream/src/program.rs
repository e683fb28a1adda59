//! A stream written as a program: sources, steps and sinks of one's own, run with everything that a document gets -
//! tasks, commits, quarantine, metrics, drains.
//!
//! ```no_run
//! # use std::sync::Arc; use stream::program::Program; use stream::connector::SinkSpec;
//! # fn f(schema: arrow::datatypes::SchemaRef, world: stream::World, control: stream::Control,
//! #   open_source: fn(stream::OpenSource) -> Result<Box<dyn stream::Source>, stream::Error>) -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Program::new("countdown", world.folder.clone())
//!     .source("numbers", schema, true, Arc::new(open_source))
//!     .sink("out", &["numbers"], &SinkSpec { stdout: Some(Default::default()), ..Default::default() })?
//!     .plan()?;
//! stream::run(plan, &world, &control)?;
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use document::Problem;
use stdx::Clock;

use crate::connector::{self, SinkSpec};
use crate::ledger::Home;
use crate::plan::{Consumer, Nature, Part, Plan, PlannedSink, PlannedSource, PlannedStep, Promise, Sort, TaskPlan};
use crate::plan::{SinkOpener, SourceOpener};
use crate::prune::leaves;
use crate::spec::{BatchSpec, Delivery};
use crate::step::Planned;
use crate::{Error, Limit, Step};

/// Makes a step; `now()` in its expressions reads the clock.
pub type StepOpener = Arc<dyn Fn(&Clock) -> Result<Box<dyn Step>, Error> + Send + Sync>;

/// A stream that is being put together. Parts are added in the order in which rows flow.
///
/// Its ledger is `.headwater/default/<name>/` in the folder it is given. All parts make up one task.
pub struct Program {
    plan: Plan,
    /// The first problem; it is told by [`Program::plan`].
    problem: Option<Problem>,
}

impl Program {
    /// An empty stream named `name`, whose relative paths and ledger start from `folder`.
    pub fn new(name: &str, folder: PathBuf) -> Self {
        let home = folder.join(".headwater");
        let ledger = Home { home, namespace: "default".into(), name: name.into() };
        let batch = BatchSpec::default();
        let plan = Plan {
            name: name.into(),
            namespace: "default".into(),
            quarantine: ledger.quarantine(),
            ledger,
            sources: Vec::new(),
            steps: Vec::new(),
            sinks: Vec::new(),
            tasks: Vec::new(),
            promises: Vec::new(),
            warnings: Vec::new(),
            containers: 1,
            commit_every: Duration::from_secs(10),
            flush_every: batch.every.get(),
            batch: Limit {
                rows: batch.rows as usize,
                bytes: usize::try_from(batch.bytes.bytes()).unwrap_or(usize::MAX),
            },
            memory_bytes: 256 << 20,
            drain_timeout: Duration::from_secs(30),
            fail_after: None,
            is_bounded: true,
            made_of: None,
        };
        Self { plan, problem: None }
    }

    /// A source that hands over columns of `schema`; `is_replayable` says whether it gives the same rows again when it
    /// is opened at a position that it was at.
    #[must_use]
    pub fn source(mut self, name: &str, schema: SchemaRef, is_replayable: bool, open: SourceOpener) -> Self {
        let columns = leaves(schema.fields());
        self.plan.sources.push(PlannedSource {
            name: name.into(),
            what: "a source of the program".into(),
            format: None,
            columns_read: columns,
            columns,
            schema,
            nature: if is_replayable { Nature::Replayable } else { Nature::Ephemeral },
            shards: 1,
            is_bounded: true,
            consumers: Vec::new(),
            open,
            decode: None,
        });
        self
    }

    /// A step over the rows of `from`, whose rows have `schema`.
    #[must_use]
    pub fn step(mut self, name: &str, from: &[&str], schema: SchemaRef, open: StepOpener) -> Self {
        let part = Part::Step(self.plan.steps.len());
        self.connect(name, from, part);
        let planned = Planned::new(schema, "a step of the program".into(), open);
        self.plan.steps.push(PlannedStep {
            name: name.into(),
            from: from.iter().map(|from| (*from).to_owned()).collect(),
            what: planned.explain.clone(),
            schema: Arc::clone(&planned.schema),
            consumers: Vec::new(),
            planned,
        });
        self
    }

    /// A sink of ours, as documents have them; its `from` is left out.
    pub fn sink(mut self, name: &str, from: &[&str], spec: &SinkSpec) -> Result<Self, Vec<Problem>> {
        let Some(schema) = from.first().and_then(|from| self.schema_of(from)) else {
            self.connect(name, from, Part::Sink(self.plan.sinks.len()));
            return Ok(self);
        };
        let parts = connector::plan_sink(spec, &format!("spec.sinks.{name}"), &schema)?;
        self.plan.commit_every = parts.roll_every.unwrap_or(self.plan.commit_every).min(self.plan.commit_every);
        Ok(self.add_sink(name, from, parts.sort, parts.open))
    }

    /// A sink of the program's own. `sort` says how its rows become visible.
    #[must_use]
    pub fn own_sink(self, name: &str, from: &[&str], sort: Sort, open: SinkOpener) -> Self {
        self.add_sink(name, from, sort, open)
    }

    fn add_sink(mut self, name: &str, from: &[&str], sort: Sort, open: SinkOpener) -> Self {
        let part = Part::Sink(self.plan.sinks.len());
        self.connect(name, from, part);
        let Some(schema) = from.first().and_then(|from| self.schema_of(from)) else { return self };
        self.plan.sinks.push(PlannedSink {
            name: name.into(),
            from: from.iter().map(|from| (*from).to_owned()).collect(),
            what: "a sink of the program".into(),
            format: None,
            schema,
            sort,
            open,
        });
        self
    }

    fn schema_of(&self, name: &str) -> Option<SchemaRef> {
        let source = self.plan.sources.iter().find(|source| source.name == name).map(|source| &source.schema);
        let step = || self.plan.steps.iter().find(|step| step.name == name).map(|step| &step.schema);
        source.or_else(step).cloned()
    }

    fn connect(&mut self, name: &str, from: &[&str], part: Part) {
        for (slot, from) in from.iter().enumerate() {
            let consumer = Consumer { part, slot };
            let source =
                self.plan.sources.iter_mut().find(|source| source.name == *from).map(|source| &mut source.consumers);
            let step = self.plan.steps.iter_mut().find(|step| step.name == *from).map(|step| &mut step.consumers);
            match source.or(step) {
                Some(consumers) => consumers.push(consumer),
                None => {
                    let problem = Problem::at(name).found(format!("no part named `{from}`"));
                    self.problem.get_or_insert(problem.expected("a source or step that was added before"));
                }
            }
        }
    }

    /// The plan, to be run with [`crate::run`].
    pub fn plan(mut self) -> Result<Plan, Problem> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let first = self.plan.sources.first().map(|source| source.name.clone());
        let name = first.ok_or_else(|| Problem::at("program").found("no source").expected("at least one"))?;
        self.plan.tasks = vec![TaskPlan {
            name: format!("{name}-0"),
            sources: (0..self.plan.sources.len()).map(|source| (source, 0)).collect(),
            sinks: (0..self.plan.sinks.len()).collect(),
            inherited: BTreeMap::new(),
        }];
        for sink in &self.plan.sinks {
            let delivery = if sink.sort == Sort::Direct { Delivery::AtLeastOnce } else { Delivery::ExactlyOnce };
            let because = "all sources of a program are asked for their positions at each commit";
            self.plan.promises.push(Promise { source: name.clone(), sink: sink.name.clone(), delivery, because });
        }
        Ok(self.plan)
    }
}
