//! Several processes share the tasks of one stream, and go on sharing them when their number changes or one is killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::outputs::{assert_exactly, assert_nothing_twice, ids};
use crate::process::{Place, Process, draw, pause, until};

const SPEC: &str = "
sources:
  rows: {files: {path: \"in/*.jsonl\", shards: 6, follow: {every: 50ms}}, format: {json: {schema: {columns: {id: int64}}}}}
sinks:
  out: {from: rows, files: {url: out, roll: {every: 200ms}}, format: json}
tasks: {metadataEvery: 200ms}
commit: {url: ledger}
";
const ROWS_PER_FILE: i64 = 20;

fn feed(place: &Place, files: std::ops::Range<i64>) {
    for file in files {
        let mut text = String::new();
        for id in file * ROWS_PER_FILE..(file + 1) * ROWS_PER_FILE {
            writeln!(text, "{{\"id\":{id}}}").unwrap();
        }
        // Whole at once: a file that is there is read.
        place.write(&format!("{file:04}.tmp"), text);
        fs::rename(place.path(&format!("{file:04}.tmp")), place.path(&format!("in/{file:04}.jsonl"))).unwrap();
    }
}

fn container(place: &Place, index: u32) -> Process {
    place.start(&["run", "stream.yaml", "--container", &format!("{index}/3"), "--log-level", "info"])
}

/// Which process holds each task, by what its lock says.
fn holders(place: &Place) -> BTreeMap<String, u32> {
    let mut holders = BTreeMap::new();
    for task in fs::read_dir(place.ledger().join("tasks")).into_iter().flatten() {
        let lock = task.unwrap().path().join("lock");
        let Ok(file) = fs::File::open(&lock) else { continue };
        if file.try_lock().is_err() {
            let text = fs::read_to_string(&lock).unwrap();
            let id = text.split_whitespace().nth(1).and_then(|id| id.parse().ok());
            let name = lock.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            holders.extend(id.map(|id| (name, id)));
        }
    }
    holders
}

/// Waits until the six tasks are shared out as `shares` says: how many each process holds.
fn shared(place: &Place, processes: &[&Process], shares: &[usize]) {
    until(&format!("tasks are shared as {shares:?}"), || {
        let holders = holders(place);
        let held = |process: &&Process| holders.values().filter(|id| **id == process.id()).count();
        processes.iter().map(held).collect::<Vec<_>>() == shares
    });
}

fn scale(place: &Place, containers: u32) {
    let mut process = place.start(&["scale", "stream.yaml", "--containers", &containers.to_string()]);
    process.succeed();
    assert!(process.err().contains(&format!("-> {containers} containers")), "{}", process.err());
}

#[test]
fn tasks_move_between_containers_and_no_row_is_lost_or_twice() {
    let mut draw = draw();
    let place = Place::new();
    place.document(SPEC);
    fs::create_dir_all(place.path("in")).unwrap();
    feed(&place, 0..20);
    let [mut first, mut second, mut third] = [0, 1, 2].map(|index| container(&place, index));
    shared(&place, &[&first, &second, &third], &[2, 2, 2]);
    feed(&place, 20..40);
    scale(&place, 1);
    feed(&place, 40..60);
    shared(&place, &[&first, &second, &third], &[6, 0, 0]);
    scale(&place, 2);
    feed(&place, 60..80);
    shared(&place, &[&first, &second, &third], &[3, 3, 0]);
    pause(Duration::from_millis(draw.u64(..300)));
    second.kill();
    feed(&place, 80..100);
    let mut second = container(&place, 1);
    shared(&place, &[&first, &second, &third], &[3, 3, 0]);
    until("all rows are out", || ids(&place.path("out")).len() == 100 * usize::try_from(ROWS_PER_FILE).unwrap());
    assert_nothing_twice(&place.path("out"));
    for process in [&mut first, &mut second, &mut third] {
        process.signal("TERM");
        process.succeed();
    }
    assert_exactly(&place.path("out"), 100 * ROWS_PER_FILE);
}

#[test]
fn the_number_of_containers_is_told_before_it_is_taken() {
    let place = Place::new();
    place.document(SPEC);
    fs::create_dir_all(place.path("in")).unwrap();
    for wrong in ["3/3", "x", "1", "0/0"] {
        let mut process = place.start(&["run", "stream.yaml", "--container", wrong]);
        assert_eq!(process.code(), 2);
        assert!(process.err().contains("the container's number from 0"), "{}", process.err());
    }
    let mut process = place.start(&["scale", "stream.yaml", "--containers", "2"]);
    assert_eq!(process.code(), 2);
    assert!(process.err().contains("has not run"), "{}", process.err());
}
