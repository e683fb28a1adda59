//! `headwater man`: the manual as man pages.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_mangen::Man as Page;

use super::Arguments;
use crate::exit::Exit;
use crate::session::Session;

/// Prints the man page, or writes one for each verb
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater man | man -l -\n  headwater man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Writes the pages of all verbs into a folder, which is created
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(crate) fn act(arguments: &Man, session: &Session) -> anyhow::Result<Exit> {
    let command = Arguments::command();
    if let Some(folder) = &arguments.out {
        let write = || format!("write man pages into {}", folder.display());
        std::fs::create_dir_all(folder).with_context(write)?;
        clap_mangen::generate_to(command, folder).with_context(write)?;
    } else {
        let mut text = Vec::new();
        Page::new(command).render(&mut text).context("render the man page")?;
        session.screen.out(text)?;
    }
    Ok(Exit::Done)
}
