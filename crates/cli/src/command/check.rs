//! `headwater check`: every problem at once.

use clap::Args;

use super::Files;
use crate::documents;
use crate::exit::Exit;
use crate::screen::Output;
use crate::session::Session;

/// Tells all that is wrong with documents, without looking at the world
///
/// Every problem is told at once, each with its file, line, the path of the field, what is expected and a hint. Exit
/// code 2 if there are any. What only the world can tell (a missing file, the columns that a query names) is told by
/// `headwater plan`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater check alerts.yaml\n  headwater check *.yaml --output json\n  \
    generate-document | headwater check -")]
pub(crate) struct Check {
    #[command(flatten)]
    files: Files,
    /// How problems are printed: text to standard error, or json (a list) to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

pub(crate) fn act(arguments: &Check, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = arguments.output;
    let loaded = documents::load_all(&arguments.files.files, session)?;
    if arguments.output == Output::Json {
        session.screen.json(&[(); 0])?;
        return Ok(Exit::Done);
    }
    for one in &loaded {
        let document = one.document();
        session.screen.out(format!("{}: ok ({} {})\n", document.file, document.kind, one.label()))?;
    }
    Ok(Exit::Done)
}
