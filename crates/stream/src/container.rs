//! A container: the tasks of a stream that run in this process, while partitions come and tasks move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use stdx::{Bell, Chain, Level, Stop};

use crate::Error;
use crate::connector::kafka;
use crate::plan::TaskPlan;
use crate::run::Control;
use crate::task::{self, Context, TaskEnd};

/// How often in a row a task may be taken from a container that it belongs to, before that is an error: two processes
/// then run as the same container.
const TAKEN_MAX: u32 = 3;

/// Which of the containers of a stream this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinal {
    /// From 0.
    pub index: u32,
    /// Of how many, at the stream's first start; later the stream's record says.
    pub of: u32,
}

/// Runs the tasks that belong here until they end, and returns when the newest commit of an earlier run was written.
pub(crate) fn run(context: Context, control: &Control) -> Result<Option<i64>, Error> {
    let bell = Bell::default();
    control.stop.tell(&bell);
    thread::scope(|scope| {
        Container {
            scope,
            context,
            control,
            bell,
            left: Arc::default(),
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            taken: BTreeMap::new(),
            shards: BTreeMap::new(),
            failure: None,
            earlier_commit_at: None,
        }
        .run()
    })
}

struct Running<'scope> {
    stop: Stop,
    thread: ScopedJoinHandle<'scope, Result<TaskEnd, Error>>,
}

struct Container<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    context: Context,
    control: &'env Control,
    /// Rung by a task that ends and by whoever stops us.
    bell: Bell,
    /// Tasks whose threads are about to end.
    left: Arc<Mutex<Vec<String>>>,
    running: BTreeMap<String, Running<'scope>>,
    /// Tasks whose input has ended.
    ended: BTreeSet<String>,
    /// How often in a row each task was taken from us.
    taken: BTreeMap<String, u32>,
    /// The partitions of each source that has any, as they were seen last.
    shards: BTreeMap<usize, u32>,
    /// The first failure that the stream doesn't get over.
    failure: Option<Error>,
    earlier_commit_at: Option<i64>,
}

impl Container<'_, '_> {
    fn run(mut self) -> Result<Option<i64>, Error> {
        let every = self.may_change().then_some(self.context.plan.metadata_every);
        self.share_out()?;
        loop {
            self.wait(every);
            if !self.is_waiting() {
                return self.failure.map_or(Ok(self.earlier_commit_at), Err);
            }
            if self.is_on() {
                self.look();
                self.share_out()?;
            }
        }
    }

    /// Takes the ends of tasks until the next look, or until there is nothing to wait for.
    fn wait(&mut self, every: Option<Duration>) {
        let clock = self.context.world.clock.clone();
        let next = every.map(|every| clock.elapsed() + every);
        let mut rang = true;
        while rang && self.is_waiting() {
            rang = self.bell.wait(&clock, next.filter(|_| self.is_on()));
            self.reap();
        }
    }

    /// Whether a task runs, or may still come.
    fn is_waiting(&self) -> bool {
        !self.running.is_empty() || (self.is_on() && self.waits_for_more())
    }

    /// Whether tasks may still begin.
    fn is_on(&self) -> bool {
        self.failure.is_none() && self.control.stop.level() == Level::Run
    }

    /// Whether partitions may come or tasks may move.
    fn may_change(&self) -> bool {
        self.context.plan.grows() || self.control.container.is_some()
    }

    /// Whether a container without a task has something to wait for: partitions that come, tasks that move here.
    fn waits_for_more(&self) -> bool {
        let plan = &self.context.plan;
        let is_endless = !plan.is_bounded && !self.control.until_idle;
        // A task that somebody still holds is tried again.
        (is_endless && self.may_change()) || !self.taken.is_empty()
    }

    /// Reads the stream's record and the partitions again. What can't be read now is read at the next look.
    fn look(&mut self) {
        match self.context.books.stream() {
            Ok(Some(record)) if record.generation > self.context.record.generation => {
                let (before, now) = (self.context.record.containers, record.containers);
                if before != now {
                    tracing::info!(before, now, "the stream is shared by another number of containers");
                }
                self.context.record = Arc::new(record);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %Chain(&error), "the stream's record can't be read now"),
        }
        let plan = Arc::clone(&self.context.plan);
        for (number, source) in plan.sources.iter().enumerate() {
            let Some(spec) = &source.partitioned else { continue };
            match kafka::partitions(spec, &self.context.world) {
                Ok(topics) => self.grow(number, topics.values().copied().max().unwrap_or(0)),
                Err(error) => {
                    tracing::warn!(source = %source.name, error = %Chain(&error), "partitions can't be seen now");
                }
            }
        }
    }

    /// Notes that a source has so many partitions now. They never become fewer.
    fn grow(&mut self, source: usize, now: u32) {
        let planned = &self.context.plan.sources[source];
        let known = self.shards.entry(source).or_insert(planned.shards);
        if now > *known {
            tracing::info!(source = %planned.name, before = *known, now, "new partitions");
            *known = now;
        }
    }

    /// The tasks that belong here.
    fn ours(&self) -> Vec<TaskPlan> {
        let plan = &self.context.plan;
        if plan.groups.is_empty() {
            return plan.tasks.clone();
        }
        let shards = |number: usize| self.shards.get(&number).copied().unwrap_or(plan.sources[number].shards);
        let containers = self.context.record.containers.max(1);
        let index = self.control.container.map(|ordinal| ordinal.index);
        let is_ours = |number: u32| index.is_none_or(|index| number % containers == index);
        plan.tasks_of(shards).into_iter().filter(|(number, _)| is_ours(*number)).map(|(_, task)| task).collect()
    }

    /// Begins what belongs here and doesn't run, and asks what doesn't belong here any more to end.
    fn share_out(&mut self) -> Result<(), Error> {
        let ours = self.ours();
        for (name, running) in &self.running {
            if !ours.iter().any(|task| task.name == *name) {
                running.stop.ask(Level::Drain);
            }
        }
        for task in ours {
            if !self.running.contains_key(&task.name) && !self.ended.contains(&task.name) {
                self.begin(task)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, task: TaskPlan) -> Result<(), Error> {
        let stop = self.control.stop.child();
        let context = Context { stop: stop.clone(), ..self.context.clone() };
        let name = task.name.clone();
        let leaving = Leaving { task: name.clone(), left: Arc::clone(&self.left), bell: self.bell.clone() };
        let body = move || {
            let _leaving = leaving;
            task::run(&task, &context)
        };
        let thread = thread::Builder::new().name(name.clone()).spawn_scoped(self.scope, body);
        let failed = |source| Error::Io { verb: "start", what: "a task's thread".into(), source };
        match thread {
            Ok(thread) => drop(self.running.insert(name, Running { stop, thread })),
            Err(source) => {
                self.control.stop.ask(Level::Drain);
                return Err(failed(source));
            }
        }
        Ok(())
    }

    /// Takes the ends of tasks that have ended.
    fn reap(&mut self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for name in left {
            let Some(Running { stop, thread }) = self.running.remove(&name) else { continue };
            let was_asked = stop.level() > Level::Run;
            match joined(thread) {
                Ok(end) => {
                    self.earlier_commit_at = self.earlier_commit_at.max(end.earlier_commit_at);
                    self.taken.remove(&name);
                    self.ended.extend((!was_asked).then_some(name));
                }
                Err(error) => self.failed(&name, error),
            }
        }
    }

    /// A task that moved, or is still held by whom it moves from, is looked at again; any other failure ends the stream.
    fn failed(&mut self, name: &str, error: Error) {
        let moves = self.context.is_shared
            && match error {
                Error::Moved { .. } => true,
                Error::Held { .. } | Error::Fenced { .. } => {
                    let taken = self.taken.entry(name.to_owned()).or_default();
                    *taken += u32::from(matches!(error, Error::Fenced { .. }));
                    *taken <= TAKEN_MAX
                }
                _ => false,
            };
        if moves && self.is_on() {
            tracing::info!(task = %name, reason = %Chain(&error), "the task isn't ours now; looking again");
        } else if self.failure.is_none() {
            self.control.stop.ask(Level::Drain);
            self.failure = Some(error);
        }
    }
}

/// Tells that a task's thread is about to end, also when it panics.
struct Leaving {
    task: String,
    left: Arc<Mutex<Vec<String>>>,
    bell: Bell,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.task));
        self.bell.ring();
    }
}

fn joined(thread: ScopedJoinHandle<'_, Result<TaskEnd, Error>>) -> Result<TaskEnd, Error> {
    thread.join().unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(Error::House(format!("a task panicked: {}", words.unwrap_or_default())))
    })
}
