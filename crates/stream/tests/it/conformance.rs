//! Every connector, format and step keeps the promises of its seam: the library's own exercises, run on real files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use stdx::Bell;
use stream::exercise::{self, Messages};
use stream::format::Format;
use stream::ledger::local::LocalLedger;
use stream::{Limit, OpenSink, OpenSource, Plan, Sink, Source};

use crate::support::{Place, decode_all, encoded, named, row_lines, visible};

const LIMIT: Limit = Limit { rows: 7, bytes: 1 << 20 };

fn open_source(place: &Place, plan: &Plan, position: Option<stream::Position>) -> Box<dyn Source> {
    let source = &plan.sources[0];
    let open = OpenSource {
        name: source.name.as_str().into(),
        stream: "default.test".into(),
        starts: Arc::default(),
        position,
        shard: (0, source.shards),
        bell: Bell::default(),
        until_idle: true,
        schema: Arc::clone(&source.schema),
        world: place.world(),
    };
    source.open(open).unwrap()
}

/// Exercises the only source of a document, and returns how many messages it gave.
fn exercise_source(place: &Place, source: &str) -> usize {
    let plan = place.plan(&format!("sources: {{rows: {source}}}\nsinks: {{out: {{from: rows, blackhole: {{}}}}}}"));
    let idle = |again: Option<Duration>| {
        place.clock.advance(again.expect("a moment").saturating_sub(place.clock.elapsed()));
    };
    exercise::source(|position| open_source(place, &plan, position), LIMIT, idle).len()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_of_lines_packed_or_not() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..20);
    place.write("in/b.jsonl.gz", gzip(row_lines(20..40).as_bytes()));
    place.write("in/c.jsonl.zst", zstd::encode_all(row_lines(40..50).as_bytes(), 1).unwrap());
    assert_eq!(exercise_source(&place, "{files: {path: in}, format: json}"), 50);
    assert_eq!(exercise_source(&place, "{files: {path: in, order: time}, format: text}"), 50);
    let place = Place::with_manual_clock();
    place.write_rows("in/a.jsonl", 0..20);
    assert_eq!(exercise_source(&place, "{files: {path: in, follow: true}, format: json}"), 20);
}

#[test]
fn files_of_csv() {
    let place = Place::new();
    let rows = (0..20).map(|n| format!("{n},\"line\nfeed {n}\"\n")).collect::<Vec<_>>().concat();
    place.write("in/a.csv", format!("n,text\n{rows}"));
    place.write("in/b.csv", format!("text,n\n{}", "\"x\",7\n".repeat(9)));
    assert_eq!(exercise_source(&place, "{files: {path: in}, format: csv}"), 29);
}

#[test]
fn files_with_structure() {
    for (format, extension) in [("avro", "avro"), ("parquet", "parquet"), ("arrow", "arrow"), ("messagepack", "mp")] {
        let place = Place::new();
        for (file, numbers) in [("a", 0..20), ("b", 20..50)] {
            let columns = exercise::rows(numbers).columns;
            place.write(&format!("in/{file}.{extension}"), encoded(&named(format), &columns));
        }
        let messages = exercise_source(&place, &format!("{{files: {{path: in}}, format: {format}}}"));
        // A small container travels as one message.
        assert_eq!(messages, if format == "avro" { 2 } else { 50 }, "{format}");
    }
}

#[test]
fn generated_rows_and_alerts() {
    let place = Place::with_manual_clock();
    let columns = "columns: {n: {sequence: {}}, x: {float: {min: 0, max: 1}}}";
    assert_eq!(exercise_source(&place, &format!("{{generate: {{total: 40, seed: 3, {columns}}}}}")), 40);
    let paced = format!("{{generate: {{total: 40, seed: 3, rate: 5, then: wait, {columns}}}}}");
    assert_eq!(exercise_source(&place, &paced), 40);
    assert_eq!(exercise_source(&place, "{generate: {total: 9, seed: 3, alerts: {}}}"), 9);
}

#[test]
fn what_each_format_writes_reads_back() {
    let place = Place::new();
    for name in ["json", "csv", "messagepack", "avro", "parquet", "arrow"] {
        let format = named(name);
        let columns = exercise::rows(0..10).columns;
        let open = |schema: &SchemaRef| format.encode(schema).unwrap();
        exercise::encode(open, |bytes| decode_all(&format, &columns.schema(), &place, bytes), &columns);
    }
    let text = named("text");
    let columns = exercise::rows(0..10).columns.project(&[1]).unwrap();
    let named_value = |batch: RecordBatch| {
        let schema = Schema::new(vec![batch.schema().field(0).clone().with_name("text")]);
        RecordBatch::try_new(schema.into(), batch.columns().to_vec()).unwrap()
    };
    let value = Arc::new(Schema::new(vec![columns.schema().field(0).clone().with_name("value")]));
    let read = |bytes: &[u8]| decode_all(&text, &value, &place, bytes).into_iter().map(named_value).collect();
    exercise::encode(|schema| text.encode(schema).unwrap(), read, &columns);
}

#[test]
fn each_row_is_a_message() {
    let place = Place::new();
    for (name, before) in [("json", ""), ("messagepack", ""), ("avro", ""), ("csv", "number,text\n")] {
        let format = named(name);
        let columns = exercise::rows(0..10).columns;
        let open = |schema: &SchemaRef| format.encode(schema).unwrap();
        let read = |message: &[u8]| {
            let message = [before.as_bytes(), message].concat();
            decode_all(&format, &columns.schema(), &place, &message)
        };
        exercise::encode_messages(open, read, &columns);
    }
    let values = [Some("two\nlines"), None, Some("")].into_iter().collect::<StringArray>();
    let columns = RecordBatch::try_from_iter([("value", Arc::new(values) as ArrayRef)]).unwrap();
    let messages = |format: &str| {
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        named(format).encode(columns.schema_ref()).unwrap().messages(&columns, &mut out, &mut ends).unwrap();
        (String::from_utf8(out).unwrap(), ends)
    };
    assert_eq!(messages("text"), ("two\nlines".to_owned(), vec![9, 9, 9]));
    assert_eq!(messages("json"), (r#"{"value":"two\nlines"}{}{"value":""}"#.to_owned(), vec![22, 24, 36]));
    // CSV can't tell an empty text from none, and names no columns in a message.
    assert!(messages("csv").0.starts_with("\"two\nlines\""));
}

fn exercise_decode(name: &str, schema: &SchemaRef, messages: &Messages) {
    let (format, place) = (named(name), Place::new());
    exercise::decode(|| format.decode(schema, schema, place.folder.path()).unwrap(), messages);
}

#[test]
fn decoders_tell_the_bad_from_the_good() {
    let schema = exercise::schema();
    let own = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let lines = |good: &[&str], bad: &[&str], header: Option<&'static str>| Messages {
        lines: true,
        header: header.map(|header| Bytes::from_static(header.as_bytes())),
        good: own(good),
        bad: own(bad),
    };
    let good = [r#"{"number":1,"text":"a"}"#, r#"{"text":"b","number":2}"#, r#"{"number":3,"text":"c","more":[1]}"#];
    let bad = [r#"{"number":1"#, "no", "[1]", r#"{"number":"x","text":"a"}"#, r#"{"number":1,"text":"a"} {}"#];
    exercise_decode("json", &schema, &lines(&good, &bad, None));
    exercise_decode(
        "csv",
        &schema,
        &Messages {
            lines: false,
            ..lines(&["1,a\n", "2,\"b\"\n", "3,c\n"], &["x,a\n", "1\n", "1,a,b\n"], Some("number,text\n"))
        },
    );
    let mut text = lines(&["a", "b c", "\u{e9}"], &[], None);
    text.bad = vec![b"\xff".to_vec(), b"a\xc3".to_vec()];
    exercise_decode(
        "text",
        &Arc::new(Schema::new(vec![arrow::datatypes::Field::new("value", DataType::Utf8, true)])),
        &text,
    );
    for name in ["messagepack", "avro"] {
        let good: Vec<Vec<u8>> = (0..3).map(|n| encoded(&named(name), &exercise::rows(n..n + 1).columns)).collect();
        let cut = good[0][..good[0].len() - 1].to_vec();
        let more = [good[0].clone(), vec![0xc1]].concat();
        exercise_decode(name, &schema, &Messages { lines: false, header: None, good, bad: vec![cut, more] });
    }
}

fn open_sink(place: &Place, plan: &Plan, claim: u64) -> Box<dyn Sink> {
    let open = OpenSink {
        name: "out".into(),
        stream: "default.test".into(),
        uid: "u1".into(),
        task: "rows-0".into(),
        claim,
        schema: exercise::schema(),
        world: place.world(),
    };
    plan.sinks[0].open(open).unwrap()
}

fn sink_plan(place: &Place, sink: &str) -> Plan {
    place.plan(&format!(
        "sources: {{rows: {{generate: {{seed: 1, total: 1, columns: {{number: {{int: {{}}}}, text: {{text: {{}}}}}}}}}}}}\n\
         sinks: {{out: {{from: rows, {sink}}}}}"
    ))
}

/// The texts of the rows that readers see in files of a format.
fn seen(place: &Place, format: &Format) -> Vec<String> {
    let texts = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let batches = decode_all(format, &exercise::schema(), place, &bytes);
        batches.iter().flat_map(exercise::texts).collect::<Vec<_>>()
    };
    visible(&place.path("out")).into_iter().flat_map(texts).collect()
}

#[test]
fn files_sinks_stage_and_publish_in_every_format() {
    for name in ["json", "csv", "messagepack", "avro", "parquet", "arrow"] {
        let place = Place::new();
        let plan = sink_plan(&place, &format!("files: {{url: out}}, format: {name}"));
        exercise::sink(|claim| open_sink(&place, &plan, claim), || seen(&place, &named(name)));
    }
}

#[test]
fn a_partitioned_files_sink_stages_and_publishes() {
    let place = Place::new();
    let partition = "{name: tens, sql: 'number / 10'}";
    let plan = sink_plan(&place, &format!("files: {{url: out, partitionBy: [{partition}], roll: {{rows: 3}}}}"));
    exercise::sink(|claim| open_sink(&place, &plan, claim), || seen(&place, &named("parquet")));
    assert!(place.path("out/tens=4").is_dir());
}

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn standard_output_shows_rows_at_once() {
    let (place, shown) = (Place::new(), Shown::default());
    let format = named("json");
    let encoder = Box::new(move |schema: &SchemaRef| format.encode(schema));
    let sink = stream::connector::stdout::sink_to("the test", encoder, Box::new(shown.clone()));
    exercise::direct_sink(sink, || {
        let bytes = shown.0.lock().unwrap().clone();
        decode_all(&named("json"), &exercise::schema(), &place, &bytes).iter().flat_map(exercise::texts).collect()
    });
}

#[test]
fn the_local_ledger_is_a_lock_and_a_book() {
    let place = Place::new();
    let folder = place.path("home/default/test/tasks/rows-0");
    exercise::ledger(|| Box::new(LocalLedger::new("rows-0", &folder, "a test")));
}

#[test]
fn every_kind_of_step_works_batch_by_batch() {
    use stream::step::{self, Edge, StepSpec};
    let columns = exercise::rows(0..20).columns;
    let specs: BTreeMap<&str, usize> = BTreeMap::from([
        (r#"{"from":"a","sql":"SELECT text, number * 2 AS twice FROM a WHERE number % 3 = 0"}"#, 7),
        (r#"{"from":"a","sql":"SELECT number FROM a UNION ALL SELECT -number FROM a WHERE number > 15"}"#, 24),
        (r#"{"from":"a","sql":"SELECT number, unnest([number, 1]) AS each FROM a"}"#, 40),
        (r#"{"from":"a","drop":["text"]}"#, 20),
        (r#"{"from":"a","rename":{"text":"words"}}"#, 20),
    ]);
    for (json, count) in specs {
        let spec: StepSpec = serde_json::from_str(json).unwrap();
        let edge = Edge { name: "a".into(), schema: columns.schema(), pruned: false };
        let planned = step::plan(&spec, &[edge], "step").unwrap();
        let clock = stdx::Clock::system();
        // The order of a union's rows depends on how they are cut; each half is checked as one.
        if json.contains("UNION") {
            let stepped = planned.open(&clock).unwrap().run(0, &columns).unwrap();
            assert_eq!(stepped.columns.num_rows(), count);
            continue;
        }
        let out = exercise::step(|| planned.open(&clock).unwrap(), 0, &columns);
        assert_eq!((out.num_rows(), out.schema()), (count, planned.schema.clone()), "{json}");
    }
    let lists = decode_all(
        &named("json"),
        &Arc::new(Schema::new(vec![arrow::datatypes::Field::new_list(
            "l",
            arrow::datatypes::Field::new_list_field(DataType::Int64, true),
            true,
        )])),
        &Place::new(),
        b"{\"l\":[1,2]}\n{\"l\":[]}\n{}\n{\"l\":[3]}\n",
    )
    .remove(0);
    let spec: StepSpec = serde_json::from_str(r#"{"from":"a","explode":{"column":"l"}}"#).unwrap();
    let edge = Edge { name: "a".into(), schema: lists.schema(), pruned: false };
    let planned = step::plan(&spec, &[edge], "step").unwrap();
    let out = exercise::step(|| planned.open(&stdx::Clock::system()).unwrap(), 0, &lists);
    let numbers = out.column(0).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(numbers.iter().flatten().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(numbers.len() >= 3);
}
