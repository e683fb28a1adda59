//! Files that are cut into blocks, and files that are written.

use super::*;
use arrow::array::{BinaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::compute::concat_batches;

fn three_blocks() -> Vec<u8> {
    let body = |name: &str| [flat(name, 1), flat(name, 2)].concat();
    [head(FLAT, "null"), block(2, &body("a")), block(2, &body("b")), block(2, &body("c"))].concat()
}

#[test]
fn a_file_is_cut_at_its_blocks_and_decoded_by_its_header() {
    let file = three_blocks();
    let mut cutter = cut(&Spec::default());
    let header = cutter.header(&file, false).unwrap().unwrap();
    assert_eq!(header, head(FLAT, "null").len());
    let mut ends = Vec::new();
    let used = cutter.cut(&file[header..], false, 4, &mut ends).unwrap();
    assert_eq!((ends.len(), used), (2, *ends.last().unwrap() as usize));
    let rest = &file[header + used..];
    let bytes = Bytes::copy_from_slice(&file[header..header + used]);
    let ends = Ends::At { ends, bytes: true };
    let header = Some(Bytes::copy_from_slice(&file[..header]));
    let decoded = decode_all(&Chunk { bytes, ends, header, origins: vec![(0, origin())], beside: None });
    assert_eq!(names(&decoded.columns), ["a", "a", "b", "b"]);
    let mut ends = Vec::new();
    assert_eq!(cutter.cut(rest, true, 1, &mut ends).unwrap(), rest.len());
}

#[test]
fn a_cut_waits_for_more_and_refuses_what_more_cannot_mend() {
    let file = three_blocks();
    let header = head(FLAT, "null").len();
    let mut cutter = cut(&Spec::default());
    for length in 0..header {
        assert_eq!(cutter.header(&file[..length], false).unwrap(), None, "{length}");
    }
    assert!(cutter.header(&file[..header - 1], true).is_err());
    cutter.header(&file, false).unwrap();
    let first = block(2, &[flat("a", 1), flat("a", 2)].concat()).len();
    for length in 0..first {
        assert_eq!(cutter.cut(&file[header..header + length], false, 9, &mut Vec::new()).unwrap(), 0);
        if length > 0 {
            assert!(cutter.cut(&file[header..header + length], true, 9, &mut Vec::new()).is_err());
        }
    }
    let mut broken = file.clone();
    broken[header + first - 1] ^= 1;
    assert!(cutter.cut(&broken[header..], false, 9, &mut Vec::new()).is_err());
    // What precedes a broken block is given first.
    broken = file.clone();
    broken[header + 2 * first - 1] ^= 1;
    let mut ends = Vec::new();
    assert_eq!(cutter.cut(&broken[header..], false, 9, &mut ends).unwrap(), first);
    assert!(cutter.cut(&broken[header + first..], false, 9, &mut ends).is_err());
}

#[test]
fn a_bare_file_is_one_message() {
    let mut cutter = cut(&Spec { framing: Framing::Bare, ..Spec::default() });
    let body = flat("a", 1);
    assert_eq!(cutter.header(&body, false).unwrap(), Some(0));
    let mut ends = Vec::new();
    assert_eq!(cutter.cut(&body, false, 9, &mut ends).unwrap(), 0);
    assert_eq!(cutter.cut(&body, true, 9, &mut ends).unwrap(), body.len());
    assert_eq!(ends.len(), 1);
}

#[test]
fn the_schema_may_be_in_a_container_beside_bare_messages() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("like.avro"), flat_file("any", 1)).unwrap();
    let spec = Spec { schema: Some(SchemaFile { file: "like.avro".into() }), ..Spec::default() };
    let messages = chunk(&[flat("bare", 1), flat_file("container", 2)]);
    let schema = infer(&spec, folder.path(), &messages).unwrap();
    assert_eq!(schema, flat_schema());
    let decoded = decode(&spec, &schema, &schema, folder.path()).unwrap().decode(&messages, 0).unwrap();
    assert_eq!(names(&decoded.columns), ["bare", "container"]);
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let bare = problems(&Spec { framing: Framing::Bare, ..Spec::default() }, "spec.x");
    assert_eq!(bare[0].path, "spec.x.schema");
    assert!(!problems(&Spec { framing: Framing::Confluent, ..Spec::default() }, "x").is_empty());
    assert!(problems(&Spec::default(), "x").is_empty());
    let problem = infer(&Spec::default(), Path::new(""), &chunk(&[flat("a", 1)])).unwrap_err();
    assert!(problem.hint.unwrap().contains("schema: {file"));
    let gone = Spec { schema: Some(SchemaFile { file: "gone.avsc".into() }), ..Spec::default() };
    assert!(infer(&gone, Path::new("nowhere"), &chunk(&[flat("a", 1)])).unwrap_err().expected.contains("gone.avsc"));
}

fn nested(rows: i32) -> RecordBatch {
    let id = Int32Array::from_iter_values(0..rows);
    let text: StringArray = (0..rows).map(|row| (row % 3 > 0).then(|| format!("text {row}"))).collect();
    let blob = BinaryArray::from_iter_values((0..rows).map(|row| vec![row.to_le_bytes()[0]; 700]));
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("long", DataType::Int64, true)),
        Arc::new((0..rows).map(|row| (row % 2 > 0).then(|| i64::from(row) << 33)).collect::<Int64Array>()) as ArrayRef,
    )]);
    let list = (0..rows).map(|row| Some((0..row % 4).map(Some).collect::<Vec<_>>()));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(list);
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("id", Arc::new(id), false),
        ("text", Arc::new(text), true),
        ("blob", Arc::new(blob), false),
        ("inner", Arc::new(inner), false),
        ("list", Arc::new(list), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn what_is_written_is_read_back_in_blocks() {
    let rows = nested(5000);
    for compression in [Compression::Null, Compression::Deflate, Compression::Snappy, Compression::Zstd] {
        let spec = Spec { compression, ..Spec::default() };
        let mut encoder = encode(&spec, &rows.schema()).unwrap();
        let mut file = Vec::new();
        encoder.encode(&rows.slice(0, 4000), &mut file).unwrap();
        encoder.encode(&rows.slice(4000, 1), &mut file).unwrap();
        assert!(encoder.memory_bytes() > 0);
        encoder.encode(&rows.slice(4001, 999), &mut file).unwrap();
        encoder.finish(&mut file).unwrap();
        let mut cutter = cut(&spec);
        let header = cutter.header(&file, true).unwrap().unwrap();
        let mut ends = Vec::new();
        assert_eq!(cutter.cut(&file[header..], true, usize::MAX, &mut ends).unwrap(), file.len() - header);
        assert!(ends.len() > 2, "{} blocks", ends.len());
        assert_eq!(decode_all(&chunk(&[&file])).columns.columns(), rows.columns());
        let theirs = arrow_avro::reader::ReaderBuilder::new().build(std::io::Cursor::new(&file)).unwrap();
        let theirs: Vec<RecordBatch> = theirs.map(Result::unwrap).collect();
        let theirs = concat_batches(&theirs[0].schema(), &theirs).unwrap();
        assert_eq!(theirs.columns(), rows.columns());
    }
}

#[test]
fn a_file_without_rows_has_its_schema() {
    let rows = nested(0);
    let mut encoder = encode(&Spec::default(), &rows.schema()).unwrap();
    let mut file = Vec::new();
    encoder.finish(&mut file).unwrap();
    let decoded = decode_all(&chunk(&[file]));
    assert_eq!(decoded.columns.schema().fields().len(), 5);
    assert!(decoded.bad.is_empty());
}
