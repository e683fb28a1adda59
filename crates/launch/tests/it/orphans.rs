//! A program that is killed leaves nothing running.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use launch::{Launcher as _, Local};

use crate::place::{first_line, is_alive, shell, until_gone};

/// Tells a copy of this test binary to be the program that is killed.
const ROLE: &str = "LAUNCH_TEST_ROLE";

#[tokio::test]
async fn a_killed_program_leaves_no_process_running() {
    let own = std::env::current_exe().unwrap();
    let mut program = Command::new(own)
        .args(["orphans::program_that_is_killed", "--exact", "--nocapture"])
        .env(ROLE, "program")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.split_once("processes ").map(|(_, found)| found.to_owned())).unwrap();
    let (first, child) = line.split_once(' ').unwrap();
    assert!(is_alive(first) && is_alive(child));
    program.kill().unwrap();
    program.wait().unwrap();
    until_gone(first).await;
    until_gone(child).await;
}

/// Not a test of its own: it is what the other one kills.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test has no door through which it could be told")]
async fn program_that_is_killed() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let launcher = Local::new().unwrap();
    // Ended ones are off the list, whatever became of their number.
    for _ in 0..3 {
        crate::place::run(&launcher, shell("before", "true")).await;
    }
    launcher.start(shell("j", "trap '' TERM HUP; sleep 1000 & echo $$ $!; wait")).await.unwrap();
    println!("processes {}", first_line(&launcher, "j").await);
    std::future::pending::<()>().await;
}
