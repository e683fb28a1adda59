//! What `check` and `plan` say of a queue.

use serde_json::Value;

use super::BARE;
use super::server::Place;

const FULL: &str = r#"
store: {sqlite: {path: data/jobs.db}}
listen: 127.0.0.1:7000
queues: {default: {attempts: 2}, slow: {concurrency: 1}}
schedules: {nightly: {cron: "30 2 * * *", timeZone: Europe/Berlin, queue: slow, job: {payload: {report: nightly}}}}
workers: {all: {queues: [default, slow], command: [sh, -c, "cat\nexit 3"], environment: {SECRET: canary}}}
"#;

#[test]
fn a_good_queue_is_ok_and_its_plan_says_all_that_will_happen() {
    let place = Place::new(FULL);
    let mut check = place.start(&["check", "queue.yaml"]);
    check.succeed();
    assert_eq!(check.out(), "queue.yaml: ok (Queue q)\n");
    let mut plan = place.start(&["plan", "queue.yaml"]);
    plan.succeed();
    let text = plan.out();
    for words in [
        "listens  http://127.0.0.1:7000",
        "whoever reaches the address; no tokens",
        "data/jobs.db (not there yet)",
        "queue slow\n",
        "at most 1 running",
        "schedule nightly into slow: 30 2 * * * (Europe/Berlin)\n  next     20",
        "workers all: 1 at once from default, slow\n  command  /",
        " -c\n  | cat\n  | exit 3\n",
        "adds     SECRET to the environment",
        "promise  a job that was accepted is on disk",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    assert!(!text.contains("canary") && !place.path("data").exists(), "a plan changes nothing");
}

#[test]
fn facts_give_the_same_plan_without_the_world() {
    let place = Place::new(FULL);
    let mut facts = place.start(&["plan", "queue.yaml", "--output", "facts"]);
    facts.succeed();
    place.write("facts.json", &facts.out());
    let plan = |arguments: &[&str]| {
        let mut plan = place.start(&[&["plan", "queue.yaml", "--output", "json"], arguments].concat());
        plan.succeed();
        serde_json::from_str::<Value>(&plan.out()).unwrap()
    };
    let seen = plan(&[]);
    assert_eq!(seen, plan(&["--facts", "facts.json"]));
    assert_eq!(seen[0]["pools"][0]["arguments"][1], "cat\nexit 3");
    let gone = facts.out().replace("\"path\": \"/", "\"path\": \"/gone/");
    place.write("facts.json", &gone);
    assert!(plan(&["--facts", "facts.json"])[0]["pools"][0]["program"].as_str().unwrap().starts_with("/gone/"));
}

#[test]
fn a_program_that_is_not_there_is_a_problem_at_its_place() {
    let place = Place::new(&format!("{BARE}workers: {{w: {{queues: [default], command: [no-such-program]}}}}\n"));
    let mut check = place.start(&["check", "queue.yaml"]);
    check.succeed();
    for verb in ["plan", "run"] {
        let mut ran = place.start(&[verb, "queue.yaml"]);
        assert_eq!(ran.code(), 2, "{}", ran.err());
        assert!(ran.err().contains("program \"no-such-program\" is not there"), "{}", ran.err());
        assert!(ran.err().contains("queue.yaml:8:"), "{}", ran.err());
    }
    assert!(!place.path("jobs.db").exists());
}

#[test]
fn a_stream_and_a_queue_run_from_one_file() {
    let place = Place::new(BARE);
    let queue = Place::document(BARE);
    place.write("queue.yaml", &format!("{}---\n{queue}", crate::support::IDS));
    let (mut server, http) = place.serve_with(&["--output", "json"]);
    http.put(&serde_json::json!(1));
    server.signal("TERM");
    server.succeed();
    assert!(server.out().contains("\"twice\":") || server.err().contains("twice"), "{} {}", server.out(), server.err());
    let mut scale = place.start(&["scale", "queue.yaml", "--containers", "2"]);
    assert_eq!(scale.code(), 2);
    assert!(scale.err().contains("a `Queue`, where only streams are taken"), "{}", scale.err());
}

#[test]
fn what_is_for_streams_is_refused() {
    let place = Place::new(BARE);
    for words in [["--fresh"].as_slice(), &["--container", "0/2"]] {
        let mut ran = place.start(&[&["run", "queue.yaml"], words].concat());
        assert_eq!(ran.code(), 2, "{}", ran.err());
        assert!(ran.err().contains("is for streams"), "{}", ran.err());
    }
}
