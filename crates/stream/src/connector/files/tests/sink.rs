use std::collections::BTreeMap;

use super::super::partition::Value;
use super::super::sink as open_sink;
use super::*;
use crate::{Encode, Sink, Token};

/// Rows as lines, kept back until there are `held` bytes.
struct LineEncode {
    held: usize,
    kept: Vec<u8>,
}

impl Encode for LineEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        for row in 0..columns.num_rows() {
            let cell = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
            let cells: Vec<_> = columns.columns().iter().map(cell).collect();
            writeln!(self.kept, "{}", cells.join(",")).unwrap();
        }
        if self.kept.len() >= self.held {
            out.append(&mut self.kept);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.append(&mut self.kept);
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.kept.capacity().max(self.held)
    }
}

fn by(name: &str, value: Value) -> Partition {
    Partition { name: name.to_owned(), value }
}

fn by_text() -> Partition {
    by("t", Arc::new(|columns| Ok(Arc::clone(columns.column_by_name("t").unwrap()))))
}

struct Bench {
    folder: PathBuf,
    pool: Pool,
    roll: Roll,
    held: usize,
    partitions: Vec<Partition>,
    claim: u64,
    clock: Clock,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let (pool, roll) = (Pool::new(256 << 20), Roll::default());
        Self { folder: folder.to_owned(), pool, roll, held: 0, partitions: Vec::new(), claim: 1, clock }
    }

    fn open(&self) -> Box<dyn Sink> {
        let held = self.held;
        let written = Written {
            encode: Arc::new(move |_: &SchemaRef| Ok(Box::new(LineEncode { held, kept: Vec::new() }))),
            extension: "txt",
            partitions: self.partitions.clone(),
            without: self.partitions.iter().map(|partition| partition.name.clone()).collect(),
        };
        let spec = SinkSpec { url: "out".to_owned(), roll: self.roll.clone(), ..SinkSpec::default() };
        let open = OpenSink {
            name: "raw".into(),
            stream: "default.test".into(),
            uid: "u1".into(),
            task: "main-0".into(),
            claim: self.claim,
            schema: Arc::new(Schema::empty()),
            world: World { clock: self.clock.clone(), ..world(&self.folder, self.pool.clone()) },
        };
        open_sink(&spec, written, open).unwrap()
    }

    /// What readers see: content by name.
    fn seen(&self) -> BTreeMap<String, String> {
        let spec = SourceSpec { path: Paths::One("out/**".to_owned()), ..SourceSpec::default() };
        let globs = listing::globs(&spec).unwrap();
        let known = listing::Known::new();
        let (files, _) = listing::list(&globs, &self.folder, Order::Name, &known).unwrap();
        let short = |path: &str| path.strip_prefix("out/").unwrap().to_owned();
        files.iter().map(|file| (short(&file.path), fs::read_to_string(&file.real).unwrap())).collect()
    }
}

fn commit(sink: &mut dyn Sink, sequence: u64) -> Token {
    let token = sink.prepare(sequence).unwrap().unwrap();
    sink.publish(&token).unwrap();
    token
}

#[test]
fn rows_go_to_folders_named_by_their_values_and_appear_at_publish() {
    let folder = TempDir::new().unwrap();
    let bench = Bench { partitions: vec![by_text()], ..Bench::new(folder.path()) };
    let mut sink = bench.open();
    let text = vec![Some("a/b"), None, Some("a/b"), Some(""), Some("é%")];
    assert!(sink.write(&batch(vec![1, 2, 3, 4, 5], Some(text))).unwrap().is_empty());
    sink.write(&batch(vec![6, 7], Some(vec![Some("a/b"); 2]))).unwrap();
    assert!(bench.seen().is_empty());
    let token = sink.prepare(4).unwrap().unwrap();
    assert!(bench.seen().is_empty());
    sink.publish(&token).unwrap();
    sink.publish(&token).unwrap();
    let seen = bench.seen();
    assert_eq!(seen["t=a%2Fb/u1-raw-main-0-1-4-2.txt"], "1\n3\n6\n7\n");
    let mut folders: Vec<_> = seen.iter().map(|(name, rows)| (name.split('/').next().unwrap(), &**rows)).collect();
    folders.sort_unstable();
    let null = "t=__HIVE_DEFAULT_PARTITION__";
    // Null and the empty string are two groups of rows, and one folder.
    assert_eq!(folders, [(null, "2\n4\n"), ("t=a%2Fb", "1\n3\n6\n7\n"), ("t=é%25", "5\n")]);
    assert_eq!(sink.prepare(5).unwrap(), None);
    assert_eq!(sink.bytes_written(), 14);
}

#[test]
fn a_file_ends_when_it_is_full_or_the_columns_change() {
    let folder = TempDir::new().unwrap();
    let roll = Roll { rows: Some(2), ..Roll::default() };
    let bench = Bench { roll, ..Bench::new(folder.path()) };
    let mut sink = bench.open();
    assert!(!sink.wants_commit());
    sink.write(&batch(vec![1, 2, 3], None)).unwrap();
    assert!(!sink.wants_commit(), "a file is open");
    sink.write(&batch(vec![4], None)).unwrap();
    assert!(sink.wants_commit());
    sink.write(&batch(vec![5], None)).unwrap();
    sink.write(&batch(vec![6], Some(vec![Some("x")]))).unwrap();
    commit(sink.as_mut(), 1);
    let seen: Vec<_> = bench.seen().into_values().collect();
    assert_eq!(seen, ["1\n2\n", "3\n4\n", "5\n", "6,x\n"]);
    let bytes = Roll { bytes: document::ByteSize::from_bytes(4), ..Roll::default() };
    let mut sink = Bench { roll: bytes, claim: 2, ..bench }.open();
    sink.write(&batch(vec![1, 2, 3], None)).unwrap();
    assert!(sink.wants_commit());
}

#[test]
fn a_commit_is_wanted_when_the_oldest_row_is_old() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::new(folder.path());
    let mut sink = bench.open();
    sink.write(&batch(vec![1], None)).unwrap();
    bench.clock.advance(Duration::from_secs(59));
    assert!(!sink.wants_commit());
    bench.clock.advance(Duration::from_secs(1));
    assert!(sink.wants_commit());
    commit(sink.as_mut(), 1);
    assert!(!sink.wants_commit());
}

#[test]
fn rows_without_a_folder_are_given_back() {
    let folder = TempDir::new().unwrap();
    let odd: Value = Arc::new(|columns| {
        let numbers = columns.column(0).as_primitive::<Int64Type>();
        match numbers.values().iter().find(|number| **number % 5 == 0) {
            Some(number) => Err(Reason::new(ReasonCode::Evaluation, format!("{number} has none"))),
            None => Ok(Arc::new(numbers.unary::<_, Int64Type>(|number| number % 2)) as ArrayRef),
        }
    });
    let bench = Bench { partitions: vec![by("odd", odd), by_text()], ..Bench::new(folder.path()) };
    let mut sink = bench.open();
    let long = "x".repeat(300);
    let text = vec![Some("a"), Some("a"), Some(long.as_str()), Some("a"), Some("a"), Some("a")];
    let bad = sink.write(&batch(vec![1, 5, 3, 4, 10, 7], Some(text))).unwrap();
    let bad: Vec<_> = bad.iter().map(|bad| (bad.row, bad.reason.code)).collect();
    assert_eq!(bad, [(1, ReasonCode::Evaluation), (2, ReasonCode::Unwritable), (4, ReasonCode::Evaluation)]);
    commit(sink.as_mut(), 1);
    let seen = bench.seen();
    assert_eq!(seen["odd=0/t=a/u1-raw-main-0-1-1-1.txt"], "4\n");
    assert_eq!(seen["odd=1/t=a/u1-raw-main-0-1-1-0.txt"], "1\n7\n");
}

#[test]
fn a_thousand_partitions_stay_within_the_pool() {
    let folder = TempDir::new().unwrap();
    let pool = Pool::new(8 << 20);
    let bench = Bench { pool: pool.clone(), held: 64 << 10, partitions: vec![by_text()], ..Bench::new(folder.path()) };
    let mut sink = bench.open();
    let mut peak = 0;
    for round in 0..4_i64 {
        for part in 0..10 {
            let numbers = (0..100).map(|number| round * 1000 + part * 100 + number).collect();
            let text: Vec<String> = (0..100).map(|number| format!("{:03}", part * 100 + number)).collect();
            sink.write(&batch(numbers, Some(text.iter().map(|text| Some(text.as_str())).collect()))).unwrap();
            peak = peak.max(pool.leased_bytes());
        }
    }
    assert!(peak <= pool.limit_bytes() && peak > pool.limit_bytes() / 2, "{peak}");
    commit(sink.as_mut(), 1);
    assert!(pool.leased_bytes() <= 1 << 20);
    let seen = bench.seen();
    let folders: std::collections::BTreeSet<_> = seen.keys().map(|name| name.split('/').next().unwrap()).collect();
    assert_eq!(folders.len(), 1000);
    let mut rows: Vec<i64> = seen.values().flat_map(|rows| rows.lines()).map(|row| row.parse().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..4000).collect::<Vec<_>>());
}

#[test]
fn the_least_recently_used_writer_is_closed_first() {
    let folder = TempDir::new().unwrap();
    // Room for two writers.
    let bench =
        Bench { pool: Pool::new(25 << 18), held: 1 << 20, partitions: vec![by_text()], ..Bench::new(folder.path()) };
    let mut sink = bench.open();
    for (number, text) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a"), (6, "b")] {
        sink.write(&batch(vec![number], Some(vec![Some(text)]))).unwrap();
    }
    commit(sink.as_mut(), 1);
    let mut seen: Vec<_> = bench.seen().into_iter().map(|(name, rows)| (name[..3].to_owned(), rows)).collect();
    seen.sort_unstable();
    let expected = [("t=a", "1\n3\n5\n"), ("t=b", "2\n"), ("t=b", "6\n"), ("t=c", "4\n")];
    assert_eq!(seen, expected.map(|(name, rows)| (name.to_owned(), rows.to_owned())));
}

#[test]
fn a_successor_publishes_what_the_record_names_and_sweeps_the_rest() {
    let folder = TempDir::new().unwrap();
    let bench = Bench::new(folder.path());
    let mut dead = bench.open();
    dead.write(&batch(vec![1], None)).unwrap();
    let named = dead.prepare(1).unwrap().unwrap();
    dead.write(&batch(vec![2], None)).unwrap();
    let unnamed = dead.prepare(2).unwrap().unwrap();
    dead.write(&batch(vec![3], None)).unwrap();
    // Killed: nothing of it is dropped.
    std::mem::forget(dead);
    let bench = Bench { claim: 2, ..bench };
    let mut sink = bench.open();
    sink.sweep(Some(&named)).unwrap();
    sink.publish(&named).unwrap();
    sink.write(&batch(vec![2, 3], None)).unwrap();
    commit(sink.as_mut(), 2);
    let seen: Vec<_> = bench.seen().into_values().collect();
    assert_eq!(seen, ["1\n", "2\n3\n"]);
    assert!(matches!(sink.publish(&unnamed), Err(Error::Lost { .. })));
    drop(sink);
    assert!(!bench.folder.join("out/_headwater").exists());
}

/// A file system of one mebibyte, or `None` with a line that says why.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: can't mount a small file system here");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_leaves_what_was_committed_and_can_be_gone_on_from() {
    let folder = TempDir::new().unwrap();
    let Some(_small) = Small::mount(folder.path()) else { return };
    let mut bench = Bench::new(folder.path());
    let rows = || batch((1_000_000..1_050_000).collect(), None);
    let mut sink = bench.open();
    sink.write(&rows()).unwrap();
    let named = commit(sink.as_mut(), 1);
    let ballast = write(folder.path(), "ballast", vec![0; 300 << 10]);
    let full = std::iter::repeat_with(|| sink.write(&rows()).and_then(|_| sink.prepare(2)).map(drop))
        .take(5)
        .find_map(Result::err)
        .unwrap();
    assert!(full.is_lasting(), "{full}");
    assert!(stdx::Chain(&full).to_string().contains("out/_headwater/staging/u1/raw/main-0/1-"), "{full}");
    drop(sink);
    fs::remove_file(ballast).unwrap();
    bench.claim = 2;
    let mut sink = bench.open();
    sink.sweep(Some(&named)).unwrap();
    sink.publish(&named).unwrap();
    sink.write(&rows()).unwrap();
    commit(sink.as_mut(), 2);
    assert_eq!(bench.seen().len(), 2);
    assert!(bench.seen().values().all(|rows| rows.lines().count() == 50_000));
}

#[test]
fn the_spec_is_checked() {
    let spec: SinkSpec = serde_json::from_value(serde_json::json!({
        "url": "s3://b/c", "partitionBy": ["_x", {"name": "y", "sql": "1"}, "y"]
    }))
    .unwrap();
    let spec = SinkSpec { roll: Roll { rows: Some(0), ..Roll::default() }, ..spec };
    let problems = sink_problems(&spec, "raw.files");
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let expected = ["raw.files.url", "raw.files.partitionBy[0]", "raw.files.partitionBy[2]", "raw.files.roll.rows"];
    assert_eq!(paths, expected);
    assert_eq!(local("file:///a/b").unwrap(), Path::new("/a/b"));
    assert!(local("file://a/b").is_err());
}
