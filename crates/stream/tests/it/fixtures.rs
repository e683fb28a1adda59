//! `spec.tests`: rows in, rows out, without a world.

use document::Problem;
use stream::fixture::{self, Outcome};

use crate::support::stream;

fn run(tests: &str) -> Result<Vec<Outcome>, Vec<Problem>> {
    let spec = "
sources: {alerts: {files: {path: nowhere/*.avro}}}
steps: {good: {from: alerts, sql: 'SELECT candid, candidate.rb AS rb FROM alerts WHERE candidate.nbad = 0 AND candidate.rb >= 0.55'}}
sinks:
  raw: {from: alerts, files: {url: out/raw, partitionBy: [{name: night, sql: candidate.night}]}}
  science: {from: good, files: {url: out/science}}
tests:
";
    fixture::run(&stream(&format!("{spec}{tests}")), &stdx::Clock::system())
}

const GIVEN: &str = "
    given:
      alerts:
        - {candid: 1, candidate: {nbad: 0, rb: 0.9}}
        - {candid: 2, candidate: {nbad: 1, rb: 0.9}}
        - {candid: 3, candidate: {nbad: 0, rb: 0.2}}
";

#[test]
fn a_fixture_that_holds_has_no_differences() {
    let outcomes = run(&format!(
        "  - name: cut{GIVEN}    expect: {{science: [{{candid: 1, rb: 0.9}}], raw: [{{candid: 1}}, {{}}, {{}}]}}\n"
    ))
    .unwrap();
    assert_eq!(outcomes, [Outcome { name: "cut".into(), differences: Vec::new() }]);
}

#[test]
fn a_fixture_that_does_not_hold_says_where() {
    let outcomes = run(&format!(
        "  - name: wrong value{GIVEN}    expect: {{science: [{{candid: 2}}]}}\n  \
           - name: too few{GIVEN}    expect: {{science: []}}\n  \
           - name: too many{GIVEN}    expect: {{science: [{{candid: 1}}, {{candid: 3}}]}}\n"
    ))
    .unwrap();
    let differences: Vec<&str> = outcomes.iter().flat_map(|outcome| &outcome.differences).map(String::as_str).collect();
    assert_eq!(
        differences,
        [
            r#"science[0]: expected {"candid":2}, found {"candid":1,"rb":0.9}"#,
            r#"science[0]: expected no more rows, found {"candid":1,"rb":0.9}"#,
            r#"science[1]: expected {"candid":3}, found no row"#,
        ]
    );
}

#[test]
fn a_row_that_is_put_aside_is_named_beside_what_is_missing() {
    let spec = "
sources: {rows: {files: {path: nowhere/*.jsonl}}}
steps: {cast: {from: rows, sql: 'SELECT CAST(text AS BIGINT) AS n FROM rows'}}
sinks: {out: {from: cast, stdout: {}}}
tests:
  - name: numbers
    given: {rows: [{text: '1'}, {text: one}]}
    expect: {out: [{n: 1}, {n: 1}]}
";
    let outcomes = fixture::run(&stream(spec), &stdx::Clock::system()).unwrap();
    let differences = &outcomes[0].differences;
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert_eq!(differences[0], r#"out[1]: expected {"n":1}, found no row"#);
    assert!(differences[1].starts_with("row 1 was put aside by `cast`: "), "{differences:?}");
}

#[test]
fn a_fixture_that_names_no_part_is_a_problem() {
    let problems = run("  - {name: x, given: {alert: [{candid: 1}]}, expect: {sciense: []}}\n").unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.tests[0].given.alert", "spec.tests[0].expect.sciense"]);
}
