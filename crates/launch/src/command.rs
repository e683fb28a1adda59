use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What to start, with nothing left to choose. Secrets belong into `environment` or `input`: arguments can be seen by
/// every user of the machine. Printing a command for debugging shows neither.
#[derive(Clone)]
pub struct Command {
    /// What the process is known by. One process at a time has it.
    pub name: String,
    /// The program: a path, taken from `folder` when it is relative, or a word without `/`, looked for in the folders of
    /// `PATH` in `environment`.
    pub program: String,
    /// Its arguments, as they are: there is no shell in between.
    pub arguments: Vec<String>,
    /// All of its environment: nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Its working directory, which must exist.
    pub folder: PathBuf,
    /// The bytes of its standard input, which then ends. It need not read them.
    pub input: Vec<u8>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long it has between SIGTERM and SIGKILL when the timeout ends it.
    pub grace: Duration,
    /// How much memory it and its descendants may hold together, in bytes.
    ///
    /// What they hold is looked at ten times a second and whoever holds more is killed, so that the cause can be told;
    /// shared pages count once. Between two looks, the kernel refuses each process more than twice this and 256 MiB of
    /// private memory (`RLIMIT_DATA`). Address space that is reserved and not used counts nowhere.
    pub memory_bytes_max: Option<u64>,
    /// How much of a line is kept, in bytes; the rest is counted.
    pub line_bytes_max: usize,
    /// How much of each output is handed out, in bytes; the rest is read and counted.
    pub stream_bytes_max: u64,
}

impl Command {
    /// The default of `line_bytes_max`: 64 KiB.
    pub const LINE_BYTES_MAX: usize = 64 << 10;
    /// The default of `stream_bytes_max`: 16 MiB.
    pub const STREAM_BYTES_MAX: u64 = 16 << 20;
    /// The default of `grace`.
    pub const GRACE: Duration = Duration::from_secs(10);

    /// A command without arguments, environment and input, in the root folder, that may run for ever.
    pub fn new(name: impl Into<String>, program: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            input: Vec::new(),
            timeout: None,
            grace: Self::GRACE,
            memory_bytes_max: None,
            line_bytes_max: Self::LINE_BYTES_MAX,
            stream_bytes_max: Self::STREAM_BYTES_MAX,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Command")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &variables)
            .field("folder", &self.folder)
            .field("input_bytes", &self.input.len())
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .field("line_bytes_max", &self.line_bytes_max)
            .field("stream_bytes_max", &self.stream_bytes_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_it_shows_names_and_no_values() {
        let mut command = Command::new("j", "true");
        command.environment.push(("TOKEN".to_owned(), "s3cret".to_owned()));
        command.input = b"s3cret".to_vec();
        let shown = format!("{command:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("s3cret") && !shown.contains("115"), "{shown}");
    }
}
