//! Help, usage, generated texts, plans and fixtures.

use crate::support::{FILES, IDS, Place};

#[test]
fn every_verb_has_help_with_examples() {
    let place = Place::new(IDS);
    let verbs: [&[&str]; 14] = [
        &["check"],
        &["plan"],
        &["run"],
        &["test"],
        &["import", "edna"],
        &["schema"],
        &["completions"],
        &["man"],
        &["positions", "show"],
        &["positions", "set"],
        &["positions", "reset"],
        &["quarantine", "list"],
        &["quarantine", "show"],
        &["quarantine", "replay"],
    ];
    for verb in verbs {
        let ran = place.run(&[verb, &["--help"]].concat()).ends(0);
        assert!(ran.out.contains("Examples:") && ran.out.contains("Usage: headwater"), "{verb:?}: {}", ran.out);
    }
    let all = place.run(&["--help"]).ends(0).out;
    assert!(all.contains("Exit codes:") && all.contains("quarantine") && !all.contains("reference"), "{all}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new(IDS);
    for arguments in
        [&["rnu"][..], &[], &["run"], &["run", "a.yaml", "--nothing"], &["plan", "a.yaml", "--output", "xml"]]
    {
        assert!(!place.run(arguments).ends(2).err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_man_page_and_schema_are_printed() {
    let place = Place::new(IDS);
    assert!(place.run(&["completions", "bash"]).ends(0).out.contains("_headwater"));
    assert!(place.run(&["man"]).ends(0).out.contains(".TH headwater"));
    place.run(&["man", "--out", "man1"]).ends(0);
    assert!(place.path().join("man1/headwater-run.1").is_file());
    for arguments in [&["schema"][..], &["schema", "Stream"]] {
        assert_eq!(place.run(arguments).ends(0).json()["properties"]["kind"]["const"], "Stream");
    }
}

#[test]
fn the_reference_is_fresh_until_somebody_changes_it() {
    let place = Place::new(IDS);
    place.run(&["reference", "--out", "."]).ends(0);
    assert_eq!(place.run(&["reference", "--check"]).ends(0).out, "");
    place.write("docs/reference/cli.md", "changed");
    place.write("docs/reference/step/gone.md", "left over");
    std::fs::remove_file(place.path().join("schema/stream.json")).unwrap();
    let differences = place.run(&["reference", "--check"]).ends(1).out;
    let wanted = "stale: docs/reference/cli.md\nmissing: schema/stream.json\nextra: docs/reference/step/gone.md\n";
    assert_eq!(differences, wanted);
    place.run(&["reference"]).ends(0);
    assert_eq!(place.run(&["reference", "--check"]).ends(0).out, "");
}

#[test]
fn a_plan_is_the_same_from_replayed_facts() {
    let place = Place::new(IDS);
    let seen = place.run(&["plan", "a.yaml"]).ends(0).out;
    for words in ["stream default/ids", "step even from ids", "twice", "promise ids -> out", "tasks      1 in 1"] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    let facts = place.run(&["plan", "a.yaml", "--output", "facts"]).ends(0);
    place.write("facts.json", &facts.out);
    assert_eq!(place.run(&["plan", "a.yaml", "--facts", "facts.json"]).ends(0).out, seen);
    place.write("one.json", &facts.json()["ids"].to_string());
    assert_eq!(place.run(&["plan", "a.yaml", "--facts", "one.json"]).ends(0).out, seen);
    assert_eq!(place.run(&["plan", "a.yaml", "--output", "json"]).ends(0).json()[0]["sinks"][0]["name"], "out");
    assert!(place.run(&["plan", "a.yaml", "--output", "mermaid"]).ends(0).out.starts_with("flowchart LR\n"));
    assert!(!place.path().join(".headwater").exists(), "a plan changes nothing");
}

#[test]
fn problems_of_a_plan_have_their_places() {
    let place = Place::new(&IDS.replace("id * 2 AS twice", "nothing * 2 AS twice"));
    let ran = place.run(&["plan", "a.yaml", "--output", "json"]).ends(2);
    assert_eq!(ran.json()[0]["place"]["line"], 8, "{ran:?}");
    place.write("facts.json", "{}");
    assert!(place.run(&["plan", "a.yaml", "--facts", "facts.json"]).ends(2).err.contains("no facts of stream ids"));
}

#[test]
fn fixtures_pass_and_fail() {
    let place = Place::new(IDS);
    assert_eq!(place.run(&["test", "a.yaml"]).ends(0).out, "ok odd ones are dropped\n");
    place.write("a.yaml", &IDS.replace("twice: 4", "twice: 5"));
    let ran = place.run(&["test", "a.yaml"]).ends(1);
    assert!(ran.out.starts_with("FAILED odd ones are dropped\n    ") && ran.err.contains("1 failed"), "{ran:?}");
    let found = place.run(&["test", "a.yaml", "--output", "json"]).ends(1).json();
    assert_eq!(found[0]["differences"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn what_the_world_refuses_is_no_fault_of_the_document() {
    let place = Place::new(FILES);
    place.write("in/1.jsonl", "{\"id\": 1}\n");
    // Not even root reads a folder as a file, or follows a link to itself.
    let ledger = place.path().join("out/_headwater/default/lines");
    std::fs::create_dir_all(ledger.join("stream.json")).unwrap();
    for verb in ["plan", "run"] {
        let ran = place.run(&[verb, "a.yaml"]).ends(1);
        assert!(ran.err.contains("read ") && ran.err.contains("stream.json"), "{ran:?}");
        assert!(!ran.err.contains("problem"), "{ran:?}");
    }
    place.run(&["check", "a.yaml"]).ends(0);

    std::os::unix::fs::symlink("2.jsonl", place.path().join("in/2.jsonl")).unwrap();
    let both = place.run(&["plan", "a.yaml"]).ends(1);
    assert!(both.err.contains("stream.json") && both.err.contains("2.jsonl"), "both are told: {both:?}");

    // What is wrong with a document is told beside it, and decides.
    let schema = ", format: {json: {schema: {columns: {id: int64}}}}";
    place.write("b.yaml", &FILES.replace("in/*", "none/*").replace("name: lines", "name: none").replace(schema, ""));
    let wrong = place.run(&["plan", "a.yaml", "b.yaml"]).ends(2);
    assert!(wrong.err.contains("stream.json") && wrong.err.contains("no file with rows"), "{wrong:?}");
}
