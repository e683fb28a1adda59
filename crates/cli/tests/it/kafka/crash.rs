//! Killed at any moment, a stream from Kafka loses no row and repeats none, in Kafka, in files, and in both at once.
//!
//! `HEADWATER_KAFKA_KILLS` says how often each is killed, `HEADWATER_SEED` repeats a run.

use std::time::Duration;

use super::feed::{assert_exactly, assert_nothing_twice, assert_partitions_in_order, rows};
use super::stage::{SOURCE, Stage, commits};
use crate::outputs;
use crate::process::{Process, draw, given, pause};

const STEPS: &str = "
steps:
  kept: {from: rows, sql: \"SELECT id, key FROM rows WHERE id >= 0\"}
batch: {rows: 64}
tasks: {metadataEvery: 300ms}
";
const TOPIC: &str = "
  copy:
    from: kept
    kafka: {brokers: BROKERS, topic: OUTPUT, key: key, partitioner: task, create: {partitions: 3}}
    format: json
";
const FOLDER: &str = "
  saved: {from: kept, files: {url: out, roll: {rows: 200}}, format: {parquet: {}}}
";
/// Rows that are written at once, while the stream is killed again and again.
const ROWS: i64 = 600;
/// Kills between two looks at what readers see meanwhile.
const LOOK_EVERY: u64 = 25;

/// Kills `process` at a moment that `draw` chooses: mostly when it is at work, sometimes while it begins.
fn kill(process: &mut Process, draw: &mut fastrand::Rng) -> bool {
    let at_work = draw.u8(..5) > 0;
    let wanted = if at_work { draw.usize(1..10) } else { 0 };
    super::stage::until_commits(process, wanted);
    // A commit is due each 100 ms, or begins a claim.
    let longest = if at_work { 150 } else { 1000 };
    pause(Duration::from_millis(draw.u64(..longest)));
    process.kill();
    commits(process) > 0
}

fn killed_at_random_moments(test: &str, sinks: &[&str]) {
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let mut draw = draw();
    let kills = given("HEADWATER_KAFKA_KILLS").unwrap_or(6);
    let stage = Stage::new(&kafka, "crash", 3);
    let commit = "commit: {every: 100ms}\n";
    stage.document(&format!("{SOURCE}{STEPS}{commit}sinks:{}", sinks.concat()));
    let feeding = stage.feed(&stage.input, 3).go_on(ROWS);
    let (into_topic, into_folder) = (sinks.contains(&TOPIC), sinks.contains(&FOLDER));
    let mut at_work = 0;
    for kill_number in 1..=kills {
        at_work += u64::from(kill(&mut stage.run(), &mut draw));
        if kill_number % LOOK_EVERY == 0 && into_topic {
            assert_nothing_twice(&rows(&stage.client, &stage.output));
        }
    }
    let feed = feeding.stop();
    stage.drain();
    if into_topic {
        let rows = rows(&stage.client, &stage.output);
        assert_exactly(&rows, feed.rows);
        assert_partitions_in_order(&rows);
    }
    if into_folder {
        outputs::assert_exactly(&stage.place.path("out"), feed.rows);
    }
    testkit::note(test, &format!("{kills} kills, {at_work} of them after a commit, {} rows", feed.rows));
    assert!(at_work > 0);
}

#[test]
fn killed_on_its_way_from_topic_to_topic_it_neither_loses_nor_repeats_a_row() {
    killed_at_random_moments("killed on its way from topic to topic", &[TOPIC]);
}

#[test]
fn killed_on_its_way_from_topic_to_files_it_neither_loses_nor_repeats_a_row() {
    killed_at_random_moments("killed on its way from topic to files", &[FOLDER]);
}

#[test]
fn killed_on_its_way_from_topic_to_topic_and_files_it_neither_loses_nor_repeats_a_row() {
    killed_at_random_moments("killed on its way from topic to topic and files", &[TOPIC, FOLDER]);
}
