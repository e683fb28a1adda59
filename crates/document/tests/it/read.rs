//! Good documents come out whole, and bad ones cost no more than their limits.

use std::fmt::Write;

use document::{Document, Input, Kind, Problem, Settings};

use crate::pipeline::{Connector, Pipeline, Topics};

const HEAD: &str = "apiVersion: headwater.dev/v1alpha1\nkind: Stream\nmetadata: {name: a}\n";

fn input(text: &str) -> Input {
    Input { name: "a.yaml".to_owned(), text: text.to_owned() }
}

fn one(text: &str, settings: &Settings) -> Document {
    let mut read = document::read(&[input(text)], settings);
    assert_eq!(read.problems, [], "{text}");
    assert_eq!(read.documents.len(), 1);
    read.documents.remove(0)
}

fn spec(rest: &str, settings: &Settings) -> Pipeline {
    one(&format!("{HEAD}spec:\n{rest}"), settings).spec().expect("a good spec")
}

#[test]
fn yaml_and_json_are_read_alike() {
    let yaml = format!("{HEAD}spec:\n  sources: {{a: {{kafka: {{brokers: b, topics: [x, y]}}, format: json}}}}\n");
    let json = r#"{"apiVersion": "headwater.dev/v1alpha1", "kind": "Stream", "metadata": {"name": "a"},
        "spec": {"sources": {"a": {"kafka": {"brokers": "b", "topics": ["x", "y"]}, "format": "json"}}}}"#;
    let document = one(&yaml, &Settings::default());
    assert_eq!(document.kind, Kind::Stream);
    assert_eq!(document.metadata.namespace.as_str(), "default");
    assert_eq!(document.spec::<Pipeline>().unwrap(), one(json, &Settings::default()).spec().unwrap());
    assert_eq!(document.spec_json(), one(json, &Settings::default()).spec_json());
}

#[test]
fn several_documents_and_files_are_read_at_once() {
    let text = format!("---\n{HEAD}spec: {{sources: {{}}}}\n---\n{}spec: {{}}\n---\n", HEAD.replace("Stream", "Queue"));
    let other = input(&HEAD.replace("Stream", "SparkJob").replace("name: a", "name: a, namespace: n"));
    let read = document::read(&[input(&text), other], &Settings::default());
    let kinds: Vec<_> = read.documents.iter().map(|document| document.kind).collect();
    assert_eq!(kinds, [Kind::Stream, Kind::Queue]);
    assert_eq!(read.problems.len(), 1, "the last one has no spec");
}

#[test]
fn variables_keep_their_type_as_a_whole_and_are_text_within_text() {
    let text = r#"  variables: {n: 1.50, rows: 7, topics: [x, "${t}"], t: ztf, all: {files: {url: "${t}/$${n}"}}}
  batch: {rows: "${rows}"}
  sources:
    a: {kafka: {brokers: "b-${n}-${rows}-$${x}-$", topics: "${topics}"}}
    b: ${all}
"#;
    let spec = spec(text, &Settings::default());
    assert_eq!(spec.batch.rows, 7);
    let Connector::Kafka(kafka) = &spec.sources["a"].connector else { panic!("{spec:?}") };
    assert_eq!(kafka.brokers, "b-1.50-7-${x}-$");
    assert_eq!(kafka.topics, Topics::Several(vec!["x".to_owned(), "ztf".to_owned()]));
    let Connector::Files(files) = &spec.sources["b"].connector else { panic!("{spec:?}") };
    assert_eq!(files.url, "ztf/${n}");
}

#[test]
fn settings_override_defaults_and_are_taken_literally() {
    let text = "  variables: {rows: , url: \"\", version: \"1.10\", query: }\n  batch: {rows: \"${rows}\"}\n  sources:\n    \
                a: {files: {url: \"${url}\"}}\n    b: {files: {url: \"${version}\"}}\n    c: {files: {url: \"${query}\"}}\n";
    let path = std::env::temp_dir().join(format!("headwater-document-{}.sql", std::process::id()));
    std::fs::write(&path, "SELECT '${rows}'\n").unwrap();
    let mut settings = Settings::default();
    for argument in ["rows=5", "rows=6", "url=*.avro # ${rows}", "version=1.20"] {
        settings.set(argument).unwrap();
    }
    settings.set_file(&format!("query={}", path.display())).unwrap();
    let spec = spec(text, &settings);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(spec.batch.rows, 6);
    let url = |name: &str| match &spec.sources[name].connector {
        Connector::Files(files) => files.url.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!([url("a"), url("b"), url("c")], ["*.avro # ${rows}", "1.20", "SELECT '${rows}'\n"]);
}

#[test]
fn a_setting_that_nothing_declares_is_a_problem() {
    let mut settings = Settings::default();
    settings.set("ruws=5").unwrap();
    let read = document::read(&[input(&format!("{HEAD}spec: {{variables: {{rows: 1}}}}\n"))], &settings);
    assert_eq!(read.problems.len(), 1);
    assert_eq!(read.problems[0].hint.as_deref(), Some("did you mean `rows`?"));
    assert!(settings.set("novalue").is_err() && settings.set("=5").is_err());
    assert!(settings.set_file("a=/does/not/exist").unwrap_err().found.contains("/does/not/exist"));
}

#[test]
fn a_problem_is_located_at_the_deepest_part_that_exists() {
    let text = format!(
        "{HEAD}spec:\n  sources:\n    a: {{files: {{url: \"x y\"}}}}\n  steps:\n    - from: a\n    - from: b\n"
    );
    let document = one(&text, &Settings::default());
    let place = |path: &str| {
        let place = document.locate(Problem::at(path).found("x")).place.unwrap();
        (place.line, place.column, place.end_column)
    };
    assert_eq!(place("spec.sources.a.files.url"), (6, 22, 27));
    assert_eq!(place("spec.sources.a.files.shards"), (6, 9, 14));
    assert_eq!(place("spec.steps[1].from"), (9, 13, 14));
    assert_eq!(place("spec.steps[1].where"), (9, 7, 14));
    assert_eq!(place("spec.steps[7]"), (7, 3, 8));
    assert_eq!(place("elsewhere"), (1, 1, 35));
    assert_eq!(document.node("spec.steps[1].from").unwrap().text(), Some("b"));
}

#[test]
fn aliases_are_values_and_can_not_be_used_to_exhaust_memory() {
    let spec = spec("  sources: {a: &a {generate: {}}, b: *a}\n", &Settings::default());
    assert_eq!(spec.sources["b"].connector, Connector::Generate {});
    let mut bomb = format!("{HEAD}spec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut chain = format!("{HEAD}spec:\n  variables:\n    v0: xxxxxxxxxx\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "  a{level}: &a{level} [{aliases}]").unwrap();
        writeln!(chain, "    v{level}: \"{}\"", format!("${{v{}}}", level - 1).repeat(10)).unwrap();
    }
    for text in [bomb, chain] {
        let read = document::read(&[input(&text)], &Settings::default());
        assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
        assert!(read.problems[0].found.starts_with("more than"), "{:?}", read.problems);
    }
}

#[test]
fn limits_are_problems() {
    let deep = format!("{HEAD}spec: {}1{}\n", "[".repeat(100), "]".repeat(100));
    let long = format!("{HEAD}spec: {}\n", "x".repeat(document::FILE_BYTES_MAX));
    let wide = format!("{HEAD}spec: [{}]\n", "1,".repeat(document::NODES_MAX));
    let mut row = format!("{HEAD}spec:\n  variables:\n    v0: x\n");
    for level in 1..20_000 {
        writeln!(row, "    v{level}: ${{v{}}}", level - 1).unwrap();
    }
    for (text, words) in [(deep, "64 levels"), (long, "bytes"), (wide, "100000 values"), (row, "64 variables")] {
        let read = document::read(&[input(&text)], &Settings::default());
        assert!(read.problems.iter().any(|problem| problem.found.contains(words)), "{words}");
        assert!(read.problems.len() < 4, "{words}: {}", read.problems.len());
    }
    assert!(document::read(&[input("# nothing\n")], &Settings::default()).problems[0].found.contains("no document"));
}

#[test]
fn a_great_many_problems_are_cut_off() {
    let keys: String = (0..30_000).fold(String::new(), |keys, key| keys + &format!("k{key}: '${{v{key}}}', "));
    let items = "[], ".repeat(30_000);
    for part in [format!("{{{keys}}}"), format!("{{sources: {{a: {{kafka: {{topics: [{items}]}}}}}}}}")] {
        let mut read = document::read(&[input(&format!("{HEAD}spec: {part}\n"))], &Settings::default());
        read.problems.extend(read.documents[0].spec::<Pipeline>().err().into_iter().flatten());
        let least = document::PROBLEMS_MAX;
        assert!((least..least * 3).contains(&read.problems.len()), "{}", read.problems.len());
        assert!(document::render(&read.problems, false).len() < 1 << 20);
    }
}

#[test]
fn what_only_the_type_knows_is_told_at_its_place() {
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Spec {
        waits: Vec<Wait>,
    }
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only read")]
    struct Wait {
        until: document::Duration,
    }
    let text = format!("{HEAD}spec:\r\n  waits:\r\n  - until: 1s\r\n  - until: 999999999999999d # too long\r\n");
    let problems = one(&text, &Settings::default()).spec::<Spec>().unwrap_err();
    let place = problems[0].place.clone().unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "spec.waits[1].until");
    assert_eq!((place.line, place.column, place.end_column), (7, 12, 28));
    assert!(problems[0].found.contains("no duration"), "{}", problems[0].found);
    assert_eq!(serde_json::to_value(&problems[0]).unwrap()["place"]["endColumn"], 28);
}
