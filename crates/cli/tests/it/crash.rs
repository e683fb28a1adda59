//! Killed at any moment, a stream from files to files loses no row, repeats none and leaves no stray file in sight.
//!
//! `HEADWATER_KILLS` says how often (20 by default), `HEADWATER_SEED` repeats a run.

use std::fmt::Write as _;
use std::time::Duration;

use crate::outputs::{assert_exactly, assert_nothing_twice};
use crate::process::{Place, draw, given};

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
