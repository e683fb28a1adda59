//! `headwater positions`: where a stream's tasks stand, and how to move them.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use stream::ledger::{Books, Home};
use stream::positions::{self, Moved, TaskPositions};

use crate::documents;
use crate::exit::{Exit, Usage};
use crate::figures::{table, utc};
use crate::screen::{Output, Screen};
use crate::session::Session;

/// Shows how far a stream has read, and moves it
///
/// A position is what a task's ledger holds of a source: where reading goes on at the next start. Moving it is refused
/// while the stream runs. Rows that are read again come out again; what the sinks hold already stays.
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Positions {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(Show),
    Set(Set),
    Reset(Reset),
}

/// Shows where each task stands in each of its sources
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater positions show alerts.yaml\n  \
    headwater positions show alerts.yaml --output json")]
struct Show {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How positions are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Moves one task to a position, of the shape that `show --output json` prints
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  headwater positions set ids.yaml --task ids-0 --source ids '{\"row\": 1000}'"
)]
struct Set {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The task
    #[arg(long, value_name = "TASK")]
    task: String,
    /// The source
    #[arg(long, value_name = "SOURCE")]
    source: String,
    /// The position, as JSON
    #[arg(value_name = "JSON")]
    position: String,
    /// Doesn't ask
    #[arg(long)]
    yes: bool,
}

/// Lets a source be read from its beginning again
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater positions reset alerts.yaml --source alerts --yes")]
struct Reset {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The source
    #[arg(long, value_name = "SOURCE")]
    source: String,
    /// Only this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Doesn't ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn act(arguments: &Positions, session: &mut Session) -> anyhow::Result<Exit> {
    match &arguments.verb {
        Verb::Show(show) => act_show(show, session),
        Verb::Set(set) => {
            let position = serde_json::from_str(&set.position)
                .map_err(|error| Usage(format!("the position `{}` is not JSON: {error}", set.position)))?;
            let (label, _, books) = books(&set.file, session)?;
            let question = format!("Move task {} of {label} to {position} in `{}`?", set.task, set.source);
            confirm(&question, set.yes, &session.screen)?;
            let position = stream::Position(position);
            let moved = positions::set(&*books, (&set.task, &set.source), position, &session.holder(), &session.clock)?;
            tell(&[moved], "moved", &session.screen);
            Ok(Exit::Done)
        }
        Verb::Reset(reset) => {
            let (label, _, books) = books(&reset.file, session)?;
            let question = format!("Read `{}` of {label} from its beginning again?", reset.source);
            confirm(&question, reset.yes, &session.screen)?;
            let task = reset.task.as_deref();
            let moved = positions::reset(&*books, &reset.source, task, &session.holder(), &session.clock)?;
            tell(&moved, "reset", &session.screen);
            Ok(Exit::Done)
        }
    }
}

fn act_show(show: &Show, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = show.output;
    let (label, home, books) = books(&show.file, session)?;
    let tasks = positions::show(&*books)?;
    if show.output == Output::Json {
        let entry = |task: &TaskPositions| {
            json!({
                "task": task.task, "positions": task.positions, "sequence": task.sequence,
                "committedAtMillis": task.committed_at_millis, "pending": task.pending,
            })
        };
        session.screen.json(&tasks.iter().map(entry).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    if tasks.is_empty() {
        session.screen.note(&format!("{label} has not run: there is no ledger in {home}"));
        return Ok(Exit::Done);
    }
    let mut rows = vec![["TASK", "SOURCE", "COMMITTED", "POSITION"].map(str::to_owned).to_vec()];
    for task in &tasks {
        let committed = utc(task.committed_at_millis);
        for (source, position) in &task.positions {
            rows.push(vec![task.task.clone(), source.clone(), committed.clone(), position.0.to_string()]);
        }
    }
    session.screen.out(table(&rows))?;
    for task in tasks.iter().filter(|task| !task.pending.is_empty()) {
        session.screen.note(&pending(&task.task, &task.pending));
    }
    if let Some((task, holder)) = books.holder()? {
        session.screen.note(&format!("task {task} is running: it is held by {holder}"));
    }
    Ok(Exit::Done)
}

fn books(file: &std::path::Path, session: &Session) -> anyhow::Result<(String, Home, Arc<dyn Books>)> {
    let loaded = documents::load_one(file, session)?;
    let home = stream::homes(&loaded.stream, &session.folder).into_iter().next().context("find the ledger's home")?;
    let books = home.open(&session.world(&loaded.stream))?;
    Ok((loaded.label(), home, books))
}

fn tell(moved: &[Moved], verb: &str, screen: &Screen) {
    for one in moved {
        let before = one.before.as_ref().map_or_else(|| "the beginning".to_owned(), |before| before.0.to_string());
        screen.note(&format!("{verb} {} in `{}`; it stood at {before}", one.task, one.source));
        if !one.pending.is_empty() {
            screen.note(&pending(&one.task, &one.pending));
        }
    }
}

fn pending(task: &str, parts: &[String]) -> String {
    format!(
        "warning: task {task} was interrupted: rows prepared for {} become visible at the next start",
        parts.join(", ")
    )
}

/// Asks on a terminal; elsewhere `--yes` has to be given.
fn confirm(question: &str, yes: bool, screen: &Screen) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !screen.is_terminal {
        return Err(Usage(format!("{question} Give `--yes` to do it without being asked")).into());
    }
    write!(std::io::stderr(), "{question} [y/N] ").context("ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read the answer")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Usage("nothing was changed".to_owned()).into()),
    }
}
