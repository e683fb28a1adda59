//! The document.

use super::job::{Emit, Ingest};
use super::python::Argument;
use super::{Work, kafka, twitter};
use crate::command::import::yaml::Lines;

/// How rows travel from the source to the sink.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    /// As the text they came as, which is what EDNA did with its serializers of nothing.
    Text,
    /// As columns.
    Columns,
}

/// Writes the document.
pub(super) fn document(work: &mut Work<'_>) -> String {
    let (mut sources, mut sinks, mut lines) = (Lines::at(1), Lines::at(1), Lines::default());
    let rows = source(&mut sources, work);
    let steps = steps(work, rows);
    sink(&mut sinks, work, rows, if steps.is_some() { "fields" } else { source_name(work) });
    head(&mut lines, work);
    lines.line("spec:");
    lines.append(&variables(work));
    lines.append(&sources);
    if let Some(steps) = steps {
        lines.append(&steps);
    }
    lines.append(&sinks);
    lines.into_text()
}

/// A name out of any text: its letters in lower case, and `-` for what no name can hold.
pub(super) fn name(text: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let all: String = text.trim().chars().map(letter).collect();
    let short: String = all.trim_matches('-').chars().take(document::Name::LENGTH_MAX).collect();
    match short.trim_end_matches('-') {
        "" => "edna-job".to_owned(),
        name => name.to_owned(),
    }
}

fn head(lines: &mut Lines, work: &Work<'_>) {
    let mut files = vec![work.conf.foreign.name().to_owned()];
    files.extend(work.config.map(|config| config.name().to_owned()));
    files.extend(work.script.map(|(name, _)| name.clone()));
    lines.comment(&format!("Made by `headwater import edna` from {}.", files.join(", ")));
    lines.comment(&format!("What the job does was told by {}.", work.job.told_by));
    if work.has_token {
        lines.comment("");
        lines.comment(&format!("  export {}='<the value>'", super::variable()));
    }
    lines.line("apiVersion: headwater.dev/v1alpha1");
    lines.line("kind: Stream");
    lines.below("metadata", |lines| {
        lines.comment(if work.template.jobname.is_some() {
            "jobname and applicationname of config.yaml."
        } else {
            "No jobname was given. The name is the stream's identity: another one starts over."
        });
        lines.pair("name", &work.name);
        if let Some(namespace) = &work.template.applicationname {
            lines.pair("namespace", &name(namespace));
        }
    });
}

fn variables(work: &Work<'_>) -> Lines {
    let mut lines = Lines::at(1);
    if !work.variables.is_empty() {
        lines.comment("`--set name=value` gives another value.");
        lines.below("variables", |lines| {
            for (name, value) in &work.variables {
                match value {
                    Some(value) => lines.pair(name, value),
                    None => lines.line(&format!("{name}:")),
                }
            }
        });
    }
    lines
}

fn source_name(work: &Work<'_>) -> &'static str {
    match work.job.ingest {
        Ingest::Sampled | Ingest::Filtered => "posts",
        Ingest::Kafka | Ingest::Simulated | Ingest::Other => "records",
    }
}

fn source(lines: &mut Lines, work: &mut Work<'_>) -> Rows {
    let script = work.script.map(|(_, script)| script);
    let parses = script.is_some_and(|script| script.calls.iter().any(|call| call.name.ends_with("JsonToObject")))
        || script.is_none() && matches!(work.job.emit, Emit::Sql | Emit::Upsert);
    let call = work.job.ingest_call;
    let is_made_up = call.is_some_and(|call| call.argument("stream_callback").is_some());
    let name = source_name(work);
    let rows = match work.job.ingest {
        Ingest::Sampled | Ingest::Filtered => Rows::Text,
        Ingest::Simulated if is_made_up => Rows::Columns,
        _ if parses => Rows::Columns,
        _ => Rows::Text,
    };
    lines.below("sources", |lines| {
        if let Some((call, place)) = call.zip(work.called(call)) {
            lines.comment(&format!("{} in line {} of {}.", call.name, place.line, place.file));
        }
        lines.below(name, |lines| {
            match work.job.ingest {
                Ingest::Sampled | Ingest::Filtered => twitter::source(lines, work),
                Ingest::Kafka => kafka::source(lines, work),
                Ingest::Simulated | Ingest::Other => stand_in(lines, work, is_made_up),
            }
            match rows {
                Rows::Text => {
                    lines.comment("Each message is handed on as it is, in one column named `value`.");
                    lines.line("format: text");
                }
                Rows::Columns if !is_made_up => {
                    lines.comment("JsonToObject: a row has the columns of its object.");
                    lines.line("format: json");
                }
                Rows::Columns => {}
            }
        });
    });
    rows
}

/// A source in the place of one that only Python knows.
fn stand_in(lines: &mut Lines, work: &mut Work<'_>, is_made_up: bool) {
    let call = work.job.ingest_call;
    let place = work.called(call);
    let class = call.map_or("SimulatedIngest", |call| call.name.as_str());
    if is_made_up {
        lines.comment("In the place of stream_callback(index), which is Python.");
        lines.line("generate: {total: 10, then: wait, seed: 1, columns: {index: {sequence: {start: 0}}}}");
        work.leave(
            format!("`stream_callback` of {class}"),
            "it is Python; the document makes up ten numbers in its place",
            "write the columns under `generate.columns`",
            place,
        );
        return;
    }
    lines.comment(&format!("In the place of {class}, whose records only Python knows: one a line."));
    lines.line("stdin: {}");
    work.leave(
        format!("the records of {class}"),
        "they are in the script, which isn't run; the document reads standard input in their place",
        "put them into a file, one a line, and run `headwater run DOCUMENT < FILE`, or use the source `files`",
        place,
    );
}

/// The columns that went into a table, where they are known.
fn steps(work: &mut Work<'_>, rows: Rows) -> Option<Lines> {
    if !matches!(work.job.emit, Emit::Sql | Emit::Upsert) || rows == Rows::Text {
        return None;
    }
    let script = work.script.map(|(_, script)| script);
    let factory = script.and_then(|script| script.calls.iter().find(|call| call.name == "SQLTupleFactory"));
    let variable = match factory.and_then(|call| call.argument("tuple_fields")) {
        Some(Argument::Variable(name)) => name.clone(),
        _ => "sql_fields".to_owned(),
    };
    let fields = work.conf.texts(&variable).filter(|fields| !fields.is_empty())?;
    let columns: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
    let from = source_name(work);
    let mut lines = Lines::at(1);
    lines.below("steps", |lines| {
        lines.comment(&format!("SQLTupleFactory: the columns of the table ({variable} of ednaconf.yaml)."));
        lines.below("fields", |lines| {
            lines.pair("from", from);
            lines.pair("sql", &format!("SELECT {} FROM {from}", columns.join(", ")));
        });
    });
    Some(lines)
}

fn sink(lines: &mut Lines, work: &mut Work<'_>, rows: Rows, from: &str) {
    let call = work.job.emit_call;
    lines.below("sinks", |lines| {
        if let Some((call, place)) = call.zip(work.called(call)) {
            lines.comment(&format!("{} in line {} of {}.", call.name, place.line, place.file));
        }
        lines.below("out", |lines| {
            lines.pair("from", from);
            match work.job.emit {
                Emit::Kafka => kafka::sink(lines, work),
                Emit::Stdout => lines.line("stdout: {}"),
                Emit::Counter => {
                    lines.comment("Rows are counted: in the progress, the summary and /metrics.");
                    lines.line("blackhole: {}");
                    return;
                }
                Emit::Sql | Emit::Upsert | Emit::Other => no_sink(lines, work),
            }
            lines.line(if rows == Rows::Text { "format: text" } else { "format: json" });
        });
    });
}

/// A sink in the place of one that there isn't.
fn no_sink(lines: &mut Lines, work: &mut Work<'_>) {
    let call = work.job.emit_call;
    let (class, why, instead) = match work.job.emit {
        Emit::Upsert => (
            "SQLUpsertEmit",
            "there is no sink for MySQL; rows go to standard output in its place",
            "write `files` and load them with the database's own tool; let it decide on the key which row stays",
        ),
        Emit::Sql => (
            "SQLEmit",
            "there is no sink for MySQL; rows go to standard output in its place",
            "write `files` as CSV or JSON lines and load them with the database's own tool",
        ),
        _ => (
            call.map_or("the emit", |call| call.name.as_str()),
            "it isn't one of EDNA's emits; rows go to standard output in its place",
            "choose another sink, or write one in Rust (`docs/guide/rust-job.md`)",
        ),
    };
    lines.comment(&format!("In the place of {class}."));
    lines.line("stdout: {}");
    let place = work.called(call);
    work.leave(class, why, instead, place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name() {
        for (text, expected) in
            [("Twitter_Kafka", "twitter-kafka"), ("--a b--", "a-b"), ("é", "edna-job"), ("", "edna-job")]
        {
            assert_eq!(name(text), expected);
        }
        let long = format!("{}-{}", "a".repeat(62), "b");
        assert_eq!(name(&long), "a".repeat(62));
        assert!(name(&long).parse::<document::Name>().is_ok());
    }
}
