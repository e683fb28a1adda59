//! The verbs, each in a file of its own.

mod check;
mod completions;
mod import;
mod jobs;
mod man;
mod plan;
mod positions;
mod quarantine;
mod queue;
mod reference;
mod run;
mod scale;
mod schema;
mod test;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::jobs::Refused;
use crate::exit::Exit;
use crate::log::{LogFormat, LogLevel};
use crate::screen::Color;
use crate::session::Session;

/// The name that people type.
pub(crate) const NAME: &str = "headwater";

/// What stands on the command line.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    about = "Data work from one file: rows stream from sources to sinks, jobs wait in queues for workers",
    long_about = "Data work from one file: rows stream from sources through steps to sinks, jobs wait in queues for workers.\n\n\
        Someone writes a document. Its spec says what is asked; facts say how the world is; the plan says what will \
        happen; run makes it happen. `check` and `plan` change nothing.",
    after_help = "Exit codes: 0 done, 1 the world failed, 2 the document or the command line is wrong, 70 a bug of \
        ours, 130 stopped at once by a second signal.",
    after_long_help = "Examples:\n  \
        headwater check alerts.yaml\n  \
        headwater plan alerts.yaml --set input='night/*.avro'\n  \
        headwater run alerts.yaml --listen 127.0.0.1:9090\n\n\
        Exit codes:\n  0    done, or told to stop and drained\n  1    the world failed (a disk, a network, a server), or a fixture did\n  \
        2    the document or the command line is wrong\n  70   a bug of ours\n  130  stopped at once by a second signal",
    max_term_width = 110
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Global {
    /// Gives a variable of the documents a value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", global = true)]
    pub(crate) set: Vec<String>,
    /// Gives a variable the text of a file; may be repeated
    #[arg(long, value_name = "NAME=PATH", global = true)]
    pub(crate) set_file: Vec<String>,
    /// The file of secrets
    ///
    /// YAML of the shape `{name: {key: value}}`. A variable `HEADWATER_SECRET_<NAME>_<KEY>` of the environment goes
    /// before it.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) secrets: Option<PathBuf>,
    /// The least important log lines that are written, to standard error
    #[arg(long, value_name = "LEVEL", default_value = "warn", global = true, hide_possible_values = true)]
    pub(crate) log_level: LogLevel,
    /// The shape of log lines: text on a terminal and json otherwise, unless said here
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<LogFormat>,
    /// When to use colours; `NO_COLOR` in the environment is honoured
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true, hide_possible_values = true)]
    pub(crate) color: Color,
}

/// The documents that a verb is about.
#[derive(Args, Debug)]
pub(crate) struct Files {
    /// Files with one or more documents (YAML or JSON); `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Check),
    Plan(plan::Plan),
    Run(run::Run),
    Test(test::Test),
    Verify(verify::Verify),
    Positions(positions::Positions),
    Quarantine(quarantine::Quarantine),
    Scale(scale::Scale),
    Jobs(jobs::Jobs),
    Queue(queue::Queue),
    Import(import::Import),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    Reference(reference::Reference),
}

/// Does what is asked.
pub(crate) fn act(command: Command, session: &mut Session) -> anyhow::Result<Exit> {
    match command {
        Command::Check(arguments) => check::act(&arguments, session),
        Command::Plan(arguments) => plan::act(&arguments, session),
        Command::Run(arguments) => run::act(&arguments, session),
        Command::Test(arguments) => test::act(&arguments, session),
        Command::Verify(arguments) => verify::act(&arguments, session),
        Command::Positions(arguments) => positions::act(&arguments, session),
        Command::Quarantine(arguments) => quarantine::act(&arguments, session),
        Command::Scale(arguments) => scale::act(&arguments, session),
        Command::Jobs(arguments) => jobs::act(&arguments, session),
        Command::Queue(arguments) => queue::act(&arguments, session),
        Command::Import(arguments) => import::act(&arguments, session),
        Command::Schema(arguments) => schema::act(&arguments, session),
        Command::Completions(arguments) => completions::act(&arguments, session),
        Command::Man(arguments) => man::act(&arguments, session),
        Command::Reference(arguments) => reference::act(&arguments, session),
    }
}
