//! `headwater schema`: the JSON Schema of documents, for editors.

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use crate::session::Session;

/// Prints the JSON Schema of a kind of document, for editors
///
/// An editor that knows the YAML language server completes and checks a document whose first line is
/// `# yaml-language-server: $schema=stream.json`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater schema > stream.json\n  headwater schema queue > queue.json")]
pub(crate) struct Schema {
    /// The kind of document
    #[arg(value_name = "KIND", default_value = "stream", ignore_case = true)]
    kind: SchemaKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaKind {
    /// Rows that flow from sources through steps to sinks
    Stream,
    /// A jobs API, its store and its workers
    Queue,
}

pub(crate) fn act(arguments: &Schema, session: &Session) -> anyhow::Result<Exit> {
    let schema = match arguments.kind {
        SchemaKind::Stream => stream(),
        SchemaKind::Queue => queue(),
    };
    session.screen.json(&schema)?;
    Ok(Exit::Done)
}

/// The JSON Schema of a `Stream`.
pub(crate) fn stream() -> serde_json::Value {
    document::schema::<stream::Spec>(document::Kind::Stream)
}

/// The JSON Schema of a `Queue`.
pub(crate) fn queue() -> serde_json::Value {
    document::schema::<queue::Spec>(document::Kind::Queue)
}
