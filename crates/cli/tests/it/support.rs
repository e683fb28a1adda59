//! A folder of its own for each test, and the binary run in it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use tempfile::TempDir;

/// Numbers from 0 to 9, the even ones to standard output.
pub(crate) const IDS: &str = r#"
apiVersion: headwater.dev/v1alpha1
kind: Stream
metadata: {name: ids}
spec:
  variables: {total: 10}
  sources: {ids: {generate: {total: "${total}", seed: 1, columns: {id: {sequence: {}}}}}}
  steps: {even: {from: ids, sql: "SELECT id, id * 2 AS twice FROM ids WHERE id % 2 = 0"}}
  sinks: {out: {from: even, stdout: {}}}
  tests:
    - {name: odd ones are dropped, given: {ids: [{id: 1}, {id: 2}]}, expect: {out: [{id: 2, twice: 4}]}}
"#;

/// Lines of JSON from a folder into another.
pub(crate) const FILES: &str = r#"
apiVersion: headwater.dev/v1alpha1
kind: Stream
metadata: {name: lines}
spec:
  variables: {follow: false}
  sources:
    lines: {files: {path: "in/*.jsonl", follow: "${follow}"}, format: {json: {schema: {columns: {id: int64}}}}}
  sinks: {raw: {from: lines, files: {url: out}, format: json}}
"#;

/// A folder in which the binary runs.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new(document: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("a.yaml", document);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// What a command did that was given more than arguments.
    #[expect(clippy::unused_self, reason = "its files must outlive it")]
    pub(crate) fn ran(&self, command: &mut Command) -> Ran {
        Ran::of(command.output().unwrap())
    }

    /// Starts a run that goes on, with its standard error at hand.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        self.started(&mut self.command(arguments))
    }

    /// Starts a command that was given more than arguments.
    #[expect(clippy::unused_self, reason = "its files must outlive it")]
    pub(crate) fn started(&self, command: &mut Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Started { child, stderr }
    }

    /// The lines of all visible files in a folder.
    pub(crate) fn lines(&self, folder: &str) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.path().join(folder)) else { return Vec::new() };
        let visible: Vec<PathBuf> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
        let texts = visible.iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// This, if the exit code is `code`.
    pub(crate) fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A command that is running. It is killed when a test ends early.
pub(crate) struct Started {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Started {
    /// Reads standard error up to a line that has `words`.
    pub(crate) fn says(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended without saying {words:?}");
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end while nobody reads standard output.
    pub(crate) fn end_unread(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn end(mut self) -> Ran {
        let (mut out, mut err) = (String::new(), String::new());
        self.stderr.read_to_string(&mut err).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        Ran { code: self.child.wait().unwrap().code(), out, err }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
