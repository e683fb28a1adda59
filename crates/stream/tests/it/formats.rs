//! Every format in and out through files, with nested rows.

use serde_json::Value;

use crate::support::Place;

const NESTED: &str = r#"{"id":1,"x":0.5,"ok":true,"text":"a,\"b\"\nc","pos":{"ra":1.25,"names":["m","n"]},"list":[{"jd":1.5},{"jd":2.5}]}
{"id":2,"text":"é","pos":{"ra":-1e300,"names":[]},"list":[]}
{"id":3,"x":-0.25,"ok":false,"pos":{"names":["only"]}}
"#;

fn copy(place: &Place, input: &str, from: &str, output: &str, to: &str, sql: &str) {
    let spec = format!(
        "sources: {{rows: {{files: {{path: {input}}}, format: {from}}}}}\n\
         steps: {{pick: {{from: rows, sql: '{sql}'}}}}\n\
         sinks: {{out: {{from: pick, files: {{url: {output}}}, format: {to}}}}}\n\
         commit: {{url: ledger/{output}}}"
    );
    place.run(&spec).unwrap();
}

/// The rows of a folder as JSON, with what is null or empty left out: formats differ in how they write it.
fn seen(place: &Place, folder: &str) -> Vec<Value> {
    let mut rows = place.json(folder);
    rows.iter_mut().for_each(strip);
    rows
}

fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(strip);
        fields.retain(|_, value| !value.is_null());
    }
}

#[test]
fn nested_rows_pass_through_every_format_unchanged() {
    let place = Place::new();
    place.write("in/a.jsonl", NESTED);
    copy(&place, "in", "json", "json", "json", "SELECT * FROM rows");
    let expected: Vec<Value> = NESTED.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen(&place, "json"), expected);
    for format in ["avro", "parquet", "arrow", "messagepack"] {
        copy(&place, "in", "json", format, format, "SELECT * FROM rows");
        let back = format!("{format}-back");
        copy(&place, format, format, &back, "json", "SELECT * FROM rows");
        assert_eq!(seen(&place, &back), expected, "{format}");
    }
}

#[test]
fn flat_rows_pass_through_csv_and_text() {
    let place = Place::new();
    place.write("in/a.jsonl", NESTED);
    let flat = "SELECT id, x, ok, text, pos.ra FROM rows";
    copy(&place, "in", "json", "flat", "json", flat);
    copy(&place, "in", "json", "csv", "csv", flat);
    copy(&place, "csv", "csv", "back", "json", "SELECT * FROM rows");
    assert_eq!(seen(&place, "back"), seen(&place, "flat"));

    place.write("lines/a.txt", "one\ntwo\n\nthree");
    copy(&place, "lines", "text", "text", "text", "SELECT upper(value) AS value FROM rows");
    copy(&place, "text", "text", "upper", "json", "SELECT * FROM rows");
    let values: Vec<Value> = seen(&place, "upper").iter().map(|row| row["value"].clone()).collect();
    assert_eq!(values, ["ONE", "TWO", "THREE"]);
}

#[test]
fn columns_that_nobody_reads_are_not_read_in_any_format() {
    let place = Place::new();
    place.write("in/a.jsonl", NESTED);
    for format in ["avro", "parquet", "arrow", "messagepack", "json"] {
        copy(&place, "in", "json", format, format, "SELECT * FROM rows");
        let spec = format!(
            "sources: {{rows: {{files: {{path: {format}}}, format: {format}}}}}\n\
             steps: {{pick: {{from: rows, sql: 'SELECT pos.ra FROM rows WHERE id < 3'}}}}\n\
             sinks: {{out: {{from: pick, files: {{url: few/{format}}}, format: json}}}}"
        );
        let plan = place.plan(&spec);
        assert_eq!((plan.sources[0].columns_read, plan.sources[0].columns), (2, 7), "{format}");
        place.run_plan(plan).unwrap();
        let found: Vec<Value> = place.json(&format!("few/{format}")).iter().map(|row| row["ra"].clone()).collect();
        assert_eq!(found, [1.25, -1e300], "{format}");
    }
}

#[test]
fn the_end_of_a_names_tells_the_format_and_what_does_not_fit_is_a_problem() {
    let place = Place::new();
    place.write("in/a.csv", "n,text\n1,a\n2,b\n");
    let spec = "sources: {rows: {files: {path: in/*.csv}}}\nsinks: {out: {from: rows, files: {url: out}, format: csv}}";
    place.run(spec).unwrap();
    let file = crate::support::visible(&place.path("out")).remove(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "n,text\n1,a\n2,b\n");

    place.write("in/b.jsonl", NESTED);
    let spec =
        "sources: {rows: {files: {path: in/*.jsonl}}}\nsinks: {out: {from: rows, files: {url: out}, format: csv}}";
    let problems = place.try_plan(spec, &[]).err().unwrap();
    assert!(problems.iter().all(|problem| problem.path.starts_with("spec.sinks.out.format.csv")), "{problems:?}");
}
