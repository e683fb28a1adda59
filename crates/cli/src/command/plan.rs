//! `headwater plan`: facts, then what would happen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Deserialize as _;
use serde_json::Value;
use stream::Facts;

use super::Files;
use crate::documents::{self, Loaded};
use crate::exit::{Exit, Problems, Unseen, Usage};
use crate::screen::Output;
use crate::session::Session;

/// Tells what a run would do, and changes nothing
///
/// Looks at the world (the facts: what sources hold, how far earlier runs came), then prints the schema of every edge,
/// the tasks, what is promised of each pair of source and sink, and where ledger and quarantine are.
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
    let loaded = documents::load(&arguments.files.files, session)?;
    let facts = match &arguments.facts {
        Some(file) => replayed(file, &loaded)?,
        None => seen(&loaded, &arguments.forget, session)?,
    };
    if arguments.output == PlanOutput::Facts {
        let named: BTreeMap<String, &Facts> = loaded.iter().map(Loaded::label).zip(&facts).collect();
        session.screen.json(&named)?;
        return Ok(Exit::Done);
    }
    let plans = plans(&loaded, &facts)?;
    let texts: Vec<String> = match arguments.output {
        PlanOutput::Text => plans.iter().map(ToString::to_string).collect(),
        PlanOutput::Mermaid => plans.iter().map(stream::Plan::mermaid).collect(),
        PlanOutput::Json | PlanOutput::Facts => {
            session.screen.json(&plans)?;
            return Ok(Exit::Done);
        }
    };
    session.screen.out(texts.join("\n"))?;
    Ok(Exit::Done)
}

/// The facts of each stream, or all that is wrong with the world.
pub(crate) fn seen(loaded: &[Loaded], forget: &[String], session: &Session) -> Result<Vec<Facts>, Unseen> {
    let (mut seen, mut unseen) = (Vec::new(), Unseen::default());
    for one in loaded {
        match one.facts(forget, session) {
            Ok(facts) => seen.push(facts),
            Err(Unseen(more)) => unseen.0.extend(more),
        }
    }
    if unseen.0.is_empty() { Ok(seen) } else { Err(unseen) }
}

/// The plan of each stream, or all that is wrong with them.
pub(crate) fn plans(loaded: &[Loaded], facts: &[Facts]) -> Result<Vec<stream::Plan>, Problems> {
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for (one, facts) in loaded.iter().zip(facts) {
        match one.plan(facts) {
            Ok(plan) => good.push(plan),
            Err(Problems(found)) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(Problems(problems)) }
}

/// The facts out of a file: those of one stream, or of several by their names.
fn replayed(file: &Path, loaded: &[Loaded]) -> anyhow::Result<Vec<Facts>> {
    let read = || format!("read the facts in {}", file.display());
    let text = std::fs::read_to_string(file).with_context(read)?;
    let value: Value = serde_json::from_str(&text).with_context(read)?;
    let facts_of = |one: &Loaded| {
        let label = one.label();
        let own = value.get(&label).or_else(|| (loaded.len() == 1 && value.get("folder").is_some()).then_some(&value));
        let own = own.ok_or_else(|| Usage(format!("{} has no facts of stream {label}", file.display())))?;
        Facts::deserialize(own).with_context(read)
    };
    loaded.iter().map(facts_of).collect()
}
