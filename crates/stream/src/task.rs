//! A task: one loop on one thread, from its sources to its sinks, with a commit between batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use stdx::{Backoff, Bell, Chain, Level, Stop};

use crate::beside;
use crate::flow::Flow;
use crate::ledger::{Books, Record, StreamRecord, VERSION};
use crate::meter::{Lag, PartMeter, StreamMeter};
use crate::plan::{Plan, TaskPlan};
use crate::quarantine::Quarantine;
use crate::{
    Batch, Chunk, Claimed, Decode, Error, Input, Ledger, OpenSink, OpenSource, Payload, Position, Read, Reason,
    ReasonCode, Rows, Sink, Source, World,
};

/// The first wait before a task is opened again after a failure.
const REOPEN_WAIT_FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const REOPEN_WAIT_LONGEST: Duration = Duration::from_secs(30);
/// Failures in a row, without a commit between them, after which a run that shall end (`--until-idle`, or a source
/// with an end) gives up. A run without an end goes on trying.
const REOPEN_TRIES_MAX: u32 = 8;
/// How often a task widens its schemas; then messages with new fields are put aside. Each time costs a plan and closes
/// the open files.
const WIDENINGS_MAX: u32 = 64;
/// The key of the quarantine's token in a record. No part can have this name.
pub(crate) const QUARANTINE: &str = "_quarantine";

/// What a task needs from the container it runs in.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) plan: Arc<Plan>,
    /// What the stream keeps of itself.
    pub(crate) books: Arc<dyn Books>,
    /// The stream's record, as this container has last read it.
    pub(crate) record: Arc<StreamRecord>,
    pub(crate) world: World,
    pub(crate) stop: Stop,
    pub(crate) meter: Arc<StreamMeter>,
    pub(crate) until_idle: bool,
    pub(crate) holder: String,
    /// Whether other processes have tasks of the same stream.
    pub(crate) is_shared: bool,
}

impl Context {
    /// A claim under an older record of the stream would take a task away from whoever has it now.
    fn check_generation(&self, task: &str) -> Result<(), Error> {
        if !self.is_shared {
            return Ok(());
        }
        match self.books.stream()? {
            Some(now) if now.generation > self.record.generation => Err(Error::Moved { task: task.into() }),
            _ => Ok(()),
        }
    }

    /// A task that failed because another process took it over must not be taken back.
    fn check_claim(&self, task: &str, ours: u64) -> Result<(), Error> {
        match self.books.newest_claim(task)? {
            Some(theirs) if theirs > ours => Err(Error::Fenced { task: task.into(), ours, theirs }),
            _ => Ok(()),
        }
    }
}

/// How a task ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskEnd {
    /// When the last commit before this run was written, milliseconds since 1970.
    pub(crate) earlier_commit_at: Option<i64>,
}

/// Runs a task until its sources end or it is told to stop; opens it again after a failure.
pub(crate) fn run(task: &TaskPlan, context: &Context) -> Result<TaskEnd, Error> {
    let bell = Bell::default();
    context.stop.tell(&bell);
    let mut backoff = Backoff::exponential(REOPEN_WAIT_FIRST, REOPEN_WAIT_LONGEST);
    let (mut end, mut claim) = (None, None);
    loop {
        let commits_before = context.meter.snapshot().commits;
        let error = match attempt(task, context, &bell, (&mut end, &mut claim)) {
            Ok(()) => return Ok(end.unwrap_or_default()),
            // Nobody reads on: what wasn't committed is not, and comes again in the next run.
            Err(Error::Closed(_)) => {
                context.stop.ask(Level::Drain);
                return Ok(end.unwrap_or_default());
            }
            Err(error) => error,
        };
        if context.meter.snapshot().commits > commits_before {
            backoff.succeed();
        }
        let gives_up = error.is_lasting()
            || ((context.plan.is_bounded || context.until_idle) && backoff.failures() >= REOPEN_TRIES_MAX);
        if gives_up || context.stop.level() > Level::Run {
            return Err(error);
        }
        let wait = backoff.fail();
        tracing::warn!(task = %task.name, error = %Chain(&error), wait_ms = wait.as_millis(), "task failed; opening it again from its last record");
        let until = context.world.clock.elapsed() + wait;
        while context.stop.level() == Level::Run && context.world.clock.elapsed() < until {
            bell.wait(&context.world.clock, Some(until));
        }
    }
}

/// One life of a task, from its claim on. The first life sets `end`: what later ones find was written by this run.
/// `claim` is that of the life before, where it came so far that we know it.
fn attempt(
    task: &TaskPlan,
    context: &Context,
    bell: &Bell,
    (end, claim): (&mut Option<TaskEnd>, &mut Option<u64>),
) -> Result<(), Error> {
    claim.map_or(Ok(()), |ours| context.check_claim(&task.name, ours))?;
    // A life that fails while it opens may have claimed or not.
    *claim = None;
    let mut open = Open::new(task, context, bell)?;
    *claim = Some(open.claim);
    end.get_or_insert(TaskEnd { earlier_commit_at: open.last_commit_at });
    loop {
        match context.stop.level() {
            Level::Halt => return Ok(()),
            Level::Drain => break,
            Level::Run => {}
        }
        let turn = open.turn()?;
        open.commit_if_due(context)?;
        match turn {
            Turn::Rows => {}
            Turn::End => break,
            Turn::Idle { again } => open.wait(again, context)?,
        }
    }
    open.finish(context)
}

enum Turn {
    Rows,
    Idle { again: Option<Duration> },
    End,
}

struct OpenedSource {
    number: usize,
    source: Box<dyn Source>,
    decode: Option<Box<dyn Decode>>,
    ended: bool,
    meter: PartMeter,
    lag: Option<Lag>,
}

/// A task with everything opened under one claim.
struct Open<'a> {
    task: &'a TaskPlan,
    context: Context,
    bell: &'a Bell,
    /// `None`: a sink hosts it.
    ledger: Option<Box<dyn Ledger>>,
    claim: u64,
    sequence: u64,
    sources: Vec<OpenedSource>,
    flow: Flow,
    quarantine: Quarantine,
    wider: BTreeMap<usize, SchemaRef>,
    widenings: u32,
    /// When what isn't committed is to be, if there is any.
    commit_at: Option<Duration>,
    /// What the last record says of our sources.
    recorded: BTreeMap<String, Position>,
    flushed_at: Duration,
    pending_tokens: bool,
    last_commit_at: Option<i64>,
}

impl<'a> Open<'a> {
    /// Claims the task, settles what the last record left to do, and opens the sources where it says.
    fn new(task: &'a TaskPlan, context: &Context, bell: &'a Bell) -> Result<Self, Error> {
        let plan = &context.plan;
        context.check_generation(&task.name)?;
        let mut sinks: BTreeMap<usize, Box<dyn Sink>> = BTreeMap::new();
        let mut local = None;
        // A hosting sink is opened before the claim, since the claim is made in it.
        let claimed = if let Some(number) = plan.hosting_sink(&task.sinks) {
            let mut sink = plan.sinks[number].open(open_sink(context, &task.name, number, 0))?;
            let ledger = sink.ledger().ok_or_else(|| Error::House("a hosting sink has no ledger".into()))?;
            let claimed = ledger.claim()?;
            sinks.insert(number, sink);
            claimed
        } else {
            local.insert(context.books.ledger(&task.name, &context.holder)?).claim()?
        };
        let Claimed { claim, last } = claimed;
        for number in &task.sinks {
            if !sinks.contains_key(number) {
                sinks.insert(*number, plan.sinks[*number].open(open_sink(context, &task.name, *number, claim))?);
            }
        }
        let names = (context.record.uid.as_str(), task.name.as_str(), claim);
        let (meter, clock) = (Arc::clone(&context.meter), context.world.clock.clone());
        let quarantine = Quarantine::open(&plan.quarantine, names, meter, clock);
        let recorded = last.as_ref().map(|record| record.positions.clone()).unwrap_or_default();
        let mut open = Self {
            task,
            bell,
            ledger: local,
            claim,
            sequence: last.as_ref().map_or(0, |record| record.sequence),
            sources: Vec::new(),
            flow: Flow::new(Arc::clone(plan), sinks, &context.meter, &context.world.clock)?,
            quarantine,
            wider: BTreeMap::new(),
            widenings: 0,
            commit_at: None,
            recorded,
            flushed_at: context.world.clock.elapsed(),
            pending_tokens: false,
            last_commit_at: last.as_ref().map(|record| record.at),
            context: context.clone(),
        };
        open.settle(last.as_ref())?;
        open.open_sources(last.as_ref())?;
        Ok(open)
    }

    /// Publishes what the last record names and sweeps what no record names.
    fn settle(&mut self, last: Option<&Record>) -> Result<(), Error> {
        let none = BTreeMap::new();
        let tokens = last.map_or(&none, |record| &record.tokens);
        for (name, token) in tokens {
            if name == QUARANTINE {
                self.quarantine.publish(token)?;
            } else if let Some(sink) = self.flow.sink(name) {
                sink.publish(token)?;
            } else {
                return Err(Error::World(format!(
                    "the last record of task {} has rows prepared for sink `{name}`, which the document no longer has; \
                     put the sink back and run once, or give them up with `--forget {name}`",
                    self.task.name
                )));
            }
        }
        self.note_settled(tokens);
        for (name, sink) in self.flow.sinks() {
            sink.sweep(tokens.get(name))?;
        }
        self.quarantine.sweep(tokens.get(QUARANTINE))
    }

    /// Everything that the last record names is visible: a file that a reader takes away from now on isn't lost.
    fn note_settled(&mut self, tokens: &BTreeMap<String, crate::Token>) {
        if let Some(ledger) = self.ledger.as_mut().filter(|_| !tokens.is_empty()) {
            ledger.settled();
        }
    }

    fn open_sources(&mut self, last: Option<&Record>) -> Result<(), Error> {
        for (number, shard) in &self.task.sources {
            let planned = &self.context.plan.sources[*number];
            let position = last.and_then(|record| record.positions.get(&planned.name)).cloned();
            let source = planned.open(OpenSource {
                name: planned.name.as_str().into(),
                stream: self.context.plan.full_name().into(),
                position,
                starts: self.context.record.starts.get(&planned.name).cloned().unwrap_or_default().into(),
                shard: (*shard, planned.shards),
                bell: self.bell.clone(),
                until_idle: self.context.until_idle,
                schema: Arc::clone(&planned.schema),
                world: self.context.world.clone(),
            })?;
            let meter = self.context.meter.part(&planned.name);
            let decode = planned.decoder()?;
            self.sources.push(OpenedSource { number: *number, source, decode, ended: false, meter, lag: None });
        }
        Ok(())
    }

    /// Reads once from each source.
    fn turn(&mut self) -> Result<Turn, Error> {
        let (mut rows, mut again, mut ended) = (false, None::<Duration>, 0);
        for index in 0..self.sources.len() {
            let opened = &mut self.sources[index];
            if opened.ended {
                ended += 1;
                continue;
            }
            match opened.source.read(self.context.plan.batch)? {
                Read::Idle { again: next } => again = [again, next].into_iter().flatten().min(),
                Read::End => {
                    opened.ended = true;
                    ended += 1;
                }
                read => {
                    self.take(index, read)?;
                    rows = true;
                }
            }
            self.tell_lag(index);
        }
        Ok(match () {
            () if rows => Turn::Rows,
            () if ended == self.sources.len() => Turn::End,
            () => Turn::Idle { again },
        })
    }

    fn tell_lag(&mut self, index: usize) {
        let opened = &mut self.sources[index];
        let Some(lag) = opened.source.lag() else { return };
        let name = &self.context.plan.sources[opened.number].name;
        let (meter, task) = (&self.context.meter, &self.task.name);
        opened.lag.get_or_insert_with(|| meter.lag(name, task)).set(lag);
    }

    /// Decodes what was read and pushes it through.
    fn take(&mut self, index: usize, read: Read) -> Result<(), Error> {
        let started = self.context.world.clock.elapsed();
        self.commit_at.get_or_insert_with(|| self.context.plan.commit_at(started));
        let source: Arc<str> = self.context.plan.sources[self.sources[index].number].name.as_str().into();
        match read {
            Read::Columns(columns, origin) => {
                let schema = &self.context.plan.sources[self.sources[index].number].schema;
                let columns = beside::grow(columns, schema)?;
                let meter = &self.sources[index].meter;
                meter.rows_in.inc_by(columns.num_rows() as u64);
                meter.rows_out.inc_by(columns.num_rows() as u64);
                meter.bytes_in.inc_by(columns.get_array_memory_size() as u64);
                let payload = Payload::Columns(columns.clone(), origin);
                let input = Arc::new(Input { source, payload, messages: Rows::Same });
                self.push(index, &Batch { columns, rows: Rows::Same, input })?;
            }
            Read::Chunk(chunk) => self.decode(index, &source, &chunk)?,
            Read::Bad { chunk, reason } => {
                self.sources[index].meter.rows_in.inc();
                self.sources[index].meter.bytes_in.inc_by(chunk.bytes.len() as u64);
                self.quarantine.put_message(&source, &source, &chunk, 0, &reason)?;
            }
            Read::Idle { .. } | Read::End => {}
        }
        self.check_bad()?;
        self.context.meter.batch(self.context.world.clock.elapsed().saturating_sub(started));
        Ok(())
    }

    fn decode(&mut self, index: usize, source: &Arc<str>, chunk: &Chunk) -> Result<(), Error> {
        self.sources[index].meter.bytes_in.inc_by(chunk.bytes.len() as u64);
        let mut from = 0;
        loop {
            let opened = &mut self.sources[index];
            let decode = opened.decode.as_mut().ok_or_else(|| Error::House("a chunk came without a format".into()))?;
            let decoded = decode.decode(chunk, from)?;
            let schema = &self.context.plan.sources[opened.number].schema;
            let columns = beside::join(chunk, &decoded, schema)?;
            let rows = columns.num_rows() as u64;
            opened.meter.rows_in.inc_by(rows + decoded.bad.len() as u64);
            opened.meter.rows_out.inc_by(rows);
            for bad in &decoded.bad {
                self.quarantine.put_message(source, source, chunk, bad.row as usize, &bad.reason)?;
            }
            if rows > 0 {
                let input = Input {
                    source: Arc::clone(source),
                    payload: Payload::Chunk(chunk.clone()),
                    messages: decoded.messages,
                };
                self.push(index, &Batch { columns, rows: Rows::Same, input: Arc::new(input) })?;
            }
            let Some(wider) = decoded.wider else { return Ok(()) };
            from = decoded.next;
            if let Err(reason) = self.widen(index, wider)? {
                self.sources[index].meter.rows_in.inc();
                self.quarantine.put_message(source, source, chunk, from, &reason)?;
                from += 1;
            }
        }
    }

    fn push(&mut self, index: usize, batch: &Batch) -> Result<(), Error> {
        let number = self.sources[index].number;
        self.flow.push(number, batch, &mut self.quarantine)
    }

    /// Plans again for a source whose messages have new fields. Where the document doesn't fit them, the message is
    /// put aside for that reason, and the plan stays.
    fn widen(&mut self, index: usize, wider: SchemaRef) -> Result<Result<(), Reason>, Error> {
        let number = self.sources[index].number;
        let refused = |words| Ok(Err(Reason::new(ReasonCode::SchemaIncompatible, words)));
        if self.widenings >= WIDENINGS_MAX {
            return refused(format!("new fields, after the schema was widened {WIDENINGS_MAX} times"));
        }
        let mut all = self.wider.clone();
        all.insert(number, wider);
        let plan = match self.context.plan.widened(&all) {
            Ok(plan) => Arc::new(plan),
            Err(words) => return refused(words),
        };
        self.wider = all;
        self.widenings += 1;
        tracing::info!(source = %plan.sources[number].name, "new fields in the input: the schema is widened");
        self.flow.replan(Arc::clone(&plan), &self.context.meter, &self.context.world.clock)?;
        for opened in &mut self.sources {
            opened.decode = plan.sources[opened.number].decoder()?;
        }
        self.context.plan = plan;
        Ok(Ok(()))
    }

    fn check_bad(&mut self) -> Result<(), Error> {
        let Some(limit) = self.context.plan.fail_after else { return Ok(()) };
        // Both are the whole stream's, over all of its tasks.
        let sources = self.context.plan.sources.iter();
        let rows = sources.map(|source| self.context.meter.part(&source.name).rows_in.get()).sum();
        let bad = self.context.meter.quarantined_total();
        if !limit.is_reached(bad, rows) {
            return Ok(());
        }
        // What was put aside is committed first, so that it can be looked at.
        self.commit()?;
        Err(Error::TooManyBad { bad, rows })
    }

    fn commit_if_due(&mut self, context: &Context) -> Result<(), Error> {
        let Some(commit_at) = self.commit_at else { return Ok(()) };
        let now = context.world.clock.elapsed();
        if now >= self.flushed_at + context.plan.flush_every {
            self.flow.flush()?;
            self.flushed_at = now;
        }
        if now >= commit_at || self.flow.wants_commit() {
            self.commit()?;
        }
        Ok(())
    }

    /// The source ran dry: hand on what is buffered, then wait for news, for the next commit, or to stop.
    fn wait(&mut self, again: Option<Duration>, context: &Context) -> Result<(), Error> {
        self.flow.flush()?;
        self.flow.count_bytes();
        let until = [again, self.commit_at].into_iter().flatten().min();
        self.bell.wait(&context.world.clock, until);
        Ok(())
    }

    /// Makes what was read and written one step: prepare, append, publish.
    fn commit(&mut self) -> Result<(), Error> {
        let clock = self.context.world.clock.clone();
        let started = clock.elapsed();
        self.flow.flush()?;
        let mut tokens = BTreeMap::new();
        for (name, sink) in self.flow.sinks() {
            if let Some(token) = sink.prepare(self.sequence + 1)? {
                tokens.insert(name.to_owned(), token);
            }
        }
        if let Some(token) = self.quarantine.prepare(self.sequence + 1)? {
            tokens.insert(QUARANTINE.into(), token);
        }
        self.append(tokens.clone())?;
        for (name, token) in &tokens {
            if name == QUARANTINE {
                self.quarantine.publish(token)?;
            } else if let Some(sink) = self.flow.sink(name) {
                sink.publish(token)?;
            }
        }
        self.note_settled(&tokens);
        for opened in &mut self.sources {
            opened.source.committed()?;
        }
        self.pending_tokens = !tokens.is_empty();
        self.commit_at = None;
        self.flow.count_bytes();
        let at = clock.now().millis();
        self.context.meter.committed(at, clock.elapsed().saturating_sub(started));
        tracing::debug!(task = %self.task.name, sequence = self.sequence, "committed");
        Ok(())
    }

    fn append(&mut self, tokens: BTreeMap<String, crate::Token>) -> Result<(), Error> {
        let positions = self.positions();
        let record = Record {
            version: VERSION,
            claim: self.claim,
            sequence: self.sequence + 1,
            nonce: format!("{:016x}", fastrand::u64(..)),
            at: self.context.world.clock.now().millis(),
            positions: positions.clone(),
            tokens,
        };
        if let Some(ledger) = &mut self.ledger {
            ledger.append(&record)?;
        } else {
            let hosted = self.flow.sinks().find_map(|(_, sink)| sink.ledger().map(|ledger| ledger.append(&record)));
            hosted.ok_or_else(|| Error::House("the hosting sink is gone".into()))??;
        }
        self.sequence += 1;
        self.recorded = positions;
        Ok(())
    }

    fn positions(&self) -> BTreeMap<String, Position> {
        let each = self.sources.iter();
        each.map(|opened| (self.context.plan.sources[opened.number].name.clone(), opened.source.position())).collect()
    }

    /// The last commit of a task that ends, and a record without tokens behind it: nothing is left to settle.
    fn finish(&mut self, context: &Context) -> Result<(), Error> {
        self.flow.flush()?;
        if self.commit_at.is_some() || self.positions() != self.recorded {
            self.commit()?;
        }
        if self.pending_tokens {
            self.append(BTreeMap::new())?;
        }
        tracing::debug!(task = %self.task.name, drained = context.stop.level() > Level::Run, "task ended");
        Ok(())
    }
}

pub(crate) fn open_sink(context: &Context, task: &str, number: usize, claim: u64) -> OpenSink {
    let planned = &context.plan.sinks[number];
    OpenSink {
        name: planned.name.as_str().into(),
        stream: context.plan.full_name().into(),
        uid: context.record.uid.as_str().into(),
        task: task.into(),
        claim,
        schema: Arc::clone(&planned.schema),
        world: context.world.clone(),
    }
}
