use std::collections::HashSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields};
use stdx::Timestamp;

use super::*;
use crate::exercise::{self, row_texts};
use crate::{Pool, World};

const LIMIT: Limit = Limit { rows: 7, bytes: 1 << 20 };

fn spec(json: &str) -> SourceSpec {
    serde_json::from_str(json).unwrap()
}

struct Test {
    runtime: tokio::runtime::Runtime,
    clock: Clock,
}

impl Test {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, clock: Clock::manual(Timestamp::from_millis(0)) }
    }

    fn open(&self, spec: &SourceSpec, position: Option<Position>) -> OpenSource {
        OpenSource {
            name: "made".into(),
            stream: "default.test".into(),
            starts: Arc::default(),
            position,
            shard: (0, 1),
            bell: stdx::Bell::default(),
            until_idle: false,
            schema: schema(spec, "spec").unwrap().unwrap_or_else(|| Schema::empty().into()),
            world: World {
                clock: self.clock.clone(),
                runtime: self.runtime.handle().clone(),
                pool: Pool::new(1 << 20),
                secrets: Arc::default(),
                folder: ".".into(),
            },
        }
    }

    fn source(&self, spec: &SourceSpec) -> Box<dyn Source> {
        source(spec, &self.open(spec, None)).unwrap()
    }
}

const BID: &str = r#"{"seed": 1, "total": 20, "columns": {
    "auction": {"int": {"min": 1000, "max": 2000}}, "bidder": {"int": {}}, "price": {"float": {"min": 1, "max": 2}},
    "channel": {"choice": ["Google", "Apple"]}, "url": {"text": {"prefix": "https://", "length": 12}},
    "dateTime": {"timestamp": {"start": "2026-01-01T00:00:00Z"}}, "extra": {"text": {"length": 40, "lengthMin": 10}},
    "n": {"sequence": {"start": 5, "step": -1}}, "is": {"bool": {}}, "one": {"constant": 1},
    "in": {"struct": {"x": {"int": {}}, "y": {"choice": [1, 2.5]}}},
    "many": {"list": {"of": {"struct": {"n": {"sequence": {}}}}, "min": 1, "max": 3}},
    "maybe": {"optional": {"of": {"int": {}}, "probability": 0.5}}}}"#;

#[test]
fn columns_pass_the_exercise() {
    let (test, spec) = (Test::new(), spec(BID));
    let open = |position| source(&spec, &test.open(&spec, position)).unwrap();
    let rows = exercise::source(open, LIMIT, |_| panic!("without a rate it never idles"));
    assert_eq!(rows.len(), 20);
    assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 20);
    let rows: Vec<String> = rows.into_iter().map(|row| String::from_utf8(row).unwrap()).collect();
    assert!(rows[3].contains(" dateTime=2026-01-01T00:00:00.003Z "), "{}", rows[3]);
    assert!(rows[3].contains(" n=2 ") && rows[3].contains(" one=1 "), "{}", rows[3]);
    assert!(rows[3].contains("many=[{n: 9}"), "item 0 of row 3 counts as row 9: {}", rows[3]);
    let missing = rows.iter().filter(|row| row.contains("maybe=null")).count();
    assert!((3..18).contains(&missing), "{missing} of 20 are missing at probability 0.5");
}

#[test]
fn alerts_pass_the_exercise() {
    let test = Test::new();
    let spec = spec(r#"{"seed": 3, "total": 12, "alerts": {"cutoutBytes": 2000, "history": 3}}"#);
    let open = |position| source(&spec, &test.open(&spec, position)).unwrap();
    let messages = exercise::source(open, Limit { rows: 5, bytes: 200 << 10 }, |_| panic!("never idles"));
    assert_eq!(messages.iter().collect::<HashSet<_>>().len(), 12);
    let mut second = Vec::new();
    Alerts::new(spec.alerts.as_ref().unwrap(), 3).write(1, &mut second);
    assert_eq!(messages[1], second, "a source's alerts are those of the library");
}

#[test]
fn a_rate_passes_the_exercise_on_a_clock() {
    let test = Test::new();
    let spec = spec(r#"{"seed": 1, "total": 15, "rate": 250, "columns": {"n": {"sequence": {}}}}"#);
    let open = |position| source(&spec, &test.open(&spec, position)).unwrap();
    let rows = exercise::source(open, LIMIT, |again| {
        test.clock.advance(again.unwrap().saturating_sub(test.clock.elapsed()));
    });
    assert_eq!(rows[14], b"n=14");
}

#[test]
fn values_do_not_depend_on_which_columns_are_read() {
    let (test, spec) = (Test::new(), spec(BID));
    let mut open = test.open(&spec, None);
    let full = source(&spec, &open).unwrap().read(LIMIT).unwrap();
    let inner = Fields::from(vec![Field::new("y", DataType::Float64, false)]);
    let some = vec![open.schema.field(6).clone(), Field::new("in", DataType::Struct(inner), false)];
    open.schema = Schema::new(some).into();
    let some = source(&spec, &open).unwrap().read(LIMIT).unwrap();
    let (Read::Columns(full, _), Read::Columns(some, _)) = (full, some) else { panic!("columns are made") };
    assert_eq!(some.column(0), full.column(6));
    let y = |columns: &RecordBatch, column: usize| columns.column(column).as_struct().column_by_name("y").cloned();
    assert_eq!(&y(&some, 1).unwrap(), &y(&full, 10).unwrap());
}

#[test]
fn rows_that_nobody_looks_into_are_still_counted() {
    let (test, spec) = (Test::new(), spec(BID));
    let mut open = test.open(&spec, None);
    open.schema = Schema::empty().into();
    let read = source(&spec, &open).unwrap().read(LIMIT).unwrap();
    assert!(matches!(read, Read::Columns(rows, _) if rows.num_rows() == 7 && rows.num_columns() == 0));
}

#[test]
fn a_drawn_seed_is_kept_in_the_position() {
    let test = Test::new();
    let spec = spec(r#"{"columns": {"x": {"int": {"max": 9000000000000000000}}}}"#);
    let mut first = test.source(&spec);
    let start = first.position();
    let text = |read: Read| match read {
        Read::Columns(rows, _) => row_texts(&rows),
        other => panic!("{other:?}"),
    };
    let rows = text(first.read(LIMIT).unwrap());
    let stored: Position = serde_json::from_str(&serde_json::to_string(&start).unwrap()).unwrap();
    let mut again = source(&spec, &test.open(&spec, Some(stored))).unwrap();
    assert_eq!(text(again.read(LIMIT).unwrap()), rows);
    assert_ne!(text(test.source(&spec).read(LIMIT).unwrap()), rows, "another start draws another seed");
}

#[test]
fn after_the_last_row_it_waits_if_told_to() {
    let test = Test::new();
    let spec = spec(r#"{"seed": 1, "total": 5, "then": "wait", "columns": {"n": {"sequence": {}}}}"#);
    let mut waiting = test.source(&spec);
    assert_eq!(waiting.lag(), Some(5));
    assert!(matches!(waiting.read(LIMIT).unwrap(), Read::Columns(rows, _) if rows.num_rows() == 5));
    assert!(matches!(waiting.read(LIMIT).unwrap(), Read::Idle { again: None }));
    let mut open = test.open(&spec, Some(waiting.position()));
    open.until_idle = true;
    assert!(matches!(source(&spec, &open).unwrap().read(LIMIT).unwrap(), Read::End));
}

#[test]
fn a_rate_asks_to_be_read_again_when_a_row_is_due() {
    let test = Test::new();
    let mut source = test.source(&spec(r#"{"rate": 1, "columns": {"n": {"sequence": {}}}}"#));
    assert!(matches!(source.read(LIMIT).unwrap(), Read::Columns(rows, _) if rows.num_rows() == 1));
    let Read::Idle { again: Some(again) } = source.read(LIMIT).unwrap() else { panic!("nothing is due") };
    assert!(again.abs_diff(Duration::from_secs(1)) < Duration::from_micros(1), "{again:?}");
    test.clock.advance(Duration::from_millis(999));
    assert!(matches!(source.read(LIMIT).unwrap(), Read::Idle { .. }));
    test.clock.advance(Duration::from_millis(2));
    assert!(matches!(source.read(LIMIT).unwrap(), Read::Columns(rows, _) if rows.num_rows() == 1));
}

#[test]
fn reads_keep_the_limit_of_bytes() {
    let test = Test::new();
    let mut source = test.source(&spec(r#"{"columns": {"t": {"text": {"length": 996}}}}"#));
    let read = source.read(Limit { rows: usize::MAX, bytes: 10_000 }).unwrap();
    assert!(matches!(read, Read::Columns(rows, _) if rows.num_rows() == 10));
}

#[test]
fn every_problem_is_named_at_once() {
    let wrong = spec(
        r#"{"rate": 0, "columns": {"a": {"int": {"min": 2, "max": 1}}, "b": {"choice": [1, "x"]}, "c": {"choice": []},
            "d": {"list": {"of": {"bool": {"probability": 2}}, "max": 20000}}, "e": {"text": {"length": 1, "lengthMin": 2}},
            "f": {"struct": {}}, "g": {"constant": null}, "h": {"optional": {"of": {"float": {}}, "probability": -1}}}}"#,
    );
    let paths: Vec<String> = problems(&wrong, "g").into_iter().map(|problem| problem.path).collect();
    let columns = ["a.int", "b.choice", "c.choice", "d.list", "d.list.of.bool.probability", "e.text.lengthMin"];
    let columns = columns.into_iter().chain(["f.struct", "g.constant", "h.optional.probability"]);
    let expected = std::iter::once("g.rate".to_owned()).chain(columns.map(|column| format!("g.columns.{column}")));
    assert_eq!(paths, expected.collect::<Vec<_>>());
    assert_eq!(problems(&spec("{}"), "g")[0].found, "neither");
    assert_eq!(problems(&spec(r#"{"alerts": {"nights": 0}}"#), "g")[0].path, "g.alerts.nights");
}

#[test]
fn a_spec_is_written_as_it_is_read() {
    let spec = spec(BID);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<SourceSpec>(&text).unwrap(), spec);
    assert!(text.find("auction").unwrap() < text.find("bidder").unwrap(), "columns keep their order");
    for (wrong, word) in [
        (r#"{"columns": {"a": {"int": {}}, "a": {"int": {}}}}"#, "twice"),
        (r#"{"columns": {"a": {"timestamp": {"start": "tomorrow"}}}}"#, "2026-01-01T00:00:00Z"),
        (r#"{"columns": {"a": {"int": {"mix": 1}}}}"#, "mix"),
    ] {
        let error = serde_json::from_str::<SourceSpec>(wrong).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// Prints the speed: `cargo test --release -p stream --lib generate -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let test = Test::new();
    for columns in [
        r#""n": {"sequence": {}}, "x": {"int": {}}, "t": {"timestamp": {}}"#,
        &BID[BID.find(r#""auction""#).unwrap()..BID.find(r#""n": "#).unwrap()],
    ] {
        let columns = columns.trim_end().trim_end_matches(',');
        let spec = spec(&format!(r#"{{"seed": 1, "columns": {{{columns}}}}}"#));
        let mut source = test.source(&spec);
        let (clock, mut rows) = (Clock::system(), 0);
        while rows < 4_000_000 {
            match source.read(Limit { rows: 8192, bytes: 8 << 20 }).unwrap() {
                Read::Columns(columns, _) => rows += columns.num_rows(),
                other => panic!("{other:?}"),
            }
        }
        println!("{:.1} M rows/s of {columns}", 4.0 / clock.elapsed().as_secs_f64());
    }
}
