//! Finds a program, and says where it was looked for.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Command, Error};

/// Where the program is. Checks on the way what the system would refuse with fewer words.
pub(super) fn find(command: &Command) -> Result<PathBuf, Error> {
    words(command)?;
    enter(&command.folder)?;
    if command.program.contains('/') {
        let path = command.folder.join(&command.program);
        return match is_executable(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(Error::NotExecutable { path }),
            None => Err(absent(command, vec![path])),
        };
    }
    let Some((_, folders)) = command.environment.iter().rev().find(|(name, _)| name == "PATH") else {
        return Err(Error::Pathless { program: command.program.clone() });
    };
    let mut looked = Vec::new();
    let mut refused = None;
    for folder in std::env::split_paths(folders) {
        let path = command.folder.join(folder).join(&command.program);
        match is_executable(&path) {
            Some(true) => return Ok(path),
            Some(false) => refused = refused.or(Some(path)),
            None => looked.push(path),
        }
    }
    Err(refused.map_or_else(|| absent(command, looked), |path| Error::NotExecutable { path }))
}

fn absent(command: &Command, looked: Vec<PathBuf>) -> Error {
    Error::Absent { program: command.program.clone(), looked }
}

/// `None` if there is nothing.
fn is_executable(path: &Path) -> Option<bool> {
    let metadata = path.metadata().ok()?;
    Some(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn enter(folder: &Path) -> Result<(), Error> {
    let answer = folder.metadata().and_then(|metadata| {
        if metadata.is_dir() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
    });
    answer.map_err(|source| Error::Folder { folder: folder.to_owned(), source: Arc::new(source) })
}

fn words(command: &Command) -> Result<(), Error> {
    let refused = |what: String| Err(Error::Word { what });
    if command.program.is_empty() || command.program.contains('\0') {
        return refused(format!("program {:?}", command.program));
    }
    if let Some(at) = command.arguments.iter().position(|argument| argument.contains('\0')) {
        return refused(format!("argument {}", at + 1));
    }
    // A value may be a secret, so only the name is told.
    let bad = |(name, value): &&(String, String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    match command.environment.iter().find(bad) {
        Some((name, _)) => refused(format!("variable {name:?}")),
        None => Ok(()),
    }
}
