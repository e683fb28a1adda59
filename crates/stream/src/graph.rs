//! The named parts of a stream and how they hang together: found out once, before anything is planned.

use std::collections::BTreeMap;

use document::{Problem, nearest};

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

impl Graph {
    /// Checks names, unused parts and cycles.
    pub(crate) fn new(spec: &Spec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let names = names(spec, &mut problems);
        let mut resolve = |path: String, from: &[String]| -> Vec<From> {
            from.iter().filter_map(|name| resolve_name(&names, name, &path, &mut problems)).collect()
        };
        let steps: Vec<Vec<From>> = spec
            .steps
            .iter()
            .map(|(name, step)| resolve(format!("spec.steps.{name}.from"), step.from.names()))
            .collect();
        let sinks: Vec<Vec<From>> = spec
            .sinks
            .iter()
            .map(|(name, sink)| resolve(format!("spec.sinks.{name}.from"), sink.from.names()))
            .collect();
        if problems.is_empty() {
            find_unused(spec, &steps, &sinks, &mut problems);
        }
        let order = order(&steps).unwrap_or_else(|cycle| {
            let names: Vec<&str> =
                cycle.iter().filter_map(|step| spec.steps.get_index(*step)).map(|(name, _)| name.as_str()).collect();
            problems.push(
                Problem::at(format!("spec.steps.{}.from", names.first().unwrap_or(&"")))
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

fn names<'a>(spec: &'a Spec, problems: &mut Vec<Problem>) -> BTreeMap<&'a str, Option<From>> {
    let mut names = BTreeMap::new();
    let sources = spec.sources.keys().enumerate().map(|(number, name)| ("sources", name, Some(From::Source(number))));
    let steps = spec.steps.keys().enumerate().map(|(number, name)| ("steps", name, Some(From::Step(number))));
    let sinks = spec.sinks.keys().map(|name| ("sinks", name, None));
    for (section, name, from) in sources.chain(steps).chain(sinks) {
        let path = format!("spec.{section}.{name}");
        if !is_name(name) {
            problems.push(
                Problem::at(&path)
                    .found(format!("the name `{name}`"))
                    .expected("a letter, then letters, digits, `-` or `_`, at most 63 in all"),
            );
        }
        if *names.entry(name.as_str()).or_insert((section, from)) != (section, from) {
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
    path: &str,
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

fn find_unused(spec: &Spec, steps: &[Vec<From>], sinks: &[Vec<From>], problems: &mut Vec<Problem>) {
    let used: Vec<From> = steps.iter().chain(sinks).flatten().copied().collect();
    let sources = spec.sources.keys().enumerate().map(|(number, name)| ("sources", name, From::Source(number)));
    let steps = spec.steps.keys().enumerate().map(|(number, name)| ("steps", name, From::Step(number)));
    for (section, name, from) in sources.chain(steps) {
        if !used.contains(&from) {
            problems.push(
                Problem::at(format!("spec.{section}.{name}"))
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
