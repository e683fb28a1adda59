//! What the tests of whole streams share: a world in a temporary folder, documents, runs, and reading what came out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use document::{Input, Secrets, Settings};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stdx::{Clock, Stop};
use stream::{Control, Error, Meters, Plan, Pool, Report, Stream, StreamMeter, World};

/// A folder, and the runtime that streams in it use.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn world(&self) -> World {
        World {
            clock: Clock::system(),
            runtime: self.runtime.handle().clone(),
            pool: Pool::new(256 << 20),
            secrets: Arc::new(Secrets::default()),
            folder: self.folder.path().to_owned(),
        }
    }

    /// Plans the stream of `yaml`, whose spec alone is given.
    pub(crate) fn plan(&self, spec: &str) -> Plan {
        let stream = stream(spec);
        let facts = stream::facts(&stream, &[], &self.world()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        stream::plan(&stream, &facts).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// Runs the stream until its input is drained.
    pub(crate) fn run(&self, spec: &str) -> Result<Report, Error> {
        self.run_plan(self.plan(spec))
    }

    pub(crate) fn run_plan(&self, plan: Plan) -> Result<Report, Error> {
        stream::run(plan, &self.world(), &control())
    }
}

/// A control nobody touches.
pub(crate) fn control() -> Control {
    Control { stop: Stop::default(), meter: meter(), until_idle: true, holder: "a test".into() }
}

pub(crate) fn meter() -> Arc<StreamMeter> {
    Arc::new(Meters::default().stream("test"))
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
