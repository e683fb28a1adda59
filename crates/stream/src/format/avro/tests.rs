//! Containers are built here byte by byte, so that each part can be broken alone.

mod alerts;
mod files;
mod hostile;
mod types;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;

use super::container::MAGIC;
use super::*;
use crate::{BadRow, Decoded, Ends, Origin, ReasonCode, Rows};

const SYNC: [u8; 16] = *b"0123456789abcdef";

/// A flat schema: text, a long, a nullable double.
const FLAT: &str = r#"{"type": "record", "name": "row", "fields": [
    {"name": "name", "type": "string"},
    {"name": "number", "type": "long"},
    {"name": "share", "type": ["null", "double"]}]}"#;

fn long(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    [long(i64::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

fn head(schema: &str, codec: &str) -> Vec<u8> {
    let entries = [blob(b"avro.schema"), blob(schema.as_bytes()), blob(b"avro.codec"), blob(codec.as_bytes())];
    [MAGIC.to_vec(), long(2), entries.concat(), long(0), SYNC.to_vec()].concat()
}

fn block(count: i64, body: &[u8]) -> Vec<u8> {
    [long(count), blob(body), SYNC.to_vec()].concat()
}

fn flat(name: &str, number: i64) -> Vec<u8> {
    let share = 0.5_f64.to_le_bytes();
    [blob(name.as_bytes()), long(number), long(1), share.to_vec()].concat()
}

/// A container of one flat row.
fn flat_file(name: &str, number: i64) -> Vec<u8> {
    [head(FLAT, "null"), block(1, &flat(name, number))].concat()
}

fn origin() -> Origin {
    Origin { input: Arc::from("test"), offset: 0 }
}

fn chunk(messages: &[impl AsRef<[u8]>]) -> Chunk {
    let mut ends = Vec::new();
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(message.as_ref());
        ends.push(u32::try_from(bytes.len()).unwrap());
    }
    let ends = Ends::At { ends, bytes: false };
    Chunk { bytes: Bytes::from(bytes), ends, header: None, origins: vec![(0, origin())], beside: None }
}

fn schema_of(sample: &Chunk) -> SchemaRef {
    infer(&Spec::default(), Path::new(""), sample).unwrap()
}

fn open(full: &SchemaRef, wanted: &SchemaRef) -> Box<dyn Decode> {
    decode(&Spec::default(), full, wanted, Path::new("")).unwrap()
}

/// Decodes all messages of `chunk` with the schema of its first.
fn decode_all(chunk: &Chunk) -> Decoded {
    let schema = schema_of(chunk);
    open(&schema, &schema).decode(chunk, 0).unwrap()
}

fn flat_schema() -> SchemaRef {
    schema_of(&chunk(&[flat_file("", 0)]))
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch["name"].as_string::<i32>().iter().map(|name| name.unwrap().to_owned()).collect()
}

/// The flat rows that `messages` give.
fn flat_rows(messages: &[impl AsRef<[u8]>]) -> Decoded {
    let schema = flat_schema();
    open(&schema, &schema).decode(&chunk(messages), 0).unwrap()
}

/// What is wrong with one message among good ones, which must come out whole.
fn fault_of(message: &[u8]) -> BadRow {
    let decoded = flat_rows(&[flat_file("a", 1), message.to_vec(), flat_file("c", 3)]);
    assert_eq!(names(&decoded.columns), ["a", "c"]);
    assert_eq!(decoded.messages.before(1), 2);
    let [bad] = &decoded.bad[..] else { panic!("one bad message, not {:?}", decoded.bad) };
    assert_eq!((bad.row, decoded.next), (1, 3));
    bad.clone()
}

#[test]
fn one_row_per_message_is_the_same_rows() {
    let decoded = flat_rows(&[flat_file("a", 1), flat_file("b", -70_000)]);
    assert!(matches!(decoded.messages, Rows::Same));
    assert!(decoded.bad.is_empty() && decoded.wider.is_none());
    assert_eq!(names(&decoded.columns), ["a", "b"]);
    assert_eq!(decoded.columns["number"].as_primitive::<Int64Type>().values()[..], [1, -70_000]);
}

#[test]
fn a_container_of_many_records_and_blocks_is_one_message() {
    let two = [flat("a", 1), flat("b", 2)].concat();
    let file = [head(FLAT, "null"), block(2, &two), block(1, &flat("c", 3))].concat();
    let decoded = flat_rows(&[file, head(FLAT, "null"), flat_file("d", 4)]);
    assert_eq!(names(&decoded.columns), ["a", "b", "c", "d"]);
    assert_eq!((0..4).map(|row| decoded.messages.before(row)).collect::<Vec<_>>(), [0, 0, 0, 2]);
}

#[test]
fn a_bad_block_takes_its_whole_message_along() {
    let file = [head(FLAT, "null"), block(1, &flat("x", 1)), block(2, &flat("y", 2))].concat();
    assert!(fault_of(&file).reason.message.contains("record 1"));
}

#[test]
fn blocks_are_read_by_the_header_of_their_chunk() {
    let two = [flat("a", 1), flat("b", 2)].concat();
    let mut chunk = chunk(&[block(2, &two), block(1, b"\x02"), block(1, &flat("c", 3))]);
    chunk.header = Some(Bytes::from(head(FLAT, "null")));
    let decoded = decode_all(&chunk);
    assert_eq!(names(&decoded.columns), ["a", "b", "c"]);
    assert_eq!(decoded.bad[0].row, 1);
    assert_eq!(decoded.messages.before(2), 2);
}

#[test]
fn each_codec_is_unpacked() {
    use std::io::Write as _;
    let body = flat("packed packed packed packed", 7);
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&body).unwrap();
    let mut snappy = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    snappy.extend(crc.sum().to_be_bytes());
    let zstandard = zstd::encode_all(&body[..], 1).unwrap();
    for (codec, packed) in
        [("deflate", deflate.finish().unwrap()), ("snappy", snappy), ("zstandard", zstandard), ("", body.clone())]
    {
        let file = |packed: &[u8]| [head(FLAT, codec), block(1, packed)].concat();
        assert_eq!(names(&flat_rows(&[file(&packed)]).columns), ["packed packed packed packed"], "{codec}");
        fault_of(&file(&packed[..packed.len() - 1]));
    }
    assert!(fault_of(&[head(FLAT, "bzip2"), block(1, &body)].concat()).reason.message.contains("bzip2"));
}

#[test]
fn columns_that_nobody_reads_are_stepped_over() {
    let full = flat_schema();
    let none: SchemaRef = Arc::new(Schema::empty());
    let decoded = open(&full, &none).decode(&chunk(&[flat_file("a", 1), flat_file("b", 2)]), 0).unwrap();
    assert_eq!((decoded.columns.num_rows(), decoded.columns.num_columns()), (2, 0));
    let share: SchemaRef = Arc::new(full.project(&[2]).unwrap());
    let decoded = open(&full, &share).decode(&chunk(&[flat_file("a", 1), b"Obj".to_vec()]), 0).unwrap();
    assert_eq!((decoded.columns.num_rows(), decoded.bad.len()), (1, 1));
}

const WIDE: &str = r#"{"type": "record", "name": "other", "namespace": "elsewhere", "fields": [
    {"name": "name", "type": "string"},
    {"name": "flag", "type": "boolean"},
    {"name": "number", "type": "int"}]}"#;

fn wide(name: &str) -> Vec<u8> {
    [head(WIDE, "null"), block(1, &[blob(name.as_bytes()), vec![1], long(5)].concat())].concat()
}

#[test]
fn a_new_field_widens_and_a_missing_nullable_one_is_null() {
    let chunk = chunk(&[flat_file("a", 1), wide("b"), flat_file("c", 3)]);
    let schema = flat_schema();
    let first = open(&schema, &schema).decode(&chunk, 0).unwrap();
    assert_eq!((names(&first.columns), first.next), (vec!["a".to_owned()], 1));
    let wider = first.wider.unwrap();
    assert_eq!(wider.field(3), &Field::new("flag", DataType::Boolean, true));
    let rest = open(&wider, &wider).decode(&chunk, first.next).unwrap();
    assert!(rest.wider.is_none() && rest.bad.is_empty());
    assert_eq!(names(&rest.columns), ["b", "c"]);
    assert_eq!(rest.messages.before(0), 1);
    assert_eq!(rest.columns["number"].as_primitive::<Int64Type>().values()[..], [5, 3]);
    assert!(rest.columns["share"].is_null(0) && rest.columns["flag"].is_null(1));
}

fn with_number(kind: &str, body: &[u8]) -> Vec<u8> {
    let schema = FLAT.replace("\"long\"", kind);
    let row = [blob(b"n"), body.to_vec(), long(0)].concat();
    [head(&schema, "null"), block(1, &row)].concat()
}

#[test]
fn an_incompatible_field_is_named_with_both_types() {
    let bad = fault_of(&with_number("\"string\"", &blob(b"x")));
    assert_eq!(bad.reason.code, ReasonCode::SchemaIncompatible);
    for word in ["`number`", "Utf8", "Int64"] {
        assert!(bad.reason.message.contains(word), "{}", bad.reason.message);
    }
    let lacks = r#"{"type": "record", "name": "row", "fields": [{"name": "name", "type": "string"}]}"#;
    let bad = fault_of(&[head(lacks, "null"), block(1, &blob(b"x"))].concat());
    assert_eq!(bad.reason.code, ReasonCode::SchemaIncompatible);
    assert!(bad.reason.message.contains("`number`"), "{}", bad.reason.message);
}

#[test]
fn numbers_are_widened_where_the_stream_or_the_writer_is_wider() {
    let double = with_number("\"double\"", &2.5_f64.to_le_bytes());
    let schema = schema_of(&chunk(&[&double]));
    let cases =
        [("\"int\"", long(3), 3.0), ("\"long\"", long(4), 4.0), ("\"float\"", 1.5_f32.to_le_bytes().into(), 1.5)];
    for (kind, body, expected) in cases {
        let decoded = open(&schema, &schema).decode(&chunk(&[with_number(kind, &body)]), 0).unwrap();
        let numbers = decoded.columns["number"].as_primitive::<arrow::datatypes::Float64Type>();
        assert_eq!(numbers.values()[..], [expected]);
    }
    let int = schema_of(&chunk(&[with_number("\"int\"", &long(1))]));
    let decoded = open(&int, &int).decode(&chunk(&[flat_file("a", 1)]), 0).unwrap();
    assert_eq!(decoded.wider.unwrap().field(1).data_type(), &DataType::Int64);
    let decoded = open(&int, &int).decode(&chunk(&[with_number(r#"["int", "null"]"#, &long(1))]), 0).unwrap();
    assert!(decoded.wider.unwrap().field(1).is_nullable());
}

#[test]
fn text_and_bytes_are_read_as_each_other() {
    let text = r#"{"type": "record", "name": "r", "fields": [{"name": "name", "type": "string"}]}"#;
    let bytes = text.replace("\"string\"", "\"bytes\"");
    let file = |schema: &str| [head(schema, "null"), block(1, &blob(b"both"))].concat();
    let raw = [head(&bytes, "null"), block(1, &blob(&[0xff]))].concat();
    let messages = chunk(&[file(text), file(&bytes), raw]);
    let as_text = schema_of(&messages);
    let decoded = open(&as_text, &as_text).decode(&messages, 0).unwrap();
    assert_eq!((names(&decoded.columns).len(), decoded.bad.len()), (2, 1));
    let as_bytes = schema_of(&chunk(&[file(&bytes)]));
    let decoded = open(&as_bytes, &as_bytes).decode(&messages, 0).unwrap();
    assert_eq!(decoded.columns["name"].as_binary::<i32>().value(0), b"both");
    assert_eq!(decoded.bad.len(), 0);
}

#[test]
fn writers_beyond_the_limit_take_the_place_of_older_ones() {
    let schema = flat_schema();
    let file = |number: usize| {
        let schema = FLAT.replace("\"row\"", &format!("\"row{number}\""));
        [head(&schema, "null"), block(1, &flat("x", 1))].concat()
    };
    let files: Vec<Vec<u8>> = (0..decode::SCHEMAS_MAX + 9).map(file).collect();
    let mut decoder = decode::Decoder::new(Framing::Auto, &schema, &schema, None).unwrap();
    for _ in 0..2 {
        let decoded = decoder.decode(&chunk(&files), 0).unwrap();
        assert_eq!(decoded.columns.num_rows(), files.len());
        assert_eq!(decoder.schemas(), decode::SCHEMAS_MAX);
    }
}

#[test]
fn the_schema_of_many_messages_is_parsed_once() {
    let mut files = vec![flat_file("a", 1); 100];
    // Files of one writer differ in their sync markers.
    for (number, file) in files.iter_mut().enumerate() {
        let sync = [u8::try_from(number).unwrap(); 16];
        let (header, end) = (head(FLAT, "null").len(), file.len());
        file[header - 16..header].copy_from_slice(&sync);
        file[end - 16..].copy_from_slice(&sync);
    }
    let schema = flat_schema();
    let mut decoder = decode::Decoder::new(Framing::Auto, &schema, &schema, None).unwrap();
    assert_eq!(decoder.decode(&chunk(&files), 0).unwrap().columns.num_rows(), 100);
    assert_eq!(decoder.schemas(), 1);
}
