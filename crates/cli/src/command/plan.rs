//! `headwater plan`: facts, then what would happen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::Files;
use crate::documents::{self, Workload};
use crate::exit::{Exit, Problems, Unseen, Usage};
use crate::screen::Output;
use crate::session::Session;

/// Tells what a run would do, and changes nothing
///
/// Looks at the world (the facts: what sources hold, how far earlier runs came, who has a store open), then prints the
/// schema of every edge, the tasks, what is promised of each pair of source and sink, and where ledger and quarantine
/// are; of a queue its address, who may do what, the store, the queues and the workers' commands.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater plan alerts.yaml\n  \
    headwater plan alerts.yaml --output facts > facts.json\n  \
    headwater plan alerts.yaml --facts facts.json      the same plan, without the world\n  \
    headwater plan alerts.yaml --output mermaid        the graph, for a page of documentation")]
pub(crate) struct Plan {
    #[command(flatten)]
    files: Files,
    /// Takes the facts from a file that `--output facts` wrote, instead of looking at the world
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// What is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: PlanOutput,
    /// Gives up the position of a source, or what is prepared for a sink, that the document no longer has; may be repeated
    #[arg(long, value_name = "NAME")]
    forget: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanOutput {
    /// For people
    Text,
    /// A list of plans, for programs
    Json,
    /// The graphs as Mermaid flow charts
    Mermaid,
    /// What `--facts` takes
    Facts,
}

pub(crate) fn act(arguments: &Plan, session: &mut Session) -> anyhow::Result<Exit> {
    if matches!(arguments.output, PlanOutput::Json | PlanOutput::Facts) {
        session.screen.output = Output::Json;
    }
    let loaded = documents::load_all(&arguments.files.files, session)?;
    let facts = match &arguments.facts {
        Some(file) => replayed(file, &loaded)?,
        None => seen(&loaded, &arguments.forget, session)?,
    };
    if arguments.output == PlanOutput::Facts {
        let named: BTreeMap<String, &WorkloadFacts> = loaded.iter().map(Workload::label).zip(&facts).collect();
        session.screen.json(&named)?;
        return Ok(Exit::Done);
    }
    let plans = plans(&loaded, &facts)?;
    let texts: Vec<String> = match arguments.output {
        PlanOutput::Text => plans.iter().map(ToString::to_string).collect(),
        PlanOutput::Mermaid => plans.iter().map(WorkloadPlan::mermaid).collect(),
        PlanOutput::Json | PlanOutput::Facts => {
            session.screen.json(&plans)?;
            return Ok(Exit::Done);
        }
    };
    session.screen.out(texts.join("\n"))?;
    Ok(Exit::Done)
}

/// How the world is for a document.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum WorkloadFacts {
    Stream(Box<stream::Facts>),
    Queue(queue::Facts),
}

/// What will happen for a document.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum WorkloadPlan {
    Stream(Box<stream::Plan>),
    Queue(Box<queue::Plan>),
}

impl WorkloadPlan {
    fn mermaid(&self) -> String {
        match self {
            Self::Stream(plan) => plan.mermaid(),
            Self::Queue(plan) => plan.mermaid(),
        }
    }
}

impl std::fmt::Display for WorkloadPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(plan) => plan.fmt(f),
            Self::Queue(plan) => plan.fmt(f),
        }
    }
}

/// The facts of each document, or all that is wrong with the world.
pub(crate) fn seen(loaded: &[Workload], forget: &[String], session: &Session) -> Result<Vec<WorkloadFacts>, Unseen> {
    let (mut seen, mut unseen) = (Vec::new(), Unseen::default());
    for one in loaded {
        let facts = match one {
            Workload::Stream(stream) => {
                stream.facts(forget, session).map(|facts| WorkloadFacts::Stream(Box::new(facts)))
            }
            Workload::Queue(queue) => queue.facts(session).map(WorkloadFacts::Queue),
        };
        match facts {
            Ok(facts) => seen.push(facts),
            Err(Unseen(more)) => unseen.0.extend(more),
        }
    }
    if unseen.0.is_empty() { Ok(seen) } else { Err(unseen) }
}

/// The plan of each document, or all that is wrong with them.
pub(crate) fn plans(loaded: &[Workload], facts: &[WorkloadFacts]) -> Result<Vec<WorkloadPlan>, Problems> {
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for (one, facts) in loaded.iter().zip(facts) {
        let plan = match (one, facts) {
            (Workload::Stream(one), WorkloadFacts::Stream(facts)) => {
                one.plan(facts).map(|plan| WorkloadPlan::Stream(Box::new(plan)))
            }
            (Workload::Queue(one), WorkloadFacts::Queue(facts)) => {
                one.plan(facts).map(|plan| WorkloadPlan::Queue(Box::new(plan)))
            }
            // Each document's facts are of its own kind.
            _ => continue,
        };
        match plan {
            Ok(plan) => good.push(plan),
            Err(Problems(found)) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(Problems(problems)) }
}

/// The facts out of a file: those of one document, or of several by their names.
fn replayed(file: &Path, loaded: &[Workload]) -> anyhow::Result<Vec<WorkloadFacts>> {
    let read = || format!("read the facts in {}", file.display());
    let text = std::fs::read_to_string(file).with_context(read)?;
    let value: Value = serde_json::from_str(&text).with_context(read)?;
    let facts_of = |one: &Workload| {
        let label = one.label();
        let own = value.get(&label).or_else(|| (loaded.len() == 1 && value.get("folder").is_some()).then_some(&value));
        let kind = one.document().kind.as_str().to_lowercase();
        let own = own.ok_or_else(|| Usage(format!("{} has no facts of {kind} {label}", file.display())))?;
        match one {
            Workload::Stream(_) => {
                let facts = stream::Facts::deserialize(own).with_context(read)?;
                anyhow::Ok(WorkloadFacts::Stream(Box::new(facts)))
            }
            Workload::Queue(_) => Ok(WorkloadFacts::Queue(queue::Facts::deserialize(own).with_context(read)?)),
        }
    };
    loaded.iter().map(facts_of).collect()
}
