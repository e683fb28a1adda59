//! The ledger in a local directory.
//!
//! ```text
//! <home>/<namespace>/<name>/stream.json          uid, generation, containers, shards
//!                           tasks/<task>/lock                held by flock while the task runs; says by whom
//!                           tasks/<task>/claim.json          the newest claim
//!                           tasks/<task>/record-<claim>.json the newest record under a claim; the highest counts
//!                           tasks/<task>/settled             the nonce of the newest record that was published
//! ```
//! Each file but the last is replaced whole: written beside, synced, renamed, the folder synced. `flock` is given back
//! by the kernel when the process ends, however it ends.
//!
//! The files fence even where somebody removed the lock under a running process. Each claim has a record file of its
//! own, so that a stopped process that wakes up in the middle of an append can't replace its successor's record. And
//! since an append looks at the claim once more when its record is in place, while a claim is written before the last
//! record is read, either the successor sees that record or the append fails.
//!
//! `settled` is a note, written in place and not synced: publishing is durable before it, so that it is true whenever it
//! names the last record, and where it was lost or half-written that record is published once more. It keeps a file that
//! a reader took away from looking like one that was lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stdx::{Bell, Clock};

use crate::{Claimed, Error, Ledger, Record};

/// How often, and how long each time, a holder's name is waited for.
const HOLDER_TRIES: u32 = 20;
const HOLDER_WAIT: Duration = Duration::from_millis(5);

/// A task's ledger in a local directory. Dropping it lets the task go.
#[derive(Debug)]
pub struct LocalLedger {
    task: String,
    folder: PathBuf,
    holder: String,
    lock: Option<File>,
    claim: u64,
    /// The nonce of the last record.
    nonce: String,
    settled: Option<File>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    claim: u64,
}

impl LocalLedger {
    /// The ledger of `task` in `folder`; `holder` is how this process names itself to another that is refused.
    pub fn new(task: impl Into<String>, folder: impl Into<PathBuf>, holder: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            folder: folder.into(),
            holder: holder.into(),
            lock: None,
            claim: 0,
            nonce: String::new(),
            settled: None,
        }
    }

    fn note_settled(&mut self) -> std::io::Result<()> {
        let mut file = match self.settled.take() {
            Some(file) => file,
            None => OpenOptions::new().write(true).create(true).truncate(false).open(settled_path(&self.folder))?,
        };
        file.rewind()?;
        file.write_all(format!("{}\n", self.nonce).as_bytes())?;
        self.settled = Some(file);
        Ok(())
    }

    fn lock(&mut self) -> Result<(), Error> {
        if self.lock.is_some() {
            return Ok(());
        }
        create_folder(&self.folder)?;
        let path = self.folder.join("lock");
        let mut file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Held { task: self.task.clone(), holder: read_holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(Error::File { verb: "lock", path, source }),
        }
        file.set_len(0).map_err(Error::file("write", &path))?;
        file.rewind().and_then(|()| file.write_all(self.holder.as_bytes())).map_err(Error::file("write", &path))?;
        self.lock = Some(file);
        Ok(())
    }

    /// The lock fences already, unless somebody removed it under us; then the claim tells.
    fn check_claim(&self) -> Result<(), Error> {
        let theirs = self.newest_claim()?;
        if theirs == self.claim && self.lock.is_some() {
            return Ok(());
        }
        Err(Error::Fenced { task: self.task.clone(), ours: self.claim, theirs })
    }

    /// Removes the record files of older claims, which ours has taken over.
    fn remove_older(&self) -> Result<(), Error> {
        for claim in record_claims(&self.folder)?.into_iter().filter(|claim| *claim < self.claim) {
            let path = record_path(&self.folder, claim);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn newest_claim(&self) -> Result<u64, Error> {
        let claim: Option<Claim> = read_json(&self.folder.join("claim.json"), "a claim")?;
        Ok(claim.map_or(0, |claim| claim.claim))
    }
}

impl Ledger for LocalLedger {
    fn claim(&mut self) -> Result<Claimed, Error> {
        self.lock()?;
        let newest_record = record_claims(&self.folder)?.into_iter().max().unwrap_or(0);
        self.claim = self.newest_claim()?.max(newest_record) + 1;
        replace(&self.folder.join("claim.json"), &to_json(&Claim { claim: self.claim })?)?;
        let last = last_record(&self.folder)?;
        if let Some(last) = &last {
            replace(&record_path(&self.folder, self.claim), &to_json(last)?)?;
            self.remove_older()?;
        }
        self.nonce = last.as_ref().map(|last| last.nonce.clone()).unwrap_or_default();
        Ok(Claimed { claim: self.claim, last })
    }

    fn append(&mut self, record: &Record) -> Result<(), Error> {
        self.check_claim()?;
        replace(&record_path(&self.folder, self.claim), &to_json(record)?)?;
        self.nonce.clone_from(&record.nonce);
        self.check_claim()
    }

    /// From now on the last record has no tokens for whoever reads it. Costs no wait for the disk.
    fn settled(&mut self) {
        if let Err(error) = self.note_settled() {
            // Without the note it is only published again.
            tracing::debug!(task = %self.task, %error, "a published record can't be noted as settled");
        }
    }
}

fn record_path(folder: &Path, claim: u64) -> PathBuf {
    folder.join(format!("record-{claim}.json"))
}

/// The claims that have a record file in a task's folder.
fn record_claims(folder: &Path) -> Result<Vec<u64>, Error> {
    let claim = |name: &String| name.strip_prefix("record-")?.strip_suffix(".json")?.parse().ok();
    Ok(names(folder)?.iter().filter_map(claim).collect())
}

fn settled_path(folder: &Path) -> PathBuf {
    folder.join("settled")
}

/// Whether all that a record names was noted as published.
fn is_settled(folder: &Path, record: &Record) -> Result<bool, Error> {
    match std::fs::read(settled_path(folder)) {
        Ok(note) => Ok(note.split(|byte| *byte == b'\n').next() == Some(record.nonce.as_bytes())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("read", settled_path(folder))(error)),
    }
}

/// The newest record in a task's folder, without tokens once they are all published.
pub(crate) fn last_record(folder: &Path) -> Result<Option<Record>, Error> {
    loop {
        let Some(claim) = record_claims(folder)?.into_iter().max() else { return Ok(None) };
        if let Some(mut record) = read_json::<Record>(&record_path(folder, claim), "a task's record")? {
            if !record.tokens.is_empty() && is_settled(folder, &record)? {
                record.tokens.clear();
            }
            return Ok(Some(record));
        }
        // Removed since it was listed: a newer claim has taken it over under its own name.
    }
}

/// Who holds the task in `folder`, if anybody does.
pub(crate) fn holder(folder: &Path) -> Result<Option<String>, Error> {
    let path = folder.join("lock");
    if !path.exists() {
        return Ok(None);
    }
    let mut file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(source)) => Err(Error::File { verb: "lock", path, source }),
    }
}

fn open_lock(path: &Path) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(Error::file("open", path))
}

/// Who holds a lock. The holder writes its name right after it has the lock: that moment is waited for.
fn read_holder(file: &mut File) -> String {
    let (clock, bell) = (Clock::system(), Bell::default());
    for _ in 0..HOLDER_TRIES {
        let mut holder = String::new();
        if file.rewind().and_then(|()| file.read_to_string(&mut holder)).is_ok() && !holder.is_empty() {
            return holder;
        }
        bell.wait(&clock, Some(clock.elapsed() + HOLDER_WAIT));
    }
    "another process".into()
}

/// Creates `folder` and its parents, and makes their names durable.
pub(crate) fn create_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::file("create folder", folder)(error));
        }
        _ => {}
    }
    sync_folder(folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(Error::file("sync folder", folder))
}

/// Replaces the file at `path` with `bytes`: whole or not at all, durable when it returns.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(Error::file("create", &beside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", &beside))?;
    std::fs::rename(&beside, path).map_err(Error::file("rename to", path))?;
    sync_folder(folder)
}

/// Creates the file at `path` with `bytes`, whole and durable, unless it is there already, whoever was first.
pub(crate) fn create_once(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(folder)?;
    // Two that create it at the same time must not write into each other's file.
    let beside = path.with_extension(format!("{:016x}", fastrand::u64(..)));
    let mut file = File::create_new(&beside).map_err(Error::file("create", &beside))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", &beside));
    let linked = written.and_then(|()| match std::fs::hard_link(&beside, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            // Not every file system has hard links.
            std::fs::rename(&beside, path).map_err(Error::file("create", path))
        }
        _ => Ok(()),
    });
    // After a rename it is gone.
    drop(std::fs::remove_file(&beside));
    linked?;
    sync_folder(folder)
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::House(format!("a record can't be written as JSON: {error}")))
}

/// Reads a stored file of ours; `None` where there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Option<T>, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::Stored {
        what,
        path: path.into(),
        found: error.to_string(),
    })
}

/// The names in `folder`, sorted; none where there is no such folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::VERSION;

    fn record(claim: u64, sequence: u64) -> Record {
        Record {
            version: VERSION,
            claim,
            sequence,
            nonce: format!("{claim}-{sequence}"),
            at: 0,
            positions: std::collections::BTreeMap::default(),
            tokens: std::collections::BTreeMap::default(),
        }
    }

    #[test]
    fn a_second_claimant_is_refused_with_the_holders_name() {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("a/tasks/t-0");
        let mut first = LocalLedger::new("t-0", &task, "process 1");
        let mut second = LocalLedger::new("t-0", &task, "process 2");
        assert_eq!(first.claim().unwrap().claim, 1);
        let refused = second.claim().unwrap_err().to_string();
        assert!(refused.contains("t-0") && refused.contains("process 1"), "{refused}");
        assert_eq!(holder(&task).unwrap().as_deref(), Some("process 1"));
        drop(first);
        assert_eq!(holder(&task).unwrap(), None);
        assert_eq!(second.claim().unwrap().claim, 2);
    }

    #[test]
    fn a_claim_returns_the_last_record_and_grows() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = LocalLedger::new("t-0", folder.path(), "me");
        assert!(ledger.claim().unwrap().last.is_none());
        ledger.append(&record(1, 1)).unwrap();
        ledger.append(&record(1, 2)).unwrap();
        let again = ledger.claim().unwrap();
        assert_eq!((again.claim, again.last), (2, Some(record(1, 2))));
    }

    #[test]
    fn an_append_after_anothers_claim_fails() {
        let folder = tempfile::tempdir().unwrap();
        let mut ours = LocalLedger::new("t-0", folder.path(), "me");
        ours.claim().unwrap();
        // Somebody removed the lock file, so that a second process could claim.
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        let mut theirs = LocalLedger::new("t-0", folder.path(), "them");
        assert_eq!(theirs.claim().unwrap().claim, 2);
        assert!(matches!(ours.append(&record(1, 1)), Err(Error::Fenced { ours: 1, theirs: 2, .. })));
        assert!(last_record(folder.path()).unwrap().is_none());
    }

    #[test]
    fn a_record_that_was_half_written_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("record-1.new"), b"{\"version\":1,").unwrap();
        let mut ledger = LocalLedger::new("t-0", folder.path(), "me");
        assert!(ledger.claim().unwrap().last.is_none());
    }

    #[test]
    fn a_record_that_lands_after_anothers_claim_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut ours = LocalLedger::new("t-0", folder.path(), "me");
        ours.claim().unwrap();
        ours.append(&record(1, 1)).unwrap();
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        let mut theirs = LocalLedger::new("t-0", folder.path(), "them");
        assert_eq!(theirs.claim().unwrap().last, Some(record(1, 1)));
        // What an append does that was stopped between its look at the claim and the rename.
        replace(&record_path(folder.path(), 1), &to_json(&record(1, 2)).unwrap()).unwrap();
        assert_eq!(last_record(folder.path()).unwrap(), Some(record(1, 1)));
        theirs.append(&record(2, 2)).unwrap();
        assert_eq!(last_record(folder.path()).unwrap(), Some(record(2, 2)));
        drop(theirs);
        assert_eq!(LocalLedger::new("t-0", folder.path(), "third").claim().unwrap().last, Some(record(2, 2)));
    }

    #[test]
    fn a_record_is_settled_by_its_own_note_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = |folder: &Path| last_record(folder).unwrap().unwrap().tokens.len();
        let with_token = |sequence| {
            let tokens = [("out".to_owned(), crate::Token("file".into()))].into();
            Record { tokens, ..record(1, sequence) }
        };
        let mut ledger = LocalLedger::new("t-0", folder.path(), "me");
        ledger.claim().unwrap();
        ledger.append(&with_token(10)).unwrap();
        assert_eq!(tokens(folder.path()), 1);
        ledger.settled();
        assert_eq!(tokens(folder.path()), 0);
        ledger.append(&with_token(2)).unwrap();
        assert_eq!(tokens(folder.path()), 1, "the note is about an older record");
        ledger.settled();
        drop(ledger);
        let note = settled_path(folder.path());
        std::fs::write(&note, b"1-").unwrap();
        assert_eq!(tokens(folder.path()), 1, "the note is half-written");
        // A claim makes the note durable, as a record without tokens.
        std::fs::write(&note, b"1-2\n").unwrap();
        assert!(LocalLedger::new("t-0", folder.path(), "me").claim().unwrap().last.unwrap().tokens.is_empty());
        std::fs::remove_file(&note).unwrap();
        assert_eq!(tokens(folder.path()), 0);
    }

    #[test]
    fn only_the_first_creates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/stream.json");
        create_once(&path, b"1").unwrap();
        create_once(&path, b"2").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
        assert_eq!(names(path.parent().unwrap()).unwrap(), ["stream.json"]);
    }
}
