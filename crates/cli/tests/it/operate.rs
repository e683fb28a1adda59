//! `positions` and `quarantine`: looking at what a stream keeps, and changing it.

use crate::support::{FILES, IDS, Place};

#[test]
fn positions_are_shown_set_and_reset() {
    let place = Place::new(IDS);
    assert!(place.run(&["positions", "show", "a.yaml"]).ends(0).err.contains("ids has not run"));
    place.run(&["run", "a.yaml", "--quiet"]).ends(0);
    let shown = place.run(&["positions", "show", "a.yaml"]).ends(0).out;
    assert!(shown.starts_with("TASK ") && shown.contains("ids-0  ids "), "{shown}");
    let shown = place.run(&["positions", "show", "a.yaml", "--output", "json"]).ends(0).json();
    let mut position = shown[0]["positions"]["ids"].clone();
    assert_eq!(position["row"], 10, "{shown}");

    position["row"] = 8.into();
    let position = position.to_string();
    let set = ["positions", "set", "a.yaml", "--task", "ids-0", "--source", "ids", &position];
    assert!(place.run(&set).ends(2).err.contains("`--yes`"), "nobody is there to be asked");
    place.run(&[&set[..], &["--yes"]].concat()).ends(0);
    assert_eq!(place.run(&["run", "a.yaml"]).ends(0).out, "{\"id\":8,\"twice\":16}\n");

    place.run(&["positions", "reset", "a.yaml", "--source", "ids", "--yes"]).ends(0);
    assert_eq!(place.run(&["run", "a.yaml"]).ends(0).out.lines().count(), 5);
    let unknown = place.run(&["positions", "reset", "a.yaml", "--source", "idz", "--yes"]).ends(1);
    assert!(unknown.err.contains("`idz`") && unknown.err.contains("sources: ids"), "{}", unknown.err);
    place.run(&["positions", "set", "a.yaml", "--task", "x", "--source", "ids", "{", "--yes"]).ends(2);
}

#[test]
fn rows_put_aside_are_listed_shown_and_replayed_once() {
    let place = Place::new(FILES);
    place.write("in/1.jsonl", "{\"id\": 1}\n{\"id\": \"two\"}\n{\"id\": 3}\n");
    assert!(place.run(&["quarantine", "list", "a.yaml"]).ends(0).err.contains("nothing was put aside"));
    let ran = place.run(&["run", "a.yaml"]).ends(0);
    assert!(
        ran.err.contains("1 row put aside in") && ran.err.contains("headwater quarantine list a.yaml"),
        "{}",
        ran.err
    );

    let listed = place.run(&["quarantine", "list", "a.yaml", "--output", "json"]).ends(0).json();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["isReplayed"]), (Some(1), &false.into()), "{listed}");
    assert!(place.run(&["quarantine", "list", "a.yaml"]).ends(0).out.contains(&id));
    assert_eq!(place.run(&["quarantine", "list", "a.yaml", "--code", "tooLong"]).ends(0).out, "");
    let shown = place.run(&["quarantine", "show", "a.yaml", &id]).ends(0).out;
    assert!(shown.contains("refused by  lines") && shown.contains("{\"id\": \"two\"}"), "{shown}");
    assert_eq!(place.run(&["quarantine", "show", "a.yaml", &id, "--raw"]).ends(0).out, "{\"id\": \"two\"}");
    place.run(&["quarantine", "show", "a.yaml", "gone.jsonl:1"]).ends(2);

    // The document is mended: ids are text.
    place.write("a.yaml", &FILES.replace("id: int64", "id: string"));
    let replayed = place.run(&["quarantine", "replay", "a.yaml"]).ends(0);
    assert!(replayed.err.contains("lines: 1 replayed, 0 failed again"), "{}", replayed.err);
    assert!(place.lines("out").contains(&r#"{"id":"two"}"#.to_owned()), "{:?}", place.lines("out"));
    let listed = place.run(&["quarantine", "list", "a.yaml", "--output", "json"]).ends(0).json();
    assert_eq!(listed[0]["isReplayed"], true, "{listed}");
    place.run(&["quarantine", "replay", "a.yaml"]).ends(0);
    assert_eq!(place.lines("out").len(), 3, "replayed once");
    let again = place.run(&["run", "a.yaml"]).ends(0);
    assert!(again.err.contains("nothing new since"), "a replay leaves the stream where it was: {}", again.err);
}
