//! After a document was changed: positions follow the names of sources into the tasks that read them now, and what
//! other tasks had prepared is published, before any task begins.
//!
//! Every ledger that takes part is claimed first, so that no process with the old document goes on. The takers' records
//! are written before the givers': whoever is interrupted does the rest again.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::VERSION;
use crate::plan::TaskPlan;
use crate::quarantine::{self, Quarantine};
use crate::task::{Context, QUARANTINE, open_sink};
use crate::{Error, Ledger, Position, Record, Token};

/// What leaves one record.
struct Leaving {
    task: String,
    /// To the task that takes it, or to nobody where the source was given up.
    positions: BTreeMap<String, Option<String>>,
    tokens: BTreeSet<String>,
}

/// A ledger that takes part, claimed.
struct Book {
    ledger: Box<dyn Ledger>,
    claim: u64,
    record: Record,
}

/// Moves positions and settles tokens, where the plan's tasks are not those of the records.
pub(crate) fn run(context: &Context) -> Result<(), Error> {
    let plan = &context.plan;
    // A replay reads the quarantine under the name of the source: the stream's own position is none of its business.
    if plan.tasks.iter().any(|task| quarantine::is_replay(&task.name)) {
        return Ok(());
    }
    let records = context.books.records()?;
    let leaving: Vec<Leaving> = records
        .iter()
        .filter(|(task, _)| !quarantine::is_replay(task))
        .map(|(task, record)| leaving(context, task, record))
        .filter(|leaving| !leaving.positions.is_empty() || !leaving.tokens.is_empty())
        .collect();
    if leaving.is_empty() {
        return Ok(());
    }
    let takers = leaving.iter().flat_map(|leaving| leaving.positions.values().flatten());
    let names: BTreeSet<&String> = takers.clone().chain(leaving.iter().map(|leaving| &leaving.task)).collect();
    let mut books = BTreeMap::new();
    for name in names {
        books.insert(name.clone(), Book::claim(context, name)?);
    }
    for leaving in &leaving {
        give(leaving, &mut books);
    }
    for taker in takers.collect::<BTreeSet<_>>() {
        books.get_mut(taker).map_or(Ok(()), Book::append)?;
    }
    for leaving in &leaving {
        let Some(book) = books.get_mut(&leaving.task) else { continue };
        for name in &leaving.tokens {
            settle(context, &leaving.task, book.claim, name, book.record.tokens.remove(name))?;
        }
        book.record.positions.retain(|source, _| !leaving.positions.contains_key(source));
        book.append()?;
        tracing::info!(task = %leaving.task, "positions moved to the tasks that the document has now");
    }
    Ok(())
}

/// Adds to the takers' records what `leaving` gives. What a taker already has was moved before an interruption.
fn give(leaving: &Leaving, books: &mut BTreeMap<String, Book>) {
    let given: Vec<(String, String, Position)> = books.get(&leaving.task).map_or_else(Vec::new, |book| {
        let moved = leaving.positions.iter().filter_map(|(source, taker)| Some((source, taker.as_ref()?)));
        let position = |source: &String| book.record.positions.get(source).cloned();
        moved.filter_map(|(source, taker)| Some((taker.clone(), source.clone(), position(source)?))).collect()
    });
    for (taker, source, position) in given {
        if let Some(book) = books.get_mut(&taker) {
            book.record.positions.entry(source).or_insert(position);
        }
    }
}

/// What `task` has a record of and no longer has in the document.
fn leaving(context: &Context, task: &str, record: &Record) -> Leaving {
    let plan = &context.plan;
    let ours = plan.tasks.iter().find(|planned| planned.name == task);
    let shard = task.rsplit_once('-').and_then(|(_, index)| index.parse().ok()).unwrap_or(0);
    let reads = |task: &TaskPlan, source: &str| {
        task.sources.iter().any(|(number, index)| *index == shard && plan.sources[*number].name == source)
    };
    let mut positions = BTreeMap::new();
    for source in record.positions.keys() {
        match plan.tasks.iter().find(|planned| reads(planned, source)) {
            Some(taker) if taker.name == task => {}
            Some(taker) => drop(positions.insert(source.clone(), Some(taker.name.clone()))),
            None if plan.is_forgotten(source) => drop(positions.insert(source.clone(), None)),
            None => {}
        }
    }
    let writes = |task: &TaskPlan, sink: &str| task.sinks.iter().any(|number| plan.sinks[*number].name == sink);
    let stays = |token: &str| ours.is_some_and(|task| token == QUARANTINE || writes(task, token));
    let tokens = record.tokens.keys().filter(|token| !stays(token)).cloned().collect();
    Leaving { task: task.to_owned(), positions, tokens }
}

/// Publishes what `task` had prepared for a sink that isn't its own any more.
fn settle(context: &Context, task: &str, claim: u64, name: &str, token: Option<Token>) -> Result<(), Error> {
    let Some(token) = token else { return Ok(()) };
    let plan = &context.plan;
    if name == QUARANTINE {
        let names = (context.record.uid.as_str(), task, claim);
        let mut quarantine =
            Quarantine::open(&plan.quarantine, names, context.meter.clone(), context.world.clock.clone());
        return quarantine.publish(&token).and_then(|()| quarantine.sweep(None));
    }
    match plan.sinks.iter().position(|sink| sink.name == name) {
        Some(number) => {
            let mut sink = plan.sinks[number].open(open_sink(context, task, number, claim))?;
            sink.publish(&token).and_then(|()| sink.sweep(None))
        }
        None if plan.is_forgotten(name) => Ok(()),
        None => Err(Error::World(format!(
            "the last record of task {task} has rows prepared for sink `{name}`, which the document no longer has; put \
             the sink back and run once, or give them up with `--forget {name}`"
        ))),
    }
}

impl Book {
    fn claim(context: &Context, task: &str) -> Result<Self, Error> {
        let mut ledger = context.books.ledger(task, &context.holder)?;
        let claimed = ledger.claim()?;
        let record = claimed.last.unwrap_or_else(|| Record {
            version: VERSION,
            claim: claimed.claim,
            sequence: 0,
            nonce: String::new(),
            at: context.world.clock.now().millis(),
            positions: BTreeMap::new(),
            tokens: BTreeMap::new(),
        });
        Ok(Self { ledger, claim: claimed.claim, record })
    }

    /// Writes the record; its time stays that of the commit that it is about.
    fn append(&mut self) -> Result<(), Error> {
        self.record.claim = self.claim;
        self.record.sequence += 1;
        self.record.nonce = format!("{:016x}", fastrand::u64(..));
        self.ledger.append(&self.record)
    }
}
