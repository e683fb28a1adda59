use arrow::array::Array;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::format::schema::describe;
use crate::{Ends, Origin, Rows};

fn chunk(spec: &Spec, file: &[u8]) -> Chunk {
    let mut cut = cut(spec);
    let header = cut.header(file, true).unwrap().unwrap();
    let mut ends = Vec::new();
    let length = cut.cut(&file[header..], true, usize::MAX, &mut ends).unwrap();
    assert_eq!(length, file.len() - header);
    Chunk {
        bytes: Bytes::copy_from_slice(&file[header..]),
        ends: Ends::At { ends, bytes: true },
        header: spec.header.then(|| Bytes::copy_from_slice(&file[..header])),
        origins: vec![(0, Origin { input: "x".into(), offset: 0 })],
        beside: None,
    }
}

fn written(columns: &str) -> SchemaRef {
    let schema: SchemaSpec = serde_json::from_str(&format!("{{\"columns\": {columns}}}")).unwrap();
    schema.given(Path::new(".")).unwrap().unwrap()
}

fn ids(decoded: &Decoded) -> Vec<i64> {
    decoded.columns.column_by_name("a").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn columns_are_found_by_name_in_each_file() {
    let spec = Spec::default();
    let mut decoder = decode(&spec, &written(r#"{"a": "int64", "b": "string", "c": "bool"}"#)).unwrap();
    let one =
        decoder.decode(&chunk(&spec, b"\xef\xbb\xbfa,x,b\n1,2024,\"l\nm\"\r\n\n2,,\"say \"\"hi\"\"\""), 0).unwrap();
    assert_eq!(ids(&one), [1, 2]);
    assert_eq!(one.columns.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["l\nm", "say \"hi\""]);
    assert_eq!((one.columns.column(2).null_count(), one.messages.before(1)), (2, 2));
    let two = decoder.decode(&chunk(&spec, b"b,a\nx,3\n"), 0).unwrap();
    assert_eq!((ids(&two), matches!(two.messages, Rows::Same)), (vec![3], true));
}

#[test]
fn bad_rows_leave_their_neighbours_alone() {
    let spec = Spec::default();
    let mut decoder = decode(&spec, &written(r#"{"a": "int64", "b": "string"}"#)).unwrap();
    let file = b"a,b\n1,x\nx,y\n2\n3,a,b\n4,mid\"quote\n5,\xff\n6,a\rb\n7,\"z\"\n8,\"open\n9,lost\n";
    for _ in 0..2 {
        let decoded = decoder.decode(&chunk(&spec, file), 0).unwrap();
        assert_eq!(ids(&decoded), [1, 4, 7]);
        assert_eq!(decoded.bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 2, 3, 5, 6, 8]);
    }
    let decoded = decoder.decode(&chunk(&spec, file), 3).unwrap();
    assert_eq!((ids(&decoded), decoded.bad[0].reason.message.contains("expected 2 got")), (vec![4, 7], true));
    let twice = decoder.decode(&chunk(&spec, b"a,a\n1,2\n"), 0).unwrap();
    assert!(twice.bad[0].reason.message.contains("twice"));
}

#[test]
fn types_are_inferred_from_good_rows() {
    let spec = Spec::default();
    let file = b"id,price,ok,code,empty,\"n,m\"\n1,1.5,true,007,,2024-01-01\nragged\n-2,3,false,8,,x\n";
    let schema = infer(&spec, Path::new("."), &chunk(&spec, file)).unwrap();
    assert_eq!(describe(&schema), "{id: int64, price: float64, ok: bool, code: string, empty: string, n,m: string}");
    let bare = Spec { header: false, delimiter: ';', ..Spec::default() };
    let schema = infer(&bare, Path::new("."), &chunk(&bare, b"1;x\n")).unwrap();
    assert_eq!(describe(&schema), "{column_1: int64, column_2: string}");
    let read = Arc::new(schema.project(&[1]).unwrap());
    let decoded = decode(&bare, &read).unwrap().decode(&chunk(&bare, b"1;x\n2;y\n3\n"), 0).unwrap();
    assert_eq!((decoded.columns.num_rows(), decoded.bad.len()), (2, 1));
}

#[test]
fn what_is_written_is_read_back() {
    let schema = written(
        r#"{"a": "int64", "s": "string", "b": "bytes", "t": "timestamp", "f": "float64", "d": "decimal(9,2)", "y": "date"}"#,
    );
    let json = b"{\"a\":1,\"s\":\"a,\\\"\\n\",\"b\":\"AP8=\",\"t\":\"2024-01-02T03:04:05.000006Z\",\"f\":0.1,\"d\":\"1.25\",\"y\":\"2024-01-02\"}\n{\"a\":2}\n";
    let json = Chunk { ends: Ends::Lines, header: None, ..chunk(&Spec { header: false, ..Spec::default() }, json) };
    let batch = crate::format::json::decode(&crate::format::json::Spec::default(), &schema)
        .unwrap()
        .decode(&json, 0)
        .unwrap()
        .columns;
    assert_eq!(batch.num_rows(), 2);
    let spec = Spec { delimiter: '\t', ..Spec::default() };
    let mut out = Vec::new();
    let mut encoder = encode(&spec, &schema).unwrap();
    encoder.encode(&batch.slice(0, 1), &mut out).unwrap();
    encoder.encode(&batch.slice(1, 1), &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    let decoded = decode(&spec, &schema).unwrap().decode(&chunk(&spec, &out), 0).unwrap();
    assert_eq!(decoded.columns, batch);
}

#[test]
fn what_makes_no_sense_is_a_problem() {
    let spec = Spec { delimiter: 'é', quote: '\n', ..Spec::default() };
    assert_eq!(problems(&spec, "format.csv").len(), 2);
    assert_eq!(encodable(&spec, &written(r#"{"a": ["int8"], "b": "string"}"#), "x").len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_rows_before_noise_survive(
        noise in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\",\n\r7a".to_vec())], 0..80),
    ) {
        let spec = Spec::default();
        let file = [b"a,b\n7,x\n", &noise[..]].concat();
        let chunk = chunk(&spec, &file);
        let decoded = decode(&spec, &written(r#"{"a": "int64", "b": "bytes"}"#)).unwrap().decode(&chunk, 0).unwrap();
        prop_assert!(decoded.columns.num_rows() + decoded.bad.len() <= chunk.len());
        let read = Spec { header: false, ..Spec::default() };
        let _ = infer(&read, Path::new("."), &self::chunk(&read, &noise));
        let texts = decode(&spec, &written(r#"{"a": "int64", "b": "string"}"#)).unwrap().decode(&chunk, 0).unwrap();
        prop_assert_eq!(ids(&texts)[0], 7);
    }
}
