//! `headwater verify`: a stream is killed in a world of its own, and its sinks are counted.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Place;

/// Lines of JSON to two sinks, one of them partitioned, with a filter between.
const TWO_SINKS: &str = r#"
apiVersion: headwater.dev/v1alpha1
kind: Stream
metadata: {name: two}
spec:
  sources:
    rows: {files: {path: "in/*.jsonl"}}
  steps:
    kept: {from: rows, sql: "SELECT id, part, text FROM rows WHERE part < 2"}
  sinks:
    all: {from: rows, files: {url: out/all, partitionBy: [part], roll: {rows: 100}}, format: json}
    columns: {from: kept, files: {url: out/columns, roll: {every: 60s}}, format: parquet}
    seen: {from: kept, stdout: {}}
"#;

fn place() -> Place {
    let place = Place::new(TWO_SINKS);
    place.write("in/1.jsonl", "{\"id\":1,\"part\":3,\"text\":\"mine\"}\n{\"id\":2,\"part\":0,\"text\":\"mine\"}\n");
    place
}

/// What stands in a place's folder, and in the temporary folder that its processes are given.
fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn verify(place: &Place, arguments: &[&str]) -> crate::support::Ran {
    let mut command = place.command(&[&["verify", "a.yaml", "--every", "10ms..150ms"], arguments].concat());
    std::fs::create_dir_all(place.path().join("tmp")).unwrap();
    command.env("TMPDIR", place.path().join("tmp"));
    place.ran(&mut command)
}

#[test]
fn a_stream_of_files_survives_ten_kills_and_nothing_of_the_users_is_touched() {
    let place = place();
    let ran = verify(&place, &["--kills", "10", "--seed", "5", "--output", "json"]).ends(0);
    let told = ran.json();
    assert_eq!((&told["kills"], &told["seed"], &told["isKept"]), (&10.into(), &5.into(), &true.into()), "{told:#}");
    let sinks = told["sinks"].as_array().unwrap();
    let verdicts: Vec<&str> = sinks.iter().map(|sink| sink["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["kept", "kept", "notChecked"]);
    for sink in &sinks[..2] {
        assert_eq!(
            (&sink["lost"], &sink["duplicated"], &sink["promise"]),
            (&0.into(), &0.into(), &"exactlyOnce".into())
        );
        assert_eq!(sink["expected"], sink["found"]);
    }
    assert_eq!(sinks[0]["expected"], told["rows"]);
    let kept = sinks[1]["expected"].as_u64().unwrap();
    assert!(kept > 0 && kept < told["rows"].as_u64().unwrap(), "the filter keeps {kept}");
    assert_eq!(names(&place), ["a.yaml", "in", "tmp"], "neither outputs nor a ledger");
    assert_eq!(std::fs::read_dir(place.path().join("tmp")).unwrap().count(), 0, "the temporary world is gone");
}

#[test]
fn what_is_kept_is_told_and_secrets_are_not_in_it() {
    let pod = "  pod: {env: {TOKEN: {secret: {name: broker, key: token}}}}\n";
    let place = Place::new(&format!("{TWO_SINKS}{pod}"));
    place.write("in/1.jsonl", "{\"id\":1,\"part\":3,\"text\":\"mine\"}\n");
    place.write("secrets.yaml", "broker: {token: canary-7431}\n");
    let arguments = ["--kills", "1", "--rows", "500", "--keep", "--secrets", "secrets.yaml", "--log-level", "debug"];
    let ran = verify(&place, &arguments).ends(0);
    assert!(ran.out.contains("exactly once") && ran.out.contains("kept") && ran.err.contains("--seed "), "{ran:?}");
    assert!(!ran.out.contains("canary") && !ran.err.contains("canary"), "{ran:?}");
    let (_, left) = ran.err.split_once("left in place:\n  ").unwrap();
    let left = std::path::PathBuf::from(left.lines().next().unwrap());
    assert_eq!(std::fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o700);
    let document = std::fs::read_to_string(left.join("killed/stream.json")).unwrap();
    assert!(document.contains("\"verify-"), "{document}");
    let has_canary = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(6).any(|window| window == b"canary")
    };
    let files = crate::outputs::all(&left);
    assert!(files.len() > 10 && !files.iter().any(has_canary), "{files:?}");
}

#[test]
fn what_differs_by_itself_is_left_out() {
    let place = Place::new(&TWO_SINKS.replace("SELECT id, part, text", "SELECT id, part, now() AS at"));
    place.write("in/1.jsonl", "{\"id\":1,\"part\":3,\"text\":\"mine\"}\n");
    let told = verify(&place, &["--kills", "2", "--output", "json"]).ends(0).json();
    assert_eq!(told["sinks"][1]["leftOut"], serde_json::json!(["at"]), "{told:#}");
}

#[test]
fn a_filter_that_nothing_passes_proves_nothing_unless_fixtures_tell_what_does() {
    let document = TWO_SINKS.replace("part < 2", "length(text) > 40");
    let place = Place::new(&document);
    place.write("in/1.jsonl", "{\"id\":1,\"part\":3,\"text\":\"mine\"}\n");
    let ran = verify(&place, &["--kills", "1"]).ends(1);
    assert!(ran.out.contains("UNPROVEN") && ran.out.contains("spec.tests"), "{ran:?}");
    let tests = "  tests: [{name: long ones pass, given: {rows: [{text: a text that is longer than those that are made up}]}, expect: {}}]\n";
    place.write("a.yaml", &format!("{document}{tests}"));
    verify(&place, &["--kills", "1"]).ends(0);
}

#[test]
fn what_a_filter_compares_with_is_among_the_rows() {
    let place = Place::new(&TWO_SINKS.replace("part < 2", "text = 'rare'"));
    place.write("in/1.jsonl", "{\"id\":1,\"part\":3,\"text\":\"mine\"}\n");
    verify(&place, &["--kills", "1"]).ends(0);
}

#[test]
fn a_source_whose_rows_are_gone_once_read_is_a_problem() {
    let place = Place::new(&TWO_SINKS.replace(
        "files: {path: \"in/*.jsonl\"}",
        "stdin: {}, format: {json: {schema: {columns: {id: int64, part: int64, text: string}}}}",
    ));
    let ran = verify(&place, &["--kills", "1"]).ends(2);
    assert!(ran.err.contains("spec.sources.rows.stdin") && ran.err.contains("can't be read again"), "{ran:?}");
}

#[test]
fn an_interrupted_verification_cleans_up() {
    let place = place();
    std::fs::create_dir(place.path().join("tmp")).unwrap();
    let mut command = place.command(&["verify", "a.yaml", "--kills", "1000", "--every", "10ms..50ms"]);
    let mut started = place.started(command.env("TMPDIR", place.path().join("tmp")));
    started.says("kill 2 of 1000");
    started.signal("INT");
    let ran = started.end();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert_eq!(std::fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
}
