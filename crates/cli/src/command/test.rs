//! `headwater test`: runs the fixtures that are written in documents.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::Files;
use crate::documents;
use crate::exit::{Exit, Problems};
use crate::figures::counted;
use crate::screen::Output;
use crate::session::Session;

/// Runs the fixtures in `spec.tests`: rows in, rows out
///
/// Each fixture gives rows to sources and says which rows must then reach the sinks. Nothing outside is read or
/// written, so it takes milliseconds. Exit code 1 if any fails.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater test alerts.yaml\n  headwater test *.yaml --output json")]
pub(crate) struct Test {
    #[command(flatten)]
    files: Files,
    /// How outcomes are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

pub(crate) fn act(arguments: &Test, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = arguments.output;
    let loaded = documents::load(&arguments.files.files, session)?;
    let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
    for one in &loaded {
        match stream::fixture::run(&one.stream, &session.clock) {
            Ok(found) => outcomes.push((one.label(), found)),
            Err(found) => problems.extend(one.locate(found).0),
        }
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let all: Vec<_> = outcomes.iter().flat_map(|(label, found)| found.iter().map(move |one| (label, one))).collect();
    let failed = all.iter().filter(|(_, one)| !one.differences.is_empty()).count();
    if arguments.output == Output::Json {
        let entry = |(label, one): &(&String, &stream::fixture::Outcome)| json!({"stream": label, "name": one.name, "differences": one.differences});
        session.screen.json(&all.iter().map(entry).collect::<Vec<_>>())?;
    } else {
        let mut text = String::new();
        for (label, one) in &all {
            let stream = if loaded.len() > 1 { format!("{label}: ") } else { String::new() };
            let verdict = if one.differences.is_empty() { "ok" } else { "FAILED" };
            // Writing into a string can't fail, here and below.
            let _ = writeln!(text, "{verdict} {stream}{}", one.name);
            text.extend(
                one.differences.iter().map(|difference| format!("    {}\n", difference.replace('\n', "\n    "))),
            );
        }
        for (label, _) in outcomes.iter().filter(|(_, found)| found.is_empty()) {
            let _ = writeln!(text, "{label} has no fixtures: write some in `spec.tests`");
        }
        session.screen.out(text)?;
        session.screen.note(&format!("{}, {failed} failed", counted(all.len() as u64, "fixture")));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::World })
}
