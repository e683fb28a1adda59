use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use ::arrow::compute::concat_batches;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use bytes::Bytes;

use super::*;
use crate::format::json;
use crate::format::schema::SchemaSpec;
use crate::{Chunk, Ends, Origin};

fn written(columns: &str) -> SchemaRef {
    let schema: SchemaSpec = serde_json::from_str(&format!("{{\"columns\": {columns}}}")).unwrap();
    schema.given(Path::new(".")).unwrap().unwrap()
}

/// Rows with structs, lists and bytes, each null now and then.
pub(crate) fn nested(from: usize, rows: usize) -> RecordBatch {
    let columns = r#"{"id": "int64", "s": "string", "b": "bytes", "t": "timestamp", "d": "decimal(9,2)",
        "p": {"x": "float64", "l": [{"y": "int32", "z": "string"}], "w": {"v": "bool", "u": "int8"}}}"#;
    let row = |id: usize| match id % 4 {
        0 => format!("{{\"id\":{id}}}\n"),
        1 => format!("{{\"id\":{id},\"p\":{{\"l\":[]}},\"s\":\"\",\"b\":\"\"}}\n"),
        2 => format!(
            "{{\"id\":{id},\"p\":{{\"x\":0.5,\"l\":[null,{{\"y\":{id}}},{{\"z\":\"z\"}}],\"w\":{{}}}},\"b\":\"AP8=\"}}\n"
        ),
        _ => format!("{{\"s\":\"s{id}\",\"t\":{id},\"d\":\"1.5\",\"p\":{{\"w\":{{\"v\":true,\"u\":3}}}}}}\n"),
    };
    let text: String = (from..from + rows).map(row).collect();
    let origins = vec![(0, Origin { input: "x".into(), offset: 0 })];
    let chunk = Chunk { bytes: Bytes::from(text), ends: Ends::Lines, header: None, origins, beside: None };
    let decoded = json::decode(&json::Spec::default(), &written(columns)).unwrap().decode(&chunk, 0).unwrap();
    assert_eq!(decoded.columns.num_rows(), rows);
    decoded.columns
}

/// Columns that the rows have, in another order and with fewer fields, and one that they lack.
pub(crate) fn pruned() -> SchemaRef {
    written(r#"{"p": {"w": {"u": "int8"}, "l": [{"z": "string"}]}, "new": "string", "id": "int64"}"#)
}

pub(crate) fn file(mut encoder: Box<dyn Encode>, batches: &[RecordBatch]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let mut out = Vec::new();
    for batch in batches {
        encoder.encode(batch, &mut out).unwrap();
        file.write_all(&out).unwrap();
        out.clear();
    }
    encoder.finish(&mut out).unwrap();
    file.write_all(&out).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

pub(crate) fn read(mut scan: Box<dyn Scan>, schema: &SchemaRef, rows: usize) -> RecordBatch {
    let mut batches = Vec::new();
    while let Some(batch) = scan.next(rows).unwrap() {
        assert!((1..=rows).contains(&batch.num_rows()));
        batches.push(batch);
    }
    concat_batches(schema, &batches).unwrap()
}

#[test]
fn files_are_read_from_every_row() {
    let spec = Spec { row_group: RowGroup { bytes: ByteSize::from_bytes(700) }, ..Spec::default() };
    let all = nested(0, 60);
    let batches: Vec<_> = (0..6).map(|part| nested(part * 10, 10)).collect();
    let file = file(encode(&spec, &all.schema()).unwrap(), &batches);
    assert_eq!(scan_schema(&spec, &file).unwrap(), all.schema());
    let reader = SerializedFileReader::new(file.try_clone().unwrap()).unwrap();
    assert!(reader.metadata().num_row_groups() > 1);
    assert_eq!(reader.metadata().file_metadata().created_by(), Some("headwater"));
    let schema = pruned();
    for from in 0..=61 {
        let left = all.slice(from.min(60), 60 - from.min(60));
        let scan_from = |schema| scan(&spec, file.try_clone().unwrap(), schema, from as u64).unwrap();
        assert_eq!(read(scan_from(None), &all.schema(), 7), left);
        assert_eq!(read(scan_from(Some(&schema)), &schema, 8), conform(&left, &schema).unwrap());
    }
    let none = Arc::new(Schema::empty());
    let mut counted = scan(&spec, file, Some(&none), 5).unwrap();
    assert_eq!(counted.next(1_000).unwrap().unwrap().num_rows(), 55);
}

#[test]
fn settings_reach_the_file() {
    let batch = nested(0, 40);
    for compression in [Compression::None, Compression::Snappy, Compression::Zstd, Compression::Gzip, Compression::Lz4]
    {
        let spec = Spec { compression, ..Spec::default() };
        let file = file(encode(&spec, &batch.schema()).unwrap(), std::slice::from_ref(&batch));
        let reader = SerializedFileReader::new(file.try_clone().unwrap()).unwrap();
        let group = reader.metadata().row_group(0).clone();
        let column = |name: &str| group.columns().iter().find(|column| column.column_path().string() == name).unwrap();
        assert_eq!(column("id").compression() == Codec::UNCOMPRESSED, compression == Compression::None);
        assert!(column("s").dictionary_page_offset().is_some() && column("s").statistics().is_some());
        assert!(column("b").dictionary_page_offset().is_none() && column("b").statistics().is_none());
        assert_eq!(read(scan(&spec, file, None, 0).unwrap(), &batch.schema(), 100), batch);
    }
}

#[test]
fn memory_is_told_and_rows_leave_in_groups() {
    let spec = Spec { row_group: RowGroup { bytes: ByteSize::from_bytes(20_000) }, ..Spec::default() };
    let batch = nested(0, 1_000);
    let mut encoder = encode(&spec, &batch.schema()).unwrap();
    let mut out = Vec::new();
    encoder.encode(&batch.slice(0, 10), &mut out).unwrap();
    assert!(encoder.memory_bytes() > 0);
    for _ in 0..20 {
        encoder.encode(&batch, &mut out).unwrap();
    }
    assert!(out.len() > 10_000, "{} bytes", out.len());
}

#[test]
fn a_broken_file_is_an_error() {
    let batch = nested(0, 10);
    let file = file(encode(&Spec::default(), &batch.schema()).unwrap(), &[batch]);
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    assert!(scan_schema(&Spec::default(), &file).is_err());
    assert!(scan(&Spec::default(), file, None, 0).is_err());
}
