//! Memory is bounded by one number, with any number of partitions.

use std::time::Duration;

use stdx::Clock;

use crate::outputs::{assert_exactly, visible};
use crate::process::{Place, Process};

/// Waits for the end, and gives the most memory that was resident, in kB.
fn peak_kb(process: &mut Process) -> u64 {
    let (clock, mut peak) = (Clock::system(), 0);
    loop {
        peak = process.status_kb("VmHWM").unwrap_or(peak).max(peak);
        if let Some(status) = process.ended_within(Duration::from_millis(5)) {
            assert!(status.success(), "{}", process.err());
            return peak;
        }
        assert!(clock.elapsed() < Duration::from_mins(5), "{}", process.err());
    }
}

#[test]
fn a_thousand_partitions_in_random_order_stay_within_the_bound() {
    a_thousand_partitions("{parquet: {}}");
}

#[test]
fn so_do_they_without_dictionaries() {
    a_thousand_partitions("{parquet: {dictionary: false}}");
}

fn a_thousand_partitions(format: &str) {
    let place = Place::new();
    let document = "
sources:
  rows:
    generate:
      total: 120000
      seed: 1
      columns: {id: {sequence: {}}, part: {int: {min: 0, max: 999}}, text: {text: {length: 2000}}}
sinks:
  out: {from: rows, files: {url: out, partitionBy: [part], roll: {every: 1h}}, format: FORMAT}
commit: {url: ledger}
memory: 256MiB
";
    place.document(&document.replace("FORMAT", format));
    let peak = peak_kb(&mut place.run());
    assert!(peak <= 384 << 10, "{} MiB were resident", peak >> 10);
    let files = visible(&place.path("out")).len();
    assert!(files > 1000, "{files} files: no writer was closed to make room");
    assert_exactly(&place.path("out"), 120_000);
}

#[test]
fn a_large_input_passes_in_little_memory() {
    let place = Place::new();
    // 200 MB in lines of 1000 bytes.
    let mut text = String::with_capacity(200 << 20);
    for id in 0..200_000 {
        use std::fmt::Write as _;
        writeln!(text, "{{\"id\":{id},\"text\":\"{id:0>970}\"}}").unwrap();
    }
    place.write("in/large.jsonl", &text);
    drop(text);
    place.document(
        "
sources:
  rows: {files: {path: in/large.jsonl}}
sinks:
  out: {from: rows, files: {url: out}, format: {json: {}}}
commit: {url: ledger}
memory: 64MiB
",
    );
    let peak = peak_kb(&mut place.run());
    assert!(peak <= 160 << 10, "{} MiB were resident", peak >> 10);
    assert_exactly(&place.path("out"), 200_000);
}
