//! `headwater scale`: shares a stream's tasks among another number of containers.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use stream::StreamRecord;

use crate::documents;
use crate::exit::{Exit, Usage};
use crate::screen::Output;
use crate::session::Session;

/// Shares the tasks of a stream among another number of containers
///
/// The number is written into the stream's record. Containers that run follow it within the metadata interval (10 s by
/// default): tasks move with their positions, nothing is read twice or lost. Containers past the number idle; start one
/// with `headwater run --container I/N`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater scale orders.yaml --containers 3")]
pub(crate) struct Scale {
    /// The file of the stream's document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many containers share the tasks
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    containers: u32,
    /// How the outcome is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

pub(crate) fn act(arguments: &Scale, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = arguments.output;
    let loaded = documents::load_one(&arguments.file, session)?;
    let home = stream::homes(&loaded.stream, &session.folder).into_iter().next().context("find the ledger's home")?;
    let books = home.open(&session.world(&loaded.stream))?;
    let label = loaded.label();
    let Some(record) = books.stream()? else {
        let words = format!("{label} has not run: there is no ledger in {home}; give the number to its first start");
        return Err(Usage(words).into());
    };
    let before = record.containers;
    if before != arguments.containers {
        let generation = record.generation + 1;
        books.write_stream(&StreamRecord { generation, containers: arguments.containers, ..record })?;
        let now = books.stream()?.context("read the record that was written")?;
        anyhow::ensure!(
            now.generation == generation && now.containers == arguments.containers,
            "another process changed the record of {label} at the same moment: it now says {} containers",
            now.containers
        );
    }
    match arguments.output {
        Output::Json => {
            session.screen.json(&json!({ "stream": label, "before": before, "containers": arguments.containers }))?;
        }
        Output::Text if before == arguments.containers => {
            session.screen.note(&format!("{label} is shared by {before} containers already"));
        }
        Output::Text => {
            session.screen.note(&format!("{label}: {before} -> {} containers", arguments.containers));
        }
    }
    Ok(Exit::Done)
}
