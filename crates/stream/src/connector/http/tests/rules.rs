//! The rules of a filtered stream.

use super::*;

fn kept(id: &str, value: &str, tag: &str) -> server::Rule {
    server::Rule { id: id.into(), value: value.into(), tag: tag.into() }
}

fn with_rules(server: &StreamingServer) -> SourceSpec {
    let rule = |value: &str, tag: &str| Rule { value: value.into(), tag: tag.into() };
    let add = vec![rule("cats", "pets"), rule("dogs", "pets"), rule("supernova", "sky")];
    let rules = Rules { url: server.url("/rules"), owner: "night".into(), add };
    SourceSpec { rules: Some(rules), ..spec(server.url("/stream")) }
}

#[test]
fn rules_are_synchronised_and_those_of_others_left_alone() {
    let bench = Bench::new();
    let server = bench.server(Scenario::with_rules(vec![
        kept("1", "cats", "headwater/night/pets"),
        kept("2", "birds", "headwater/night/pets"),
        kept("3", "theirs", "headwater/day/pets"),
        kept("4", "dogs", "somebody"),
        kept("5", "untagged", ""),
    ]));
    let _source = bench.open(&with_rules(&server));
    eventually("the stream is opened", || server.requests_to("/stream").len() == 1);
    let rules: BTreeSet<_> = server.rules().into_iter().map(|rule| format!("{} {}", rule.value, rule.tag)).collect();
    let expected = [
        "cats headwater/night/pets",
        "dogs somebody",
        "supernova headwater/night/sky",
        "theirs headwater/day/pets",
        "untagged ",
    ];
    assert_eq!(rules, expected.map(str::to_owned).into());
    let bodies: Vec<_> = server.requests_to("/rules").into_iter().map(|request| request.body).collect();
    let posted = [r#"{"delete":{"ids":["2"]}}"#, r#"{"add":[{"value":"supernova","tag":"headwater/night/sky"}]}"#];
    assert_eq!(bodies, [&["", "", ""][..], &posted].concat());
    assert!(server.requests().iter().all(|request| request.header("authorization").is_some()));
    // A second start finds all as it should be.
    let _second = bench.open(&with_rules(&server));
    eventually("the stream is opened", || server.requests_to("/stream").len() == 2);
    assert_eq!(server.requests_to("/rules").iter().filter(|request| request.method() == "POST").count(), 2);
}

#[test]
fn rules_that_can_not_be_read_now_are_waited_for() {
    let bench = Bench::new();
    let scenario = Scenario { rules_refused: true, ..Scenario::status_then_ok(503, 1, &[]) };
    let server = bench.server(scenario);
    let source = bench.open(&with_rules(&server));
    bench.expect_wait(&source, &server, Time::from_secs(5));
    assert!(server.requests_to("/stream").is_empty());
}
