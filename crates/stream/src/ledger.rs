//! The book in which a task writes how far it came, which is also the lock on the task: the seam [`Ledger`].

pub mod local;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{Error, Position, Token};

/// The version of the shapes that are stored here.
pub const VERSION: u32 = 1;

/// One commit of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of this shape, 1.
    pub version: u32,
    /// The claim under which it was written.
    pub claim: u64,
    /// Grows by one with each record of a task, over all claims.
    pub sequence: u64,
    /// Random: tells our own record from another's after an unknown outcome.
    pub nonce: String,
    /// When it was written, milliseconds since 1970.
    pub at: i64,
    /// Where each source of the task stands.
    pub positions: BTreeMap<String, Position>,
    /// What each sink has prepared and must still publish. Quarantine is one of them.
    pub tokens: BTreeMap<String, Token>,
}

/// What taking a task over tells.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Our number: larger than any before.
    pub claim: u64,
    /// The newest record, by whoever wrote it.
    pub last: Option<Record>,
}

/// One task's book.
///
/// Promises: [`Ledger::claim`] fences everyone who claimed before; [`Ledger::append`] is all or nothing, durable when
/// it returns, and fails after another's claim.
pub trait Ledger: Send {
    /// Takes the task over.
    fn claim(&mut self) -> Result<Claimed, Error>;

    /// Writes the next record.
    fn append(&mut self, record: &Record) -> Result<(), Error>;
}

/// What a stream knows of itself over all of its tasks, written at its first start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    /// The version of this shape, 1.
    pub version: u32,
    /// Random: part of every published name, so that neither a deleted ledger nor a second stream in the same folder
    /// overwrites anything.
    pub uid: String,
    /// Grows with each change of `containers`; claims of a lower generation don't count.
    pub generation: u64,
    /// The number of containers that share the tasks.
    pub containers: u32,
    /// The shards of each source, fixed at its first start: a path's hash picks one, so another number would read
    /// everything again.
    pub shards: IndexMap<String, u32>,
}

/// Where a stream's ledger lives: `<home>/<namespace>/<name>/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The folder that holds ledgers.
    pub home: PathBuf,
    /// The stream's namespace.
    pub namespace: String,
    /// The stream's name.
    pub name: String,
}

impl Home {
    /// The stream's own folder.
    pub fn folder(&self) -> PathBuf {
        self.home.join(&self.namespace).join(&self.name)
    }

    /// The folder of one task.
    pub fn task(&self, task: &str) -> PathBuf {
        self.folder().join("tasks").join(task)
    }

    /// The folder of rows that were put aside.
    pub fn quarantine(&self) -> PathBuf {
        self.folder().join("quarantine")
    }

    /// The stream's record, if the stream was ever started from here.
    pub fn stream(&self) -> Result<Option<StreamRecord>, Error> {
        local::read_json(&self.folder().join("stream.json"), "a stream's record")
    }

    /// Writes the stream's first record, unless another process was first.
    pub fn create_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        local::create_once(&self.folder().join("stream.json"), &local::to_json(record)?)
    }

    /// Replaces the stream's record.
    pub fn write_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        local::replace(&self.folder().join("stream.json"), &local::to_json(record)?)
    }

    /// The last record of every task that ever ran, by the task's stored name.
    pub fn records(&self) -> Result<BTreeMap<String, Record>, Error> {
        let folder = self.folder().join("tasks");
        let mut records = BTreeMap::new();
        for name in local::names(&folder)? {
            if let Some(record) = local::last_record(&folder.join(&name))? {
                records.insert(name, record);
            }
        }
        Ok(records)
    }

    /// Who holds a task of this stream now, if anybody does.
    pub fn holder(&self) -> Result<Option<(String, String)>, Error> {
        for name in local::names(&self.folder().join("tasks"))? {
            if let Some(holder) = local::holder(&self.task(&name))? {
                return Ok(Some((name, holder)));
            }
        }
        Ok(None)
    }

    /// Puts the whole ledger aside under a name that nobody looks for, and returns that name.
    pub fn put_aside(&self, suffix: &str) -> Result<Option<PathBuf>, Error> {
        let folder = self.folder();
        if !folder.exists() {
            return Ok(None);
        }
        if let Some((task, holder)) = self.holder()? {
            return Err(Error::Held { task, holder });
        }
        let aside = folder.with_file_name(format!("{}.aside-{suffix}", self.name));
        std::fs::rename(&folder, &aside).map_err(Error::file("put aside", &folder))?;
        local::sync_folder(folder.parent().unwrap_or(Path::new(".")))?;
        Ok(Some(aside))
    }
}
