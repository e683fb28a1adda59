//! A stream written as a program: sources, steps and sinks of one's own, run with everything that a document gets -
//! commits, quarantine, metrics, drains.
//!
//! ```no_run
//! # fn f<S: stream::Source + 'static>(
//! #     schema: arrow::datatypes::SchemaRef,
//! #     open: fn(stream::OpenSource) -> Result<S, stream::Error>,
//! # ) -> Result<(), stream::Error> {
//! use stream::connector::{SinkSpec, stdout};
//! use stream::program::Program;
//!
//! let out = SinkSpec { stdout: Some(stdout::SinkSpec::default()), ..SinkSpec::default() };
//! Program::new("countdown", ".")
//!     .source("numbers", schema, stream::Nature::Replayable, open)
//!     .sql("even", &["numbers"], "SELECT * FROM numbers WHERE n % 2 = 0")
//!     .sink("out", &["even"], &out)
//!     .run()?;
//! # Ok(()) }
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use document::Problem;
use stdx::Clock;

use crate::connector::{self, SinkSpec};
use crate::format::FormatSpec;
use crate::graph::is_name;
use crate::ledger::Home;
use crate::plan::{
    Consumer, DecodeOpener, Group, Nature, Part, Plan, PlannedSink, PlannedSource, PlannedStep, Promise, Sort, promise,
};
use crate::prune::leaves;
use crate::spec::BatchSpec;
use crate::step::{self, Edge, Planned, StepSpec};
use crate::{Control, Error, Limit, OpenSink, OpenSource, Report, Sink, Source, Step, World};

/// A stream that is being put together. Parts are added in the order in which rows flow.
///
/// Its ledger is `.headwater/default/<name>/` in the folder it is given. All parts make up one task. What is wrong with
/// the parts is told by [`Program::plan`].
pub struct Program {
    plan: Plan,
    folder: PathBuf,
    problems: Vec<Problem>,
}

impl Program {
    /// An empty stream named `name`, whose relative paths and ledger start from `folder`.
    pub fn new(name: &str, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let home = folder.join(".headwater");
        let ledger = Home::local(home, "default", name);
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
            groups: Vec::new(),
            promises: Vec::new(),
            warnings: Vec::new(),
            containers: 1,
            metadata_every: Duration::from_secs(10),
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
        Self { plan, folder, problems: Vec::new() }
    }

    /// A source that hands over columns of `schema` ([`crate::Read::Columns`]). It is replayable if it gives the same
    /// rows again when it is opened at a position that it was at.
    #[must_use]
    pub fn source<S: Source + 'static>(
        self,
        name: &str,
        schema: SchemaRef,
        nature: Nature,
        open: impl Fn(OpenSource) -> Result<S, Error> + Send + Sync + 'static,
    ) -> Self {
        self.add_source(name, schema, nature, None, open)
    }

    /// A source that hands over messages ([`crate::Read::Chunk`]), which `format` decodes into columns of `schema`.
    #[must_use]
    pub fn messages<S: Source + 'static>(
        mut self,
        name: &str,
        schema: SchemaRef,
        nature: Nature,
        format: &FormatSpec,
        open: impl Fn(OpenSource) -> Result<S, Error> + Send + Sync + 'static,
    ) -> Self {
        let format = format.settings();
        self.problems.extend(format.problems(&format!("{name}.format")));
        if format.is_scanned() {
            let problem = Problem::at(format!("{name}.format")).found(format!("`{}`", format.name()));
            self.problems.push(problem.expected("a format of messages: json, csv, text, messagepack, avro"));
        }
        let named = format.name();
        let (columns, folder) = (Arc::clone(&schema), self.folder.clone());
        let decode: DecodeOpener = Arc::new(move || format.decode(&columns, &columns, &folder));
        self.add_source(name, schema, nature, Some((named, decode)), open)
    }

    fn add_source<S: Source + 'static>(
        mut self,
        name: &str,
        schema: SchemaRef,
        nature: Nature,
        decode: Option<(&str, DecodeOpener)>,
        open: impl Fn(OpenSource) -> Result<S, Error> + Send + Sync + 'static,
    ) -> Self {
        self.check_name(name);
        let columns = leaves(schema.fields());
        let (format, decode) = decode.unzip();
        self.plan.sources.push(PlannedSource {
            name: name.into(),
            what: "a source of the program".into(),
            format: format.map(str::to_owned),
            columns_read: columns,
            columns,
            schema,
            nature,
            shards: 1,
            is_bounded: true,
            consumers: Vec::new(),
            open: Arc::new(move |opened| Ok(Box::new(open(opened)?))),
            decode,
            partitioned: None,
        });
        self
    }

    /// A step of the program's own over the rows of `from`; the rows that it makes have `schema`.
    #[must_use]
    pub fn step<S: Step + 'static>(
        mut self,
        name: &str,
        from: &[&str],
        schema: SchemaRef,
        open: impl Fn(&Clock) -> Result<S, Error> + Send + Sync + 'static,
    ) -> Self {
        self.inputs(name, from, Part::Step(self.plan.steps.len()));
        let open = move |clock: &Clock| -> Result<Box<dyn Step>, Error> { Ok(Box::new(open(clock)?)) };
        self.add_step(name, from, Planned::new(schema, "a step of the program".into(), Arc::new(open)));
        self
    }

    /// A query over the rows of `from`, as documents have them.
    #[must_use]
    pub fn sql(mut self, name: &str, from: &[&str], query: &str) -> Self {
        let inputs = self.inputs(name, from, Part::Step(self.plan.steps.len()));
        let spec = StepSpec { sql: Some(query.into()), ..StepSpec::default() };
        match step::plan(&spec, &inputs, name) {
            Ok(planned) => self.add_step(name, from, planned),
            // Without its inputs a query can't be right, and they were told of.
            Err(_) if inputs.len() < from.len() => {}
            Err(found) => self.problems.extend(found),
        }
        self
    }

    fn add_step(&mut self, name: &str, from: &[&str], planned: Planned) {
        self.check_name(name);
        self.plan.steps.push(PlannedStep {
            name: name.into(),
            from: from.iter().map(|from| (*from).to_owned()).collect(),
            what: planned.explain.clone(),
            schema: Arc::clone(&planned.schema),
            consumers: Vec::new(),
            planned,
        });
    }

    /// A sink of ours, as documents have them; its `from` is left out.
    #[must_use]
    pub fn sink(mut self, name: &str, from: &[&str], spec: &SinkSpec) -> Self {
        let Some(schema) = self.sink_schema(name, from) else { return self };
        match connector::plan_sink(spec, name, &schema) {
            Ok(parts) => {
                self.plan.commit_every = parts.roll_every.unwrap_or(Duration::MAX).min(self.plan.commit_every);
                self.plan.sinks.push(PlannedSink {
                    name: name.into(),
                    from: from.iter().map(|from| (*from).to_owned()).collect(),
                    what: parts.what,
                    format: parts.format,
                    schema,
                    sort: parts.sort,
                    open: parts.open,
                });
            }
            Err(found) => self.problems.extend(found),
        }
        self
    }

    /// A sink of the program's own. `sort` says how its rows become visible.
    #[must_use]
    pub fn own_sink<S: Sink + 'static>(
        mut self,
        name: &str,
        from: &[&str],
        sort: Sort,
        open: impl Fn(OpenSink) -> Result<S, Error> + Send + Sync + 'static,
    ) -> Self {
        let Some(schema) = self.sink_schema(name, from) else { return self };
        if sort == Sort::Hosting && self.plan.sinks.iter().any(|sink| sink.sort == Sort::Hosting) {
            let problem = Problem::at(name).found("a second sink that holds rows and record in its own transaction");
            self.problems.push(problem.expected("one such sink in a stream, since two transactions can't be one"));
        }
        self.plan.sinks.push(PlannedSink {
            name: name.into(),
            from: from.iter().map(|from| (*from).to_owned()).collect(),
            what: "a sink of the program".into(),
            format: None,
            schema,
            sort,
            open: Arc::new(move |opened| Ok(Box::new(open(opened)?))),
        });
        self
    }

    /// Connects a sink, and returns the columns that all its inputs share.
    fn sink_schema(&mut self, name: &str, from: &[&str]) -> Option<SchemaRef> {
        self.check_name(name);
        let inputs = self.inputs(name, from, Part::Sink(self.plan.sinks.len()));
        let (first, rest) = inputs.split_first()?;
        for other in rest.iter().filter(|other| other.schema.fields() != first.schema.fields()) {
            let found = format!("`{}`, whose columns are not those of `{}`", other.name, first.name);
            self.problems.push(Problem::at(name).found(found).expected("inputs with the same columns"));
        }
        Some(Arc::clone(&first.schema))
    }

    fn schema_of(&self, name: &str) -> Option<SchemaRef> {
        let source = self.plan.sources.iter().find(|source| source.name == name).map(|source| &source.schema);
        let step = || self.plan.steps.iter().find(|step| step.name == name).map(|step| &step.schema);
        source.or_else(step).cloned()
    }

    fn check_name(&mut self, name: &str) {
        let problem = Problem::at(name);
        if self.schema_of(name).is_some() || self.plan.sinks.iter().any(|sink| sink.name == name) {
            self.problems.push(problem.found("a second part of this name").expected("one name for each part"));
        } else if !is_name(name) {
            let problem = problem.found(format!("the name `{name}`"));
            self.problems.push(problem.expected("a letter, then letters, digits, `-` or `_`, at most 63 in all"));
        }
    }

    /// Makes `part` a consumer of each of `from`, and returns the edges of those that there are.
    fn inputs(&mut self, name: &str, from: &[&str], part: Part) -> Vec<Edge> {
        if from.is_empty() {
            self.problems.push(Problem::at(name).found("no input").expected("the name of a source or step"));
        }
        let mut edges = Vec::new();
        for (slot, from) in from.iter().enumerate() {
            if let Some(schema) = self.schema_of(from) {
                edges.push(Edge { name: (*from).to_owned(), schema, pruned: false });
                self.connect(from, Consumer { part, slot });
            } else {
                let problem = Problem::at(name).found(format!("no part named `{from}`"));
                self.problems.push(problem.expected("a source or step that was added before"));
            }
        }
        edges
    }

    fn connect(&mut self, from: &str, consumer: Consumer) {
        let sources = self.plan.sources.iter_mut().filter(|source| source.name == from);
        let steps = self.plan.steps.iter_mut().filter(|step| step.name == from);
        let mut each = sources.map(|source| &mut source.consumers).chain(steps.map(|step| &mut step.consumers));
        each.by_ref().take(1).for_each(|consumers| consumers.push(consumer));
    }

    /// The plan, to be run with [`crate::run`], or all that is wrong with the parts.
    pub fn plan(mut self) -> Result<Plan, Vec<Problem>> {
        if self.plan.sources.is_empty() || self.plan.sinks.is_empty() {
            let problem = Problem::at(&self.plan.name).expected("at least one source and one sink");
            self.problems.push(problem.found(format!(
                "{} sources and {} sinks",
                self.plan.sources.len(),
                self.plan.sinks.len()
            )));
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let all = |parts: usize| (0..parts).collect();
        self.plan.groups = vec![Group { sources: all(self.plan.sources.len()), sinks: all(self.plan.sinks.len()) }];
        self.plan.tasks = self.plan.tasks_of(|_| 1).into_iter().map(|(_, task)| task).collect();
        for source in &self.plan.sources {
            self.plan.promises.extend(self.plan.sinks.iter().map(|sink| {
                let (delivery, because) = promise(source.nature, sink.sort);
                Promise { source: source.name.clone(), sink: sink.name.clone(), delivery, because }
            }));
        }
        Ok(self.plan)
    }

    /// Runs the program until its sources end, in a world of its own: this machine's clock, no secrets, a small runtime
    /// for I/O. Who wants to stop it, or to watch it, uses [`Program::plan`] and [`crate::run`].
    pub fn run(self) -> Result<Report, Error> {
        let folder = self.folder.clone();
        let plan = self.plan().map_err(|problems| {
            let words: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Error::Parts(words.join("; "))
        })?;
        let runtime = runtime()?;
        let control = Control::new(&plan.name);
        crate::run(plan, &World::local(&folder, runtime.handle()), &control)
    }
}

/// A runtime for the I/O of one process: one thread, since tasks have their own.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(1).thread_name("io").enable_all().build();
    built.map_err(|source| Error::Io { verb: "start", what: "the runtime for I/O".into(), source })
}

impl World {
    /// The world of a process that needs nothing special: this machine's clock, 256 MiB for what is kept longer than a
    /// batch, and no secrets. Relative paths start from `folder`.
    pub fn local(folder: &Path, runtime: &tokio::runtime::Handle) -> Self {
        Self {
            clock: Clock::system(),
            runtime: runtime.clone(),
            pool: crate::Pool::new(256 << 20),
            secrets: Arc::default(),
            folder: folder.to_owned(),
        }
    }
}

impl Control {
    /// A control of the stream `name` that runs until its sources end; keep a clone of `stop` to end it sooner, and one
    /// of `meter` to watch it.
    pub fn new(name: &str) -> Self {
        Self {
            stop: stdx::Stop::default(),
            meter: Arc::new(crate::Meters::default().stream(name)),
            until_idle: false,
            holder: format!("process {}", std::process::id()),
            container: None,
        }
    }
}
