//! The settings of other systems become documents.

use std::path::{Path, PathBuf};

use crate::support::{Place, Ran};

/// What the secrets of the cases begin with, and the places where Python holds values that nobody may see.
const CANARY: &str = "canary-";

fn cases() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&cases).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    cases
}

/// The files of a case in a folder of their own, and the arguments that import them. A script that `config.yaml` names
/// is found by itself.
fn place(case: &Path) -> (Place, Vec<String>) {
    let place = Place::new("");
    let mut arguments = vec!["import".to_owned(), "edna".to_owned()];
    let mut files: Vec<PathBuf> = std::fs::read_dir(case).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let has_config = files.iter().any(|file| file.ends_with("config.yaml"));
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "document.yaml" | "report.txt") {
            continue;
        }
        place.write(&name, &std::fs::read_to_string(&file).unwrap());
        if !(has_config && file.extension().is_some_and(|extension| extension == "py")) {
            arguments.push(name);
        }
    }
    (place, arguments)
}

fn run(place: &Place, arguments: &[String], more: &[&str]) -> Ran {
    place.run(&arguments.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
}

fn same(golden: &Path, text: &str) {
    if testkit::is_update() {
        std::fs::write(golden, text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{}; UPDATE=1 rewrites", golden.display());
}

#[test]
fn jobs_become_documents_as_in_the_cases() {
    for case in cases() {
        let (place, arguments) = place(&case);
        let ran = run(&place, &arguments, &[]).ends(0);
        same(&case.join("document.yaml"), &ran.out);
        same(&case.join("report.txt"), &ran.err);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let mut with_secrets = 0;
    for case in cases() {
        let (place, arguments) = place(&case);
        let files =
            std::fs::read_dir(&case).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        with_secrets += usize::from(files.collect::<String>().contains(CANARY));
        for more in [&[][..], &["--output", "json"], &["--out", "out.yaml"], &["--log-level", "trace"]] {
            let ran = run(&place, &arguments, more).ends(0);
            assert!(!ran.out.contains(CANARY) && !ran.err.contains(CANARY), "{}: {ran:?}", case.display());
        }
        let written = std::fs::read_to_string(place.path().join("out.yaml")).unwrap();
        assert!(!written.contains(CANARY), "{written}");
    }
    assert!(with_secrets >= 5, "the cases lost their canaries");
}

#[test]
fn documents_that_are_written_are_right() {
    let mut with_kafka = 0;
    for case in cases() {
        let (place, arguments) = place(&case);
        run(&place, &arguments, &["--out", "out.yaml"]).ends(0);
        let written = std::fs::read_to_string(place.path().join("out.yaml")).unwrap();
        // What no file says is a variable without a value.
        let topics = ["importTopic=alerts", "exportTopic=counts"];
        let missing = topics.iter().filter(|set| written.contains(&format!("${{{}}}", set.split('=').next().unwrap())));
        let sets: Vec<&str> = missing.flat_map(|set| ["--set", set]).collect();
        let ran = place.run(&[&["check", "out.yaml"], &sets[..]].concat()).ends(0);
        assert!(ran.out.contains("ok (Stream"), "{ran:?}");
        with_kafka += usize::from(written.contains("kafka:\n"));
    }
    assert!(with_kafka >= 3, "only {with_kafka} documents have topics");
}

#[test]
fn what_was_simulated_runs_from_standard_input() {
    let case = cases().into_iter().find(|case| case.ends_with("sql-upsert")).unwrap();
    let (place, arguments) = place(&case);
    run(&place, &arguments, &["--out", "out.yaml"]).ends(0);
    place.write("stars.jsonl", "{\"star_id\": 1, \"name\": \"Vega\", \"other\": true}\n");
    let file = std::fs::File::open(place.path().join("stars.jsonl")).unwrap();
    let output = place.command(&["run", "out.yaml", "--quiet"]).stdin(file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"star_id\":1,\"name\":\"Vega\"}\n", "{output:?}");
}

#[test]
fn a_file_is_overwritten_only_when_told_so() {
    let place = Place::new("");
    place.write("ednaconf.yaml", "variables: {bearer_token: canary-1}\n");
    place.write("out.yaml", "mine\n");
    let out = ["import", "edna", "ednaconf.yaml", "--out", "out.yaml"];
    assert!(place.run(&out).ends(2).err.contains("`--force` overwrites it"));
    assert_eq!(std::fs::read_to_string(place.path().join("out.yaml")).unwrap(), "mine\n");
    let ran = place.run(&[&out[..], &["--force"]].concat()).ends(0);
    assert!(ran.out.is_empty() && ran.err.starts_with("wrote out.yaml\n"), "{ran:?}");
    assert!(std::fs::read_to_string(place.path().join("out.yaml")).unwrap().contains("kind: Stream"));
    place.run(&["import", "edna", "ednaconf.yaml", "--out", "gone/out.yaml"]).ends(1);
}

#[test]
fn programs_are_told_the_same() {
    let place = Place::new("");
    place.write("ednaconf.yaml", "variables:\n  bearer_token: canary-1\n  colour: red\n");
    let ran = place.run(&["import", "edna", "ednaconf.yaml", "--output", "json"]).ends(0);
    let told = ran.json();
    assert_eq!((ran.err.as_str(), &told["secrets"][0]), ("", &"HEADWATER_SECRET_TWITTER_BEARER_TOKEN".into()));
    assert!(told["document"].as_str().unwrap().contains("kind: Stream"), "{told:#}");
    let left = told["notCarriedOver"].as_array().unwrap();
    let colour = left.iter().find(|left| left["what"] == "the variable `colour`").unwrap();
    assert_eq!(
        (&colour["place"]["file"], &colour["place"]["line"]),
        (&"ednaconf.yaml".into(), &3.into()),
        "{colour:#}"
    );
    assert!(left.iter().all(|left| left["why"].is_string() && left["instead"].is_string()), "{told:#}");
}

/// The texts of files that are wrong, and what is said of them.
const WRONG: [(&str, &str, &str); 11] = [
    ("variables:\n  bearer_token: canary-1\n\tx: 1\n", "", "no valid YAML"),
    ("bearer_token: canary-1\n", "", "has no `variables`"),
    ("variables:\n  bearer_token:canary-1\n", "", "`variables` is no mapping"),
    ("variables: {bearer_token: canary-1, tweet_fields: {a: canary-2}}\n", "", "--> ednaconf.yaml:1:37"),
    ("variables: {import_key: [canary-1]}\n", "", "--> ednaconf.yaml:1:13"),
    ("variables: {colour: red}\n", "", "nothing tells what the job reads"),
    ("", "", "nothing"),
    (
        "variables: {bearer_token: canary-12345, import_key: t, export_key: canary-12345}\n",
        "",
        "stands in another place",
    ),
    ("variables: {bearer_token: t, url: \"https://me:canary-1@example.org/s\"}\n", "", "without user name or password"),
    ("variables: {bearer_token: t}\n", "template: {jobreplicas: many}\n", "--> config.yaml:1:25"),
    ("variables: {bearer_token: t}\n", "template: {}\nmore: 1\n", "unknown field `more`"),
];

#[test]
fn what_is_wrong_has_its_place_and_shows_no_line() {
    for (conf, config, said) in WRONG {
        let place = Place::new("");
        place.write("ednaconf.yaml", conf);
        let mut arguments = vec!["import", "edna", "ednaconf.yaml"];
        if !config.is_empty() {
            place.write("config.yaml", config);
            arguments.push("config.yaml");
        }
        let ran = place.run(&arguments).ends(2);
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{conf}: {ran:?}");
        assert!(!ran.err.contains(CANARY), "{ran:?}");
    }
    let place = Place::new("");
    place.write("config.yaml", "template: {jobname: a}\n");
    assert!(place.run(&["import", "edna", "config.yaml"]).ends(2).err.contains("no `ednaconf.yaml`"));
    assert!(place.run(&["import", "edna", "gone.yaml"]).ends(2).err.contains("can't read `gone.yaml`"));
    assert!(
        place.run(&["import", "edna", "config.yaml", "config.yaml"]).ends(2).err.contains("second file of its sort")
    );
}
