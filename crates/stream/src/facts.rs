//! How the world is: looked at once, before the plan, and replayable from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use document::Problem;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use stdx::Chain;

use crate::connector;
use crate::ledger::{Home, Record, StreamRecord};
use crate::spec::Stream;
use crate::{Error, World};

/// How the world is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// What each source was seen to hold.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceFacts>,
    /// What the stream's earlier runs left behind.
    #[serde(default)]
    pub ledger: LedgerFacts,
    /// The folder that relative paths start from.
    #[serde(default)]
    pub folder: PathBuf,
    /// Parts that the caller gives up (`--forget`).
    #[serde(default)]
    pub forget: Vec<String>,
}

/// What a source was seen to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceFacts {
    /// What its rows look like, all columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRef>,
    /// Files, where it reads files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Their size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Topics, where it reads topics, and the partitions of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, u32>,
}

/// What the stream's earlier runs left behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerFacts {
    /// The stream's record in the ledger's home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRecord>,
    /// The last record of each task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, Record>,
    /// Other homes that the document implies and that hold a ledger of this stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<PathBuf>,
    /// The topics of such a ledger in a cluster that the document names. Looked for only when there is no record at home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere_in_kafka: Vec<String>,
}

/// Why there are no facts: what is wrong with the document, and how the world failed where it was looked at.
#[derive(Debug, Default)]
pub struct Unseen {
    /// What is wrong with the document.
    pub problems: Vec<Problem>,
    /// How the world failed: a disk, a network, a server. The document may be right.
    pub failures: Vec<Error>,
}

impl Unseen {
    /// Adds what another look found.
    pub fn extend(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.failures.extend(other.failures);
    }

    /// Whether nothing went wrong.
    pub const fn is_empty(&self) -> bool {
        self.problems.is_empty() && self.failures.is_empty()
    }

    /// What the system refused is a failure of the world; what can't be found or understood is a problem of the
    /// document that names it.
    pub(crate) fn of(error: Error, problem: impl FnOnce(String) -> Problem) -> Self {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        match &error {
            Error::File { source, .. } | Error::Io { source, .. }
                if !matches!(source.kind(), NotFound | NotADirectory) =>
            {
                error.into()
            }
            _ => vec![problem(Chain(&error).to_string())].into(),
        }
    }
}

impl From<Vec<Problem>> for Unseen {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, failures: Vec::new() }
    }
}

impl From<Problem> for Unseen {
    fn from(problem: Problem) -> Self {
        vec![problem].into()
    }
}

impl From<Error> for Unseen {
    fn from(error: Error) -> Self {
        Self { problems: Vec::new(), failures: vec![error] }
    }
}

/// Where the document says that the ledger lives, first, and the other places it implies.
pub fn homes(stream: &Stream, folder: &std::path::Path) -> Vec<Home> {
    let spec = &stream.spec;
    let home = |path: PathBuf| Home::local(path, &stream.namespace, &stream.name);
    let in_kafka = |place| Home { kafka: Some(place), ..home(folder.join(".headwater")) };
    // A sink whose transactions hold the record is the ledger's home, whatever else there is.
    let hosted = spec.sinks.values().find_map(|sink| connector::hosted(sink, stream)).map(in_kafka);
    let given = spec.commit.url.as_deref().map(|url| connector::files::local_folder(url, folder));
    let beside =
        spec.sinks.values().filter_map(|sink| connector::folder_of(sink, folder)).map(|url| url.join("_headwater"));
    let local = given.into_iter().chain(beside).chain([folder.join(".headwater")]).map(home);
    let implied = connector::implied(stream).into_iter().map(in_kafka);
    let mut homes = IndexMap::new();
    for home in hosted.into_iter().chain(local).chain(implied) {
        homes.entry(home.to_string()).or_insert(home);
    }
    homes.into_values().collect()
}

/// Looks at the world. Every problem and every failure is found, not only the first.
pub fn facts(stream: &Stream, forget: &[String], world: &World) -> Result<Facts, Unseen> {
    let mut unseen = Unseen::default();
    let mut sources = BTreeMap::new();
    for (name, source) in &stream.spec.sources {
        match connector::look(source, &format!("spec.sources.{name}"), world) {
            Ok(facts) => _ = sources.insert(name.clone(), facts),
            Err(found) => unseen.extend(found),
        }
    }
    // A cluster that doesn't answer would be waited for once more.
    let is_silent = unseen.failures.iter().any(|error| matches!(error, Error::Kafka { .. }));
    let ledger = if is_silent { Ok(LedgerFacts::default()) } else { look_at_ledger(stream, world) };
    let ledger = ledger.unwrap_or_else(|error| {
        unseen.failures.push(error);
        LedgerFacts::default()
    });
    if unseen.is_empty() {
        Ok(Facts { sources, ledger, folder: world.folder.clone(), forget: forget.to_vec() })
    } else {
        Err(unseen)
    }
}

fn look_at_ledger(stream: &Stream, world: &World) -> Result<LedgerFacts, Error> {
    let homes = homes(stream, &world.folder);
    let Some((home, others)) = homes.split_first() else { return Ok(LedgerFacts::default()) };
    let books = home.open(world)?;
    let record = books.stream()?;
    let (mut elsewhere, mut elsewhere_in_kafka) = (Vec::new(), Vec::new());
    for other in others {
        // A stream that goes on needs no question to another cluster.
        if (record.is_some() && other.kafka.is_some()) || !other.open(world)?.is_there()? {
            continue;
        }
        match other.kafka {
            Some(_) => elsewhere_in_kafka.push(other.to_string()),
            None => elsewhere.push(other.folder()),
        }
    }
    Ok(LedgerFacts { stream: record, records: books.records()?, elsewhere, elsewhere_in_kafka })
}
