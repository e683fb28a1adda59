//! Rows that can't be read, evaluated or written, and streams with more than one way in or out.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use stream::ReasonCode;
use stream::quarantine::Encoding;

use crate::support::{Place, quarantine, row_lines, rows, visible, wait_until};

const OUT: &str = "sinks: {out: {from: rows, files: {url: out}, format: json}}\n";

/// Lines of different lengths, each thousandth of which is no JSON.
fn lines_with_bad(count: u64, every: u64) -> (String, Vec<(u64, String)>) {
    let (mut text, mut bad) = (String::new(), Vec::new());
    for n in 0..count {
        let pad = "x".repeat(usize::try_from(n % 17).unwrap());
        let line = if n % every == every / 2 {
            format!("{{\"n\":{n}, {pad}")
        } else {
            format!("{{\"n\":{n},\"p\":\"{pad}\"}}")
        };
        if line.ends_with('}') {
            text.push_str(&line);
        } else {
            bad.push((text.len() as u64, line.clone()));
            text.push_str(&line);
        }
        text.push('\n');
    }
    (text, bad)
}

#[test]
fn bad_lines_of_many_chunks_are_put_aside_with_their_own_bytes_and_places() {
    let place = Place::new();
    let (text, bad) = lines_with_bad(1000, 10);
    place.write("in/a.jsonl", &text);
    let plan = place.plan(&format!("sources: {{rows: {{files: {{path: in/a.jsonl}}}}}}\n{OUT}batch: {{rows: 13}}"));
    let report = place.run_plan(plan.clone()).unwrap();
    assert_eq!(place.numbers("out").len(), 900);
    let entries = quarantine(&plan);
    let found: Vec<(u64, String)> = entries
        .iter()
        .map(|entry| (entry.origin.offset, String::from_utf8(entry.payload().unwrap()).unwrap()))
        .collect();
    assert_eq!(found, bad);
    assert!(entries.iter().all(|entry| entry.code == ReasonCode::Malformed && entry.part == "rows"));
    assert!(
        entries.iter().all(|entry| entry.encoding == Encoding::Message && entry.origin.input.ends_with("in/a.jsonl"))
    );
    assert_eq!((report.counts.quarantined, report.counts.parts["rows"].rows_in), (100, 1000));
    assert_eq!(report.counts.parts["rows"].rows_out, 900);
    assert_eq!(report.counts.parts["rows"].bytes_in, text.len() as u64);
}

const CAST: &str = "
sources: {rows: {files: {path: in/a.jsonl}}}
steps: {cast: {from: rows, sql: 'SELECT n, CAST(text AS BIGINT) AS number FROM rows'}}
sinks: {out: {from: cast, files: {url: out}, format: json}}
";

#[test]
fn one_row_that_a_step_fails_on_is_put_aside_and_the_others_keep_their_order() {
    let place = Place::new();
    let line = |n: u64| {
        let text = if n == 613 { "six hundred".to_owned() } else { n.to_string() };
        format!("{{\"n\":{n},\"text\":\"{text}\"}}\n")
    };
    let text: String = (0..1000).map(line).collect();
    place.write("in/a.jsonl", &text);
    let plan = place.plan(CAST);
    place.run_plan(plan.clone()).unwrap();
    let numbers: Vec<u64> = place.json("out").iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..1000).filter(|n| *n != 613).collect::<Vec<_>>());
    let entries = quarantine(&plan);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.part.as_str(), entry.source.as_str(), entry.code), ("cast", "rows", ReasonCode::Evaluation));
    assert_eq!(entry.payload().unwrap(), line(613).trim_end().as_bytes());
    assert_eq!(entry.origin.offset, (0..613).map(|n| line(n).len() as u64).sum::<u64>());
    assert!(entry.message.contains("six hundred"), "{}", entry.message);
}

#[test]
fn a_row_of_a_message_with_several_is_named_by_its_number() {
    let place = Place::new();
    // A small container is one message; one of its rows can't be divided by.
    let make = "
sources: {rows: {files: {path: in/a.jsonl}}}
sinks: {out: {from: rows, files: {url: made}, format: avro}}
";
    place.write("in/a.jsonl", "{\"n\":1,\"by\":1}\n{\"n\":2,\"by\":0}\n{\"n\":3,\"by\":1}\n");
    place.run(make).unwrap();
    let spec = "
sources: {rows: {files: {path: made}, format: avro}}
steps: {divide: {from: rows, sql: 'SELECT n, n / by AS part FROM rows'}}
sinks: {out: {from: divide, files: {url: out}, format: json}}
";
    let plan = place.plan(spec);
    place.run_plan(plan.clone()).unwrap();
    assert_eq!(place.numbers("out"), [1, 3]);
    let entry = quarantine(&plan).remove(0);
    assert_eq!((entry.part.as_str(), entry.row), ("divide", Some(1)));
    assert_eq!(entry.payload().unwrap(), std::fs::read(&visible(&place.path("made"))[0]).unwrap());

    // Put right, the replay brings that row and no other, once.
    let fixed = spec.replace("n / by", "n / nullif(by, 0)");
    for _ in 0..2 {
        let plan = place.plan(&fixed);
        for replay in stream::quarantine::replay_plan(&plan, None).unwrap() {
            place.run_plan(replay).unwrap();
        }
        assert_eq!(place.numbers("out"), [1, 2, 3]);
    }
}

#[test]
fn a_row_without_a_message_is_put_aside_as_arrow() {
    let place = Place::new();
    let spec = "
sources: {rows: {generate: {total: 100, seed: 1, columns: {n: {sequence: {}}}}}}
steps: {divide: {from: rows, sql: 'SELECT n, 7 / (n - 42) AS part FROM rows'}}
sinks: {out: {from: divide, files: {url: out}, format: json}}
";
    let plan = place.plan(spec);
    place.run_plan(plan.clone()).unwrap();
    assert_eq!(place.numbers("out"), (0..100).filter(|n| *n != 42).collect::<Vec<_>>());
    let entry = quarantine(&plan).remove(0);
    assert_eq!((entry.encoding, entry.origin.offset), (Encoding::Arrow, 42));
    let payload = entry.payload().unwrap();
    let mut reader = arrow::ipc::reader::StreamReader::try_new(&payload[..], None).unwrap();
    assert_eq!(stream::exercise::row_texts(&reader.next().unwrap().unwrap()), ["n=42"]);
}

#[test]
fn too_many_bad_rows_stop_the_stream_after_they_are_committed() {
    for (limit, stops) in [("3", true), ("100", true), ("101", false), ("0.05", true), ("0.5", false)] {
        let place = Place::new();
        place.write("in/a.jsonl", lines_with_bad(1000, 10).0);
        let plan = place.plan(&format!(
            "sources: {{rows: {{files: {{path: in/a.jsonl}}}}}}\n{OUT}batch: {{rows: 20}}\nerrors: {{failAfter: {limit}}}"
        ));
        match place.run_plan(plan.clone()) {
            Err(stream::Error::TooManyBad { bad, rows }) => {
                assert!(stops, "failAfter {limit} stopped at {bad} of {rows}");
                assert!(rows < 1000 || bad == 100);
                assert_eq!(quarantine(&plan).len() as u64, bad, "what was put aside can be looked at");
                // What was read is committed too: nothing of it comes again.
                assert_eq!(place.numbers("out").len() as u64, rows - bad);
            }
            other => {
                assert!(!stops, "failAfter {limit}: {other:?}");
                assert_eq!(place.numbers("out").len(), 900);
            }
        }
    }
}

#[test]
fn a_union_of_two_sources_and_two_subgraphs_in_one_document() {
    let place = Place::new();
    place.write_rows("a/1.jsonl", 0..20);
    place.write_rows("b/1.jsonl", 20..30);
    place.write_rows("c/1.jsonl", 50..55);
    let spec = "
sources:
  a: {files: {path: a}, format: json}
  b: {files: {path: b}, format: json}
  c: {files: {path: c}, format: json}
steps:
  some: {from: [a, b], sql: 'SELECT n FROM input WHERE n % 2 = 0'}
  named: {from: [a, b], sql: 'SELECT n, 1 AS which FROM a UNION ALL SELECT n, 2 FROM b'}
sinks:
  even: {from: some, files: {url: out/even}, format: json}
  all: {from: [a, b], files: {url: out/all}, format: json}
  named: {from: named, files: {url: out/named}, format: json}
  other: {from: c, files: {url: out/other}, format: json}
"
    .replace("  named: {from: named", "  which: {from: named");
    let report = place.run(&spec).unwrap();
    assert_eq!(place.numbers("out/even"), (0..30).filter(|n| n % 2 == 0).collect::<Vec<_>>());
    assert_eq!(place.numbers("out/all"), (0..30).collect::<Vec<_>>());
    assert_eq!(place.numbers("out/other"), (50..55).collect::<Vec<_>>());
    for row in place.json("out/named") {
        assert_eq!(row["which"], if row["n"].as_u64().unwrap() < 20 { 1 } else { 2 });
    }
    // The counters say the same, for each part.
    let counts = |part: &str| (report.counts.parts[part].rows_in, report.counts.parts[part].rows_out);
    assert_eq!([counts("a"), counts("b"), counts("c")], [(20, 20), (10, 10), (5, 5)]);
    assert_eq!([counts("some"), counts("named")], [(30, 15), (30, 30)]);
    assert_eq!(
        [counts("even"), counts("all"), counts("which"), counts("other")],
        [(15, 15), (30, 30), (30, 30), (5, 5)]
    );
    let bytes: u64 = visible(&place.path("out/all")).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!(report.counts.parts["all"].bytes_out, bytes);
}

#[test]
fn files_that_appear_while_the_stream_runs_are_read_also_older_ones() {
    let place = Place::with_manual_clock();
    place.write_rows("in/m.jsonl", 0..3);
    let spec = "
sources: {rows: {files: {path: in/*.jsonl, follow: {every: 10s}}}}
sinks: {out: {from: rows, files: {url: out, roll: {every: 1s}}, format: json}}
";
    let running = place.start(place.plan(spec), false);
    let until_visible = |count: usize| {
        wait_until("rows are visible", || {
            place.clock.advance(Duration::from_secs(1));
            place.numbers("out").len() == count
        });
    };
    until_visible(3);
    place.write_rows("in/z.jsonl", 3..5);
    until_visible(5);
    // Late: by name and by time before what is done.
    place.write_rows("in/a.jsonl", 5..9);
    let hour_ago = std::fs::metadata(place.path("in/m.jsonl")).unwrap().modified().unwrap() - Duration::from_hours(1);
    std::fs::File::open(place.path("in/a.jsonl")).unwrap().set_modified(hour_ago).unwrap();
    until_visible(9);
    running.drain();
    // Also when it came while the stream was down; and idle means nothing for five seconds.
    place.write_rows("in/0.jsonl", 9..10);
    let running = place.start(place.plan(spec), true);
    wait_until("the stream ends", || {
        place.clock.advance(Duration::from_millis(500));
        running.has_ended()
    });
    let before = place.clock.elapsed();
    assert_eq!(running.end().unwrap().counts.parts["rows"].rows_in, 1);
    assert!(before >= Duration::from_secs(5));
    assert_eq!(place.numbers("out"), (0..10).collect::<Vec<_>>());
}

#[test]
fn packed_files_and_a_last_line_without_an_end() {
    let place = Place::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(row_lines(0..500).as_bytes()).unwrap();
    place.write("in/a.jsonl.gz", gzip.finish().unwrap());
    place.write("in/b.jsonl.zst", zstd::encode_all(row_lines(500..900).as_bytes(), 3).unwrap());
    place.write("in/c.jsonl", row_lines(900..1000).trim_end());
    place.run(&format!("sources: {{rows: {{files: {{path: in}}, format: json}}}}\n{OUT}batch: {{rows: 64}}")).unwrap();
    assert_eq!(place.numbers("out"), (0..1000).collect::<Vec<_>>());
}

#[test]
fn what_was_leased_of_the_memory_is_given_back() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..5000);
    let spec = "
sources: {rows: {files: {path: in}, format: json}}
sinks:
  parquet: {from: rows, files: {url: out/p, partitionBy: [{name: part, sql: n % 50}]}}
  json: {from: rows, files: {url: out/j}, format: json}
batch: {rows: 500}
";
    let report = place.run(spec).unwrap();
    assert_eq!(place.pool.leased_bytes(), 0);
    assert_eq!(report.counts.parts["parquet"].rows_out, 5000);
    let parts = std::fs::read_dir(place.path("out/p")).unwrap();
    assert_eq!(
        parts.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("part=")).count(),
        50
    );
    let seen = crate::support::parquet(&visible(&place.path("out/p")));
    assert_eq!(rows(&seen), 5000);
}

#[test]
fn the_shards_of_a_source_share_its_files_once() {
    let place = Place::new();
    for file in 0..40 {
        place.write_rows(&format!("in/{file}.jsonl"), file * 10..file * 10 + 10);
    }
    let spec = format!("sources: {{rows: {{files: {{path: in, shards: 3}}, format: json}}}}\n{OUT}");
    let plan = place.plan(&spec);
    assert_eq!(plan.tasks.len(), 3);
    place.run_plan(plan).unwrap();
    assert_eq!(place.numbers("out"), (0..400).collect::<Vec<_>>());
    let tasks: std::collections::BTreeSet<String> = visible(&place.path("out"))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().split('-').nth(3).unwrap().to_owned())
        .collect();
    assert_eq!(tasks.into_iter().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(place.run(&spec).unwrap().counts.parts["rows"].rows_in, 0);
}

#[test]
fn fifteen_rows_in_batches_of_ten_come_out_as_fifteen() {
    let place = Place::with_manual_clock();
    let spec = "
sources: {rows: {generate: {total: 15, then: wait, seed: 1, columns: {n: {sequence: {}}}}}}
sinks: {out: {from: rows, files: {url: out, roll: {every: 2s}}, format: json}}
batch: {rows: 10}
";
    let running = place.start(place.plan(spec), false);
    wait_until("all rows are written", || running.rows_in("out") == 15);
    assert_eq!(place.numbers("out").len(), 0);
    place.clock.advance(Duration::from_secs(2));
    wait_until("the last is visible", || place.numbers("out").len() == 15);
    assert!(!running.has_ended(), "a source that waits keeps its stream");
    running.drain();
    let rows: Vec<Value> = place.json("out");
    assert_eq!(rows[14], json!({"n": 14}));
}
