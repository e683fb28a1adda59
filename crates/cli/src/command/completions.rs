//! `headwater completions`: what a shell needs to complete our commands.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Arguments, NAME};
use crate::exit::Exit;
use crate::session::Session;

/// Prints the completions for a shell
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    headwater completions bash > ~/.local/share/bash-completion/completions/headwater\n  \
    headwater completions zsh > ~/.zfunc/_headwater\n  \
    headwater completions fish > ~/.config/fish/completions/headwater.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn act(arguments: &Completions, session: &Session) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), NAME, &mut text);
    session.screen.out(text)?;
    Ok(Exit::Done)
}
