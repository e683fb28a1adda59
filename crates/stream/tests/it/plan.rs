//! The cases of `tests/cases/plan`: a document and facts, and the plan or the problems that come of them.
//!
//! `UPDATE=1 cargo test -p stream --test it plan` writes the expected files anew.

use std::path::{Path, PathBuf};

use document::{Document, Input, Problem, Settings};
use stream::{Facts, Stream};

use crate::support::Place;

/// The plan, or the problems, as the terminal shows them.
fn outcome(folder: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(folder.join("spec.yaml")).unwrap();
    let read = document::read(&[Input { name: "spec.yaml".into(), text }], &Settings::default());
    let render = |document: &Document, problems: Vec<Problem>| {
        let located: Vec<Problem> = problems.into_iter().map(|problem| document.locate(problem)).collect();
        document::render(&located, false)
    };
    assert!(read.problems.is_empty(), "{}", document::render(&read.problems, false));
    let document = &read.documents[0];
    let spec = document.spec().map_err(|problems| render(document, problems))?;
    let (name, namespace) = (document.metadata.name.to_string(), document.metadata.namespace.to_string());
    let stream = Stream { name, namespace, spec };
    let facts: Facts = serde_json::from_slice(&std::fs::read(folder.join("facts.json")).unwrap()).unwrap();
    let words = stream::check(&stream);
    if !words.is_empty() {
        return Err(render(document, words));
    }
    let plan = stream::plan(&stream, &facts).map_err(|problems| render(document, problems))?;
    serde_json::to_string(&plan).unwrap();
    Ok(format!("{plan}\n{}", plan.mermaid()))
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_gives_its_plan_or_its_problems() {
    let update = testkit::is_update();
    let mut wrong = Vec::new();
    for case in cases() {
        let (found, file, other) = match outcome(&case) {
            Ok(plan) => (plan, "plan.txt", "problems.txt"),
            Err(problems) => (problems, "problems.txt", "plan.txt"),
        };
        if update {
            std::fs::write(case.join(file), &found).unwrap();
            let _ = std::fs::remove_file(case.join(other));
        }
        let expected = std::fs::read_to_string(case.join(file)).unwrap_or_default();
        if expected != found || case.join(other).exists() {
            wrong.push(format!("{}/{file}: expected\n{expected}\nfound\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n`UPDATE=1` writes what was found", wrong.join("\n\n"));
}

#[test]
fn facts_replay_the_same_plan() {
    let place = Place::new();
    place.write_rows("in/a.jsonl", 0..10);
    let spec = "sources: {rows: {files: {path: in/*.jsonl}}}\nsinks: {out: {from: rows, files: {url: out}}}";
    let stream = crate::support::stream(spec);
    place.run(spec).unwrap();
    let facts = stream::facts(&stream, &[], &place.world()).unwrap();
    assert_eq!(facts.sources["rows"].files, Some(1));
    assert!(facts.ledger.stream.is_some() && facts.ledger.records.contains_key("rows-0"));
    let text = serde_json::to_string(&facts).unwrap();
    let replayed: Facts = serde_json::from_str(&text).unwrap();
    assert_eq!(replayed, facts);
    let plans = [facts, replayed].map(|facts| stream::plan(&stream, &facts).unwrap().to_string());
    assert_eq!(plans[0], plans[1]);
}

#[test]
fn every_problem_of_the_world_is_told_at_once() {
    let place = Place::new();
    let spec = "
sources:
  none: {files: {path: nowhere/*.jsonl}}
  untold: {http: {url: 'http://localhost/'}, format: json}
  broken: {files: {path: in/*.avro}}
sinks: {out: {from: [none, untold, broken], blackhole: {}}}
";
    place.write("in/a.avro", "no container");
    let problems = place.try_plan(spec, &[]).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths.len(), 3, "{problems:?}");
    for (path, source) in paths.iter().zip(["none", "untold", "broken"]) {
        assert!(path.starts_with(&format!("spec.sources.{source}")), "{path}");
    }
}
