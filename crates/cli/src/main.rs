//! The binary `headwater`: see the crate's library for what is behind each verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
