//! The server beside its own description: a program of other people makes requests of what `/openapi.json` says, right
//! ones and wrong ones, and compares the replies.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::{postgres, python, skip};

use super::ECHO;
use super::server::Place;
use crate::process::{draw, pause};

/// What a request that fits the description may be refused for all the same: the state of things, and sizes in bytes,
/// which a schema can't bound.
const CONFIGURATION: &str = r#"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 413, 422, 429]
"#;

/// How long it may look for more. What each operation must be asked takes as long again.
const LOOK_SECONDS: u32 = 20;

#[test]
fn a_program_that_reads_the_description_finds_nothing_that_differs() {
    look(ECHO);
}

#[test]
fn a_program_that_reads_the_description_finds_nothing_that_differs_on_postgres() {
    let Some(server) = postgres::shared("queue: schemathesis on PostgreSQL") else { return };
    let store = format!("{{postgres: {{url: \"{}\"}}}}", server.url(&server.schema("description")));
    look(&ECHO.replace("{sqlite: {path: jobs.db}}", &store));
}

fn look(spec: &str) {
    let Some(python) = python() else { return skip("queue: schemathesis", "no Python environment: HEADWATER_PYTHON") };
    let place = Place::new(spec);
    place.write("schemathesis.toml", CONFIGURATION);
    let (mut server, http) = place.serve();
    let is_over = AtomicBool::new(false);
    let looked = thread::scope(|scope| {
        // So that nobody waits in vain for a job.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                http.try_post("/v1/queues/default/jobs/bulk", &json!([{}, {}, {}]));
                pause(Duration::from_millis(50));
            }
        });
        let mut command = Command::new(python.with_file_name("schemathesis"));
        command.args(["--config-file", "schemathesis.toml", "run", &format!("http://{}/openapi.json", http.address)]);
        command.args(["--seed", &draw().u32(..).to_string(), "--max-time", &LOOK_SECONDS.to_string()]);
        command.args(["--request-timeout", "70", "--no-color", "--warnings", "off"]);
        let looked = command.current_dir(place.path("")).stdin(Stdio::null()).output();
        is_over.store(true, Ordering::Relaxed);
        looked
    });
    let looked = looked.unwrap();
    let found = String::from_utf8_lossy(&looked.stdout);
    assert!(looked.status.success(), "{found}{}", String::from_utf8_lossy(&looked.stderr));
    assert!(found.contains("passed"), "{found}");
    assert!(!server.err().contains("panicked"), "{}", server.err());
    server.signal("TERM");
    server.succeed();
}
