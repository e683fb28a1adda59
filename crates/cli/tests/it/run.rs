//! `run`: rows, summaries, signals, metrics.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{FILES, IDS, Place};

const EVEN: [&str; 5] = [
    r#"{"id":0,"twice":0}"#,
    r#"{"id":2,"twice":4}"#,
    r#"{"id":4,"twice":8}"#,
    r#"{"id":6,"twice":12}"#,
    r#"{"id":8,"twice":16}"#,
];

#[test]
fn rows_come_out_then_nothing_is_new_then_it_starts_over() {
    let place = Place::new(IDS);
    let ran = place.run(&["run", "a.yaml"]).ends(0);
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), EVEN);
    for words in ["ids: done in", "ids  in   10  rows", "out  out   5  rows"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let again = place.run(&["run", "a.yaml"]).ends(0);
    assert!(again.out.is_empty() && again.err.starts_with("ids: nothing new since 20"), "{again:?}");
    let fresh = place.run(&["run", "a.yaml", "--fresh"]).ends(0);
    assert_eq!(fresh.out.lines().collect::<Vec<_>>(), EVEN);
    assert!(fresh.err.contains("starting over; the earlier ledger is now "), "{}", fresh.err);
    let more = place.run(&["run", "a.yaml", "--set", "total=12", "--quiet"]).ends(0);
    assert_eq!((more.out.as_str(), more.err.as_str()), ("{\"id\":10,\"twice\":20}\n", ""));
}

#[test]
fn a_summary_for_programs_leaves_standard_output_to_its_sink() {
    let place = Place::new(IDS);
    let ran = place.run(&["run", "a.yaml", "--output", "json"]).ends(0);
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), EVEN);
    let summary: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(summary[0]["counts"]["parts"]["out"]["rowsOut"], 5, "{summary}");
    place.write("b.yaml", &IDS.replace("stdout: {}", "blackhole: {}").replace("name: ids", "name: others"));
    let ran = place.run(&["run", "b.yaml", "--output", "json"]).ends(0);
    assert_eq!((&ran.json()[0]["stream"], ran.err.as_str()), (&"others".into(), ""));
}

#[test]
fn several_documents_run_side_by_side_and_the_worst_exit_code_counts() {
    let place = Place::new(FILES);
    place.write("in/1.jsonl", "{\"id\": 1}\n");
    place.write("b.yaml", &IDS.replace("stdout: {}", "blackhole: {}"));
    let ran = place.run(&["run", "a.yaml", "b.yaml"]).ends(0);
    assert!(ran.err.contains("lines: done") && ran.err.contains("ids: done"), "{}", ran.err);
    assert_eq!(place.lines("out"), [r#"{"id":1}"#]);
    place.write("in/2.jsonl", "{\"id\": \"two\"}\n");
    place.write(
        "c.yaml",
        &FILES.replace("  sinks:", "  errors: {failAfter: 1}\n  sinks:").replace("name: lines", "name: broken"),
    );
    let ran = place.run(&["run", "c.yaml", "b.yaml"]).ends(1);
    assert!(ran.err.contains("error: broken: ") && ran.err.contains("ids: nothing new"), "{}", ran.err);
}

#[test]
fn a_closed_pipe_is_taken_in_peace() {
    let place = Place::new(&IDS.replace("total: 10", "total: 1000000"));
    let mut child = place.command(&["run", "a.yaml"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut child = place.command(&["schema"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_drains_and_commits() {
    let place = Place::new(FILES);
    place.write("in/1.jsonl", "{\"id\": 1}\n{\"id\": 2}\n");
    let follow = ["run", "a.yaml", "--set", "follow=true", "--listen", "127.0.0.1:0"];
    for (name, new, rows) in [("TERM", 2, 2), ("INT", 1, 3)] {
        let mut started = place.start(&follow);
        let address = address(&started.says("listening on"));
        let counted = format!("headwater_rows_total{{stream=\"lines\",part=\"raw\",direction=\"out\"}} {new}\n");
        until(|| get(&address, "/metrics").contains(&counted));
        started.signal(name);
        let ran = started.end().ends(0);
        assert!(
            ran.err.contains("draining; press Ctrl-C again") && ran.err.contains("lines: drained in"),
            "{}",
            ran.err
        );
        assert_eq!(place.lines("out").len(), rows);
        place.write("in/2.jsonl", "{\"id\": 3}\n");
    }
}

#[test]
fn a_drain_that_takes_too_long_ends_and_so_does_a_second_signal() {
    // Nobody reads the rows, so that the sink can't go on.
    let stuck = IDS.replace("total: 10", "total: 10000000").replace("  tests:", "  drainTimeout: 1s\n  tests:");
    for (signals, code, words) in [(1, 1, "not drained within 1.0 s"), (2, 130, "stopping at once")] {
        let place = Place::new(&stuck);
        let mut started = place.start(&["run", "a.yaml", "--listen", "127.0.0.1:0"]);
        let address = address(&started.says("listening on"));
        until(|| get(&address, "/readyz").starts_with("HTTP/1.1 200"));
        started.signal("TERM");
        started.says("draining");
        (1..signals).for_each(|_| started.signal("TERM"));
        let line = started.says(words);
        assert!(line.contains("is taken up again at the next start"), "{line}");
        assert_eq!(started.end_unread(), Some(code), "{signals}");
    }
}

#[test]
fn another_process_is_refused_while_one_runs_and_positions_stay() {
    let place = Place::new(FILES);
    place.write("in/1.jsonl", "{\"id\": 1}\n");
    let mut started = place.start(&["run", "a.yaml", "--set", "follow=true", "--listen", "127.0.0.1:0"]);
    let address = address(&started.says("listening on"));
    until(|| get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/healthz").ends_with("ok\n"));
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404"));
    let metrics = get(&address, "/metrics");
    assert!(
        metrics.contains("application/openmetrics-text") && metrics.contains("headwater_memory_bytes "),
        "{metrics}"
    );
    let held = place.run(&["run", "a.yaml"]).ends(1);
    assert!(held.err.contains("is held by process "), "{}", held.err);
    place.run(&["run", "a.yaml", "--fresh"]).ends(1);
    started.signal("TERM");
    started.end().ends(0);
}

fn address(line: &str) -> String {
    line.trim().rsplit_once("http://").unwrap().1.to_owned()
}

/// Looks until it is so; a minute is only ever reached by what is broken.
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    panic!("it never came");
}

fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_pod_changes_nothing_of_a_run_here() {
    let pod = "  pod:\n    resources: {requests: {cpu: 500m, memory: 512Mi}, limits: {memory: 512Mi, cpu: 2}}\n    \
               tolerations: [{key: batch, operator: Exists, effect: NoSchedule}]\n    \
               env: {TZ: UTC, TOKEN: {secret: {name: nobody, key: has-it}}}\n    serviceAccount: streams\n";
    let (with, without) = (Place::new(&format!("{}{pod}", IDS.trim_end_matches(' '))), Place::new(IDS));
    let [with, without] = [with, without].map(|place| place.run(&["run", "a.yaml", "--quiet"]).ends(0));
    assert_eq!((with.out.lines().count(), with.out), (5, without.out));
}
