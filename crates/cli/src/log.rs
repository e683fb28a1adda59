//! Structured logs on standard error, above the progress lines.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::screen::Screen;

/// The least important log lines that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogLevel {
    /// Only what failed for good.
    Error,
    /// And what was tried again or will surprise.
    #[default]
    Warn,
    /// And what happened.
    Info,
    /// And each commit.
    Debug,
    /// And everything else.
    Trace,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Starts writing logs.
pub(crate) fn start(level: LogLevel, format: Option<LogFormat>, screen: &Screen) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let format = format.unwrap_or(if screen.is_terminal { LogFormat::Text } else { LogFormat::Json });
    let writer = Above(screen.bars.clone());
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_ansi(screen.color);
    // It fails where a log is being written already, which is what is wanted.
    let _ = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()),
    };
}

/// Writes above the progress lines.
#[derive(Clone, Debug)]
struct Above(MultiProgress);

impl<'a> MakeWriter<'a> for Above {
    type Writer = Above;

    fn make_writer(&'a self) -> Above {
        self.clone()
    }
}

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
