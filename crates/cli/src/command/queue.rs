//! `headwater queue`: the store of a queue.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use document::{Kind, Problem};
use serde_json::json;

use crate::documents::{self, Workload};
use crate::exit::{Exit, Problems, Usage};
use crate::figures::{bytes, utc_compact};
use crate::screen::Output;
use crate::session::Session;

/// Copies the store of a queue
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Backup(Backup),
}

/// Copies a SQLite store to a file, also while a server uses it
///
/// The copy is the store at one moment: every job that was accepted before the copy began is in it. It is whole and on
/// disk when the verb ends; nothing is overwritten. To use it, name it as `spec.store.sqlite.path`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater queue backup jobs.yaml\n  \
    headwater queue backup jobs.yaml --to /backup/jobs.sqlite")]
struct Backup {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The copy. By default beside the store, with the time in its name
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// How the outcome is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

pub(crate) fn act(arguments: &Queue, session: &mut Session) -> anyhow::Result<Exit> {
    match &arguments.verb {
        Verb::Backup(backup) => act_backup(backup, session),
    }
}

fn act_backup(backup: &Backup, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = backup.output;
    let mut stores = Vec::new();
    for one in documents::load_all(std::slice::from_ref(&backup.file), session)? {
        match &one {
            Workload::Queue(queue) => stores.push(queue.store(session)?),
            Workload::Stream(stream) => {
                let problem =
                    Problem::at("kind").found("a stream, which has no store").expected(format!("`{}`", Kind::Queue));
                return Err(Problems(vec![stream.document.locate(problem)]).into());
            }
        }
    }
    let [from] = &stores[..] else {
        return Err(Usage(format!("{} has {} queues; one is expected", backup.file.display(), stores.len())).into());
    };
    let to = backup.to.as_ref().map_or_else(|| beside(from, session), |to| session.folder.join(to));
    anyhow::ensure!(from.exists(), "there is no store at {}: the queue has not run", from.display());
    queue::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
    let size = to.metadata().map(|file| file.len()).context("look at the copy")?;
    match backup.output {
        Output::Json => session.screen.json(&json!({ "from": from, "to": to, "bytes": size }))?,
        Output::Text => session.screen.out(format!("{} ({})\n", to.display(), bytes(size)))?,
    }
    Ok(Exit::Done)
}

/// A name for the copy that tells its time.
fn beside(store: &Path, session: &Session) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(format!(".{}", utc_compact(session.clock.now().millis())));
    PathBuf::from(name)
}
