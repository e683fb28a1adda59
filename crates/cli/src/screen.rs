//! Standard output and standard error: what goes where, and in which colours.

use std::io::{self, IsTerminal as _, Write as _};

use document::Problem;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::exit::{Exit, Problems};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also where the output is piped.
    Always,
    /// Nowhere.
    Never,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The two ways out of the process. Results go to standard output, everything else to standard error.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    /// Whether standard error is a terminal.
    pub(crate) is_terminal: bool,
    /// Whether standard error takes colours.
    pub(crate) color: bool,
    /// Whether problems are printed as JSON, to standard output.
    pub(crate) output: Output,
    /// Progress lines at the foot of the terminal, which other lines must be printed above.
    pub(crate) bars: MultiProgress,
}

impl Screen {
    /// Without colours, before anything is known.
    pub(crate) fn plain() -> Screen {
        Screen {
            is_terminal: false,
            color: false,
            output: Output::Text,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// As asked for on the command line; `no_color` is whether the environment refuses colours.
    pub(crate) fn new(color: Color, no_color: bool) -> Screen {
        let is_terminal = io::stderr().is_terminal();
        let color = match color {
            Color::Auto => is_terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        };
        Screen { is_terminal, color, ..Screen::plain() }
    }

    /// Prints a result. A closed pipe is an error that [`crate::exit::report`] takes in peace.
    #[expect(clippy::unused_self, reason = "whoever prints is handed the screen")]
    pub(crate) fn out(&self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_ref())?;
        out.flush()
    }

    /// Prints a result as JSON, indented.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.out(serde_json::to_string_pretty(value)? + "\n")?)
    }

    /// Tells a person something, on standard error.
    pub(crate) fn note(&self, text: &str) {
        // Nobody is left to tell when this can't be printed.
        self.bars.suspend(|| _ = writeln!(io::stderr(), "{text}"));
    }

    /// Tells a person what failed.
    pub(crate) fn error(&self, text: &str) {
        let head = self.paint("31;1", "error");
        self.note(&format!("headwater: {head}: {text}"));
    }

    /// Prints all that is wrong with the documents.
    pub(crate) fn problems(&self, problems: &[Problem]) -> Exit {
        if self.output == Output::Json {
            // A closed pipe doesn't make the documents right.
            let _ = self.json(&problems);
        } else {
            let text = document::render(problems, self.color);
            self.note(&format!("{text}\nheadwater: {}", Problems(problems.to_vec())));
        }
        Exit::Document
    }

    /// `text` in a colour, where standard error takes colours.
    pub(crate) fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
