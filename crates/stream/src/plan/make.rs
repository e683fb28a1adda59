//! From spec and facts to a plan. Nothing here looks at the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use document::Problem;

use super::{Consumer, Group, Nature, Part, Plan, PlannedSink, PlannedSource, PlannedStep, Promise, Sort};
use crate::connector::{self, SinkParts, SourceParts};
use crate::graph::{From, Graph};
use crate::prune::{Reads, leaves, prune, union};
use crate::spec::{Delivery, Stream};
use crate::step::{Edge, Planned};
use crate::{Facts, Limit, facts, step};

/// The commit interval where neither the document nor a roll says more.
const COMMIT_EVERY: Duration = Duration::from_secs(10);
/// The same where rows are seen as soon as they are committed, and a commit leaves no file behind.
const COMMIT_EVERY_HOSTED: Duration = Duration::from_millis(100);

/// What will happen, or every reason why it can't.
pub fn plan(stream: &Stream, facts: &Facts) -> Result<Plan, Vec<Problem>> {
    let spec = &stream.spec;
    let graph = Graph::new(spec)?;
    let full = full_schemas(stream, facts)?;
    let (first, _) = plan_steps(stream, &graph, &full, false)?;
    let reads = source_reads(&graph, &first, full.len());
    let pruned: Vec<SchemaRef> = full.iter().zip(&reads).map(|(schema, reads)| prune(schema, reads)).collect();
    let (planned, edges) = plan_steps(stream, &graph, &pruned, true)?;
    let parts = plan_sources(stream, facts, &full, &pruned)?;
    let sinks = plan_sinks(stream, &graph, &edges)?;

    let mut problems = Vec::new();
    let sources = sources(stream, &graph, parts, &full, pruned);
    let hosting: Vec<&str> =
        sinks.iter().filter(|sink| sink.1.sort == Sort::Hosting).map(|sink| sink.0.as_str()).collect();
    if let [_, second, ..] = hosting[..] {
        problems.push(
            Problem::at(format!("spec.sinks.{second}"))
                .found("a second sink that holds rows and record in its own transaction")
                .expected("one such sink in a stream, since two transactions can't be one"),
        );
    }
    let promises = promises(stream, &graph, &sources, &sinks, &mut problems);
    problems.extend(check_transactions(stream, &sinks));
    check_earlier_runs(stream, facts, &sources, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(assemble(stream, facts, &graph, (sources, planned, sinks), &edges, promises))
}

/// The longest time between a row's read and its commit, and the shortest roll of the files sinks. A roll is also a
/// commit: rows stay invisible for no longer than the shortest of both.
fn commit_every(stream: &Stream, sinks: &[(String, SinkParts)]) -> (Duration, Option<Duration>) {
    let roll = sinks.iter().filter_map(|(_, parts)| parts.roll_every).min();
    let is_hosted = sinks.iter().any(|(_, parts)| parts.sort == Sort::Hosting);
    let usual = match roll {
        // Readers of the topic wait for the commit too.
        Some(roll) if is_hosted => roll.min(COMMIT_EVERY),
        Some(roll) => roll,
        None if is_hosted => COMMIT_EVERY_HOSTED,
        None => COMMIT_EVERY,
    };
    let given = stream.spec.commit.every.map_or(usual, document::Duration::get);
    (roll.map_or(given, |roll| given.min(roll)), roll)
}

/// A transaction that the broker ends before the commit would fail each time.
fn check_transactions(stream: &Stream, sinks: &[(String, SinkParts)]) -> Option<Problem> {
    let (every, _) = commit_every(stream, sinks);
    let timed = |(name, parts): &(String, SinkParts)| Some((name.clone(), parts.open_at_most?));
    let (name, longest) = sinks.iter().filter_map(timed).find(|(_, longest)| every * 2 > *longest)?;
    let at = if stream.spec.commit.every.is_some() { "spec.commit.every".into() } else { format!("spec.sinks.{name}") };
    let found = format!("a commit every {every:?}, in transactions of `{name}` that end after {longest:?}");
    let problem = Problem::at(at).found(found).expected("commits at least twice as often as transactions end");
    Some(problem.hint("a shorter `commit.every`, or a longer `transactionTimeout`"))
}

/// What is wrong with the words of a document, found without looking at the world.
pub fn check(stream: &Stream) -> Vec<Problem> {
    let spec = &stream.spec;
    let mut problems = Graph::new(spec).err().unwrap_or_default();
    for (name, source) in &spec.sources {
        problems.extend(connector::source_problems(source, &format!("spec.sources.{name}")));
    }
    for (name, step) in &spec.steps {
        problems.extend(step.kind(&format!("spec.steps.{name}")).err());
    }
    for (name, sink) in &spec.sinks {
        problems.extend(connector::sink_problems(sink, &format!("spec.sinks.{name}")));
    }
    problems.extend(spec.pod.iter().flat_map(|pod| pod.problems("spec.pod")));
    problems
}

type Steps = Vec<Planned>;

fn assemble(
    stream: &Stream,
    facts: &Facts,
    graph: &Graph,
    (sources, planned, sinks): (Vec<PlannedSource>, Steps, Vec<(String, SinkParts)>),
    edges: &Edges,
    promises: Vec<Promise>,
) -> Plan {
    let spec = &stream.spec;
    let home = facts::homes(stream, &facts.folder).swap_remove(0);
    let (commit_every, roll) = commit_every(stream, &sinks);
    let warnings = warnings(stream, facts, commit_every, roll);
    let quarantine = match &spec.quarantine {
        Some(quarantine) => connector::files::local_folder(&quarantine.url, &facts.folder),
        None => home.quarantine(),
    };
    let groups = groups(graph, sources.len());
    let steps = spec.steps.iter().zip(planned).enumerate().map(|(number, ((name, step), planned))| PlannedStep {
        name: name.clone(),
        from: step.from.names().to_vec(),
        what: planned.explain.clone(),
        schema: Arc::clone(&planned.schema),
        consumers: consumers(graph, From::Step(number)),
        planned,
    });
    let sinks = spec.sinks.values().zip(sinks).enumerate().map(|(number, (sink, (name, parts)))| PlannedSink {
        name,
        from: sink.from.names().to_vec(),
        what: parts.what,
        format: parts.format,
        schema: edges.of(graph.sinks[number][0]),
        sort: parts.sort,
        open: parts.open,
    });
    let mut plan = Plan {
        name: stream.name.clone(),
        namespace: stream.namespace.clone(),
        ledger: home,
        quarantine,
        is_bounded: sources.iter().all(|source| source.is_bounded),
        sources,
        steps: steps.collect(),
        sinks: sinks.collect(),
        tasks: Vec::new(),
        groups,
        promises,
        warnings,
        containers: spec.tasks.containers,
        metadata_every: spec.tasks.metadata_every.get(),
        commit_every,
        flush_every: spec.batch.every.get(),
        batch: Limit {
            rows: spec.batch.rows as usize,
            bytes: usize::try_from(spec.batch.bytes.bytes()).unwrap_or(usize::MAX),
        },
        memory_bytes: spec.memory.bytes(),
        drain_timeout: spec.drain_timeout.get(),
        fail_after: spec.errors.fail_after,
        made_of: Some(Arc::new((stream.clone(), facts.clone()))),
    };
    let tasks = plan.tasks_of(|number| plan.sources[number].shards);
    plan.tasks = tasks.into_iter().map(|(_, task)| task).collect();
    plan
}

/// The schemas on the edges behind sources and steps.
#[derive(Debug)]
struct Edges {
    sources: Vec<SchemaRef>,
    steps: BTreeMap<usize, SchemaRef>,
}

impl Edges {
    fn of(&self, from: From) -> SchemaRef {
        match from {
            From::Source(number) => Arc::clone(&self.sources[number]),
            From::Step(number) => Arc::clone(&self.steps[&number]),
        }
    }
}

fn full_schemas(stream: &Stream, facts: &Facts) -> Result<Vec<SchemaRef>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut schemas = Vec::new();
    for (name, source) in &stream.spec.sources {
        match facts.sources.get(name).and_then(|facts| facts.schema.clone()) {
            Some(schema) => match connector::full_schema(source, &format!("spec.sources.{name}"), schema) {
                Ok(schema) => schemas.push(schema),
                Err(problem) => problems.push(problem),
            },
            None => problems.push(
                Problem::at(format!("spec.sources.{name}"))
                    .found("nothing that tells what its rows look like")
                    .expected("facts with a schema of this source"),
            ),
        }
    }
    if problems.is_empty() { Ok(schemas) } else { Err(problems) }
}

fn plan_steps(
    stream: &Stream,
    graph: &Graph,
    sources: &[SchemaRef],
    pruned: bool,
) -> Result<(Steps, Edges), Vec<Problem>> {
    let spec = &stream.spec;
    let mut edges = Edges { sources: sources.to_vec(), steps: BTreeMap::new() };
    let (mut planned, mut problems) = (BTreeMap::new(), Vec::new());
    for number in &graph.order {
        let Some((name, step)) = spec.steps.get_index(*number) else { continue };
        let known = |from: &From| match from {
            From::Source(_) => true,
            From::Step(number) => edges.steps.contains_key(number),
        };
        // A step behind one with problems would only repeat them.
        if !graph.steps[*number].iter().all(known) {
            continue;
        }
        let inputs: Vec<Edge> = step
            .from
            .names()
            .iter()
            .zip(&graph.steps[*number])
            .map(|(name, from)| Edge { name: name.clone(), schema: edges.of(*from), pruned })
            .collect();
        match step::plan(step, &inputs, &format!("spec.steps.{name}")) {
            Ok(step) => {
                edges.steps.insert(*number, Arc::clone(&step.schema));
                planned.insert(*number, step);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok((planned.into_values().collect(), edges)) } else { Err(problems) }
}

/// What each source's consumers read of it.
fn source_reads(graph: &Graph, steps: &Steps, sources: usize) -> Vec<Reads> {
    let mut reads: Vec<Reads> = vec![Some(BTreeSet::new()); sources];
    for (inputs, step) in graph.steps.iter().zip(steps) {
        for (from, read) in inputs.iter().zip(&step.reads) {
            if let From::Source(number) = from {
                reads[*number] = union(reads[*number].take(), read);
            }
        }
    }
    for from in graph.sinks.iter().flatten() {
        if let From::Source(number) = from {
            reads[*number] = None;
        }
    }
    reads
}

fn plan_sources(
    stream: &Stream,
    facts: &Facts,
    full: &[SchemaRef],
    pruned: &[SchemaRef],
) -> Result<Vec<SourceParts>, Vec<Problem>> {
    let (mut parts, mut problems) = (Vec::new(), Vec::new());
    for ((name, source), (full, pruned)) in stream.spec.sources.iter().zip(full.iter().zip(pruned)) {
        match connector::plan_source(source, name, full, pruned, facts) {
            Ok(planned) => parts.push(planned),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(parts) } else { Err(problems) }
}

fn plan_sinks(stream: &Stream, graph: &Graph, edges: &Edges) -> Result<Vec<(String, SinkParts)>, Vec<Problem>> {
    let (mut parts, mut problems) = (Vec::new(), Vec::new());
    for ((name, sink), inputs) in stream.spec.sinks.iter().zip(&graph.sinks) {
        let path = format!("spec.sinks.{name}");
        let Some(first) = inputs.first() else { continue };
        let schema = edges.of(*first);
        for (other, from) in inputs.iter().zip(sink.from.names()).skip(1) {
            if edges.of(*other).fields() != schema.fields() {
                problems.push(
                    Problem::at(format!("{path}.from"))
                        .found(format!("`{from}`, whose columns are not those of `{}`", sink.from.names()[0]))
                        .expected("inputs with the same columns, in the same order and of the same types")
                        .hint("bring them together in a `sql` step with UNION ALL"),
                );
            }
        }
        match connector::plan_sink(sink, &path, &schema) {
            Ok(planned) => parts.push((name.clone(), planned)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(parts) } else { Err(problems) }
}

fn sources(
    stream: &Stream,
    graph: &Graph,
    parts: Vec<SourceParts>,
    full: &[SchemaRef],
    pruned: Vec<SchemaRef>,
) -> Vec<PlannedSource> {
    let names = stream.spec.sources.keys();
    let planned = names.zip(parts).zip(full.iter().zip(pruned)).enumerate();
    planned
        .map(|(number, ((name, parts), (full, schema)))| PlannedSource {
            name: name.clone(),
            what: parts.what,
            format: parts.format,
            columns_read: leaves(schema.fields()),
            columns: leaves(full.fields()),
            schema,
            nature: parts.nature,
            shards: parts.shards,
            is_bounded: parts.is_bounded,
            consumers: consumers(graph, From::Source(number)),
            open: parts.open,
            decode: parts.decode,
            partitioned: parts.partitioned,
        })
        .collect()
}

fn consumers(graph: &Graph, from: From) -> Vec<Consumer> {
    let of = |inputs: &[Vec<From>], part: fn(usize) -> Part| -> Vec<Consumer> {
        let each = inputs.iter().enumerate();
        let slots = |(number, inputs): (usize, &Vec<From>)| {
            let slots = inputs.iter().enumerate().filter(|(_, input)| **input == from).map(|(slot, _)| slot);
            slots.map(|slot| Consumer { part: part(number), slot }).collect::<Vec<_>>()
        };
        each.flat_map(slots).collect()
    };
    let mut consumers = of(&graph.steps, Part::Step);
    consumers.extend(of(&graph.sinks, Part::Sink));
    consumers
}

fn promises(
    stream: &Stream,
    graph: &Graph,
    sources: &[PlannedSource],
    sinks: &[(String, SinkParts)],
    problems: &mut Vec<Problem>,
) -> Vec<Promise> {
    let mut promises = Vec::new();
    for ((sink, parts), inputs) in sinks.iter().zip(&graph.sinks) {
        for number in graph.sources_of(inputs) {
            let source = &sources[number];
            let (delivery, because) = promise(source.nature, parts.sort);
            if stream.spec.delivery == Some(Delivery::ExactlyOnce) && delivery == Delivery::AtLeastOnce {
                problems.push(
                    Problem::at("spec.delivery")
                        .found(format!("`exactlyOnce` from `{}` to `{sink}`: {because}", source.name))
                        .expected("a source that can be read again and a sink that commits")
                        .hint("leave `delivery` out: each pair then keeps the best it can, and `plan` says which"),
                );
            }
            promises.push(Promise { source: source.name.clone(), sink: sink.clone(), delivery, because });
        }
    }
    promises
}

/// What is promised of the rows of a source in a sink, and what it rests on.
pub(crate) const fn promise(nature: Nature, sort: Sort) -> (Delivery, &'static str) {
    match (nature, sort) {
        (Nature::Replayable, Sort::Staged) => (Delivery::ExactlyOnce, "rows become visible with the commit"),
        (Nature::Replayable, Sort::Hosting) => (Delivery::ExactlyOnce, "rows and record share a transaction"),
        (Nature::Replayable, Sort::Direct) => (Delivery::AtLeastOnce, "the sink shows rows before the commit"),
        (Nature::Ephemeral, _) => (Delivery::AtLeastOnce, "from the commit on: the source can't be read again"),
    }
}

fn groups(graph: &Graph, sources: usize) -> Vec<Group> {
    let sinks = |group: &[usize]| {
        let reads = |sink: &usize| graph.sources_of(&graph.sinks[*sink]).iter().any(|source| group.contains(source));
        (0..graph.sinks.len()).filter(reads).collect()
    };
    graph.groups(sources).into_iter().map(|group| Group { sinks: sinks(&group), sources: group }).collect()
}

/// Positions follow the names of sources; a position without its source is a problem until it is given up.
fn check_gone_sources(stream: &Stream, facts: &Facts, problems: &mut Vec<Problem>) {
    for (task, record) in &facts.ledger.records {
        let gone = |source: &&String| !stream.spec.sources.contains_key(*source) && !facts.forget.contains(*source);
        for source in record.positions.keys().filter(gone) {
            problems.push(
                Problem::at("spec.sources")
                    .found(format!("no source `{source}`, which task {task} has read from"))
                    .expected("every source of the earlier run")
                    .hint(format!("put it back, or give up its position with `--forget {source}`")),
            );
        }
    }
}

/// Ledgers where the document doesn't say that the ledger is: without them the stream would read everything again.
fn left_behind(stream: &Stream, facts: &Facts) -> Vec<Problem> {
    let is_hosted = stream.spec.sinks.values().any(|sink| connector::hosted(sink, stream).is_some());
    let at = if is_hosted { "spec.sinks" } else { "spec.commit.url" };
    let folders = facts.ledger.elsewhere.iter().map(|other| {
        let url = format!("set `commit.url: {}`", other.ancestors().nth(2).unwrap_or(other).display());
        let back = if is_hosted { format!("write with `delivery: atLeastOnce` and {url}") } else { url };
        (at, other.display().to_string(), back)
    });
    let topics = facts.ledger.elsewhere_in_kafka.iter().map(|other| {
        ("spec.sinks", other.clone(), "write to that cluster with `delivery: exactlyOnce` as before".to_owned())
    });
    let problem = |(at, other, back): (&str, String, String)| {
        Problem::at(at)
            .found(format!("a ledger of this stream in {other}"))
            .expected("the ledger where the document says it is")
            .hint(format!("{back} to go on from there, or start over with `headwater run --fresh`"))
    };
    folders.chain(topics).map(problem).collect()
}

/// What the ledger says that the document contradicts.
fn check_earlier_runs(stream: &Stream, facts: &Facts, sources: &[PlannedSource], problems: &mut Vec<Problem>) {
    let Some(record) = &facts.ledger.stream else { return problems.extend(left_behind(stream, facts)) };
    check_gone_sources(stream, facts, problems);
    for source in sources {
        // Partitions are the cluster's, and may become more; shards are ours.
        let shards = record.shards.get(&source.name).filter(|_| source.partitioned.is_none());
        if let Some(shards) = shards.filter(|shards| **shards != source.shards) {
            problems.push(
                Problem::at(format!("spec.sources.{}", source.name))
                    .found(format!("{} shards", source.shards))
                    .expected(format!("{shards}, as at the first start: another number would read everything again"))
                    .hint("put it back, or start over with `headwater run --fresh`"),
            );
        }
    }
    for (task, old) in &facts.ledger.records {
        let gone = |sink: &&String| *sink != crate::task::QUARANTINE && !stream.spec.sinks.contains_key(*sink);
        for sink in old.tokens.keys().filter(gone).filter(|sink| !facts.forget.contains(sink)) {
            problems.push(
                Problem::at("spec.sinks")
                    .found(format!("no sink `{sink}`, for which task {task} has rows prepared"))
                    .expected("every sink with rows still to be published")
                    .hint(format!("put it back and run once, or give those rows up with `--forget {sink}`")),
            );
        }
    }
}

fn warnings(stream: &Stream, facts: &Facts, commit_every: Duration, roll: Option<Duration>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(roll) = roll.filter(|roll| commit_every < *roll) {
        warnings.push(format!(
            "commit.every ({commit_every:?}) is shorter than roll.every ({roll:?}): files close at each commit, so expect \
             about {} times as many, smaller files",
            (roll.as_secs_f64() / commit_every.as_secs_f64().max(0.001)).round()
        ));
    }
    if facts.ledger.stream.is_some() {
        for other in &facts.ledger.elsewhere {
            warnings.push(format!("another ledger of `{}` is in {}; it is not used", stream.name, other.display()));
        }
    }
    warnings
}
