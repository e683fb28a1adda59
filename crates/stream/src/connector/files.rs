//! `files`: reads files that globs name, and writes files that appear whole or not at all.
//!
//! ```text
//! source:  listing (globs) -> input (open, unpack, go to the offset) -> source (cut, join) -> done (what is read)
//! sink:    partition (rows by folder) -> sink (writers, roll, memory) -> staging (write, make durable, rename, sweep)
//! ```

mod cutting;
mod done;
mod input;
mod listing;
mod partition;
mod roll;
mod sink;
mod source;
mod staging;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use document::{Duration, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::{Clock, Timestamp};

use crate::{Chunk, Cut, Encode, Error, Limit, OpenSink, OpenSource, Read, Scan, Sink, Source};

pub(crate) use partition::{Partition, Value};
pub use roll::Roll;
pub(crate) use staging::{Staged, StagedFile, Staging};

/// The longest message, in bytes: 64 MiB. What is longer goes to quarantine, cut off at this length.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Reads files, each once, in order, and goes on in the middle of a file after a restart.
///
/// Names that begin with `_` or `.` are passed over, folders too, unless the path spells them out. Files that end in
/// `.gz` or `.zst` are unpacked while they are read. A file counts as complete when it is seen: write it elsewhere on
/// the same file system and rename it in. One that changes after it was read is not read again.
///
/// What was read is remembered by modification time and name: the names of the last 24 hours (counted back from the
/// newest file), and for what is older that it is done. So a file that comes late is still read when its modification
/// time is at most 24 hours older than that of the newest file.
///
/// ```yaml
/// files: {path: "alerts/**/*.avro", follow: true}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SourceSpec {
    /// A glob, a file or a folder, or a list of them.
    ///
    /// `*` and `?` stand for what is between two slashes, `[ab]` for one character, `**` for any number of folders. A
    /// folder stands for all files beneath it. A relative path starts from the folder `headwater` was started in.
    pub path: Paths,
    /// Whether to wait for more files: `false` (the default), `true` (looks every second) or `{every: 10s}`.
    ///
    /// A look costs one listing of the folders; give large folders more time.
    pub follow: Follow,
    /// In which order files are read: by `name` (the default) or by modification `time`.
    ///
    /// Set `time` where names don't sort by age and the order matters.
    pub order: Order,
    /// How many tasks read side by side, 1 by default; the hash of a path picks the task.
    ///
    /// Recorded at the first start, so that a file never changes its task. Raise it before the first start where one
    /// core is too slow.
    pub shards: Shards,
}

/// One glob or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(String),
    /// Several; a file that more than one of them names is read once.
    Many(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Paths {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

/// Whether a source waits for more files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Follow {
    /// Whether at all; looks every second.
    Whether(bool),
    /// Yes, and how often to look.
    Often(Every),
}

/// How often to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// The time between two looks.
    pub every: Duration,
}

impl Default for Follow {
    fn default() -> Self {
        Self::Whether(false)
    }
}

impl Follow {
    /// The time between two looks, or `None` where nothing is waited for.
    pub fn every(&self) -> Option<std::time::Duration> {
        match self {
            Self::Whether(false) => None,
            Self::Whether(true) => Some(std::time::Duration::from_secs(1)),
            Self::Often(often) => Some(often.every.get()),
        }
    }
}

/// The order in which files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// By path, compared byte by byte.
    #[default]
    Name,
    /// By modification time, then by path.
    Time,
}

/// A number of tasks, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Shards(pub u32);

impl Default for Shards {
    fn default() -> Self {
        Self(1)
    }
}

/// Writes files that appear whole, once, when they are committed.
///
/// A file is written beneath `_headwater/staging`, which readers pass over, and renamed to its place after the commit
/// that names it. Published names hold the stream's uid, the sink, the task, its claim, the commit and the part, so
/// nothing is overwritten.
///
/// ```yaml
/// files: {url: "night/raw", partitionBy: [night], roll: {every: 60s, bytes: 256MiB}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SinkSpec {
    /// The folder: a path, or a URL that begins with `file://`.
    pub url: String,
    /// The columns whose values pick the folder, as Hive and Spark name them: `night=20240101/..`.
    ///
    /// These columns are in the path and not in the file. What can't stand in a name is written as `%` and two digits;
    /// null and the empty string are `__HIVE_DEFAULT_PARTITION__`. Times are in UTC.
    pub partition_by: Vec<PartitionSpec>,
    /// When a file ends and becomes visible.
    pub roll: Roll,
}

/// One level of folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PartitionSpec {
    /// The values of a column.
    Column(String),
    /// The values of an expression.
    Expression(PartitionExpression),
}

/// A named expression over the sink's rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionExpression {
    /// What stands before `=` in the folder's name.
    pub name: String,
    /// The expression, such as `to_char(jd_to_timestamp(candidate.jd), '%Y%m%d')`.
    pub sql: String,
}

/// How the bytes of a file become messages or rows.
pub(crate) enum Framed {
    /// By cutting.
    Cut {
        /// Makes a cutter for one file.
        cut: Box<dyn Fn() -> Box<dyn Cut> + Send>,
        /// Whether a file that fits into one chunk may be handed over as one message (Avro containers).
        whole: bool,
    },
    /// By reading rows from the file itself, from a row on.
    Scan(ScanFile),
}

/// Opens a file whose format needs the file itself, at a row.
pub(crate) type ScanFile = Arc<dyn Fn(File, u64) -> Result<Box<dyn Scan>, Error> + Send + Sync>;

/// Makes the encoder of one file.
pub(crate) type EncodeFile = Arc<dyn Fn(&SchemaRef) -> Result<Box<dyn Encode>, Error> + Send + Sync>;

/// What a sink writes.
pub(crate) struct Written {
    /// Makes the encoder of one file.
    pub(crate) encode: EncodeFile,
    /// How the names of files end, without a dot.
    pub(crate) extension: &'static str,
    /// The levels of folders.
    pub(crate) partitions: Vec<Partition>,
    /// The columns of the rows that are not in the file.
    pub(crate) without: Vec<String>,
}

/// What a look at the files tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// How many there are.
    pub(crate) files: u64,
    /// Their bytes, packed as they are.
    pub(crate) bytes: u64,
    /// They, in the order in which they are read.
    listed: Vec<listing::Entry>,
}

/// The beginning of the first file, to infer a schema from.
pub(crate) enum Sample {
    /// Messages.
    Chunk(Chunk),
    /// A file for a format that needs the file itself, and its path.
    File(File, String),
}

/// Problems of a source's own words.
pub(crate) fn source_problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.path.as_slice().is_empty() {
        let problem = Problem::at(format!("{path}.path")).found("nothing").expected("a glob, or a list of globs");
        problems.push(problem.hint("path: \"input/*.jsonl\""));
    }
    for (index, glob) in spec.path.as_slice().iter().enumerate() {
        let at = match spec.path {
            Paths::One(_) => format!("{path}.path"),
            Paths::Many(_) => format!("{path}.path[{index}]"),
        };
        if let Err((expected, hint)) = listing::Glob::parse(glob) {
            problems.push(Problem::at(at).found(format!("`{glob}`")).expected(expected).hint(hint));
        }
    }
    if spec.follow.every().is_some_and(|every| every.is_zero()) {
        let problem = Problem::at(format!("{path}.follow.every")).found("0s").expected("a time above zero");
        problems.push(problem.hint("without `follow`, the source ends after the files that are there"));
    }
    if spec.shards.0 == 0 {
        problems.push(Problem::at(format!("{path}.shards")).found("0").expected("at least 1").hint("leave it out"));
    }
    problems
}

/// Problems of a sink's own words.
pub(crate) fn sink_problems(spec: &SinkSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(expected) = local(&spec.url) {
        let problem = Problem::at(format!("{path}.url")).found(format!("`{}`", spec.url)).expected(expected);
        problems.push(problem.hint("mount the store, or write to a folder and copy what appears there"));
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, partition) in spec.partition_by.iter().enumerate() {
        let name = match partition {
            PartitionSpec::Column(name) => name,
            PartitionSpec::Expression(expression) => &expression.name,
        };
        let problem = Problem::at(format!("{path}.partitionBy[{index}]")).found(format!("`{name}`"));
        if names.contains(&name.as_str()) {
            problems.push(problem.expected("each name once").hint("leave one of them out"));
        } else if name.is_empty() || name.starts_with(['_', '.']) {
            let hint = "readers pass over folders that begin with `_` or `.`: use `{name, sql}` to name it otherwise";
            problems.push(problem.expected("a name that begins with neither `_` nor `.`").hint(hint));
        }
        names.push(name);
    }
    problems.extend(spec.roll.problems(&format!("{path}.roll")));
    problems
}

/// Lists the files as they are now; relative paths start from `folder`.
pub(crate) fn look(spec: &SourceSpec, folder: &Path) -> Result<Look, Error> {
    let listed = listing::list(&listing::globs(spec)?, folder, spec.order, &listing::Known::new())?.0;
    let bytes = listed.iter().map(|entry| entry.bytes).sum();
    Ok(Look { files: listed.len() as u64, bytes, listed })
}

/// The first messages of what was looked at, at most `limit` of them, or the first file; `None` where there are no
/// files or no messages.
pub(crate) fn sample(
    spec: &SourceSpec,
    framed: Framed,
    look: Look,
    folder: &Path,
    limit: Limit,
) -> Result<Option<Sample>, Error> {
    if let Framed::Scan(_) = framed {
        let Some(first) = look.listed.first() else { return Ok(None) };
        let file = File::open(&first.real).map_err(Error::file("open", &first.real))?;
        return Ok(Some(Sample::File(file, first.path.to_string())));
    }
    let spec = SourceSpec { follow: Follow::Whether(false), ..spec.clone() };
    let clock = Clock::manual(Timestamp::from_millis(0));
    let reader = source::Reader { folder: folder.to_owned(), shard: (0, 1), clock, until_idle: true };
    let mut files = source::Files::listed(&spec, framed, reader, look.listed)?;
    loop {
        match files.read(limit)? {
            Read::Chunk(chunk) => return Ok(Some(Sample::Chunk(chunk))),
            Read::Bad { .. } | Read::Columns(..) => {}
            Read::Idle { .. } | Read::End => return Ok(None),
        }
    }
}

/// Opens the source.
pub(crate) fn source(spec: &SourceSpec, framed: Framed, open: OpenSource) -> Result<Box<dyn Source>, Error> {
    let OpenSource { position, shard, until_idle, world, .. } = open;
    let reader = source::Reader { folder: world.folder, shard, clock: world.clock, until_idle };
    Ok(Box::new(source::Files::open(spec, framed, reader, position)?))
}

/// Opens the sink.
pub(crate) fn sink(spec: &SinkSpec, written: Written, open: OpenSink) -> Result<Box<dyn Sink>, Error> {
    let folder = local(&spec.url).map_err(|expected| Error::World(format!("{expected}, not `{}`", spec.url)))?;
    let root = open.world.folder.join(folder);
    Ok(Box::new(sink::FilesSink::open(&root, &spec.roll, written, open)))
}

/// The folder that a URL names, from `folder`; what names none is taken as a path.
pub(crate) fn local_folder(url: &str, folder: &Path) -> PathBuf {
    folder.join(local(url).unwrap_or_else(|_| PathBuf::from(url)))
}

/// The folder that a URL names, or what was expected.
pub(crate) fn local(url: &str) -> Result<PathBuf, &'static str> {
    match url.split_once("://") {
        _ if url.is_empty() => Err("a folder"),
        Some(("file", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(("file", _)) => Err("three slashes: file:///folder"),
        Some(_) => Err("a folder: other stores can't be written yet"),
        None => Ok(PathBuf::from(url)),
    }
}
