//! Where a stream stands, when its ledger is in Kafka: shown, moved, reset, and begun anew.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::feed::{assert_exactly, rows};
use super::stage::{COPY, SOURCE, Stage};
use crate::process::Process;

fn positions(stage: &Stage, words: &[&str]) -> Process {
    stage.place.start(&[&["positions", words[0], "stream.yaml"], &words[1..]].concat())
}

/// How many rows there are, by how often each is there.
fn times(stage: &Stage) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for row in rows(&stage.client, &stage.output) {
        *counts.entry(row.id).or_insert(0) += 1;
    }
    let mut times = BTreeMap::new();
    for count in counts.into_values() {
        *times.entry(count).or_insert(0) += 1;
    }
    times
}

#[test]
fn positions_are_shown_set_and_reset_and_a_stream_begins_anew() {
    let test = "positions are shown, set and reset, and a stream begins anew";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "positions", 2);
    stage.document(&format!("{SOURCE}{COPY}"));
    let mut nothing = positions(&stage, &["show"]);
    nothing.succeed();
    assert!(nothing.err().contains("has not run"), "{}", nothing.err());
    let mut feed = stage.feed(&stage.input, 2);
    feed.more(100);
    stage.drain();
    assert_exactly(&rows(&stage.client, &stage.output), 100);

    let ends = stage.client.ends(&stage.input);
    let mut shown = positions(&stage, &["show", "--output", "json"]);
    shown.succeed();
    let shown: Value = serde_json::from_str(&shown.out()).unwrap();
    let found: BTreeMap<&str, &Value> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (task["task"].as_str().unwrap(), &task["positions"]["rows"][&stage.input]))
        .collect();
    assert_eq!(found, BTreeMap::from([("rows-0", &json!(ends[0])), ("rows-1", &json!(ends[1]))]), "{shown}");

    // The last seven rows of one partition come out again.
    let position = json!({&stage.input: ends[1] - 7}).to_string();
    positions(&stage, &["set", "--task", "rows-1", "--source", "rows", &position, "--yes"]).succeed();
    stage.drain();
    assert_eq!(times(&stage), BTreeMap::from([(1, 93), (2, 7)]));

    positions(&stage, &["reset", "--source", "rows", "--yes"]).succeed();
    stage.drain();
    assert_eq!(times(&stage), BTreeMap::from([(2, 93), (3, 7)]));

    let mut fresh = stage.start(&["--until-idle", "--fresh"]);
    fresh.succeed();
    assert!(fresh.err().contains("starting over"), "{}", fresh.err());
    assert_eq!(times(&stage), BTreeMap::from([(3, 93), (4, 7)]));
    stage.drain();
    assert_eq!(times(&stage), BTreeMap::from([(3, 93), (4, 7)]), "begun anew once");
}
