//! Bytes that lie. Most are named after what other decoders do with them.

use super::*;
use proptest::prelude::*;

#[test]
fn a_container_cut_off_anywhere_is_bad() {
    let good = flat_file("middle", 2);
    let header = head(FLAT, "null").len();
    for length in 0..good.len() {
        if length == header {
            continue; // a container without rows
        }
        assert_eq!(fault_of(&good[..length]).reason.code, ReasonCode::Malformed, "{length} bytes");
    }
}

#[test]
fn a_block_count_of_zero_or_less_is_bad_and_ends() {
    for count in [0, -1, i64::MIN] {
        let message = [head(FLAT, "null"), block(count, &flat("x", 1))].concat();
        assert!(fault_of(&message).reason.message.contains("count"));
    }
}

#[test]
fn counts_sizes_and_lengths_that_cannot_be_are_bad() {
    let row = flat("x", 1);
    for count in [2, 1 << 40, i64::MAX] {
        fault_of(&[head(FLAT, "null"), block(count, &row)].concat());
    }
    for size in [-1, 0, 3, 1 << 20, 1 << 40, i64::MAX, i64::MIN] {
        fault_of(&[head(FLAT, "null"), long(1), long(size), row.clone(), SYNC.to_vec()].concat());
    }
    for length in [-1, 1 << 20, i64::MAX, i64::MIN] {
        fault_of(&[head(FLAT, "null"), block(1, &[long(length), row[1..].to_vec()].concat())].concat());
    }
    fault_of(&[head(FLAT, "null"), block(1, &[0xff; 40])].concat());
    for length in [-1, 1 << 30, i64::MAX] {
        let message = [&MAGIC[..], &long(1), &blob(b"avro.schema"), &long(length), b"{}"].concat();
        assert!(fault_of(&message).reason.message.contains("entry of"));
        assert!(cut(&Spec::default()).header(&message, false).is_err());
    }
}

#[test]
fn magic_sync_and_trailing_bytes_are_looked_at() {
    let good = flat_file("x", 1);
    for flipped in (0..4).chain(good.len() - 16..good.len()) {
        let mut message = good.clone();
        message[flipped] ^= 0x10;
        fault_of(&message);
    }
    for extra in [&b"\0"[..], b"more", &good] {
        fault_of(&[&good, extra].concat());
    }
    let reason = fault_of(&[head(FLAT, "null"), block(1, &[flat("x", 1), vec![9]].concat())].concat()).reason;
    assert!(reason.message.contains("1 bytes are left over"), "{}", reason.message);
}

#[test]
fn bad_text_is_the_fault_of_its_own_message() {
    let mut message = flat_file("name", 1);
    let at = head(FLAT, "null").len() + 3;
    message[at] = 0xff;
    let reason = fault_of(&message).reason;
    assert!(reason.message.contains("field `name`") && reason.message.contains("UTF-8"), "{}", reason.message);
}

#[test]
fn a_cut_off_bare_message_leaves_the_next_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("row.avsc"), FLAT).unwrap();
    let schema = Some(SchemaFile { file: "row.avsc".into() });
    for framing in [Framing::Bare, Framing::Auto] {
        let spec = Spec { framing, schema: schema.clone(), ..Spec::default() };
        let body = flat("middle", 2);
        for length in 0..body.len() {
            let messages = chunk(&[flat("a", 1), body[..length].to_vec(), flat("c", 3)]);
            let schema = infer(&spec, folder.path(), &messages).unwrap();
            let decoded = decode(&spec, &schema, &schema, folder.path()).unwrap().decode(&messages, 0);
            let decoded = decoded.unwrap();
            assert_eq!(names(&decoded.columns), ["a", "c"]);
            assert_eq!(decoded.bad[0].row, 1);
        }
    }
}

#[test]
fn a_schema_that_cannot_be_read_says_why() {
    let cases = [
        ("{", "not JSON"),
        (r#""string""#, "not a record"),
        (r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "r"}]}"#, "contains itself"),
        (r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "gone"}]}"#, "before it defines"),
        (r#"{"type": "record", "name": "r", "fields": [{"name": "a"}]}"#, "no `type`"),
        (r#"{"type": "record", "name": "r"}"#, "no `fields`"),
    ];
    for (schema, expected) in cases {
        let message = fault_of(&[head(schema, "null"), block(1, b"x")].concat()).reason.message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_schema_that_grows_by_its_names_is_bounded() {
    let mut fields = vec![r#"{"name": "f0", "type": {"type": "record", "name": "t0", "fields": []}}"#.to_owned()];
    for n in 1..40 {
        let b = n - 1;
        fields.push(format!(
            r#"{{"name": "f{n}", "type": {{"type": "record", "name": "t{n}", "fields": [
                {{"name": "a", "type": "t{b}"}}, {{"name": "b", "type": "t{b}"}}]}}}}"#
        ));
    }
    let schema = format!(r#"{{"type": "record", "name": "r", "fields": [{}]}}"#, fields.join(","));
    let message = fault_of(&[head(&schema, "null"), block(1, b"x")].concat()).reason.message;
    assert!(message.contains("more than"), "{message}");
}

#[test]
fn values_without_bytes_are_bounded() {
    let schema = r#"{"type": "record", "name": "r", "fields": [
        {"name": "n", "type": {"type": "array", "items": "null"}}]}"#;
    let file = |count| [head(schema, "null"), block(1, &[long(count), long(0)].concat())].concat();
    let decoded = decode_all(&chunk(&[file(3), file(1 << 40), file(i64::MIN)]));
    assert_eq!((decoded.columns.num_rows(), decoded.bad.len()), (1, 2));
    let empty = r#"{"type": "record", "name": "r", "fields": []}"#;
    let decoded = decode_all(&chunk(&[[head(empty, "null"), block(1 << 50, b"")].concat()]));
    assert_eq!(decoded.bad.len(), 1);
}

#[test]
fn a_block_that_unpacks_past_the_limit_is_too_long() {
    let zeros = vec![0; container::BLOCK_BYTES_MAX + 1];
    let packed = zstd::encode_all(&zeros[..], 1).unwrap();
    let bad = fault_of(&[head(FLAT, "zstandard"), block(1, &packed)].concat());
    assert_eq!(bad.reason.code, ReasonCode::TooLong);
    // A snappy block that claims gigabytes.
    let bad = fault_of(&[head(FLAT, "snappy"), block(1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0])].concat());
    assert_eq!(bad.reason.code, ReasonCode::TooLong);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_harm_the_neighbours(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        nested in any::<bool>(),
    ) {
        let good = if nested { types::every_type_file() } else { flat_file("neighbour", 9) };
        let mut broken = good.clone();
        for (index, byte) in &changes {
            let at = index.index(broken.len());
            broken[at] = *byte;
        }
        if let Some(cut) = cut {
            broken.truncate(cut.index(broken.len()));
        }
        let schema = schema_of(&chunk(&[&good]));
        let alone = open(&schema, &schema).decode(&chunk(&[&good]), 0).unwrap().columns;
        let messages = chunk(&[&good, &broken, &good]);
        let mut decoder = open(&schema, &schema);
        let decoded = decoder.decode(&messages, 0).unwrap();
        prop_assert_eq!(&decoded.columns.slice(0, 1), &alone);
        prop_assert!(decoded.bad.iter().all(|bad| bad.row == 1));
        if decoded.next == 3 {
            let rows = decoded.columns.num_rows();
            prop_assert_eq!(&decoded.columns.slice(rows - 1, 1), &alone);
            prop_assert_eq!(decoded.messages.before(rows - 1), 2);
        } else {
            prop_assert_eq!(decoded.next, 1);
            prop_assert!(decoded.wider.is_some());
        }
        let after = decoder.decode(&chunk(&[&good]), 0).unwrap();
        prop_assert_eq!(&after.columns, &alone);
    }

    #[test]
    fn noise_is_refused_by_the_cutter_and_the_decoder(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&MAGIC[..], &noise].concat();
        let mut cutter = cut(&Spec::default());
        let _ = cutter.header(&bytes, false);
        let mut ends = Vec::new();
        if let Ok(used) = cutter.cut(&noise, true, 10, &mut ends) {
            prop_assert!(used <= noise.len());
        }
        fault_of(&bytes);
    }
}
