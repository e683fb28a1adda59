//! Rows that go into a topic while a stream reads it, and the count of those that came out of another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use testkit::kafka::{Client, Record};

/// Keys that rows have in turn.
const KEYS: i64 = 11;

/// Writes rows into a topic: `{"id": 17, "key": "k6"}`, numbered from 0. A key stays in its partition.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) client: Client,
    pub(crate) topic: String,
    pub(crate) partitions: i64,
    /// How many rows there are so far.
    pub(crate) rows: i64,
}

impl Feed {
    /// Writes so many rows more.
    pub(crate) fn more(&mut self, rows: i64) {
        let row = |id: i64| {
            let key = id % KEYS;
            let value = json!({"id": id, "key": format!("k{key}")}).to_string();
            let partition = i32::try_from(key % self.partitions).unwrap();
            Record::of(value).key(format!("k{key}")).partition(partition)
        };
        self.client.produce(&self.topic, &(self.rows..self.rows + rows).map(row).collect::<Vec<_>>());
        self.rows += rows;
    }

    /// Goes on writing, so many rows at once, until it is stopped.
    pub(crate) fn go_on(mut self, rows: i64) -> Feeding {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                self.more(rows);
            }
            self
        });
        Feeding { stop, thread }
    }
}

/// A feed that goes on beside the test.
pub(crate) struct Feeding {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Feed>,
}

impl Feeding {
    /// Ends it.
    pub(crate) fn stop(self) -> Feed {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A row as it came out.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) partition: i32,
    pub(crate) id: i64,
    pub(crate) key: String,
}

/// The rows that readers of committed messages see in a topic, by partition and offset.
pub(crate) fn rows(client: &Client, topic: &str) -> Vec<Row> {
    let read = |record: &Record| {
        let row: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let (id, key) = (row["id"].as_i64().unwrap(), row["key"].as_str().unwrap_or_default().to_owned());
        Row { partition: record.partition.unwrap(), id, key }
    };
    client.consume(topic).iter().map(read).collect()
}

/// How often each id is among rows.
fn counts(rows: &[Row]) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.id).or_insert(0) += 1;
    }
    counts
}

/// Each id is there at most once.
pub(crate) fn assert_nothing_twice(rows: &[Row]) {
    let twice: Vec<i64> = counts(rows).into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect();
    assert!(twice.is_empty(), "{} ids twice, such as {}", twice.len(), twice[0]);
}

/// The ids from 0 up to `count` are there, each once.
pub(crate) fn assert_exactly(rows: &[Row], count: i64) {
    assert_nothing_twice(rows);
    let there = counts(rows);
    let missing: Vec<i64> = (0..count).filter(|id| !there.contains_key(id)).collect();
    assert!(missing.is_empty(), "{} of {count} ids missing, such as {}", missing.len(), missing[0]);
    assert_eq!(i64::try_from(there.len()).unwrap(), count);
}

/// The rows of each partition, and so those of each key, came out as they went in.
pub(crate) fn assert_in_order(rows: &[Row]) {
    let mut last: BTreeMap<(i32, &str), i64> = BTreeMap::new();
    for row in rows {
        let before = last.insert((row.partition, row.key.as_str()), row.id);
        assert!(before.is_none_or(|before| before < row.id), "{before:?} came out before {row:?}");
    }
    let partitions_of = |key: &str| last.keys().filter(|(_, other)| *other == key).count();
    assert!(last.keys().all(|(_, key)| partitions_of(key) == 1), "a key went to two partitions");
}

/// The rows of each partition have growing ids.
pub(crate) fn assert_partitions_in_order(rows: &[Row]) {
    let ordered = rows.windows(2).all(|pair| pair[0].partition != pair[1].partition || pair[0].id < pair[1].id);
    assert!(ordered, "rows of one partition changed places");
}
