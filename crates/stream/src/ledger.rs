//! The book in which a task writes how far it came, which is also the lock on the task: the seam [`Ledger`].

pub mod local;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use self::local::LocalLedger;
use crate::connector::kafka;
use crate::{Error, Position, Token, World};

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

    /// All that the last record names is published, durably: a ledger may note that, so that nobody publishes it again.
    fn settled(&mut self) {}
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
    /// Where each partition that was there at a source's first start begins: by source, topic and partition. Any other
    /// begins with its first row, also when it appeared while the stream was down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, Starts>,
}

/// Where the partitions of one source begin: by topic, the offset of each partition.
pub type Starts = BTreeMap<String, Vec<i64>>;

/// All that a stream keeps of itself: its own record, and a ledger for each task.
pub trait Books: Send + Sync {
    /// The stream's record, if the stream was ever started from here.
    fn stream(&self) -> Result<Option<StreamRecord>, Error>;

    /// Whether the stream was ever started from here, also asked of places that we may not be allowed to look at.
    fn is_there(&self) -> Result<bool, Error> {
        Ok(self.stream()?.is_some())
    }

    /// Writes the stream's first record, unless another process was first.
    fn create_stream(&self, record: &StreamRecord) -> Result<(), Error>;

    /// Replaces the stream's record by one of the next generation. Of two processes that do so at once, one wins; who
    /// wants to know reads it again.
    fn write_stream(&self, record: &StreamRecord) -> Result<(), Error>;

    /// The last record of every task that ever ran, by the task's stored name.
    fn records(&self) -> Result<BTreeMap<String, Record>, Error>;

    /// The newest claim on a task, asked without claiming it. `None`: the ledger refuses a claim on a task that is held,
    /// so that nobody needs to ask.
    fn newest_claim(&self, _task: &str) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// A task that is held now, and by whom, where that can be told without taking it over.
    fn holder(&self) -> Result<Option<(String, String)>, Error>;

    /// Puts everything aside, so that the stream starts anew, and tells where it is now.
    fn put_aside(&self, suffix: &str) -> Result<Option<String>, Error>;

    /// The ledger of one task; `holder` is how this process names itself to another that is refused.
    fn ledger(&self, task: &str, holder: &str) -> Result<Box<dyn Ledger>, Error>;
}

/// Where a stream's books are.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    /// The folder that holds ledgers, and what is put aside of streams whose ledger is elsewhere.
    pub home: PathBuf,
    /// The stream's namespace.
    pub namespace: String,
    /// The stream's name.
    pub name: String,
    /// The cluster whose topics hold the ledger; `None`: the folder does.
    pub(crate) kafka: Option<kafka::Place>,
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kafka {
            Some(place) => write!(f, "{place}"),
            None => write!(f, "{}", self.folder().display()),
        }
    }
}

impl Home {
    /// Books in the folder `home`.
    pub fn local(home: impl Into<PathBuf>, namespace: &str, name: &str) -> Self {
        Self { home: home.into(), namespace: namespace.into(), name: name.into(), kafka: None }
    }

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

    /// Opens the books.
    pub fn open(&self, world: &World) -> Result<Arc<dyn Books>, Error> {
        Ok(match &self.kafka {
            Some(place) => Arc::new(kafka::KafkaBooks::open(place, world)?),
            None => Arc::new(LocalBooks(self.clone())),
        })
    }
}

/// Books in a local folder: `<home>/<namespace>/<name>/`.
#[derive(Clone, Debug)]
pub struct LocalBooks(pub Home);

impl Books for LocalBooks {
    fn stream(&self) -> Result<Option<StreamRecord>, Error> {
        local::read_json(&self.0.folder().join("stream.json"), "a stream's record")
    }

    fn create_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        local::create_once(&self.0.folder().join("stream.json"), &local::to_json(record)?)
    }

    fn write_stream(&self, record: &StreamRecord) -> Result<(), Error> {
        local::replace(&self.0.folder().join("stream.json"), &local::to_json(record)?)
    }

    fn records(&self) -> Result<BTreeMap<String, Record>, Error> {
        let folder = self.0.folder().join("tasks");
        let mut records = BTreeMap::new();
        for name in local::names(&folder)? {
            if let Some(record) = local::last_record(&folder.join(&name))? {
                records.insert(name, record);
            }
        }
        Ok(records)
    }

    fn holder(&self) -> Result<Option<(String, String)>, Error> {
        for name in local::names(&self.0.folder().join("tasks"))? {
            if let Some(holder) = local::holder(&self.0.task(&name))? {
                return Ok(Some((name, holder)));
            }
        }
        Ok(None)
    }

    fn put_aside(&self, suffix: &str) -> Result<Option<String>, Error> {
        let folder = self.0.folder();
        if !folder.exists() {
            return Ok(None);
        }
        if let Some((task, holder)) = self.holder()? {
            return Err(Error::Held { task, holder });
        }
        let aside = folder.with_file_name(format!("{}.aside-{suffix}", self.0.name));
        std::fs::rename(&folder, &aside).map_err(Error::file("put aside", &folder))?;
        local::sync_folder(folder.parent().unwrap_or(Path::new(".")))?;
        Ok(Some(aside.display().to_string()))
    }

    fn ledger(&self, task: &str, holder: &str) -> Result<Box<dyn Ledger>, Error> {
        Ok(Box::new(LocalLedger::new(task, self.0.task(task), holder)))
    }
}
