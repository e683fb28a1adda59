use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int64Array, ListArray, StringArray, StructArray, cast::AsArray};
use arrow::datatypes::{Field, Int64Type};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::format::schema::describe;
use crate::{Ends, Origin, ReasonCode, Rows};

fn chunk(text: &[u8]) -> Chunk {
    let origins = vec![(0, Origin { input: "x".into(), offset: 0 })];
    Chunk { bytes: Bytes::copy_from_slice(text), ends: Ends::Lines, header: None, origins, beside: None }
}

fn written(columns: &str) -> SchemaRef {
    let schema: SchemaSpec = serde_json::from_str(&format!("{{\"columns\": {columns}}}")).unwrap();
    schema.given(Path::new(".")).unwrap().unwrap()
}

fn rows(columns: &str, text: &[u8]) -> Decoded {
    decode(&Spec::default(), &written(columns)).unwrap().decode(&chunk(text), 0).unwrap()
}

fn ids(decoded: &Decoded) -> Vec<i64> {
    decoded.columns.column_by_name("a").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn bad(decoded: &Decoded) -> Vec<u32> {
    decoded.bad.iter().map(|bad| bad.row).collect()
}

#[test]
fn good_lines_are_the_same_rows_and_blank_ones_are_none() {
    let decoded = rows(r#"{"a": "int64"}"#, b"{\"a\":1}\r\n\r\n\n{\"a\":2,\"new\":[{}]}\n{\"a\":null}");
    assert_eq!(ids(&decoded)[..2], [1, 2]);
    assert!(decoded.columns.column(0).is_null(2));
    assert!(matches!(decoded.messages, Rows::Same));
    assert_eq!((decoded.next, decoded.bad.len()), (3, 0));
}

#[test]
fn a_line_is_one_object_however_halves_add_up() {
    let text = b"{\"a\":1}\n{\"a\":2}{\"a\":3}\n{\"a\":\n4}\n  \n{\"a\":\"x\ny\"}\n[5]\n6\n{\"a\":7";
    let decoded = rows(r#"{"a": "int64"}"#, text);
    assert_eq!(ids(&decoded), [1]);
    assert_eq!(bad(&decoded), [1, 2, 3, 5, 6, 7, 8, 9]);
    assert!(decoded.bad.iter().all(|bad| bad.reason.code == ReasonCode::Malformed));
}

#[test]
fn wrong_types_and_bytes_are_put_aside_and_the_decoder_goes_on() {
    let columns = r#"{"a": "int64", "s": "string", "n": {"x": ["int8"]}, "b": "bytes"}"#;
    let mut decoder = decode(&Spec::default(), &written(columns)).unwrap();
    let mut text =
        b"{\"a\":1}\n{\"a\":{}}\n{\"a\":2,\"s\":\"\xff\"}\n{\"a\":3,\"s\":5}\n{\"a\":4,\"n\":{\"x\":[1,300]}}\n"
            .to_vec();
    text.extend(b"{\"a\":5,\"b\":\"*\"}\n{\"a\":6,\"b\":\"AAE=\",\"n\":{\"x\":[null]}}\n{\"unread\":\"\xc3\"}\n");
    for _ in 0..2 {
        let decoded = decoder.decode(&chunk(&text), 0).unwrap();
        assert_eq!(ids(&decoded), [1, 6]);
        assert_eq!(bad(&decoded), [1, 2, 3, 4, 5, 7]);
        assert_eq!(decoded.messages.before(1), 6);
        assert_eq!(decoded.columns.column(3).as_binary::<i32>().value(1), [0, 1]);
    }
    assert_eq!(ids(&decoder.decode(&chunk(&text), 2).unwrap()), [6]);
}

#[test]
fn whole_numbers_stay_whole() {
    let columns = r#"{"a": "int64", "l": ["int64"], "f": "float64"}"#;
    let text = b"{\"a\":1.5}\n{\"a\":2.0,\"f\":0.5}\n{\"l\":[1,2.5]}\n{\"a\" : 3e-1}\n{\"a\":4,\"s\":\"5.5:6.5\",\"f\":1.5}\n{\"\\u0061\":1.5}";
    let decoded = rows(columns, text);
    assert_eq!(ids(&decoded), [2, 4]);
    assert_eq!(bad(&decoded), [0, 2, 3, 5]);
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| format!("{{\"a\":{}{}}}\n", "[".repeat(depth), "]".repeat(depth));
    let text = format!("{}{{\"a\":1}}\n{}", deep(100_000), deep(98));
    let decoded = std::thread::spawn(move || rows(r#"{"a": "int64"}"#, text.as_bytes())).join().unwrap();
    assert_eq!((ids(&decoded), bad(&decoded)), (vec![1], vec![0, 2]));
    assert!(decoded.bad[1].reason.message.len() < 400);
}

#[test]
fn no_column_read_still_counts_rows() {
    let decoded =
        decode(&Spec::default(), &Arc::new(Schema::empty())).unwrap().decode(&chunk(b"{\"a\":1}\n{}\nx"), 0).unwrap();
    assert_eq!((decoded.columns.num_rows(), bad(&decoded)), (2, vec![2]));
}

#[test]
fn schemas_are_inferred_or_refused() {
    let infer = |text: &[u8]| infer(&Spec::default(), Path::new("."), &chunk(text));
    let text = b"{\"a\":1,\"n\":null,\"l\":[]}\noops\n{\"a\":1.5,\"b\":true,\"l\":[{\"x\":\"2024-01-01T00:00:00Z\"}],\"e\":{}}\n{\"u\":18446744073709551615}";
    assert_eq!(describe(&infer(text).unwrap()), "{a: float64, n: string, l: [{x: string}], b: bool, u: uint64}");
    let problem = infer(b"{\"p\":{\"a\":1}}\n{\"p\":{\"a\":\"x\"}}").unwrap_err();
    assert_eq!(problem.found, "`p.a` holds numbers and text in the first rows");
    assert!(infer(b"\n[1]\n").is_err());
}

fn nested() -> RecordBatch {
    let bytes: BinaryArray = [Some(&b"\x00\xff"[..]), None, Some(b"")].into_iter().collect();
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let fields =
        Fields::from(vec![Field::new("b", DataType::Binary, true), Field::new("l", lists.data_type().clone(), true)]);
    let nulls = Some(vec![true, false, true].into());
    let structs = StructArray::new(fields.clone(), vec![Arc::new(bytes), Arc::new(lists)], nulls);
    let schema = Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("t", schema::timestamp(), true),
        Field::new("p", DataType::Struct(fields), true),
    ]);
    let numbers = Int64Array::from(vec![Some(i64::MAX), Some(-1), None]);
    let times = arrow::compute::cast(&Int64Array::from(vec![Some(1), Some(-1), None]), &schema::timestamp()).unwrap();
    let texts = StringArray::from(vec![Some("a\"\n\u{1F600}"), Some(""), None]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts), times, Arc::new(structs)]).unwrap()
}

use arrow::datatypes::Fields;

#[test]
fn what_is_written_is_read_back() {
    let batch = nested();
    for nulls in [Nulls::Omit, Nulls::Write] {
        let spec = Spec { nulls, ..Spec::default() };
        let mut out = Vec::new();
        let mut encoder = encode(&spec, &batch.schema()).unwrap();
        encoder.encode(&batch, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out).contains("null,\"s\""), nulls == Nulls::Write);
        let decoded = decode(&spec, &batch.schema()).unwrap().decode(&chunk(&out), 0).unwrap();
        assert_eq!(decoded.columns, batch);
    }
    assert!(encodable(&Spec::default(), &batch.schema(), "x").is_empty());
}

proptest! {
    #[test]
    fn noise_never_harms_its_neighbours(noise in proptest::collection::vec(
        proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\1e.u-antf \n".to_vec())], 0..40), 0..6,
    )) {
        let mut text = Vec::new();
        for noise in &noise {
            text.extend(b"{\"a\":7}\n");
            text.extend(noise);
            text.push(b'\n');
        }
        let chunk = chunk(&text);
        let columns = r#"{"a": "int64", "s": "string", "b": ["bytes"], "t": "timestamp", "d": "decimal(9,2)"}"#;
        let decoded = decode(&Spec::default(), &written(columns)).unwrap().decode(&chunk, 0).unwrap();
        let good = decoded.columns.column(0).as_primitive::<Int64Type>().iter().filter(|id| *id == Some(7)).count();
        prop_assert!(good >= noise.len());
        let blank = chunk.ranges().iter().filter(|(start, end)| chunk.bytes[*start..*end].iter().all(u8::is_ascii_whitespace)).count();
        prop_assert!(decoded.columns.num_rows() + decoded.bad.len() + blank >= chunk.len());
    }
}

const EVERY: &str = r#"{"a": "int64", "i": "int32", "f": "float64", "g": "float32", "s": "string", "t": "timestamp",
    "y": "bool", "l": ["int64"], "p": {"a": "int64", "s": ["string"]}}"#;

/// What the direct reader makes of a line, and what Arrow's decoder does.
fn both(line: &[u8]) -> (Option<RecordBatch>, Option<RecordBatch>) {
    let schema = written(EVERY);
    let mut direct = Direct::new(&schema).unwrap();
    let read = direct.read(line, &[(0, line.len())], 0..1) == 1;
    let mut spans = Spans::default();
    spans.places.push((0, line.len()));
    let mut careful = Careful { whole: Whole::new(&schema), tape: Tape::new(&schema).unwrap() };
    (read.then(|| direct.finish().unwrap()), careful.read(line, &spans, 0..1).ok())
}

#[test]
fn plain_lines_are_read_directly() {
    for line in [
        &br#"{"a":1,"i":-2,"f":0.125,"g":1.1,"s":"x\u00e9\ud83d\ude00\n/","t":"2026-01-02T03:04:05.678Z","y":true,"l":[1,null],"p":{"s":["a",null],"a":-7},"u":{"v":[1e3,"\u0041",false]}}"#[..],
        "{ \"s\" : \"\u{e9}\" , \"f\":-0.0, \"t\":\"1969-12-31T23:59:59Z\",\"l\":[ ] , \"p\" : { } }".as_bytes(),
        br#"{"f":3.141592653589793238,"g":0.1,"a":null,"p":null,"y":false,"f2":12345678901234567890}"#,
        b"{}",
    ] {
        let (direct, careful) = both(line);
        assert!(direct.is_some(), "{}", line.escape_ascii());
        assert_eq!(direct, careful);
    }
}

#[test]
fn odd_lines_are_left_to_the_careful_reader() {
    for line in [
        &br#"{"a":"1"}"#[..],
        br#"{"a":1,"a":2}"#,
        br#"{"a":1.0}"#,
        br#"{"a":1e2}"#,
        br#"{"i":3000000000}"#,
        br#"{"a":01}"#,
        br#"{"f":1.}"#,
        br#"{"s":"\ud800"}"#,
        br#"{"t":"2026-02-30T00:00:00Z"}"#,
        br#"{"t":1}"#,
        br#"{"u":tru}"#,
        br#"{"a":1}}"#,
        br#"{"a":1"#,
        br#"{"a":1,}"#,
        b"{1:2}",
        br#"{"u":{1:2}}"#,
        b"{\"s\":\"\xff\"}",
        br#"{"s":5}"#,
        b"[]",
    ] {
        assert!(both(line).0.is_none(), "{}", line.escape_ascii());
    }
    let text = "{\"a\":1}\n{\"a\":\"2\"}\n{\"a\":1.5}\n{\"a\":3}\n".repeat(40);
    let decoded = rows(r#"{"a": "int64"}"#, text.as_bytes());
    assert_eq!(ids(&decoded), [1, 2, 3].repeat(40));
    assert_eq!(bad(&decoded), (0..40).map(|at| at * 4 + 2).collect::<Vec<_>>());
}

fn value() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        (-3_i64..3).prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| serde_json::to_string(&value).unwrap()),
        "-?[0-9]{1,9}\\.[0-9]{1,9}([eE][+-]?[0-9]{1,3})?",
        "\"[ -~\u{e9}]{0,12}\"",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z\"",
        proptest::sample::select(vec!["null".to_owned(), "true".to_owned(), "false".to_owned(), "{}".to_owned()]),
    ];
    plain.prop_recursive(3, 12, 4, |inner| {
        let name = proptest::sample::select(vec!["a", "i", "f", "g", "s", "t", "y", "l", "p", "u"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((name, inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_is_read_directly_is_what_is_read_carefully(
        names in proptest::sample::subsequence(vec!["a", "i", "f", "g", "s", "t", "y", "l", "p", "u"], 0..6),
        values in proptest::collection::vec(value(), 6),
        cut in proptest::option::weighted(0.2, (any::<proptest::sample::Index>(), any::<u8>())),
    ) {
        let fields: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut line = format!("{{{}}}", fields.join(",")).into_bytes();
        if let Some((at, byte)) = cut {
            let at = at.index(line.len());
            line[at] = byte;
        }
        let (direct, careful) = both(&line);
        if direct.is_some() {
            prop_assert_eq!(direct, careful);
        }
    }
}
