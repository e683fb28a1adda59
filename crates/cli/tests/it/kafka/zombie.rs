//! A process that was stopped, and another that took its tasks over: the first learns of it and does no harm.

use std::time::Duration;

use super::feed::{assert_exactly, assert_in_order, assert_nothing_twice, rows};
use super::stage::{COPY, SOURCE, Stage, address, metric, until_commits};
use crate::outputs;
use crate::process::{Process, draw, given, pause, until};

const SAVED: &str = "
  saved: {from: rows, files: {url: out, roll: {rows: 500}}, format: {parquet: {}}}
commit: {every: 100ms}
batch: {rows: 64}
";

#[test]
fn who_was_taken_over_while_it_was_stopped_ends_and_says_so() {
    let test = "who was taken over while it was stopped ends and says so";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let mut draw = draw();
    let rounds = given("HEADWATER_KAFKA_ROUNDS").unwrap_or(3);
    let stage = Stage::new(&kafka, "zombie", 3);
    stage.document(&format!("{SOURCE}{COPY}{SAVED}"));
    let feeding = stage.feed(&stage.input, 3).go_on(300);
    let mut first = stage.run();
    for _ in 0..rounds {
        until_commits(&mut first, draw.usize(1..8));
        pause(Duration::from_millis(draw.u64(..150)));
        first.signal("STOP");
        let mut heir = stage.run();
        until_commits(&mut heir, draw.usize(1..8));
        pause(Duration::from_millis(draw.u64(..150)));
        let heir_dies = draw.bool();
        if heir_dies {
            heir.kill();
        }
        first.signal("CONT");
        assert_eq!(first.code(), 1, "{}", first.err());
        assert!(first.err().contains("was taken over: our claim is"), "{}", first.err());
        assert_nothing_twice(&rows(&stage.client, &stage.output));
        first = if heir_dies { stage.run() } else { heir };
    }
    until_commits(&mut first, 1);
    let feed = feeding.stop();
    first.signal("TERM");
    first.succeed();
    stage.drain();
    let rows = rows(&stage.client, &stage.output);
    assert_exactly(&rows, feed.rows);
    assert_in_order(&rows);
    outputs::assert_exactly(&stage.place.path("out"), feed.rows);
}

/// Nothing is committed until a file is full, so that each process has rows in files that nobody sees.
const STAGED: &str = "
sinks:
  saved: {from: rows, files: {url: out, roll: {rows: 400}}, format: {parquet: {}}}
  topic:
    from: rows
    kafka: {brokers: BROKERS, topic: OUTPUT, key: key, create: {partitions: 4}, transactionTimeout: 2m}
    format: json
commit: {every: 50s}
";

/// Whether rows have come to the file.
fn has_rows(process: &Process) -> bool {
    let series = metric(&address(process), "headwater_rows_total");
    series.iter().any(|(labels, rows)| labels.contains("\"saved\"") && *rows > 0)
}

#[test]
fn who_finds_its_files_swept_does_not_take_the_task_back() {
    let test = "who finds its files swept does not take the task back";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "swept", 1);
    stage.document(&format!("{SOURCE}{STAGED}"));
    let mut feed = stage.feed(&stage.input, 1);
    feed.more(100);
    let listen = ["--listen", "127.0.0.1:0"];
    let mut first = stage.start(&listen);
    until("the first has rows in a file", || has_rows(&first));
    first.signal("STOP");
    let mut heir = stage.start(&listen);
    until("the heir has rows in a file", || has_rows(&heir));
    first.signal("CONT");
    feed.more(1000);
    assert_eq!(first.code(), 1, "{}", first.err());
    assert!(first.err().contains("was taken over: our claim is"), "{}", first.err());
    heir.signal("TERM");
    heir.succeed();
    stage.drain();
    assert_exactly(&rows(&stage.client, &stage.output), feed.rows);
    outputs::assert_exactly(&stage.place.path("out"), feed.rows);
}
