//! The terminal's door: verbs, their arguments, what they print, and the exit code.
//!
//! ```text
//!  arguments + environment ──▶ Session ──▶ command/<verb>.rs ──▶ Exit
//!                                │  documents.rs   files, --set, secrets; problems printed
//!                                │  screen.rs      standard output and error, colours
//!                                │  progress.rs    a line per sink while streams run
//!                                └  server.rs      /metrics, /healthz, /readyz
//! ```
//!
//! The environment is read here, once; everything else is handed what it needs. Whatever a stream does is in the crate
//! `stream`; this one decides what a person sees of it.

mod allocator;
mod command;
mod documents;
mod exit;
mod figures;
mod log;
mod progress;
mod queues;
mod screen;
mod server;
mod session;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser as _;

use crate::command::Arguments;
use crate::exit::Exit;
use crate::session::Session;

/// Reads the arguments and the environment of this process, does what they ask, and tells the exit code.
pub fn main() -> ExitCode {
    allocator::settle();
    exit::explain_panics();
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Nobody is left to tell when this can't be printed.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    let done = panic::catch_unwind(AssertUnwindSafe(|| act(arguments, environment)));
    done.unwrap_or(Exit::House).into()
}

fn act(arguments: Arguments, environment: BTreeMap<String, String>) -> Exit {
    let mut session = match Session::new(&arguments.global, environment) {
        Ok(session) => session,
        Err(error) => return exit::report(&error, &screen::Screen::plain()),
    };
    let exit = match command::act(arguments.command, &mut session) {
        Ok(exit) => exit,
        Err(error) => exit::report(&error, &session.screen),
    };
    session.end();
    exit
}
