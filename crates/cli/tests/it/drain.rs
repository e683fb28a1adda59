//! A stream that is told to stop commits what it read; told twice, it stops at once, and loses nothing.

use std::time::Duration;

use crate::crash::{ROWS, place};
use crate::outputs::{assert_exactly, assert_nothing_staged, assert_nothing_twice, ids};
use crate::process::{Place, pause, until};

/// Nothing rolls and nothing is committed before the drain.
const SPEC: &str = "
sources:
  rows: {files: {path: \"in/*.jsonl\", follow: true}}
sinks:
  out: {from: rows, files: {url: out, partitionBy: [part]}, format: {json: {}}}
";

fn slow(total: u32) -> Place {
    let place = Place::new();
    place.document(&format!(
        "
sources:
  rows: {{generate: {{total: {total}, rate: 20000, seed: 1, columns: {{id: {{sequence: {{}}}}}}}}}}
sinks:
  out: {{from: rows, files: {{url: out}}, format: {{json: {{}}}}}}
commit: {{url: ledger}}
batch: {{rows: 100}}
"
    ));
    place
}

#[test]
fn asked_once_it_commits_what_it_read_and_ends_in_peace() {
    let place = slow(40_000);
    let mut process = place.run();
    until("the first staged file", || !crate::outputs::all(&place.path("out/_headwater")).is_empty());
    pause(Duration::from_millis(300));
    process.signal("TERM");
    process.succeed();
    let there = ids(&place.path("out"));
    assert!(there.len() > 1000 && there.len() < 40_000, "{} rows", there.len());
    // Without a gap: what was read is what was committed.
    assert!(there.into_iter().zip(0..).all(|((id, count), expected)| id == expected && count == 1));
    assert_nothing_staged(&place.path("out"));
    place.run().succeed();
    assert_exactly(&place.path("out"), 40_000);
}

#[test]
fn a_stream_that_waits_for_files_commits_when_it_is_asked_to_end() {
    let place = place(SPEC);
    let mut process = place.run();
    let staged = || crate::outputs::all(&place.path("out/_headwater"));
    until("a file for each of four folders", || staged().len() == 4);
    process.signal("INT");
    process.succeed();
    assert_nothing_twice(&place.path("out"));
    assert!(!ids(&place.path("out")).is_empty());
    let mut rest = place.start(&["run", "stream.yaml", "--until-idle"]);
    rest.succeed();
    assert_exactly(&place.path("out"), ROWS);
}

#[test]
fn asked_twice_it_ends_at_once_and_the_next_run_has_it_all() {
    let place = slow(30_000);
    let mut process = place.run();
    until("the first staged file", || !crate::outputs::all(&place.path("out/_headwater")).is_empty());
    process.signal("STOP");
    // Both are there when it wakes up.
    process.signal("TERM");
    process.signal("INT");
    process.signal("CONT");
    assert_eq!(process.code(), 130, "{}", process.err());
    assert_nothing_twice(&place.path("out"));
    place.run().succeed();
    assert_exactly(&place.path("out"), 30_000);
}
