//! When rows become visible, what a stop leaves behind, and what the next run makes of it.

use std::path::PathBuf;
use std::time::Duration;

use stdx::Level;
use stream::ledger::{Books as _, Home, LocalBooks};
use stream::{Error, Position};

use crate::support::{Place, visible, wait_until};

const FILES: &str = "
sources:
  rows: {files: {path: in/*.jsonl}}
sinks:
  out: {from: rows, files: {url: out}, format: json}
batch: {rows: 10}
";

fn home(place: &Place) -> LocalBooks {
    LocalBooks(Home::local(place.path("out/_headwater"), "default", "test"))
}

#[test]
fn a_second_run_reads_nothing_new_and_then_only_what_came() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..25);
    let first = place.run(FILES).unwrap();
    assert_eq!((first.counts.parts["rows"].rows_in, first.earlier_commit_at_millis), (25, None));
    let files = visible(&place.path("out"));
    let record = home(&place).records().unwrap();

    let again = place.run(FILES).unwrap();
    assert_eq!((again.counts.parts["rows"].rows_in, again.counts.commits), (0, 0));
    assert!(again.earlier_commit_at_millis.is_some());
    assert_eq!(visible(&place.path("out")), files);
    assert_eq!(home(&place).records().unwrap(), record, "a run without news writes no record");

    place.write_rows("in/b.jsonl", 25..30);
    place.run(FILES).unwrap();
    assert_eq!(place.numbers("out"), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_stop_in_the_middle_of_a_file_loses_and_repeats_nothing() {
    const ROWS: u64 = 20_000;
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..ROWS);
    let spec = FILES.replace("rows: 10", "rows: 7");
    let mut in_the_middle = 0;
    for stop in 0..5 {
        let running = place.start(place.plan(&spec), true);
        wait_until("something was read", || running.rows_in("rows") > 0 || running.has_ended());
        in_the_middle += usize::from(running.drain().stopped);
        let numbers = place.numbers("out");
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "after stop {stop}");
        let record = home(&place).records().unwrap().remove("rows-0").unwrap();
        assert!(record.tokens.is_empty(), "a drain ends with a record without tokens");
    }
    assert!(in_the_middle > 0);
    assert!(!place.run(&spec).unwrap().stopped);
    assert_eq!(place.numbers("out"), (0..ROWS).collect::<Vec<_>>());
}

/// A source that is told its pace by the test: the clock.
const PACED: &str = "
sources:
  rows: {generate: {rate: 10, seed: 1, columns: {n: {sequence: {}}}}}
sinks:
  out: {from: rows, files: {url: out, roll: {every: 30d}}, format: json}
batch: {rows: 1}
";

fn stopped_midway(level: Level) -> (Place, usize) {
    let place = Place::with_manual_clock();
    let running = place.start(place.plan(PACED), false);
    wait_until("30 rows came", || {
        place.clock.advance(Duration::from_millis(100));
        running.rows_in("out") >= 30
    });
    running.stop.ask(level);
    running.end().unwrap();
    let seen = place.numbers("out").len();
    (place, seen)
}

#[test]
fn a_drain_commits_what_was_read_and_a_halt_does_not() {
    let (place, seen) = stopped_midway(Level::Drain);
    assert!(seen >= 30, "{seen}");
    let (halted, none) = stopped_midway(Level::Halt);
    assert_eq!(none, 0);
    for (place, seen) in [(place, seen), (halted, 0)] {
        let running = place.start(place.plan(PACED), false);
        wait_until("the run goes on", || {
            place.clock.advance(Duration::from_millis(100));
            running.rows_in("out") >= 20
        });
        running.drain();
        let numbers = place.numbers("out");
        assert!(numbers.len() >= seen + 20);
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn rows_of_a_quiet_source_come_out_when_the_roll_is_over_and_not_before() {
    let place = Place::with_manual_clock();
    place.write_rows("in/a.jsonl", 0..15);
    // The roll holds, although commits could wait for longer.
    let spec = "
sources:
  rows: {files: {path: in/*.jsonl, follow: {every: 1h}}}
sinks:
  out: {from: rows, files: {url: out, roll: {every: 60s}}, format: json}
commit: {every: 10m}
batch: {rows: 10}
";
    let running = place.start(place.plan(spec), false);
    wait_until("all rows are written", || running.rows_in("out") == 15);
    place.clock.advance(Duration::from_secs(59));
    assert_eq!(running.meter.snapshot().commits, 0);
    assert_eq!(visible(&place.path("out")).len(), 0);
    place.clock.advance(Duration::from_secs(1));
    wait_until("rows are visible", || place.numbers("out").len() == 15);
    running.drain();
}

#[test]
fn commit_every_bounds_the_time_to_the_commit() {
    let place = Place::with_manual_clock();
    place.write_rows("in/a.jsonl", 0..3);
    let spec = "
sources:
  rows: {files: {path: in/*.jsonl, follow: {every: 1s}}}
sinks:
  out: {from: rows, files: {url: out, roll: {every: 60s}}, format: json}
commit: {every: 5s}
";
    let plan = place.plan(spec);
    assert!(plan.warnings.iter().any(|warning| warning.contains("12 times as many")), "{:?}", plan.warnings);
    let running = place.start(plan, false);
    wait_until("rows are written", || running.rows_in("out") == 3);
    place.clock.advance(Duration::from_secs(5));
    wait_until("there was a commit", || running.meter.snapshot().commits == 1);
    assert_eq!(place.numbers("out").len(), 3);
    running.drain();
}

#[test]
fn files_roll_by_rows_and_by_bytes() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..100);
    place.run(&FILES.replace("files: {url: out}", "files: {url: out, roll: {rows: 30}}")).unwrap();
    let count = |path| std::fs::read_to_string(path).unwrap().lines().count();
    let mut counts: Vec<usize> = visible(&place.path("out")).into_iter().map(count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [10, 30, 30, 30]);

    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..1000);
    place.run(&FILES.replace("files: {url: out}", "files: {url: out, roll: {bytes: 4KiB}}")).unwrap();
    let sizes: Vec<u64> =
        visible(&place.path("out")).iter().map(|path| std::fs::metadata(path).unwrap().len()).collect();
    assert!(sizes.len() > 4 && sizes.iter().all(|size| *size < 5000), "{sizes:?}");
    assert_eq!(place.numbers("out"), (0..1000).collect::<Vec<_>>());
}

const TWO: &str = "
sources:
  a: {files: {path: a/*.jsonl}}
  b: {files: {path: b/*.jsonl}}
sinks:
  x: {from: a, files: {url: out/x}, format: json}
  y: {from: b, files: {url: out/y}, format: json}
commit: {url: ledger}
";

/// The same sources, in one subgraph.
const JOINED: &str = "
sources:
  a: {files: {path: a/*.jsonl}}
  b: {files: {path: b/*.jsonl}}
steps:
  both: {from: [a, b], sql: 'SELECT * FROM a UNION ALL SELECT * FROM b'}
sinks:
  x: {from: both, files: {url: out/x}, format: json}
  y: {from: b, files: {url: out/y}, format: json}
commit: {url: ledger}
";

#[test]
fn positions_follow_sources_into_other_subgraphs_and_back() {
    let place = Place::new();
    place.write_rows("a/1.jsonl", 0..3);
    place.write_rows("b/1.jsonl", 10..13);
    let plan = place.plan(TWO);
    assert_eq!(plan.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["a-0", "b-0"]);
    place.run_plan(plan).unwrap();
    let mut expected = [vec![0, 1, 2], vec![10, 11, 12]];
    let check = |expected: &[Vec<u64>; 2], when: &str| {
        assert_eq!([place.numbers("out/x"), place.numbers("out/y")], *expected, "{when}");
    };
    check(&expected, "two tasks");

    place.write_rows("b/2.jsonl", 20..22);
    assert_eq!(place.plan(JOINED).tasks.len(), 1);
    place.run(JOINED).unwrap();
    expected[0].extend([20, 21]);
    expected[1].extend([20, 21]);
    check(&expected, "joined");

    place.write_rows("a/3.jsonl", 30..31);
    place.write_rows("b/3.jsonl", 40..41);
    let report = place.run(TWO).unwrap();
    assert_eq!(report.counts.parts["b"].rows_in, 1);
    expected[0].push(30);
    expected[1].push(40);
    check(&expected, "apart again");
    place.run(JOINED).unwrap();
    check(&expected, "joined again, with nothing new");
}

#[test]
fn a_handover_that_was_interrupted_is_ended_by_the_next_run() {
    let place = Place::new();
    place.write_rows("a/1.jsonl", 0..3);
    place.write_rows("b/1.jsonl", 10..13);
    place.run(TWO).unwrap();
    let before = std::fs::read(record_file(&place, "b-0")).unwrap();
    place.run(JOINED).unwrap();
    // The taker has written its record, and the giver's is still the old one.
    std::fs::write(record_file(&place, "b-0"), before).unwrap();
    place.write_rows("b/2.jsonl", 20..22);
    place.run(JOINED).unwrap();
    place.run(TWO).unwrap();
    assert_eq!(place.numbers("out/x"), [0, 1, 2, 20, 21]);
    assert_eq!(place.numbers("out/y"), [10, 11, 12, 20, 21]);
}

/// The file of a task's record: there is one, named after the newest claim.
fn record_file(place: &Place, task: &str) -> PathBuf {
    let folder = place.path("ledger/default/test/tasks").join(task);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_record = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("record-");
    let mut records: Vec<PathBuf> = paths.filter(is_record).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

/// Leaves the record of a task as a process does that died between its record and the publishing: tokens pending,
/// nothing visible.
fn unpublish(place: &Place, task: &str, sink: &str) {
    let file = record_file(place, task);
    let read = std::fs::read(&file).unwrap();
    let mut record: stream::Record = serde_json::from_slice(&read).unwrap();
    let root = place.path("out").join(sink);
    let mut files = Vec::new();
    for (number, path) in visible(&root).into_iter().enumerate() {
        let staged = format!("_headwater/staging/u/{sink}/{task}/{}-{number}", record.claim);
        std::fs::create_dir_all(root.join(&staged).parent().unwrap()).unwrap();
        std::fs::rename(&path, root.join(&staged)).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        files.push(serde_json::json!({"staged": staged, "path": name}));
    }
    record.tokens.insert(sink.into(), stream::Token(serde_json::json!({ "files": files })));
    std::fs::write(&file, serde_json::to_vec(&record).unwrap()).unwrap();
    assert!(visible(&root).is_empty());
}

#[test]
fn what_a_dead_process_had_prepared_is_published_by_whoever_comes_next() {
    for next in [TWO, JOINED] {
        let place = Place::new();
        place.write_rows("a/1.jsonl", 0..3);
        place.write_rows("b/1.jsonl", 10..13);
        place.run(TWO).unwrap();
        unpublish(&place, "b-0", "y");
        place.run(next).unwrap();
        assert_eq!(place.numbers("out/y"), [10, 11, 12], "{next}");
        assert_eq!(place.numbers("out/x"), [0, 1, 2], "{next}");
    }
}

#[test]
fn a_sink_that_is_gone_with_rows_prepared_is_a_problem_until_it_is_forgotten() {
    let place = Place::new();
    place.write_rows("a/1.jsonl", 0..3);
    place.write_rows("b/1.jsonl", 10..13);
    place.run(TWO).unwrap();
    unpublish(&place, "b-0", "y");
    let renamed = TWO.replace("  y:", "  z:");
    let problems = place.try_plan(&renamed, &[]).err().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].found, "no sink `y`, for which task b-0 has rows prepared");
    assert!(problems[0].hint.as_ref().unwrap().contains("--forget y"));
    place.run_plan(place.try_plan(&renamed, &["y"]).unwrap()).unwrap();
    assert_eq!(place.numbers("out/y"), [] as [u64; 0]);
    place.run(&renamed).unwrap();
    place.write_rows("b/2.jsonl", 20..21);
    place.run(&renamed).unwrap();
    assert_eq!(place.numbers("out/y"), [20], "the folder is the same, the sink is another");
}

#[test]
fn a_source_that_is_gone_is_a_problem_until_it_is_forgotten_once() {
    let place = Place::new();
    place.write_rows("a/1.jsonl", 0..3);
    place.write_rows("b/1.jsonl", 10..13);
    place.run(TWO).unwrap();
    let without = "
sources:
  a: {files: {path: a/*.jsonl}}
sinks:
  x: {from: a, files: {url: out/x}, format: json}
commit: {url: ledger}
";
    let problems = place.try_plan(without, &[]).err().unwrap();
    assert_eq!(problems[0].found, "no source `b`, which task b-0 has read from");
    place.run_plan(place.try_plan(without, &["b"]).unwrap()).unwrap();
    place.run(without).unwrap();
    assert_eq!(place.numbers("out/x"), [0, 1, 2]);
}

#[test]
fn a_task_that_is_held_is_refused_with_the_holders_name() {
    let place = Place::with_manual_clock();
    let running = place.start(place.plan(PACED), false);
    wait_until("the task is claimed", || home(&place).holder().unwrap().is_some());
    let refused = place.run(PACED).unwrap_err();
    assert!(matches!(&refused, Error::Held { task, holder } if task == "rows-0" && holder == "a test"), "{refused}");
    running.drain();
}

#[test]
fn a_record_holds_what_the_ledger_promises() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..25);
    place.run(FILES).unwrap();
    let home = home(&place);
    let stream = home.stream().unwrap().unwrap();
    assert_eq!((stream.version, stream.generation, stream.containers), (1, 1, 1));
    assert_eq!(stream.shards["rows"], 1);
    let records = home.records().unwrap();
    let record = &records["rows-0"];
    assert_eq!((record.version, record.claim, record.sequence), (1, 1, 2));
    assert_ne!(record.positions["rows"], Position(serde_json::Value::Null));
    let name = visible(&place.path("out"))[0].file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name, format!("{}-out-rows-0-1-1-0.jsonl", stream.uid));
}
