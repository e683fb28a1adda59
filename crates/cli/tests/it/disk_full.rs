//! A full disk is an error; once there is room, the stream goes on without loss or repetition.
//!
//! Each test has a small disk of its own, which takes the right to mount one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use testkit::skip;

use crate::outputs::{all, assert_exactly, assert_nothing_twice, visible};
use crate::process::{Place, Process};

/// A file system in memory.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// `None`, and a word on why, where none can be had.
    pub(crate) fn mount(test: &str, path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => return Some(Self(path)),
            Ok(output) => {
                let answer = String::from_utf8_lossy(&output.stderr);
                skip(test, &format!("no disk can be mounted: {}", answer.trim()));
            }
            Err(error) => skip(test, &format!("`mount` can't be started: {error}")),
        }
        None
    }

    pub(crate) fn grow(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

const ROWS: i64 = 4000;

/// 40 files with 100 rows of about 260 bytes in 20 folders, committed after each few batches.
fn place(roll: &str) -> Place {
    let place = Place::new();
    place.document(&format!(
        "
sources:
  rows: {{files: {{path: \"in/*.jsonl\"}}}}
sinks:
  out: {{from: rows, files: {{url: disk/out, partitionBy: [part], roll: {{{roll}}}}}, format: {{json: {{}}}}}}
commit: {{url: ledger}}
batch: {{rows: 100}}
"
    ));
    for file in 0..40 {
        let mut text = String::new();
        for id in file * 100..(file + 1) * 100 {
            writeln!(text, "{{\"id\":{id},\"part\":{},\"text\":\"{id:0>220}\"}}", id % 20).unwrap();
        }
        place.write(&format!("in/a-file-with-a-long-name-so-that-positions-are-long-too-{file:04}.jsonl"), text);
    }
    place
}

/// It ended with exit code 1 and a word on the disk and the file.
fn assert_says_full(process: &mut Process, file: &str) {
    assert_eq!(process.code(), 1, "{}", process.err());
    let err = process.err();
    assert!(err.contains("No space left on device") && err.contains(file), "{err}");
}

#[test]
fn while_staging() {
    let place = place("every: 1h");
    let Some(disk) = Disk::mount("disk_full::while_staging", place.path("disk"), "size=600k") else { return };
    let mut process = place.run();
    assert_says_full(&mut process, "disk/out/_headwater/staging");
    assert!(visible(&place.path("disk/out")).is_empty());
    // As full as before.
    assert_says_full(&mut place.run(), "disk/out/_headwater/staging");
    disk.grow("size=16m");
    place.run().succeed();
    assert_exactly(&place.path("disk/out"), ROWS);
}

#[test]
fn while_staging_after_some_commits() {
    let place = place("every: 30ms");
    let Some(disk) = Disk::mount("disk_full::while_staging_after_some_commits", place.path("disk"), "size=900k") else {
        return;
    };
    assert_says_full(&mut place.run(), "disk/out");
    assert_nothing_twice(&place.path("disk/out"));
    disk.grow("size=64m");
    place.run().succeed();
    assert_exactly(&place.path("disk/out"), ROWS);
}

#[test]
fn while_appending_the_record() {
    let place = place("every: 1ms");
    let ledger = place.path("ledger");
    let Some(disk) = Disk::mount("disk_full::while_appending_the_record", ledger, "size=20k") else { return };
    assert_says_full(&mut place.run(), "ledger/default/test/tasks/rows-0/record");
    assert_nothing_twice(&place.path("disk/out"));
    assert!(!visible(&place.path("disk/out")).is_empty(), "the first records had room");
    disk.grow("size=1m");
    place.run().succeed();
    assert_exactly(&place.path("disk/out"), ROWS);
}

#[test]
fn while_publishing() {
    let place = place("every: 1h");
    // Enough for the folders of staging and the 20 files there, but not for the 20 folders that readers see.
    let Some(disk) = Disk::mount("disk_full::while_publishing", place.path("disk"), "nr_inodes=38") else { return };
    assert_says_full(&mut place.run(), "disk/out/part=");
    let (published, staged) = (visible(&place.path("disk/out")).len(), all(&place.path("disk/out/_headwater")).len());
    assert!(published > 0 && staged > 0 && published + staged == 20, "{published} published, {staged} staged");
    assert_nothing_twice(&place.path("disk/out"));
    disk.grow("nr_inodes=1000");
    place.run().succeed();
    assert_exactly(&place.path("disk/out"), ROWS);
}
