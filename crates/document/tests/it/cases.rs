//! One folder a case: `spec.yaml` is read and checked as a pipeline, `problems.txt` is what the user sees.
//! `UPDATE=1` writes the latter anew.

use std::fs;
use std::path::Path;

use document::{Input, Problem, Settings};

use crate::pipeline::Pipeline;

pub(crate) fn problems(text: &str) -> Vec<Problem> {
    let input = Input { name: "spec.yaml".to_owned(), text: text.to_owned() };
    let mut read = document::read(&[input], &Settings::default());
    for document in &read.documents {
        read.problems.extend(document.spec::<Pipeline>().err().into_iter().flatten());
    }
    read.problems
}

#[test]
fn problems_read_as_told() {
    let update = option_env_update();
    let mut cases: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/problems"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut different = Vec::new();
    for case in cases {
        let text = fs::read_to_string(case.join("spec.yaml")).unwrap();
        let shown = document::render(&problems(&text), false);
        let golden = case.join("problems.txt");
        if update {
            fs::write(&golden, &shown).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != shown {
            different.push(format!("{}:\n{shown}", case.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "a test has no door that reads the environment for it")]
fn option_env_update() -> bool {
    std::env::var("UPDATE").is_ok()
}

#[test]
fn five_planted_errors_are_five_problems() {
    let text = include_str!("../cases/problems/five/spec.yaml");
    let mut places: Vec<_> = problems(text)
        .into_iter()
        .map(|problem| {
            let place = problem.place.unwrap();
            (place.line, place.column, place.end_column, problem.path)
        })
        .collect();
    places.sort();
    let expected = [
        (7, 38, 45, "spec.sources.alerts.kafka.topicss"),
        (8, 32, 42, "spec.sources.alerts.format.avro.framing"),
        (10, 11, 15, "spec.batch.rows"),
        (11, 12, 15, "spec.batch.every"),
        (13, 7, 22, "spec.steps[0].from"),
    ];
    assert_eq!(places, expected.map(|(line, column, end, path)| (line, column, end, path.to_owned())));
}
