use std::collections::HashSet;
use std::io::{Cursor, Read};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_avro::reader::ReaderBuilder;

use super::*;

/// What an independent reader of Avro finds in a container.
fn decoded(container: &[u8]) -> RecordBatch {
    let mut reader = ReaderBuilder::new().build(Cursor::new(container)).unwrap();
    let rows = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    assert_eq!(rows.num_rows(), 1);
    rows
}

fn stamp<'a>(alert: &'a RecordBatch, cutout: &str) -> &'a [u8] {
    alert.column_by_name(cutout).unwrap().as_struct().column_by_name("stampData").unwrap().as_binary::<i32>().value(0)
}

#[test]
fn another_reader_finds_every_field_with_plausible_values() {
    let mut histories = HashSet::new();
    let mut stamps = HashSet::new();
    let mut nights = HashSet::new();
    for row in 0..40 {
        let bytes = container(7, row);
        assert!((45 << 10..90 << 10).contains(&bytes.len()), "{} bytes", bytes.len());
        let alert = decoded(&bytes);
        let names: Vec<String> = alert.schema().fields().iter().map(|field| field.name().clone()).collect();
        let expected = ["schemavsn", "publisher", "objectId", "candid", "candidate", "prv_candidates"];
        assert_eq!(names[..6], expected);
        assert_eq!(names[6..], ["cutoutScience", "cutoutTemplate", "cutoutDifference"]);
        let candidate = alert.column(4).as_struct();
        assert_eq!(candidate.num_columns(), 103);
        let column = |name: &str| candidate.column_by_name(name).unwrap();
        let jd = column("jd").as_primitive::<Float64Type>().value(0);
        nights.insert(jd.floor().to_bits());
        assert!((2_461_041.5..2_461_044.5).contains(&jd), "{jd}");
        assert!((1..=3).contains(&column("fid").as_primitive::<Int32Type>().value(0)));
        assert!((0..=4).contains(&column("nbad").as_primitive::<Int32Type>().value(0)));
        assert!((0.0..1.0).contains(&column("rb").as_primitive::<Float32Type>().value(0)));
        assert!((15.0..20.5).contains(&column("magpsf").as_primitive::<Float32Type>().value(0)));
        assert!((0.0..360.1).contains(&column("ra").as_primitive::<Float64Type>().value(0)));
        assert!(column("ssnamenr").is_null(0));
        assert_eq!(
            column("candid").as_primitive::<Int64Type>().value(0),
            alert.column(3).as_primitive::<Int64Type>().value(0)
        );
        assert_eq!(alert.column(2).as_string::<i32>().value(0).len(), 12);
        let history = alert.column(5).as_list::<i32>();
        histories.insert(if history.is_null(0) { 0 } else { history.value(0).len() });
        if !history.is_null(0) {
            assert_eq!(history.value(0).as_struct().num_columns(), 57);
        }
        for cutout in &names[6..] {
            let stamp = stamp(&alert, cutout);
            assert!((12 << 10..=20 << 10).contains(&stamp.len()), "{} bytes", stamp.len());
            assert_eq!(stamp[..2], [0x1f, 0x8b]);
            assert!(stamps.insert(stamp.to_vec()), "each cutout is distinct");
        }
    }
    assert!(histories.len() > 10 && histories.iter().all(|length| *length <= 30), "{histories:?}");
    assert_eq!(nights.len(), 3);
}

#[test]
fn cutouts_do_not_compress() {
    let bytes = container(1, 0);
    let alert = decoded(&bytes);
    let stamp = stamp(&alert, "cutoutScience");
    let mut packed = Vec::new();
    flate2::read::DeflateEncoder::new(stamp, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    assert!(packed.len() >= stamp.len(), "{} bytes became {}", stamp.len(), packed.len());
}

#[test]
fn an_alert_depends_on_seed_and_number_alone() {
    let mut alerts = Alerts::new(&Spec::default(), 5);
    let mut out = Vec::new();
    for row in [9, 3, 9] {
        alerts.write(row, &mut out);
    }
    let (third, ninth) = (container(5, 3), container(5, 9));
    assert_eq!(out, [ninth.clone(), third, ninth.clone()].concat());
    assert_ne!(container(6, 9), ninth);
}

#[test]
fn every_size_of_block_has_a_right_length() {
    for (cutout_bytes, history) in [(0, 0), (10, 0), (100, 1), (3000, 5), (300_000, 0)] {
        let spec = Spec { cutout_bytes: ByteSize::from_bytes(cutout_bytes), history, ..Spec::default() };
        let mut alerts = Alerts::new(&spec, 1);
        for row in 0..3 {
            let mut out = Vec::new();
            alerts.write(row, &mut out);
            assert!(out.len() <= alerts.bytes_max());
            decoded(&out);
        }
    }
}

#[test]
fn candidate_and_object_names_are_distinct() {
    let alerts = Alerts::new(&Spec::default(), 1);
    let mut names = HashSet::new();
    for object in 0..OBJECTS {
        let mut name = Vec::new();
        alerts.object(object, &mut name);
        names.insert(name);
    }
    assert_eq!(names.len(), 100_000);
}

/// Prints the speed: `cargo test --release -p stream --lib generate -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let clock = stdx::Clock::system();
    let mut alerts = Alerts::new(&Spec::default(), 1);
    let mut out = Vec::with_capacity(9 << 20);
    let mut bytes = 0;
    for row in 0..50_000 {
        if out.len() > 8 << 20 {
            bytes += out.len();
            out.clear();
        }
        alerts.write(row, &mut out);
    }
    let seconds = clock.elapsed().as_secs_f64();
    println!("{:.0} alerts/s, {bytes} bytes", 50_000.0 / seconds);
}
