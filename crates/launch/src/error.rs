use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::Blame;

/// What can go wrong with a process, other than that it fails.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such program.
    #[error("program {program:?} is not there: looked for {}", list(.looked))]
    Absent {
        /// As the command names it.
        program: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The program is a word, and the command's environment has no folders to look in.
    #[error("program {program:?} can't be looked for: the environment has no PATH; name a path, or set PATH")]
    Pathless {
        /// As the command names it.
        program: String,
    },
    /// The program may not be executed.
    #[error("{} is not an executable file; is its mode right?", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The working directory can't be entered.
    #[error("working directory {} can't be entered", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// A word of the command can't be given to a process.
    #[error("{what} can't be given to a process: it holds a zero byte, or its name is empty or holds `=`")]
    Word {
        /// Which.
        what: String,
    },
    /// The system refused to start it.
    #[error("start {}", program.display())]
    Start {
        /// The program, as found.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no process of that name.
    #[error("no process is called {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Somebody watches it already.
    #[error("process {name:?} is watched already")]
    Watched {
        /// The name.
        name: String,
    },
    /// The launcher has ended.
    #[error("the launcher has ended")]
    Over,
}

impl Error {
    /// Whose part it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Absent { .. }
            | Self::Pathless { .. }
            | Self::NotExecutable { .. }
            | Self::Folder { .. }
            | Self::Word { .. } => Blame::Document,
            Self::Start { source, .. } if !is_scarcity(source) => Blame::Document,
            Self::Start { .. } | Self::Over => Blame::World,
            Self::Unknown { .. } | Self::Watched { .. } => Blame::House,
        }
    }
}

/// Whether the machine lacks something that it may have again: memory, processes, descriptors.
fn is_scarcity(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|errno| [Errno::NOMEM, Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::TXTBSY].contains(&errno))
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_has_no_room_is_not_the_documents_fault() {
        let start =
            |number| Error::Start { program: "p".into(), source: Arc::new(io::Error::from_raw_os_error(number)) };
        assert_eq!(start(11).blame(), Blame::World);
        assert_eq!(start(8).blame(), Blame::Document, "not in a format that can be executed");
    }
}
