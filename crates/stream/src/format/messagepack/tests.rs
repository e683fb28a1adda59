use arrow::array::cast::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use proptest::prelude::*;
use rmpv::Value;

use super::*;
use crate::format::json;
use crate::format::schema::describe;
use crate::{Ends, Origin};

const ALL: &str = r#"{"columns": {"a": "int64", "u": "uint64", "f": "float64", "g": "float32", "o": "bool", "s": "string",
    "b": "bytes", "t": "timestamp", "y": "date", "d": "decimal(9,2)", "p": {"l": ["bytes"], "q": [{"x": "int8"}]}}}"#;

fn schema() -> SchemaRef {
    serde_json::from_str::<SchemaSpec>(ALL).unwrap().given(Path::new(".")).unwrap().unwrap()
}

fn chunk(bytes: &[u8], ends: Ends) -> Chunk {
    let origins = vec![(0, Origin { input: "x".into(), offset: 0 })];
    Chunk { bytes: Bytes::copy_from_slice(bytes), ends, header: None, origins, beside: None }
}

fn file(bytes: &[u8]) -> Chunk {
    let mut ends = Vec::new();
    let length = cut(&Spec::default()).cut(bytes, true, usize::MAX, &mut ends).unwrap();
    chunk(&bytes[..length], Ends::At { ends, bytes: true })
}

fn message(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).unwrap();
    out
}

#[test]
fn what_is_written_is_read_back() {
    let text = br#"{"a":-5,"u":18446744073709551615,"f":0.5,"g":1.5,"o":true,"s":"\u00e9","b":"AP8=","t":"1969-12-31T23:59:59.000006Z","y":"2024-01-02","d":"1.25","p":{"l":["AA==",null],"q":[{"x":-1},null,{}]}}
{"p":{"q":[]}}
{"s":""}"#;
    let batch =
        json::decode(&json::Spec::default(), &schema()).unwrap().decode(&chunk(text, Ends::Lines), 0).unwrap().columns;
    assert_eq!(batch.num_rows(), 3);
    let mut out = Vec::new();
    encode(&Spec::default(), &schema()).unwrap().encode(&batch, &mut out).unwrap();
    let decoded = decode(&Spec::default(), &schema()).unwrap().decode(&file(&out), 0).unwrap();
    assert_eq!(decoded.bad, []);
    assert_eq!(decoded.columns, batch);
    assert!(encodable(&Spec::default(), &schema(), "x").is_empty());
    let inferred = infer(&Spec::default(), Path::new("."), &file(&out)).unwrap();
    let expected = "{a: int64, u: uint64, f: float64, g: float64, o: bool, s: string, b: bytes, t: timestamp, y: string, d: string, p: {l: [bytes], q: [{x: int64}]}}";
    assert_eq!(describe(&inferred), expected);
}

#[test]
fn bad_values_leave_their_neighbours_alone() {
    let row = |name: &str, value: Value| message(&Value::Map(vec![(name.into(), value)]));
    let mut deep = vec![0x91; 200_000];
    deep.push(0xc0);
    let messages = [
        row("a", 1.into()),
        row("a", 1.5.into()),
        row("a", "x".into()),
        vec![0x93, 1, 2, 3],
        row("b", "text".into()),
        row("s", Value::Binary(vec![1])),
        row("a", 2.0.into()),
        vec![0x81, 0xa1, b's', 0xa1, 0xff],
        row("t", Value::Ext(-1, vec![1, 2, 3])),
        vec![0x81, 1, 2],
        deep,
        row("unread", Value::Ext(7, vec![1, 2, 3])),
        row("a", 3.into()),
        vec![0x82, 0xa1, b'a', 4],
    ];
    let mut decoder = decode(&Spec::default(), &schema()).unwrap();
    for _ in 0..2 {
        let decoded = decoder.decode(&file(&messages.concat()), 0).unwrap();
        let ids: Vec<_> = decoded.columns.column(0).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(ids, [Some(1), Some(2), None, Some(3)]);
        assert_eq!(decoded.bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7, 8, 9, 10, 13]);
    }
}

#[test]
fn values_are_cut_whole() {
    let bytes = [message(&"one".into()), message(&Value::Binary(vec![7; 70_000])), vec![0xc1]].concat();
    let mut cut = cut(&Spec::default());
    let mut ends = Vec::new();
    assert_eq!(cut.cut(&bytes[..100], false, 9, &mut ends), Ok(4));
    assert_eq!(cut.cut(&bytes, true, 9, &mut ends), Ok(4 + 70_005));
    assert_eq!(cut.cut(&bytes[4 + 70_005..], true, 9, &mut ends).unwrap_err().code, ReasonCode::Malformed);
    assert_eq!(cut.cut(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1], false, 9, &mut ends), Ok(0));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Ok(length) = cut(&Spec::default()).cut(&bytes[at..], true, 3, &mut ends) {
            if length == 0 { break }
            at += length;
        }
        let mut decoder = decode(&Spec::default(), &schema()).unwrap();
        let halves = vec![u32::try_from(bytes.len() / 2).unwrap(), u32::try_from(bytes.len()).unwrap()];
        let decoded = decoder.decode(&chunk(&bytes, Ends::At { ends: halves, bytes: false }), 0).unwrap();
        prop_assert!(decoded.columns.num_rows() + decoded.bad.len() <= 2);
        let _ = infer(&Spec::default(), Path::new("."), &file(&message(&Value::Binary(bytes.clone()))));
    }
}
