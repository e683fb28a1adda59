//! Each row of the table of types.

use super::*;
use arrow::array::{Decimal128Array, IntervalMonthDayNanoArray, StructArray};
use arrow::datatypes::{Float64Type, IntervalMonthDayNano, TimeUnit};

/// One field of each type, by its name.
const EVERY_TYPE: &str = r#"{"type": "record", "name": "all", "namespace": "n.s", "fields": [
    {"name": "none", "type": "null"},
    {"name": "flag", "type": "boolean"},
    {"name": "int", "type": "int"},
    {"name": "float", "type": "float"},
    {"name": "blob", "type": "bytes"},
    {"name": "fixed", "type": {"type": "fixed", "name": "four", "size": 4}},
    {"name": "color", "type": {"type": "enum", "name": "color", "symbols": ["red", "green"]}},
    {"name": "inner", "type": {"type": "record", "name": "inner", "fields": [{"name": "id", "type": "long"}]}},
    {"name": "maybe_inner", "type": ["null", "inner"]},
    {"name": "list", "type": {"type": "array", "items": ["n.s.inner", "null"]}},
    {"name": "map", "type": {"type": "map", "values": "int"}},
    {"name": "either", "type": ["null", "string", "long", "n.s.four"]},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
    {"name": "wide", "type": {"type": "fixed", "name": "wide", "size": 20, "logicalType": "decimal", "precision": 40}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "clock", "type": {"type": "long", "logicalType": "time-micros"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-nanos"}},
    {"name": "span", "type": {"type": "fixed", "name": "span", "size": 12, "logicalType": "duration"}},
    {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}}]}"#;

fn every_type_body(either: &[u8]) -> Vec<u8> {
    let span = [7_u32, 5, 9].map(u32::to_le_bytes).concat();
    let list = [long(-2), long(3), long(0), long(1), long(1), long(0)].concat();
    let wide = [vec![0xff; 19], vec![0xfe]].concat();
    [
        vec![1],
        long(-3),
        1.25_f32.to_le_bytes().to_vec(),
        blob(b"\0\xff"),
        b"four".to_vec(),
        long(1),
        long(8),
        [long(1), long(9)].concat(),
        list,
        [long(1), blob(b"k"), long(4), long(0)].concat(),
        either.to_vec(),
        blob(&[0xff, 0x38]),
        wide,
        long(19_000),
        long(1),
        long(2),
        long(3),
        span,
        blob(b"an-id"),
    ]
    .concat()
}

pub(super) fn every_type_file() -> Vec<u8> {
    let body = every_type_body(&[long(1), blob(b"text")].concat());
    [head(EVERY_TYPE, "null"), block(1, &body)].concat()
}

#[test]
fn each_type_is_held_as_the_table_says() {
    let batch = decode_all(&chunk(&[every_type_file()])).columns;
    let kind = |name: &str| batch.schema().field_with_name(name).unwrap().data_type().clone();
    let first = |name: &str| arrow::util::display::array_value_to_string(&batch[name], 0).unwrap();
    let utc = Some(Arc::from("+00:00"));
    assert_eq!(kind("none"), DataType::Null);
    assert_eq!(first("flag"), "true");
    assert_eq!(batch["int"].as_primitive::<Int32Type>().value(0), -3);
    assert_eq!(first("float"), "1.25");
    assert_eq!(batch["blob"].as_binary::<i32>().value(0), [0, 0xff]);
    assert_eq!(batch["fixed"].as_fixed_size_binary().value(0), b"four");
    assert_eq!((kind("color"), first("color")), (DataType::Utf8, "green".to_owned()));
    assert_eq!((first("inner"), first("maybe_inner")), ("{id: 8}".to_owned(), "{id: 9}".to_owned()));
    assert_eq!(first("list"), "[{id: 1}, ]");
    assert_eq!(first("map"), "{k: 4}");
    assert_eq!(first("either"), "{string: text, long: , four: }");
    assert_eq!(batch["price"].as_any().downcast_ref::<Decimal128Array>().unwrap().value(0), -200);
    assert_eq!((kind("wide"), first("wide")), (DataType::Decimal256(40, 0), "-2".to_owned()));
    assert_eq!(first("day"), "2022-01-08");
    assert_eq!((kind("clock"), kind("day")), (DataType::Time64(TimeUnit::Microsecond), DataType::Date32));
    assert_eq!(kind("at"), DataType::Timestamp(TimeUnit::Millisecond, utc));
    assert_eq!(kind("local"), DataType::Timestamp(TimeUnit::Nanosecond, None));
    let span = batch["span"].as_any().downcast_ref::<IntervalMonthDayNanoArray>().unwrap();
    assert_eq!(span.value(0), IntervalMonthDayNano::new(7, 5, 9_000_000));
    assert_eq!((kind("uuid"), first("uuid")), (DataType::Utf8, "an-id".to_owned()));
}

#[test]
fn a_union_of_several_types_survives_the_second_batch() {
    let eithers = [long(0), [long(2), long(77)].concat(), [long(3), b"abcd".to_vec()].concat(), long(4)];
    let files: Vec<Vec<u8>> =
        eithers.iter().map(|either| [head(EVERY_TYPE, "null"), block(1, &every_type_body(either))].concat()).collect();
    let messages = chunk(&files);
    let schema = schema_of(&messages);
    let mut decoder = open(&schema, &schema);
    let first = decoder.decode(&messages, 0).unwrap();
    assert_eq!((first.columns.num_rows(), first.bad[0].row), (3, 3));
    let either: &StructArray = first.columns["either"].as_struct();
    assert!(either.is_null(0) && either.is_valid(1));
    assert_eq!(either.column_by_name("long").unwrap().as_primitive::<Int64Type>().value(1), 77);
    assert_eq!(either.column_by_name("four").unwrap().as_fixed_size_binary().value(2), b"abcd");
    for _ in 0..3 {
        assert_eq!(decoder.decode(&messages, 0).unwrap().columns, first.columns);
    }
}

#[test]
fn each_column_alone_is_as_among_all() {
    let messages = chunk(&[every_type_file(), every_type_file()]);
    let full = schema_of(&messages);
    let all = open(&full, &full).decode(&messages, 0).unwrap().columns;
    for column in 0..full.fields().len() {
        let wanted: SchemaRef = Arc::new(full.project(&[column]).unwrap());
        let alone = open(&full, &wanted).decode(&messages, 0).unwrap().columns;
        assert_eq!(alone, all.project(&[column]).unwrap());
    }
}

#[test]
fn a_type_named_first_in_a_skipped_field_is_known_later() {
    let full = schema_of(&chunk(&[every_type_file()]));
    // `maybe_inner` uses the name that `inner` defines.
    let wanted: SchemaRef = Arc::new(full.project(&[8]).unwrap());
    let batch = open(&full, &wanted).decode(&chunk(&[every_type_file()]), 0).unwrap().columns;
    assert_eq!(arrow::util::display::array_value_to_string(batch.column(0), 0).unwrap(), "{id: 9}");
}

#[test]
fn a_record_under_another_name_is_the_same_record() {
    let renamed = EVERY_TYPE.replace("\"all\"", "\"topLevelRecord\"").replace("n.s", "other");
    let body = every_type_body(&long(0));
    let messages = chunk(&[every_type_file(), [head(&renamed, "null"), block(1, &body)].concat()]);
    let decoded = decode_all(&messages);
    assert_eq!((decoded.columns.num_rows(), decoded.bad.len(), decoded.next), (2, 0, 2));
}

#[test]
fn a_field_within_a_record_or_a_list_widens_there() {
    let new = |kind: &str| {
        format!(
            r#"{{"type": "record", "name": "r", "fields": [{{"name": "items", "type":
            {{"type": "array", "items": {{"type": "record", "name": "i", "fields": [{kind}]}}}}}}]}}"#
        )
    };
    let old = new(r#"{"name": "a", "type": "int"}"#);
    let newer = new(r#"{"name": "b", "type": "double"}, {"name": "a", "type": "long"}"#);
    let old = [head(&old, "null"), block(1, &[long(1), long(5), long(0)].concat())].concat();
    let row = [long(1), 0.5_f64.to_le_bytes().to_vec(), long(1 << 40), long(0)].concat();
    let newer = [head(&newer, "null"), block(1, &row)].concat();
    let messages = chunk(&[old, newer]);
    let schema = schema_of(&messages);
    let wider = open(&schema, &schema).decode(&messages, 0).unwrap().wider.unwrap();
    let batch = open(&wider, &wider).decode(&messages, 0).unwrap().columns;
    let items = batch["items"].as_list::<i32>().values().as_struct();
    assert_eq!(items.column(0).as_primitive::<Int64Type>().values()[..], [5, 1 << 40]);
    let added = items.column(1).as_primitive::<Float64Type>();
    assert!(added.is_null(0));
    assert_eq!(added.value(1).to_bits(), 0.5_f64.to_bits());
}

#[test]
fn a_union_with_one_type_more_widens() {
    let of = |branches: &str, body: &[u8]| {
        let schema =
            format!(r#"{{"type": "record", "name": "r", "fields": [{{"name": "either", "type": [{branches}]}}]}}"#);
        [head(&schema, "null"), block(1, body)].concat()
    };
    let old = of(r#""string", "long""#, &[long(1), long(6)].concat());
    let new = of(r#""long", "boolean", "null", "string""#, &[long(1), vec![1]].concat());
    let messages = chunk(&[old, new]);
    let schema = schema_of(&messages);
    let wider = open(&schema, &schema).decode(&messages, 0).unwrap().wider.unwrap();
    let batch = open(&wider, &wider).decode(&messages, 0).unwrap().columns;
    let shown = |row| arrow::util::display::array_value_to_string(batch.column(0), row).unwrap();
    assert_eq!([shown(0), shown(1)], ["{string: , long: 6, boolean: }", "{string: , long: , boolean: true}"]);
}
