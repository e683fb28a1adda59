//! What the tests of whole streams share: a world in a temporary folder, documents, runs, and reading what came out.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use document::{Input, Problem, Secrets, Settings};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use stdx::{Bell, Chain, Clock, Level, Stop, Timestamp};
use stream::format::{Format, FormatSpec};
use stream::quarantine::Entry;
use stream::{Chunk, Control, Ends, Error, Origin, Plan, Pool, Report, Stream, StreamMeter, World};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A folder, and the world that streams in it live in.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) secrets: Arc<Secrets>,
    runtime: Runtime,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (folder, clock, pool) = (tempfile::tempdir().unwrap(), Clock::system(), Pool::new(256 << 20));
        Self { folder, clock, pool, secrets: Arc::default(), runtime }
    }

    /// A place whose clock stands until the test moves it.
    pub(crate) fn with_manual_clock() -> Self {
        Self { clock: Clock::manual(Timestamp::from_millis(1_700_000_000_000)), ..Self::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As the manual asks: a file appears whole.
        let beside = path.with_file_name("_coming");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    /// Writes numbered rows as JSON lines: `{"n":3,"text":"row-3"}`.
    pub(crate) fn write_rows(&self, name: &str, numbers: Range<u64>) {
        self.write(name, row_lines(numbers));
    }

    pub(crate) fn world(&self) -> World {
        let (clock, pool, secrets) = (self.clock.clone(), self.pool.clone(), Arc::clone(&self.secrets));
        World { clock, pool, secrets, ..World::local(self.folder.path(), self.runtime.handle()) }
    }

    pub(crate) fn try_plan(&self, spec: &str, forget: &[&str]) -> Result<Plan, Vec<Problem>> {
        let stream = stream(spec);
        let forget: Vec<String> = forget.iter().map(|name| (*name).to_owned()).collect();
        let facts = stream::facts(&stream, &forget, &self.world()).map_err(|unseen| {
            // What the world refused, in the words that a person sees.
            let failures = unseen.failures.iter().map(|error| Problem::at("world").found(Chain(error).to_string()));
            unseen.problems.into_iter().chain(failures).collect::<Vec<_>>()
        })?;
        stream::plan(&stream, &facts)
    }

    /// Plans the stream whose spec is given.
    pub(crate) fn plan(&self, spec: &str) -> Plan {
        self.try_plan(spec, &[]).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// Runs the stream until its input is drained.
    pub(crate) fn run(&self, spec: &str) -> Result<Report, Error> {
        self.run_plan(self.plan(spec))
    }

    pub(crate) fn run_plan(&self, plan: Plan) -> Result<Report, Error> {
        stream::run(plan, &self.world(), &control())
    }

    /// Runs the stream on a thread of its own.
    pub(crate) fn start(&self, plan: Plan, until_idle: bool) -> Running {
        let (world, control) = (self.world(), Control { until_idle, ..control() });
        let (stop, meter) = (control.stop.clone(), Arc::clone(&control.meter));
        Running { stop, meter, thread: Some(std::thread::spawn(move || stream::run(plan, &world, &control))) }
    }

    /// The rows of the JSON lines that readers see beneath a folder, in the order of the files' names.
    pub(crate) fn json(&self, folder: &str) -> Vec<Value> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        let texts: Vec<String> = visible(&self.path(folder)).iter().map(read).collect();
        texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The numbers `n` of those rows, sorted.
    pub(crate) fn numbers(&self, folder: &str) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.json(folder).iter().map(|row| row["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// What a stream put aside, oldest first.
pub(crate) fn quarantine(plan: &Plan) -> Vec<Entry> {
    let files = stream::quarantine::files(&plan.quarantine).unwrap();
    files.iter().flat_map(|file| stream::quarantine::entries(file).unwrap()).collect()
}

/// A stream that runs. Dropped, it is told to end.
pub(crate) struct Running {
    pub(crate) stop: Stop,
    pub(crate) meter: Arc<StreamMeter>,
    thread: Option<JoinHandle<Result<Report, Error>>>,
}

impl Running {
    /// Waits until the stream ends.
    pub(crate) fn end(mut self) -> Result<Report, Error> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Asks for a drain, and waits for it.
    pub(crate) fn drain(self) -> Report {
        self.stop.ask(Level::Drain);
        self.end().unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) fn rows_in(&self, part: &str) -> u64 {
        self.meter.snapshot().parts.get(part).map_or(0, |part| part.rows_in)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.ask(Level::Halt);
    }
}

/// Waits until `what` is so. The bound is so wide that only something broken misses it.
pub(crate) fn wait_until(words: &str, mut what: impl FnMut() -> bool) {
    let clock = Clock::system();
    while !what() {
        assert!(clock.elapsed() < Duration::from_mins(1), "still waiting until {words}");
        Bell::default().wait(&clock, Some(clock.elapsed() + Duration::from_millis(1)));
    }
}

pub(crate) fn row_lines(numbers: Range<u64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n},\"text\":\"row-{n}\"}}\n")).collect::<Vec<_>>().concat()
}

/// A control that ends when the input is drained.
pub(crate) fn control() -> Control {
    Control { until_idle: true, holder: "a test".into(), ..Control::new("test") }
}

/// The stream `test` with a spec.
pub(crate) fn stream(spec: &str) -> Stream {
    let mut text = "apiVersion: headwater.dev/v1alpha1\nkind: Stream\nmetadata: {name: test}\nspec:\n".to_owned();
    for line in spec.lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    let read = document::read(&[Input { name: "test.yaml".into(), text }], &Settings::default());
    assert!(read.problems.is_empty(), "{}", document::render(&read.problems, false));
    let spec = read.documents[0].spec().unwrap_or_else(|found| panic!("{}", document::render(&found, false)));
    Stream { name: "test".into(), namespace: "default".into(), spec }
}

/// The files beneath a folder that readers see, sorted: neither they nor their folders begin with `_` or `.`.
pub(crate) fn visible(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                _ if name.starts_with(['_', '.']) => {}
                true => open.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

/// The rows of Parquet files.
pub(crate) fn parquet(files: &[PathBuf]) -> Vec<RecordBatch> {
    let read = |path: &PathBuf| {
        let file = std::fs::File::open(path).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}

pub(crate) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The format of a name.
pub(crate) fn named(format: &str) -> Format {
    serde_json::from_value::<FormatSpec>(format.into()).unwrap().settings()
}

/// Rows as a file of a format.
pub(crate) fn encoded(format: &Format, columns: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encode = format.encode(columns.schema_ref()).unwrap();
    encode.encode(columns, &mut out).unwrap();
    encode.finish(&mut out).unwrap();
    out
}

/// The rows of a file of a format.
pub(crate) fn decode_all(format: &Format, schema: &SchemaRef, place: &Place, bytes: &[u8]) -> Vec<RecordBatch> {
    if matches!(format, Format::Parquet(_) | Format::Arrow(_)) {
        place.write("scanned", bytes);
        let file = std::fs::File::open(place.path("scanned")).unwrap();
        let mut scan = format.scan(file, schema, 0).unwrap();
        return std::iter::from_fn(|| scan.next(3).unwrap()).collect();
    }
    let mut cut = format.cut().unwrap();
    let header = cut.header(bytes, true).unwrap().unwrap();
    let (header, body) = bytes.split_at(header);
    let mut ends = Vec::new();
    let mut length = 0;
    while length < body.len() {
        let mut more = Vec::new();
        let taken = cut.cut(&body[length..], true, 1000, &mut more).unwrap();
        let before = u32::try_from(length).unwrap();
        ends.extend(more.iter().map(|end| end + before));
        length += taken;
    }
    let ends = if cut.lines() { Ends::Lines } else { Ends::At { ends, bytes: true } };
    let origins = vec![(0, Origin { input: "test".into(), offset: 0 })];
    let header = (!header.is_empty()).then(|| Bytes::copy_from_slice(header));
    let chunk = Chunk { bytes: Bytes::copy_from_slice(body), ends, header, origins, beside: None };
    let decoded = format.decode(schema, schema, place.folder.path()).unwrap().decode(&chunk, 0).unwrap();
    assert_eq!(decoded.bad, []);
    vec![decoded.columns]
}

/// Rows given as JSON lines, with the columns that are inferred.
pub(crate) fn batch(place: &Place, lines: &str) -> RecordBatch {
    let format = named("json");
    let origins = vec![(0, Origin { input: "test".into(), offset: 0 })];
    let chunk = Chunk {
        bytes: Bytes::copy_from_slice(lines.as_bytes()),
        ends: Ends::Lines,
        header: None,
        origins,
        beside: None,
    };
    let schema = format.infer(place.folder.path(), &chunk).unwrap();
    decode_all(&format, &schema, place, lines.as_bytes()).remove(0)
}
