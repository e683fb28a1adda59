//! A plan as a person reads it: text for the terminal, Mermaid for documents.

use std::fmt::{self, Display, Formatter, Write as _};

use arrow::datatypes::Schema;

use super::{Plan, Sort};
use crate::format::schema::describe_type;
use crate::spec::Delivery;

impl Display for Delivery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        })
    }
}

impl Display for Sort {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Staged => "staged",
            Self::Hosting => "hosting",
            Self::Direct => "direct",
        })
    }
}

/// Columns printed of one edge; the others are counted.
const COLUMNS_MAX: usize = 40;
/// Characters printed of one column's type.
const TYPE_CHARACTERS_MAX: usize = 96;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "stream {}/{}", self.namespace, self.name)?;
        for source in &self.sources {
            writeln!(f, "\nsource {}: {}", source.name, source.what)?;
            if let Some(format) = &source.format {
                writeln!(f, "  format   {format}")?;
            }
            let read = if source.columns_read == source.columns { "all" } else { "only" };
            writeln!(f, "  reads    {read} {} of {} columns", source.columns_read, source.columns)?;
            write_schema(f, &source.schema)?;
        }
        for step in &self.steps {
            writeln!(f, "\nstep {} from {}", step.name, step.from.join(", "))?;
            for line in step.what.lines() {
                writeln!(f, "  | {line}")?;
            }
            write_schema(f, &step.schema)?;
        }
        for sink in &self.sinks {
            writeln!(f, "\nsink {} from {}: {}", sink.name, sink.from.join(", "), sink.what)?;
            if let Some(format) = &sink.format {
                writeln!(f, "  format   {format}")?;
            }
            writeln!(f, "  sort     {}", sink.sort)?;
            write_schema(f, &sink.schema)?;
        }
        writeln!(f)?;
        for promise in &self.promises {
            writeln!(f, "promise {} -> {}: {} ({})", promise.source, promise.sink, promise.delivery, promise.because)?;
        }
        let tasks: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        writeln!(f, "tasks      {} in {} container(s): {}", tasks.len(), self.containers, tasks.join(", "))?;
        writeln!(f, "commit     at most {:?} after a row was read", self.commit_every)?;
        writeln!(f, "ledger     {}", self.ledger)?;
        writeln!(f, "quarantine {}", self.quarantine.display())?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

fn write_schema(f: &mut Formatter<'_>, schema: &Schema) -> fmt::Result {
    for field in schema.fields().iter().take(COLUMNS_MAX) {
        let mut described = describe_type(field.data_type());
        if let Some((at, _)) = described.char_indices().nth(TYPE_CHARACTERS_MAX) {
            described.truncate(at);
            described.push_str(" ..");
        }
        writeln!(f, "    {:<20} {described}", field.name())?;
    }
    match schema.fields().len().checked_sub(COLUMNS_MAX) {
        Some(more) if more > 0 => writeln!(f, "    and {more} more"),
        _ => Ok(()),
    }
}

impl Plan {
    /// The graph as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        // Writing into a string can't fail.
        for source in &self.sources {
            let _ = writeln!(text, "  {}([\"{}<br/>{}\"])", source.name, source.name, quoted(&source.what));
        }
        for step in &self.steps {
            let _ = writeln!(text, "  {}[\"{}\"]", step.name, step.name);
            for from in &step.from {
                let _ = writeln!(text, "  {from} --> {}", step.name);
            }
        }
        for sink in &self.sinks {
            let _ = writeln!(text, "  {}[(\"{}<br/>{}\")]", sink.name, sink.name, quoted(&sink.what));
            for from in &sink.from {
                let _ = writeln!(text, "  {from} --> {}", sink.name);
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    text.replace('"', "#quot;")
}
