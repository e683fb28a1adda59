//! Rows that a step refused come out when the document is mended: each once, also when the replay is killed, and not
//! again where another sink already has them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::outputs::{assert_exactly, assert_nothing_twice, ids};
use crate::process::{Place, draw, given};

const FILES: i64 = 20;
const ROWS: i64 = FILES * 100;

/// The step fails on every fifth row until it is told what `?` means.
fn document(place: &Place, number: &str) {
    place.document(&format!(
        "
sources:
  rows: {{files: {{path: \"in/*.jsonl\"}}}}
steps:
  numbered: {{from: rows, sql: \"SELECT id, {number} AS number FROM rows\"}}
  doubled: {{from: numbered, sql: \"SELECT id, number * 2 AS twice FROM numbered\"}}
sinks:
  all: {{from: rows, files: {{url: all}}, format: {{json: {{}}}}}}
  good: {{from: doubled, files: {{url: good, partitionBy: [{{name: odd, sql: \"id % 2\"}}]}}, format: {{json: {{}}}}}}
commit: {{url: ledger, every: 5ms}}
batch: {{rows: 40}}
"
    ));
}

const FRAGILE: &str = "CAST(text AS BIGINT)";
const MENDED: &str = "CAST(replace(text, '?', '0') AS BIGINT)";

fn refused(id: i64) -> bool {
    id % 5 == 3
}

fn place() -> Place {
    let place = Place::new();
    for file in 0..FILES {
        let mut text = String::new();
        for id in file * 100..(file + 1) * 100 {
            let number = if refused(id) { format!("{id}?") } else { id.to_string() };
            writeln!(text, "{{\"id\":{id},\"text\":\"{number}\"}}").unwrap();
        }
        place.write(&format!("in/{file:04}.jsonl"), text);
    }
    document(&place, FRAGILE);
    place
}

#[test]
fn a_replay_brings_each_refused_row_once_also_when_it_is_killed() {
    let mut draw = draw();
    let kills_wanted = given("HEADWATER_KILLS").unwrap_or(20).div_ceil(4);
    let mut kills = 0;
    while kills < kills_wanted {
        let place = place();
        place.run().succeed();
        assert_exactly(&place.path("all"), ROWS);
        let good = ids(&place.path("good"));
        assert!((0..ROWS).all(|id| good.contains_key(&id) != refused(id)), "{} rows", good.len());

        document(&place, MENDED);
        loop {
            let mut replay = place.start(&["quarantine", "replay", "stream.yaml"]);
            let longest = if kills < kills_wanted { 60 + draw.u64(..500) } else { 120_000 };
            if let Some(status) = replay.ended_within(Duration::from_millis(longest)) {
                assert!(status.success(), "{}", replay.err());
                break;
            }
            replay.kill();
            kills += 1;
            assert_nothing_twice(&place.path("good"));
        }
        assert_exactly(&place.path("good"), ROWS);
        assert_exactly(&place.path("all"), ROWS);
        // A second replay has nothing to do, nor has a second run.
        place.start(&["quarantine", "replay", "stream.yaml"]).succeed();
        place.run().succeed();
        assert_exactly(&place.path("good"), ROWS);
        assert_exactly(&place.path("all"), ROWS);
    }
    println!("{kills} kills");
}

#[test]
fn rows_that_fail_again_are_put_aside_again_and_come_with_a_later_replay() {
    let place = place();
    place.run().succeed();
    place.start(&["quarantine", "replay", "stream.yaml"]).succeed();
    assert_eq!(ids(&place.path("good")).len(), usize::try_from(ROWS / 5 * 4).unwrap());
    document(&place, MENDED);
    place.start(&["quarantine", "replay", "stream.yaml"]).succeed();
    assert_exactly(&place.path("good"), ROWS);
    assert_exactly(&place.path("all"), ROWS);
}
