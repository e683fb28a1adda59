//! `headwater import`: the settings of another system become a document.

mod edna;
mod yaml;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use document::Place;
use serde::Serialize;
use serde_json::json;

use crate::exit::{Exit, Usage};
use crate::screen::{Output, Screen};
use crate::session::Session;

/// Turns the settings of another system into a document
///
/// The document goes to standard output. What can't be carried over goes to standard error, each with the reason and
/// what to do about it. Nothing is executed, no connection is made, and the value of a secret is never written.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Edna(Edna),
}

/// Turns the settings of an EDNA job into a Stream
///
/// What the job reads, does and writes is told by the classes that its Python file calls, otherwise by
/// `template.filename` of `config.yaml`, otherwise by the variables that `ednaconf.yaml` has. The Python file is looked
/// at, never run; it is found by itself where it stands beside `config.yaml`. A bearer token becomes a reference to a
/// secret, and the line that sets it is printed without its value.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater import edna ednaconf.yaml config.yaml > twitter.yaml\n  \
    headwater import edna ednaconf.yaml config.yaml job.py --out twitter.yaml\n  \
    headwater import edna ednaconf.yaml --output json")]
struct Edna {
    /// `ednaconf.yaml`, and where they are at hand `config.yaml` and the job's Python file, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Writes the document to a file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrites the file that `--out` names
    #[arg(long, requires = "out")]
    force: bool,
    /// How the outcome is told: text, or json (the document and the list) to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// What came of an import.
#[derive(Debug)]
struct Imported {
    /// The document.
    text: String,
    /// What it lacks.
    left: Vec<Left>,
    /// The environment variables of the secrets that it names.
    secrets: Vec<String>,
}

/// One thing that was not carried over.
#[derive(Debug, Serialize)]
struct Left {
    /// What it is, as it was written.
    what: String,
    /// Why it wasn't carried over.
    why: String,
    /// What to do instead.
    instead: String,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

pub(crate) fn act(arguments: &Import, session: &mut Session) -> anyhow::Result<Exit> {
    let Verb::Edna(arguments) = &arguments.verb;
    session.screen.output = arguments.output;
    let imported = edna::import(&arguments.files)?;
    if let Some(path) = &arguments.out {
        write(path, &imported.text, arguments.force)?;
    }
    let screen = &session.screen;
    if arguments.output == Output::Json {
        screen.json(&json!({
            "document": imported.text,
            "out": arguments.out,
            "notCarriedOver": imported.left,
            "secrets": imported.secrets,
        }))?;
        return Ok(Exit::Done);
    }
    if arguments.out.is_none() {
        screen.out(&imported.text)?;
    }
    tell(&imported, arguments.out.as_deref(), screen);
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    let mut file = match if force { options.truncate(true) } else { options.create_new(true) }.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let words = format!("`{}` is there already; `--force` overwrites it", path.display());
            return Err(Usage(words).into());
        }
        file => file.with_context(|| format!("write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

fn tell(imported: &Imported, out: Option<&Path>, screen: &Screen) {
    if let Some(out) = out {
        screen.note(&format!("wrote {}", out.display()));
    }
    if !imported.left.is_empty() {
        screen.note("not carried over:");
    }
    for left in &imported.left {
        let place = left.place.as_ref().map_or_else(String::new, |place| format!(" ({}:{})", place.file, place.line));
        screen.note(&format!("  {}{place}", screen.paint("1", &left.what)));
        screen.note(&format!("    why: {}\n    do:  {}", left.why, left.instead));
    }
    for variable in &imported.secrets {
        screen.note(&format!("set the secret before it runs:\n  export {variable}='<the value>'"));
    }
}
