//! The named parts of a stream and how they hang together: found out once, before anything is planned.

use std::collections::BTreeMap;

use document::{Path, Problem, nearest};
use serde_json::Value;

use crate::spec::Spec;

/// Where rows come from within the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum From {
    Source(usize),
    Step(usize),
}

/// The graph, by the numbers of the parts in the document.
#[derive(Debug)]
pub(crate) struct Graph {
    /// The inputs of each step, in the order of its `from`.
    pub(crate) steps: Vec<Vec<From>>,
    /// The inputs of each sink.
    pub(crate) sinks: Vec<Vec<From>>,
    /// Steps, each after those it reads from.
    pub(crate) order: Vec<usize>,
}

/// The parts by name, and what each says that it reads: of a spec, or of as much of a tree as can be told.
struct Parts<'a> {
    sources: Vec<&'a str>,
    steps: Vec<(&'a str, Vec<&'a str>)>,
    sinks: Vec<(&'a str, Vec<&'a str>)>,
    /// Whether no source or step is hidden by what can't be read.
    all_named: bool,
    /// Whether each `from` could be read.
    all_read: bool,
}

impl Graph {
    /// Checks names, unused parts and cycles.
    pub(crate) fn new(spec: &Spec) -> Result<Self, Vec<Problem>> {
        Self::of(&Parts::of_spec(spec))
    }

    fn of(parts: &Parts<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let names = names(parts, &mut problems);
        let mut resolve = |section: &str, (name, from): &(&str, Vec<&str>)| -> Vec<From> {
            let path = part_path(section, name).field("from");
            if from.is_empty() && parts.all_read {
                problems.push(Problem::at(&path).found("no input").expected("the name of a source or step"));
            }
            let known = from.iter().enumerate().filter(|(_, name)| parts.all_named || names.contains_key(*name));
            let place = |index| if from.len() > 1 { path.item(index) } else { path.clone() };
            known.filter_map(|(index, name)| resolve_name(&names, name, &place(index), &mut problems)).collect()
        };
        let steps: Vec<Vec<From>> = parts.steps.iter().map(|step| resolve("steps", step)).collect();
        let sinks: Vec<Vec<From>> = parts.sinks.iter().map(|sink| resolve("sinks", sink)).collect();
        if problems.is_empty() && parts.all_read {
            find_unused(parts, &steps, &sinks, &mut problems);
        }
        let order = order(&steps).unwrap_or_else(|cycle| {
            let names: Vec<&str> = cycle.iter().map(|step| parts.steps[*step].0).collect();
            problems.push(
                Problem::at(part_path("steps", names.first().unwrap_or(&"")).field("from"))
                    .found(format!("steps that read from each other: {}", names.join(" -> ")))
                    .expected("rows that flow from sources to sinks"),
            );
            Vec::new()
        });
        if problems.is_empty() { Ok(Self { steps, sinks, order }) } else { Err(problems) }
    }

    /// The sources that a part's rows come from.
    pub(crate) fn sources_of(&self, inputs: &[From]) -> Vec<usize> {
        let mut sources = Vec::new();
        let mut open = inputs.to_vec();
        while let Some(from) = open.pop() {
            match from {
                From::Source(number) => sources.push(number),
                From::Step(number) => open.extend(&self.steps[number]),
            }
        }
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Sources that meet in some sink or step, as groups in the order of their first source.
    pub(crate) fn groups(&self, sources: usize) -> Vec<Vec<usize>> {
        let mut group: Vec<usize> = (0..sources).collect();
        for inputs in self.steps.iter().chain(&self.sinks) {
            let met = self.sources_of(inputs);
            let Some(least) = met.iter().map(|source| group[*source]).min() else { continue };
            let joined: Vec<usize> = met.iter().map(|source| group[*source]).collect();
            group.iter_mut().filter(|member| joined.contains(member)).for_each(|member| *member = least);
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (source, group) in group.into_iter().enumerate() {
            groups.entry(group).or_default().push(source);
        }
        groups.into_values().collect()
    }
}

/// What is wrong with the graph of a spec that has problems of its own: what can't be read is passed over, and what it
/// might hide isn't told.
pub fn check_tree(spec: &Value) -> Vec<Problem> {
    Graph::of(&Parts::of_tree(spec)).err().unwrap_or_default()
}

impl<'a> Parts<'a> {
    fn of_spec(spec: &'a Spec) -> Self {
        let from = |from: &'a crate::From| from.names().iter().map(String::as_str).collect();
        Self {
            sources: spec.sources.keys().map(String::as_str).collect(),
            steps: spec.steps.iter().map(|(name, step)| (name.as_str(), from(&step.from))).collect(),
            sinks: spec.sinks.iter().map(|(name, sink)| (name.as_str(), from(&sink.from))).collect(),
            all_named: true,
            all_read: true,
        }
    }

    fn of_tree(spec: &'a Value) -> Self {
        let section = |name: &str| spec.get(name).and_then(Value::as_object);
        let mut all_read = section("sinks").is_some();
        let mut readers = |name: &str| -> Vec<(&'a str, Vec<&'a str>)> {
            let parts = section(name).into_iter().flatten();
            parts.map(|(name, part)| (name.as_str(), names_of(part.get("from"), &mut all_read))).collect()
        };
        let (steps, sinks) = (readers("steps"), readers("sinks"));
        // `step:` instead of `steps:` is a section nobody knows, and still holds the parts that others read from.
        let is_section = |value: &Value| value.as_object().is_some_and(|parts| parts.values().any(has_from));
        let is_known = |key: &str| matches!(key, "sources" | "steps" | "sinks");
        let hidden = spec.as_object().into_iter().flatten().any(|(key, value)| !is_known(key) && is_section(value));
        let has_steps = spec.get("steps").is_none_or(Value::is_object);
        Self {
            sources: section("sources").into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
            steps,
            sinks,
            all_named: section("sources").is_some() && has_steps && !hidden,
            all_read: all_read && has_steps && !hidden,
        }
    }
}

fn has_from(part: &Value) -> bool {
    part.get("from").is_some()
}

/// The names in a `from`, as far as they can be read.
fn names_of<'a>(from: Option<&'a Value>, all_read: &mut bool) -> Vec<&'a str> {
    let names: Vec<Option<&str>> = match from {
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
        Some(name) => vec![name.as_str()],
        None => vec![None],
    };
    *all_read &= names.iter().all(Option::is_some);
    names.into_iter().flatten().collect()
}

/// Names can have any letters until they are checked.
fn part_path(section: &str, name: &str) -> Path {
    Path::default().field("spec").field(section).field(name)
}

fn names<'a>(parts: &Parts<'a>, problems: &mut Vec<Problem>) -> BTreeMap<&'a str, Option<From>> {
    let mut names = BTreeMap::new();
    let sources = parts.sources.iter().enumerate().map(|(number, name)| ("sources", *name, Some(From::Source(number))));
    let steps = parts.steps.iter().enumerate().map(|(number, step)| ("steps", step.0, Some(From::Step(number))));
    let sinks = parts.sinks.iter().map(|sink| ("sinks", sink.0, None));
    for (section, name, from) in sources.chain(steps).chain(sinks) {
        let path = part_path(section, name);
        if !is_name(name) {
            problems.push(
                Problem::at(&path)
                    .found(format!("the name `{name}`"))
                    .expected("a letter, then letters, digits, `-` or `_`, at most 63 in all"),
            );
        }
        if *names.entry(name).or_insert((section, from)) != (section, from) {
            problems.push(
                Problem::at(path)
                    .found(format!("a second part named `{name}`"))
                    .expected("one name for each part of a stream"),
            );
        }
    }
    names.into_iter().map(|(name, (_, from))| (name, from)).collect()
}

/// Whether a part may have this name: it becomes a part of stored names and of files.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '-' || each == '_')
}

fn resolve_name(
    names: &BTreeMap<&str, Option<From>>,
    name: &str,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<From> {
    match names.get(name) {
        Some(Some(from)) => return Some(*from),
        Some(None) => problems.push(
            Problem::at(path).found(format!("`{name}`, which is a sink")).expected("the name of a source or step"),
        ),
        None => {
            let known: Vec<&str> = names.iter().filter(|(_, from)| from.is_some()).map(|(name, _)| *name).collect();
            let problem = Problem::at(path).found(format!("`{name}`, which no source or step is called"));
            let problem = problem.expected(format!("one of {}", known.join(", ")));
            problems.push(match nearest(name, known.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
    }
    None
}

fn find_unused(parts: &Parts<'_>, steps: &[Vec<From>], sinks: &[Vec<From>], problems: &mut Vec<Problem>) {
    let used: Vec<From> = steps.iter().chain(sinks).flatten().copied().collect();
    let sources = parts.sources.iter().enumerate().map(|(number, name)| ("sources", *name, From::Source(number)));
    let steps = parts.steps.iter().enumerate().map(|(number, step)| ("steps", step.0, From::Step(number)));
    for (section, name, from) in sources.chain(steps) {
        if !used.contains(&from) {
            problems.push(
                Problem::at(part_path(section, name))
                    .found(format!("`{name}`, which nobody reads from"))
                    .expected("a step or sink with it in its `from`")
                    .hint("remove it, or send it to a sink; `blackhole` drops rows"),
            );
        }
    }
}

/// Steps after those they read from, or the steps of a cycle.
fn order(steps: &[Vec<From>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    loop {
        let ready = |step: &usize| {
            let reads_done = |from: &From| match from {
                From::Source(_) => true,
                From::Step(number) => order.contains(number),
            };
            !order.contains(step) && steps[*step].iter().all(reads_done)
        };
        match (0..steps.len()).find(ready) {
            Some(step) => order.push(step),
            None if order.len() == steps.len() => return Ok(order),
            None => return Err((0..steps.len()).filter(|step| !order.contains(step)).collect()),
        }
    }
}
