//! A disk that is full, and one that does not keep what it took: all who wait hear it, the process ends, and nothing that
//! was acknowledged is gone.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use serde_json::json;
use testkit::skip;

use super::stops;
use crate::disk_full::Disk;
use crate::process::{Process, until};
use crate::queue::server::{Http, Place};

/// A queue whose jobs are on a disk of their own.
const ON_DISK: &str = "store: {sqlite: {path: disk/jobs.db}}\nlisten: 127.0.0.1:0\nqueues: {default: {}}\n";

/// Puts jobs from several clients until the server has gone. What was acknowledged, and what the last replies were.
fn put_until_gone(http: &Http, while_it_runs: impl FnOnce()) -> (Vec<String>, Vec<u16>) {
    let (acknowledged, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for client in 0..8 {
            let (acknowledged, refused) = (&acknowledged, &refused);
            scope.spawn(move || {
                let job = json!({"payload": format!("{client} {}", "x".repeat(5000))});
                while let Some(reply) = http.try_post("/v1/queues/default/jobs", &job) {
                    if reply.status == 201 {
                        let id = reply.ok()["id"].as_str().unwrap().to_owned();
                        acknowledged.lock().unwrap().push(id);
                    } else {
                        refused.lock().unwrap().push(reply.status);
                    }
                }
            });
        }
        while_it_runs();
    });
    (acknowledged.into_inner().unwrap(), refused.into_inner().unwrap())
}

/// It ended by itself, with words on what the store said.
fn assert_ended(server: &mut Process, why: &str) {
    assert_eq!(server.code(), 1, "{}", server.err());
    assert!(server.err().contains("the store is down") && server.err().contains(why), "{}", server.err());
}

fn assert_kept(place: &Place, acknowledged: &[String]) {
    let (mut server, http) = place.serve();
    for id in acknowledged {
        let job = http.get(&format!("/v1/jobs/{id}")).ok();
        assert_eq!(job["state"], "ready", "{job}");
    }
    stops(&mut server);
}

#[test]
fn a_full_disk_ends_the_server_and_loses_nothing() {
    let place = Place::new(ON_DISK);
    let Some(disk) = Disk::mount("queue: a full disk", place.path("disk"), "size=6m") else { return };
    let (mut server, http) = place.serve();
    let (acknowledged, refused) = put_until_gone(&http, || ());
    assert!(acknowledged.len() > 50, "{} jobs had room", acknowledged.len());
    assert!(!refused.is_empty() && refused.iter().all(|status| *status == 503), "{refused:?}");
    assert_ended(&mut server, "database or disk is full");
    disk.grow("size=64m");
    assert_kept(&place, &acknowledged);
}

/// Syncs fail once a file is there. Everything else is as it was.
const FAILING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) { if (access(getenv("FAIL_SYNCS"), F_OK)) return 0; errno = EIO; return 1; }
int fsync(int file) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file); }
int fdatasync(int file) { return fails() ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file); }
"#;

/// A library that stands before the system's, made by the compiler that also links the tests.
fn failing(library: &Path) -> Result<(), String> {
    let source = library.with_extension("c");
    std::fs::write(&source, FAILING).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(&source).arg("-ldl").output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_sync_that_fails_ends_the_server_and_loses_nothing() {
    let place = Place::new(ON_DISK);
    let library = place.path("failing.so");
    if let Err(why) = failing(&library) {
        return skip("queue: a sync that fails", &format!("`cc` makes no library: {why}"));
    }
    let mut command = place.command(&["run", "queue.yaml"]);
    let (mut server, http) = place.served(command.env("LD_PRELOAD", &library).env("FAIL_SYNCS", place.path("fails")));
    let (acknowledged, refused) = put_until_gone(&http, || {
        until("some are acknowledged", || http.get("/v1/jobs?limit=1000").body.matches("\"id\"").count() > 50);
        place.write("fails", "");
    });
    assert!(!refused.is_empty() && refused.iter().all(|status| *status == 503), "{refused:?}");
    assert_ended(&mut server, "disk I/O error");
    assert_kept(&place, &acknowledged);
}
