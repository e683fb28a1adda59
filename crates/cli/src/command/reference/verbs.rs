//! The page of the command line, from the same words that `--help` prints.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::page;
use crate::command::{Arguments, NAME};

/// The page.
pub(super) fn page() -> String {
    let mut command = Arguments::command();
    command.build();
    let mut text = page::head("Command line");
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    // Writing into a string can't fail, here and below.
    let _ = write!(text, "\n{about}\n\n## Options of every verb\n\n");
    let globals: Vec<&Arg> = command.get_arguments().filter(|argument| argument.is_global_set()).collect();
    write_arguments(&mut text, &globals);
    text.push_str(
        "\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | done, or told to stop and drained |\n\
         | 1 | the world failed (a disk, a network, a server), or a fixture did |\n\
         | 2 | the document or the command line is wrong |\n| 70 | a bug of ours |\n\
         | 130 | stopped at once by a second signal |\n",
    );
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        write_verb(&mut text, verb, NAME);
    }
    text
}

fn write_verb(text: &mut String, verb: &Command, before: &str) {
    let name = format!("{before} {}", verb.get_name());
    let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n## {name}\n\n{}\n", sentence(&about));
    let verbs: Vec<&Command> = verb.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if verbs.is_empty() {
        let usage = verb.clone().render_usage().to_string();
        let _ = write!(text, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    }
    let is_own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
    let own: Vec<&Arg> = verb.get_arguments().filter(is_own).collect();
    if !own.is_empty() {
        text.push('\n');
        write_arguments(text, &own);
    }
    if let Some(examples) = verb.get_after_long_help() {
        let examples = examples.to_string();
        let lines: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
        let _ = write!(text, "\n```sh\n{}\n```\n", lines.join("\n"));
    }
    for verb in verbs {
        write_verb(text, verb, &name);
    }
}

fn write_arguments(text: &mut String, arguments: &[&Arg]) {
    text.push_str("| argument | default | meaning |\n|---|---|---|\n");
    for argument in arguments {
        let value = argument.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
        let takes_value = argument.get_action().takes_values();
        let name = match (argument.get_long(), takes_value) {
            (Some(long), true) => format!("--{long} {value}"),
            (Some(long), false) => format!("--{long}"),
            (None, _) => value.to_owned(),
        };
        let short = argument.get_short().map_or_else(String::new, |short| format!(", `-{short}`"));
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default =
            if takes_value && !defaults.is_empty() { format!("`{}`", defaults.join(" ")) } else { String::new() };
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = if takes_value {
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect()
        } else {
            Vec::new()
        };
        let values = if values.is_empty() { String::new() } else { format!(" One of {}.", values.join(", ")) };
        let help = sentence(&help).replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| `{name}`{short} | {default} | {help}{values} |");
    }
}

/// Help texts leave out the full stop of their first line; pages have it.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let stop = if first.ends_with(['.', ':', '?']) || first.is_empty() { "" } else { "." };
    if rest.is_empty() { format!("{first}{stop}") } else { format!("{first}{stop}\n\n{rest}") }
}
