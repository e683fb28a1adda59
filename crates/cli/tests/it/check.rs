//! `check`, and what all verbs do with documents that are wrong.

use std::path::Path;

use crate::support::{IDS, Place};

#[test]
fn problems_are_told_as_in_the_cases() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/check");
    for case in std::fs::read_dir(&cases).unwrap() {
        let case = case.unwrap().path();
        let place = Place::new("");
        place.write("document.yaml", &std::fs::read_to_string(case.join("document.yaml")).unwrap());
        let ran = place.run(&["check", "document.yaml"]).ends(2);
        assert_eq!(ran.out, "", "{}", case.display());
        let golden = case.join("stderr.txt");
        if testkit::is_update() {
            std::fs::write(&golden, &ran.err).unwrap();
        }
        assert_eq!(
            ran.err,
            std::fs::read_to_string(&golden).unwrap_or_default(),
            "{}; UPDATE=1 rewrites",
            golden.display()
        );
    }
}

#[test]
fn the_five_planted_errors_are_five_problems() {
    let place = Place::new("");
    place.write("five.yaml", include_str!("../cases/check/five/document.yaml"));
    let ran = place.run(&["check", "five.yaml", "--output", "json"]).ends(2);
    let problems = ran.json();
    let lines: Vec<u64> =
        problems.as_array().unwrap().iter().map(|problem| problem["place"]["line"].as_u64().unwrap()).collect();
    assert_eq!((lines.len(), ran.err.as_str()), (5, ""), "{problems:#}");
    assert!(lines.iter().all(|line| [4, 8, 16, 17, 18].contains(line)), "{problems:#}");
}

#[test]
fn a_good_document_is_ok_from_a_file_and_from_standard_input() {
    let place = Place::new(IDS);
    assert_eq!(place.run(&["check", "a.yaml"]).ends(0).out, "a.yaml: ok (Stream ids)\n");
    assert_eq!(place.run(&["check", "a.yaml", "--output", "json"]).ends(0).json(), serde_json::json!([]));
    let file = std::fs::File::open(place.path().join("a.yaml")).unwrap();
    let output = place.command(&["check", "-"]).stdin(file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-: ok (Stream ids)\n");
}

#[test]
fn what_cannot_be_read_or_run_yet_is_a_problem() {
    let place = Place::new(IDS);
    assert!(place.run(&["check", "gone.yaml"]).ends(2).err.contains("can't read `gone.yaml`"));
    place.write("q.yaml", "apiVersion: headwater.dev/v1alpha1\nkind: Gateway\nmetadata: {name: q}\nspec: {}\n");
    assert!(place.run(&["check", "q.yaml"]).ends(2).err.contains("kind `Gateway` is not run yet"));
    assert!(place.run(&["check", "-", "-"]).ends(2).err.contains("`-` given twice"));
    place.write(
        "stdin.yaml",
        &IDS.replace("generate: {total: \"${total}\", seed: 1, columns: {id: {sequence: {}}}}", "stdin: {}"),
    );
    let file = std::fs::File::open(place.path().join("stdin.yaml")).unwrap();
    let output = place.command(&["check", "-"]).stdin(file).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && err.contains("the document itself was read"), "{err}");
}

#[test]
fn a_set_for_an_unknown_variable_is_a_problem() {
    let place = Place::new(IDS);
    let ran = place.run(&["check", "a.yaml", "--set", "totl=3"]).ends(2);
    assert!(
        ran.err.contains("no document has a variable `totl`") && ran.err.contains("did you mean `total`"),
        "{ran:?}"
    );
    assert!(place.run(&["check", "a.yaml", "--set", "total"]).ends(2).err.contains("no `=` after a name"));
    place.write("total.txt", "4");
    place.run(&["check", "a.yaml", "--set-file", "total=gone.txt"]).ends(2);
    place.run(&["check", "a.yaml", "--set", "total=4"]).ends(0);
}

#[test]
fn a_secrets_file_that_is_wrong_is_a_problem_that_shows_none_of_it() {
    let place = Place::new(IDS);
    place.write("secrets.yaml", "broker: canary-3141\n");
    let ran = place.run(&["check", "a.yaml", "--secrets", "secrets.yaml"]).ends(2);
    assert!(ran.err.contains("secrets.yaml") && !ran.err.contains("canary-3141"), "{ran:?}");
    place.write("secrets.yaml", "broker: {password: canary-3141}\n");
    place.run(&["check", "a.yaml", "--secrets", "secrets.yaml"]).ends(0);
}

#[test]
fn colours_are_used_when_asked_for() {
    let place = Place::new("kind: Nothing\n");
    assert!(!place.run(&["check", "a.yaml"]).ends(2).err.contains('\u{1b}'));
    assert!(place.run(&["check", "a.yaml", "--color", "always"]).ends(2).err.contains('\u{1b}'));
}
