//! Broken alerts among good ones are put aside with their bytes and the reason; all good ones come out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use stream::connector::generate::alerts;

use crate::outputs::{assert_nothing_staged, visible};
use crate::process::{Place, Process};

const SPEC: &str = "
sources:
  alerts: {files: {path: \"in/*.avro\"}}
sinks:
  raw: {from: alerts, files: {url: out}}
commit: {url: ledger}
batch: {rows: 4}
";

/// What stands before the records of a container: magic, metadata, sync marker.
fn header_bytes(alert: &[u8]) -> usize {
    // The marker ends the container, and the header too.
    let sync = &alert[alert.len() - 16..];
    alert.windows(16).position(|window| window == sync).expect("a header has a marker") + 16
}

/// Ways to break an alert, each with a word that its reason must have.
fn broken(alert: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let header = header_bytes(alert);
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = alert.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let name = alert[header..].windows(3).position(|window| window == b"ZTF").expect("objectId") + header;
    vec![
        ("truncated-head", alert[..header / 2].to_vec(), ""),
        ("truncated-block", alert[..alert.len() - 1000].to_vec(), ""),
        ("truncated-marker", alert[..alert.len() - 3].to_vec(), ""),
        ("empty", Vec::new(), ""),
        ("magic", changed(0, b"Obk\x01"), ""),
        ("sync", changed(alert.len() - 16, b"0123456789abcdef"), ""),
        // 2^60 records, zigzag, where one was said; the size after it is overwritten too.
        ("count", changed(header, b"\x80\x80\x80\x80\x80\x80\x80\x80\x20"), ""),
        ("size", changed(header + 1, b"\xfe\xff\xff\xff\x7f"), ""),
        ("length", changed(name - 1, b"\xff\x7f"), ""),
        ("utf8", changed(name, b"\xff\xfe\xfd"), "UTF-8"),
        ("tail", [alert, b"more"].concat(), ""),
    ]
}

/// A good container of another schema.
fn foreign() -> Vec<u8> {
    let schema = br#"{"type":"record","name":"alert","fields":[{"name":"candid","type":"string"}]}"#;
    let mut bytes = b"Obj\x01\x02\x16avro.schema".to_vec();
    let length = u32::try_from(schema.len()).unwrap() * 2;
    bytes.extend([u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()]);
    bytes.extend(schema);
    bytes.push(0);
    bytes.extend([7; 16]);
    bytes.extend(b"\x02\x04\x02a");
    bytes.extend([7; 16]);
    bytes
}

fn candids(folder: &Path) -> Vec<i64> {
    let mut candids = Vec::new();
    for path in visible(folder) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            candids.extend(batch.column_by_name("candid").unwrap().as_primitive::<Int64Type>().values());
        }
    }
    candids.sort_unstable();
    candids
}

/// What `quarantine list` tells: entries by the name of their file.
fn listed(place: &Place) -> BTreeMap<String, Value> {
    let mut list = place.start(&["quarantine", "list", "stream.yaml", "--output", "json"]);
    list.succeed();
    let list: Vec<Value> = serde_json::from_str(&list.out()).unwrap();
    let name = |one: &Value| {
        let input = Path::new(one["entry"]["input"].as_str().unwrap());
        input.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_owned()
    };
    list.into_iter().map(|one| (name(&one), one)).collect()
}

fn raw_bytes(place: &Place, entry: &Value) -> Vec<u8> {
    let mut show = place.start(&["quarantine", "show", "stream.yaml", entry["id"].as_str().unwrap(), "--raw"]);
    show.succeed();
    out_bytes(&show)
}

fn out_bytes(process: &Process) -> Vec<u8> {
    fs::read(process.out_path()).unwrap()
}

/// Puts good alerts with broken ones between them into `in`, and checks what comes of them.
fn assert_only_bad_are_put_aside(good: &[Vec<u8>]) {
    let place = Place::new();
    place.document(SPEC);
    let mut bad = broken(&good[0]);
    bad.push(("schema", foreign(), "schemavsn"));
    for (number, alert) in good.iter().enumerate() {
        place.write(&format!("in/{number:04}-good.avro"), alert);
    }
    for (number, (name, bytes, _)) in bad.iter().enumerate() {
        place.write(&format!("in/{:04}-{name}.avro", number + 1), bytes);
    }
    place.run().succeed();
    let there = candids(&place.path("out"));
    let mut distinct = there.clone();
    distinct.dedup();
    assert_eq!((there.len(), distinct.len()), (good.len(), good.len()));
    assert_nothing_staged(&place.path("out"));

    let listed = listed(&place);
    let names: Vec<&String> = listed.keys().collect();
    for (name, bytes, word) in &bad {
        let found = listed.get(*name).unwrap_or_else(|| panic!("{name} isn't among {names:?}"));
        let (code, message) = (&found["entry"]["code"], found["entry"]["message"].as_str().unwrap());
        let expected = match *name {
            "schema" => "schemaIncompatible",
            "size" => "tooLong",
            _ => "malformed",
        };
        assert_eq!(*code, expected, "{name}: {message}");
        assert!(!message.is_empty() && message.contains(word), "{name}: {message}");
        assert!(raw_bytes(&place, found) == *bytes, "{name}: the bytes differ");
    }
    assert_eq!(listed.len(), bad.len(), "{names:?}");

    place.run().succeed();
    assert_eq!(candids(&place.path("out")).len(), good.len(), "a second run has nothing to do");
}

#[test]
fn broken_among_made_up_alerts() {
    let good: Vec<Vec<u8>> = (0..30).map(|row| alerts::container(1, row)).collect();
    assert_only_bad_are_put_aside(&good);
}

#[test]
fn broken_among_real_alerts() {
    let Some(folder) = testkit::alerts() else {
        return testkit::skip("quarantine::broken_among_real_alerts", "no folder of real alerts: set HEADWATER_ALERTS");
    };
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let good = files.filter(|path| path.extension().is_some_and(|extension| extension == "avro"));
    assert_only_bad_are_put_aside(&good.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>());
}
