//! Sends rows that were put aside through the stream again, from the part that refused them on.
//!
//! Each pair of source and part is a task of its own with its own record, so that a replay that is killed goes on
//! where it was, and no row that other sinks already have is sent to them twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Encoding, Entry, entries, files};
use crate::plan::{Consumer, Part, Plan, TaskPlan};
use crate::{Chunk, Decode, Decoded, Ends, Error, Limit, Position, Read, Rows, Source};

/// What the stored names of replays begin with; no source's name does.
const REPLAY: &str = "_replay-";

/// What a replay has behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Files that are done.
    done: BTreeSet<String>,
    /// The file that is being read, and how many of its entries are done.
    current: Option<(String, usize)>,
}

/// The row that is wanted of each message of the chunk that was handed out last.
type Wanted = Arc<Mutex<Vec<Option<u32>>>>;

/// Gives the entries of one source that one part refused.
pub(crate) struct ReplaySource {
    source: String,
    part: String,
    files: Vec<PathBuf>,
    entries: Option<(String, Vec<Entry>)>,
    progress: Progress,
    wanted: Wanted,
}

impl ReplaySource {
    fn open(
        folder: &Path,
        (source, part): (&str, &str),
        position: Option<Position>,
        wanted: Wanted,
    ) -> Result<Self, Error> {
        let progress: Progress = match position {
            Some(Position(value)) => serde_json::from_value(value)
                .map_err(|error| Error::World(format!("a replay's position can't be understood: {error}")))?,
            None => Progress::default(),
        };
        let mut files = files(folder)?;
        files.retain(|path| !progress.done.contains(&file_name(path)));
        files.reverse();
        Ok(Self { source: source.into(), part: part.into(), files, entries: None, progress, wanted })
    }

    fn is_ours(&self, entry: &Entry) -> bool {
        entry.source == self.source && entry.part == self.part
    }

    /// The next entry and its place; steps over the entries of others.
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            match self.next_of_file() {
                Some(entry) if self.is_ours(&entry) => return Ok(Some(entry)),
                Some(_) => {}
                None if self.files.is_empty() => return Ok(None),
                None => self.open_next()?,
            }
        }
    }

    fn open_next(&mut self) -> Result<(), Error> {
        if let Some(path) = self.files.pop() {
            self.entries = Some((file_name(&path), entries(&path)?));
        }
        Ok(())
    }

    /// The next entry of the open file; at its end the file is done.
    fn next_of_file(&mut self) -> Option<Entry> {
        let (name, entries) = self.entries.as_ref()?;
        let at = self.progress.current.as_ref().filter(|(file, _)| file == name).map_or(0, |(_, at)| *at);
        let entry = entries.get(at).cloned();
        if entry.is_some() {
            self.progress.current = Some((name.clone(), at + 1));
        } else {
            self.progress.done.insert(name.clone());
            self.progress.current = None;
            self.entries = None;
        }
        entry
    }

    fn wants(&self, row: Option<u32>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = vec![row];
    }
}

impl Source for ReplaySource {
    /// One entry at a time: each may need a header of its own, and there are few.
    fn read(&mut self, _limit: Limit) -> Result<Read, Error> {
        let Some(entry) = self.next()? else { return Ok(Read::End) };
        let bytes = entry.payload()?;
        self.wants(entry.row);
        if entry.encoding == Encoding::Arrow {
            let mut rows =
                StreamReader::try_new(&bytes[..], None).map_err(Error::arrow("read a row that was put aside"))?;
            let row = rows.next().ok_or_else(|| Error::World("a row that was put aside is empty".into()))?;
            return Ok(Read::Columns(row.map_err(Error::arrow("read a row that was put aside"))?, entry.origin));
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Read::Chunk(Chunk {
            bytes: Bytes::from(bytes),
            ends: Ends::At { ends: vec![length], bytes: false },
            header: entry.header()?.map(Bytes::from),
            origins: vec![(0, entry.origin)],
            beside: None,
        }))
    }

    fn position(&self) -> Position {
        Position(serde_json::to_value(&self.progress).unwrap_or_default())
    }

    fn lag(&self) -> Option<u64> {
        Some(self.files.len() as u64 + u64::from(self.entries.is_some()))
    }
}

/// Keeps only the wanted row of a message that holds several.
struct ReplayDecode {
    inner: Box<dyn Decode>,
    wanted: Wanted,
}

impl Decode for ReplayDecode {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let mut decoded = self.inner.decode(chunk, from)?;
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Some(row)) = wanted.first() else { return Ok(decoded) };
        let keep: BooleanArray = (0..decoded.columns.num_rows()).map(|at| Some(at == *row as usize)).collect();
        decoded.columns =
            filter_record_batch(&decoded.columns, &keep).map_err(Error::arrow("pick a row that was put aside"))?;
        let none = UInt32Array::from(vec![0_u32; decoded.columns.num_rows()]);
        decoded.messages = Rows::picked(&none);
        Ok(decoded)
    }
}

/// The plan that replays what was put aside: the tasks of `plan` replaced by one for each source and part with
/// entries that are not replayed yet. `None`: there is nothing to replay.
pub fn replay_plan(plan: &Plan, only_part: Option<&str>) -> Result<Vec<Plan>, Error> {
    let mut groups = BTreeSet::new();
    for path in files(&plan.quarantine)? {
        groups.extend(entries(&path)?.into_iter().map(|entry| (entry.source, entry.part)));
    }
    let groups = groups.into_iter().filter(|(_, part)| only_part.is_none_or(|only| only == part));
    let mut plans = Vec::new();
    for (source, part) in groups {
        if let Some(number) = plan.sources.iter().position(|planned| planned.name == source) {
            plans.push(one(plan, number, &part)?);
        } else {
            tracing::warn!(source, part, "rows of a source that the document no longer has stay in quarantine");
        }
    }
    Ok(plans)
}

/// The stored name of the task that replays what `part` refused of `source`.
pub(crate) fn task_name(source: &str, part: &str) -> String {
    format!("{REPLAY}{source}-{part}")
}

/// Whether a task's stored name is that of a replay.
pub(crate) fn is_replay(task: &str) -> bool {
    task.starts_with(REPLAY)
}

/// Whether an entry of a file was replayed, by the records of the replays.
pub fn is_replayed(records: &BTreeMap<String, crate::Record>, entry: &Entry, file: &str, number: usize) -> bool {
    let Some(record) = records.get(&task_name(&entry.source, &entry.part)) else { return false };
    let Some(Position(position)) = record.positions.get(&entry.source) else { return false };
    let Ok(progress) = serde_json::from_value::<Progress>(position.clone()) else { return false };
    progress.done.contains(file) || progress.current.is_some_and(|(name, done)| name == file && number < done)
}

fn one(plan: &Plan, source: usize, part: &str) -> Result<Plan, Error> {
    let mut plan = plan.clone();
    let target = if plan.sources[source].name == part {
        None
    } else {
        let step = plan.steps.iter().position(|step| step.name == part).map(Part::Step);
        let sink = plan.sinks.iter().position(|sink| sink.name == part).map(Part::Sink);
        Some(step.or(sink).ok_or_else(|| {
            Error::World(format!(
                "rows were put aside by `{part}`, which the document no longer has; put it back to replay them"
            ))
        })?)
    };
    if let Some(target) = target {
        keep_paths_to(&mut plan, source, target);
    }
    let wanted = Wanted::default();
    let (folder, names) = (plan.quarantine.clone(), (plan.sources[source].name.clone(), part.to_owned()));
    let planned = &mut plan.sources[source];
    if let Some(decode) = planned.decode.take() {
        let wanted = Arc::clone(&wanted);
        planned.decode =
            Some(Arc::new(move || Ok(Box::new(ReplayDecode { inner: decode()?, wanted: Arc::clone(&wanted) }))));
    }
    planned.shards = 1;
    planned.open = Arc::new(move |open| {
        let (source, part) = (names.0.as_str(), names.1.as_str());
        Ok(Box::new(ReplaySource::open(&folder, (source, part), open.position, Arc::clone(&wanted))?))
    });
    let sinks = reachable_sinks(&plan, source);
    let name = task_name(&plan.sources[source].name, part);
    plan.groups.clear();
    plan.sources.iter_mut().for_each(|source| source.partitioned = None);
    plan.tasks = vec![TaskPlan { name, sources: vec![(source, 0)], sinks }];
    plan.is_bounded = true;
    plan.made_of = None;
    Ok(plan)
}

/// Cuts every edge before `target` that doesn't lead to it.
fn keep_paths_to(plan: &mut Plan, source: usize, target: Part) {
    let leads = |plan: &Plan, part: Part| part == target || reaches(plan, part, target);
    let keep = |plan: &Plan, consumers: &[Consumer]| -> Vec<Consumer> {
        consumers.iter().copied().filter(|consumer| leads(plan, consumer.part)).collect()
    };
    plan.sources[source].consumers = keep(plan, &plan.sources[source].consumers);
    let before: Vec<usize> = (0..plan.steps.len())
        .filter(|step| Part::Step(*step) != target && reaches(plan, Part::Step(*step), target))
        .collect();
    for step in before {
        plan.steps[step].consumers = keep(plan, &plan.steps[step].consumers);
    }
}

fn reaches(plan: &Plan, part: Part, target: Part) -> bool {
    let Part::Step(step) = part else { return false };
    plan.steps[step].consumers.iter().any(|consumer| consumer.part == target || reaches(plan, consumer.part, target))
}

fn reachable_sinks(plan: &Plan, source: usize) -> Vec<usize> {
    let mut sinks = BTreeSet::new();
    let mut open = plan.sources[source].consumers.clone();
    while let Some(consumer) = open.pop() {
        match consumer.part {
            Part::Step(step) => open.extend(&plan.steps[step].consumers),
            Part::Sink(sink) => _ = sinks.insert(sink),
        }
    }
    sinks.into_iter().collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
