//! Starting other programs.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::context::Context;

/// Variables that `cargo run` sets for this program. Build scripts (ring's) watch some of them, so that handing them on
/// would build half the tree again whenever cargo is called by hand in between.
const OF_CARGO_RUN: [&str; 5] = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_"];

/// Cargo, in the checkout, with the caller's target folder.
#[expect(clippy::disallowed_methods, reason = "cargo says where it is")]
pub(crate) fn cargo(context: &Context, arguments: &[&str]) -> Command {
    let mut command = program(context, env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    if let Some(target) = &context.target {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

/// A program, in the checkout.
pub(crate) fn program(context: &Context, name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(&context.root).stdin(Stdio::null());
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if OF_CARGO_RUN.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
    command
}

/// Runs it, its output going where ours goes, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Whether a program is there and content with these arguments.
pub(crate) fn answers(name: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = command.get_args().map(OsStr::to_string_lossy);
    words.fold(name.to_string_lossy().into_owned(), |line, word| format!("{line} {word}"))
}
