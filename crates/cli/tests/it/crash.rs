//! Killed at any moment, a stream from files to files loses no row, repeats none and leaves no stray file in sight.
//!
//! `HEADWATER_KILLS` says how often (20 by default), `HEADWATER_SEED` repeats a run.

use std::fmt::Write as _;
use std::time::Duration;

use crate::outputs::{assert_exactly, assert_nothing_twice};
use crate::process::{Place, draw, given, until};

const FILES: i64 = 160;
const ROWS_PER_FILE: i64 = 50;
pub(crate) const ROWS: i64 = FILES * ROWS_PER_FILE;

/// What a document writes: its sinks, and their folders.
struct Variant {
    spec: &'static str,
    folders: &'static [&'static str],
}

const VARIANTS: &[Variant] = &[
    Variant {
        spec: "
sources:
  rows: {files: {path: \"in/*.jsonl\"}}
sinks:
  out: {from: rows, files: {url: out, partitionBy: [part], roll: {rows: 40}}, format: {json: {}}}
",
        folders: &["out"],
    },
    Variant {
        spec: "
sources:
  rows: {files: {path: \"in/*.jsonl\", shards: 2}}
sinks:
  out: {from: rows, files: {url: out, partitionBy: [part], roll: {bytes: 2KiB}}, format: {parquet: {}}}
",
        folders: &["out"],
    },
    Variant {
        spec: "
sources:
  rows: {files: {path: \"in/*.jsonl\"}}
steps:
  kept: {from: rows, sql: \"SELECT id, part FROM rows WHERE part < 9\"}
sinks:
  lines: {from: rows, files: {url: lines, partitionBy: [part], roll: {rows: 30}}, format: {json: {}}}
  columns: {from: kept, files: {url: columns, roll: {rows: 100}}, format: {parquet: {}}}
",
        folders: &["lines", "columns"],
    },
];

/// The ends of lines don't fit the batches, and ids of one file go to several folders.
const COMMON: &str = "
batch: {rows: 64}
commit: {every: 10ms, url: ledger}
";

/// A folder with the variant's document and its input.
pub(crate) fn place(variant: &str) -> Place {
    let place = Place::new();
    place.document(&format!("{variant}{COMMON}"));
    for file in 0..FILES {
        let mut text = String::new();
        for id in file * ROWS_PER_FILE..(file + 1) * ROWS_PER_FILE {
            writeln!(text, "{{\"id\":{id},\"part\":{},\"text\":\"row {id}\"}}", id * 7 % 4).unwrap();
        }
        place.write(&format!("in/{file:04}.jsonl"), text);
    }
    place
}

#[test]
fn killed_at_random_moments_it_neither_loses_nor_repeats_a_row() {
    let mut draw = draw();
    let kills_wanted = given("HEADWATER_KILLS").unwrap_or(20);
    let (mut kills, mut rounds) = (0, 0);
    while kills < kills_wanted {
        let variant = &VARIANTS[rounds % VARIANTS.len()];
        rounds += 1;
        let place = place(variant.spec);
        loop {
            let mut process = place.run();
            // Once the kills are spent, it may come to its end.
            let longest = if kills < kills_wanted { 60 + draw.u64(..400) } else { 120_000 };
            match process.ended_within(Duration::from_millis(longest)) {
                Some(status) => {
                    assert!(status.success(), "{}", process.err());
                    break;
                }
                None => process.kill(),
            }
            kills += 1;
            variant.folders.iter().for_each(|folder| assert_nothing_twice(&place.path(folder)));
        }
        variant.folders.iter().for_each(|folder| assert_exactly(&place.path(folder), ROWS));
    }
    println!("{kills} kills in {rounds} rounds");
}

/// A quiet stream: after its first commit nothing comes.
const QUIET: &str = "
sources:
  rows: {files: {path: \"in/*.jsonl\", follow: true}, format: {json: {schema: {columns: {id: int64}}}}}
sinks:
  out: {from: rows, files: {url: out}, format: {json: {}}}
commit: {every: 10ms, url: ledger}
";

/// Commits the row 1, is killed, and finds that a reader took the file away.
fn killed_after_a_reader_came() -> Place {
    let place = Place::new();
    place.document(QUIET);
    place.write("in/1.jsonl", "{\"id\":1}\n");
    let mut process = place.run();
    // The note is the last that a commit writes.
    let note = place.ledger().join("tasks/rows-0/settled");
    until("the first commit is over", || std::fs::read_to_string(&note).is_ok_and(|note| note.ends_with('\n')));
    let published: Vec<_> = files(&place.path("out"));
    assert_eq!(published.len(), 1);
    std::fs::remove_file(&published[0]).unwrap();
    process.kill();
    place.document(&QUIET.replace("true", "false"));
    place.write("in/2.jsonl", "{\"id\":2}\n");
    place
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

#[test]
fn a_reader_may_take_a_file_away_before_a_kill() {
    let place = killed_after_a_reader_came();
    let mut next = place.run();
    assert_eq!(next.code(), 0, "{}", next.err());
    let left = files(&place.path("out"));
    assert_eq!(left.len(), 1, "what was taken away doesn't come again");
    assert_eq!(std::fs::read_to_string(&left[0]).unwrap(), "{\"id\":2}\n");
}

#[test]
fn what_nobody_noted_as_published_is_missed() {
    let place = killed_after_a_reader_came();
    // As if the machine had lost power before the note was on the disk.
    std::fs::remove_file(place.ledger().join("tasks/rows-0/settled")).unwrap();
    let mut next = place.run();
    assert_eq!(next.code(), 1, "{}", next.err());
    assert!(next.err().contains("was prepared, but neither it nor"), "{}", next.err());
}
