//! Real alerts, where they are at hand.

use super::*;
use arrow::array::StructArray;
use arrow::datatypes::Fields;

/// The alerts' bytes, in the order of their names; empty where there are none.
fn alerts() -> Vec<Vec<u8>> {
    let Some(entries) = testkit::alerts().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        testkit::note("format::avro", "no folder of real alerts: set HEADWATER_ALERTS");
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "avro"));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn all_alerts_come_out_whole() {
    let files = alerts();
    if files.is_empty() {
        return;
    }
    let decoded = decode_all(&chunk(&files));
    assert!(decoded.bad.is_empty() && decoded.wider.is_none() && matches!(decoded.messages, Rows::Same));
    let batch = decoded.columns;
    assert_eq!((batch.num_rows(), batch.num_columns()), (files.len(), 9));
    assert_eq!(batch["candidate"].as_struct().num_columns(), 103);
    for name in ["cutoutScience", "cutoutTemplate", "cutoutDifference"] {
        let stamps = batch[name].as_struct().column_by_name("stampData").unwrap().as_binary::<i32>();
        for (row, file) in files.iter().enumerate() {
            let stamp = stamps.value(row);
            assert!(stamp.len() > 1000 && file.windows(stamp.len()).any(|window| window == stamp), "{name} {row}");
        }
    }
    for (row, file) in files.iter().enumerate() {
        let mut theirs = arrow_avro::reader::ReaderBuilder::new().build(std::io::Cursor::new(file)).unwrap();
        let theirs = theirs.next().unwrap().unwrap();
        for (ours, theirs) in batch.columns().iter().zip(theirs.columns()) {
            assert_eq!(&arrow::compute::cast(theirs, ours.data_type()).unwrap(), &ours.slice(row, 1), "alert {row}");
        }
    }
}

#[test]
fn three_leaves_are_as_among_all() {
    let files = alerts();
    if files.is_empty() {
        return;
    }
    let messages = chunk(&files);
    let full = schema_of(&messages);
    let all = open(&full, &full).decode(&messages, 0).unwrap().columns;
    let candidate: &StructArray = all["candidate"].as_struct();
    let leaf = |name: &str| candidate.fields().iter().find(|field| field.name() == name).unwrap().clone();
    let leaves = Fields::from(vec![leaf("rb"), leaf("jd")]);
    let wanted: SchemaRef = Arc::new(Schema::new(vec![
        full.field_with_name("objectId").unwrap().clone(),
        Field::new("candidate", DataType::Struct(leaves), false),
    ]));
    let some = open(&full, &wanted).decode(&messages, 0).unwrap().columns;
    assert_eq!(&some["objectId"], &all["objectId"]);
    for name in ["rb", "jd"] {
        assert_eq!(some["candidate"].as_struct().column_by_name(name), candidate.column_by_name(name));
    }
}

#[test]
fn alerts_cut_off_or_broken_leave_the_others_alone() {
    let files = alerts();
    let Some((first, others)) = files.split_first() else { return };
    let mut messages = files.clone();
    let lengths = [0, 3, 100, first.len() / 2, first.len() - 17, first.len() - 1];
    for (number, length) in lengths.iter().enumerate() {
        messages.insert(2 * number + 1, first[..*length].to_vec());
    }
    let decoded = decode_all(&chunk(&messages));
    assert_eq!(decoded.bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 3, 5, 7, 9, 11]);
    assert_eq!(decoded.columns, decode_all(&chunk(&files)).columns);
    assert_eq!(decoded.columns.num_rows(), others.len() + 1);
}
