//! What is kept of a service that runs: `service.json` in its folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::process::Process;

/// The file that tells others of a service.
const FILE: &str = "service.json";

/// One process of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its number within the service, from 1.
    pub(crate) number: u32,
    /// The process, as it was last started.
    pub(crate) process: Process,
    /// What starts it again.
    pub(crate) command: Vec<String>,
    /// Where all it says goes.
    pub(crate) log: PathBuf,
}

/// A service, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Its name on the command line.
    pub(crate) name: String,
    /// Whether it answered after its start.
    pub(crate) ready: bool,
    /// When it was started, in seconds since 1970.
    pub(crate) started_unix_seconds: u64,
    /// Its processes.
    pub(crate) parts: Vec<Part>,
    /// Addresses by kind, such as `plaintext`; several brokers are joined by commas.
    pub(crate) listeners: BTreeMap<String, String>,
    /// Certificates, passwords and the like, by what they are.
    pub(crate) files: BTreeMap<String, PathBuf>,
}

impl State {
    /// Reads the file of a service's folder; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<State>> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        let value: Value = serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let state = State::from_json(&value);
        state
            .map(Some)
            .with_context(|| format!("{} isn't what `services up` writes: remove its folder", path.display()))
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let (path, fresh) = (folder.join(FILE), folder.join("service.json.new"));
        fs::write(&fresh, format!("{:#}\n", self.to_json())).with_context(|| format!("write {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("write {}", path.display()))
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.parts.iter().map(|part| part.process.clone()).collect()
    }

    /// How many of its processes run.
    pub(crate) fn running(&self) -> usize {
        self.parts.iter().filter(|part| part.process.runs()).count()
    }

    /// Whether it answered once and all of it still runs.
    pub(crate) fn is_up(&self) -> bool {
        self.ready && self.running() == self.parts.len()
    }

    /// As it stands in the file.
    pub(crate) fn to_json(&self) -> Value {
        let parts = self.parts.iter().map(|part| {
            json!({
                "number": part.number,
                "process": part.process.to_json(),
                "command": part.command,
                "log": part.log,
            })
        });
        json!({
            "name": self.name,
            "ready": self.ready,
            "startedUnixSeconds": self.started_unix_seconds,
            "parts": parts.collect::<Vec<Value>>(),
            "listeners": self.listeners,
            "files": self.files,
        })
    }

    fn from_json(value: &Value) -> Option<State> {
        let parts: Option<Vec<Part>> = value["parts"].as_array()?.iter().map(part).collect();
        Some(State {
            name: value["name"].as_str()?.to_owned(),
            ready: value["ready"].as_bool()?,
            started_unix_seconds: value["startedUnixSeconds"].as_u64()?,
            parts: parts?,
            listeners: texts(value["listeners"].as_object()?)?,
            files: texts(value["files"].as_object()?)?,
        })
    }
}

fn part(value: &Value) -> Option<Part> {
    let words = value["command"].as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
    Some(Part {
        number: u32::try_from(value["number"].as_u64()?).ok()?,
        process: Process::from_json(&value["process"])?,
        command: words.collect::<Option<_>>()?,
        log: value["log"].as_str()?.into(),
    })
}

fn texts<T: for<'a> From<&'a str>>(map: &Map<String, Value>) -> Option<BTreeMap<String, T>> {
    map.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.into()))).collect()
}

/// Makes a folder that only its owner may look into, and what is missing above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).with_context(|| format!("make the folder {}", path.display()))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> State {
        let process = Process::of(std::process::id()).expect("our own process");
        State {
            name: "kafka".to_owned(),
            ready: true,
            started_unix_seconds: 1_700_000_000,
            parts: vec![Part { number: 1, process, command: vec!["a b".to_owned()], log: "x/log".into() }],
            listeners: [("plaintext".to_owned(), "127.0.0.1:1".to_owned())].into(),
            files: [("ca".to_owned(), "x/ca.pem".into())].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(State::read(folder.path()).expect("no file is no mistake"), None);
        own().write(folder.path()).expect("written");
        assert_eq!(State::read(folder.path()).expect("read"), Some(own()));
        assert!(own().is_up());
        assert!(!State { ready: false, ..own() }.is_up());
    }

    #[test]
    fn a_file_of_another_shape_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), "{\"name\": 1}").expect("written");
        let error = State::read(folder.path()).expect_err("not ours");
        assert!(error.to_string().contains("service.json isn't what `services up` writes"), "{error}");
    }
}
