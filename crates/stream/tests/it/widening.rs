//! Alerts of more than one schema in one input.

use arrow::array::Array as _;
use serde_json::{Value, json};
use stream::ReasonCode;

use crate::support::{Place, batch, encoded, named, parquet, quarantine, visible};

const SPEC: &str = "
sources: {alerts: {files: {path: in/*.avro}}}
sinks: {out: {from: alerts, files: {url: out}}}
";

/// Writes each file with the given rows.
fn place_with(files: &[(&str, &str)]) -> Place {
    let place = Place::new();
    for (name, lines) in files {
        place.write(&format!("in/{name}.avro"), encoded(&named("avro"), &batch(&place, lines)));
    }
    place
}

const OLD: &str =
    "{\"id\":1,\"candidate\":{\"jd\":2.5,\"rb\":0.5}}\n{\"id\":2,\"candidate\":{\"jd\":2.5,\"rb\":0.5}}\n";
const NEW: &str = "{\"id\":3,\"candidate\":{\"jd\":3.5,\"drb\":0.9,\"rb\":0.5},\"survey\":\"x\"}\n";
const LATER_OLD: &str = "{\"id\":4,\"candidate\":{\"jd\":4.5,\"rb\":0.5}}\n";

#[test]
fn a_new_field_opens_new_files_and_older_rows_have_none() {
    let place = place_with(&[("a", OLD), ("b", NEW), ("c", LATER_OLD)]);
    let plan = place.plan(SPEC);
    let report = place.run_plan(plan.clone()).unwrap();
    assert_eq!(report.counts.parts["out"].rows_out, 4);
    assert!(quarantine(&plan).is_empty());
    let mut files = Vec::new();
    for path in visible(&place.path("out")) {
        let batches = parquet(&[path]);
        let has_survey = batches[0].schema().field_with_name("survey").is_ok();
        let texts: Vec<String> = batches.iter().flat_map(stream::exercise::row_texts).collect();
        files.push((has_survey, texts));
    }
    files.sort();
    let shown = |files: &[(bool, Vec<String>)]| files.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>();
    assert_eq!(files.iter().map(|(survey, _)| *survey).collect::<Vec<_>>(), [false, true], "{files:?}");
    assert_eq!(shown(&files), [2, 2]);
    assert!(files[1].1[0].contains("drb: 0.9") && files[1].1[0].ends_with("survey=x"), "{files:?}");
    assert!(files[1].1[1].contains("drb: null") && files[1].1[1].ends_with("survey=null"), "{files:?}");

    // A later run, whose plan is made from the oldest file again, goes on.
    place.write("in/d.avro", encoded(&named("avro"), &batch(&place, NEW)));
    assert_eq!(place.run(SPEC).unwrap().counts.parts["out"].rows_out, 1);
    let surveys = parquet(&visible(&place.path("out")));
    let known = surveys
        .iter()
        .filter_map(|batch| batch.column_by_name("survey").map(|column| column.len() - column.null_count()));
    assert_eq!(known.sum::<usize>(), 2);
}

#[test]
fn a_query_goes_on_over_new_fields() {
    let place = place_with(&[("a", OLD), ("b", NEW)]);
    let spec = "
sources: {alerts: {files: {path: in/*.avro}}}
steps:
  all: {from: alerts, sql: 'SELECT * FROM alerts WHERE candidate.rb < 1'}
  some: {from: alerts, sql: 'SELECT id, candidate.jd FROM alerts'}
sinks:
  all: {from: all, files: {url: out/all}, format: json}
  some: {from: some, files: {url: out/some}, format: json}
";
    let spec = spec
        .replace("  all: {from: all,", "  every: {from: all,")
        .replace("  some: {from: some,", "  few: {from: some,");
    place.run(&spec).unwrap();
    let mut all = place.json("out/all");
    all.sort_by_key(|row| row["id"].as_u64());
    assert_eq!(all[2], json!({"id": 3, "candidate": {"jd": 3.5, "drb": 0.9, "rb": 0.5}, "survey": "x"}));
    let ids: Vec<&Value> = all.iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(place.json("out/some").len(), 3);
}

#[test]
fn a_record_of_another_name_is_the_same_record() {
    let place = place_with(&[("a", OLD)]);
    let bytes = encoded(&named("avro"), &batch(&place, LATER_OLD));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let at = text.find("\"name\":\"").expect("a named record") + 8;
    let length = text[at..].find('"').unwrap();
    // Of the same length, since lengths stand before the schema.
    let start = bytes.windows(8).position(|window| window == b"\"name\":\"").unwrap() + 8;
    let mut renamed = bytes.clone();
    renamed[start..start + length].fill(b'q');
    assert_ne!(renamed, bytes);
    place.write("in/b.avro", renamed);
    let plan = place.plan(SPEC);
    place.run_plan(plan.clone()).unwrap();
    assert!(quarantine(&plan).is_empty());
    let batches = parquet(&visible(&place.path("out")));
    assert_eq!(crate::support::rows(&batches), 3);
    assert_eq!(visible(&place.path("out")).len(), 1, "nothing was widened");
}

#[test]
fn a_schema_that_does_not_fit_goes_to_quarantine_with_its_name() {
    let strange = "{\"id\":\"nine\",\"candidate\":\"none\"}\n";
    let place = place_with(&[("a", OLD), ("b", strange), ("c", LATER_OLD)]);
    let plan = place.plan(SPEC);
    let report = place.run_plan(plan.clone()).unwrap();
    assert_eq!(report.counts.parts["out"].rows_out, 3);
    let entry = quarantine(&plan).remove(0);
    assert_eq!(entry.code, ReasonCode::SchemaIncompatible);
    assert!(entry.message.contains("id") || entry.message.contains("candidate"), "{}", entry.message);
    assert!(entry.origin.input.ends_with("in/b.avro"));
    assert_eq!(entry.payload().unwrap(), std::fs::read(place.path("in/b.avro")).unwrap());
}

#[test]
fn new_fields_that_the_document_does_not_fit_put_the_message_aside() {
    let place = place_with(&[("a", OLD), ("b", NEW), ("c", LATER_OLD)]);
    place.write("other/a.avro", encoded(&named("avro"), &batch(&place, OLD)));
    let plan = place.plan(
        "
sources:
  alerts: {files: {path: in/*.avro}}
  other: {files: {path: other/*.avro}}
sinks: {out: {from: [alerts, other], files: {url: out}}}
",
    );
    let report = place.run_plan(plan.clone()).unwrap();
    assert_eq!(report.counts.parts["out"].rows_out, 5);
    let aside = quarantine(&plan);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!((aside[0].code, aside[0].part.as_str()), (ReasonCode::SchemaIncompatible, "alerts"));
    assert!(aside[0].message.contains("the document doesn't fit"), "{aside:?}");
}
