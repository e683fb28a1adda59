//! Timeouts, lines and memory.

use std::time::Duration;

use launch::{Cause, Launcher, Local, Status};

use crate::place::{first_line, hear, run, shell, until_gone, within};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn what_runs_too_long_is_asked_to_end() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "trap 'echo bye; exit 5' TERM; sleep 1000 & wait");
    command.timeout = Some(SHORT);
    let heard = run(&launcher, command).await;
    assert_eq!(heard.out, ["bye"]);
    assert_eq!((heard.ended.cause, heard.ended.status), (Cause::Timeout, Status::Exit(5)));
    assert!(heard.ended.elapsed >= SHORT);
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_the_grace() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "trap '' TERM; while :; do sleep 0.01; done");
    (command.timeout, command.grace) = (Some(SHORT), SHORT);
    let ended = run(&launcher, command).await.ended;
    assert_eq!((ended.cause, ended.status), (Cause::Timeout, Status::Signal(9)));
    assert!(ended.elapsed >= SHORT * 2);

    launcher.start(shell("k", "trap '' TERM; echo up; while :; do sleep 0.01; done")).await.unwrap();
    first_line(&launcher, "k").await;
    let ended = within(launcher.stop("k", SHORT)).await.unwrap().unwrap();
    assert_eq!((ended.cause, ended.status), (Cause::Stopped, Status::Signal(9)));
}

#[tokio::test]
async fn a_second_stop_may_be_more_urgent() {
    let launcher = Local::new().unwrap();
    launcher.start(shell("j", "trap '' TERM; echo up; while :; do sleep 0.01; done")).await.unwrap();
    first_line(&launcher, "j").await;
    let patient = launcher.stop("j", Duration::from_secs(1000));
    let urgent = async {
        tokio::time::sleep(SHORT).await;
        launcher.stop("j", Duration::ZERO).await
    };
    let (patient, urgent) = within(async { tokio::join!(patient, urgent) }).await;
    assert_eq!(patient.unwrap().unwrap().cause, Cause::Stopped);
    assert_eq!(urgent.unwrap().unwrap().status, Status::Signal(9));
}

#[tokio::test]
async fn a_timeout_holds_while_nobody_reads() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "echo $$; yes");
    command.timeout = Some(SHORT);
    launcher.start(command).await.unwrap();
    let process = first_line(&launcher, "j").await;
    until_gone(&process).await;
    assert_eq!(hear(&launcher, "j").await.ended.cause, Cause::Timeout);
}

#[tokio::test]
async fn a_grandchild_ends_with_its_group() {
    let launcher = Local::new().unwrap();
    // The parent ends at once; its child holds the outputs and would sleep on.
    let heard = run(&launcher, shell("j", "sleep 1000 & echo $!")).await;
    until_gone(&heard.out[0]).await;
    assert!(heard.ended.is_success());
    assert!(!heard.ended.stdout.left_open);
    // The same when the parent dies of its timeout and the child ignores the signal.
    let mut command = shell("j", "(trap '' TERM; while :; do sleep 1; done) & echo $!; wait");
    command.timeout = Some(SHORT);
    let heard = run(&launcher, command).await;
    until_gone(&heard.out[0]).await;
    assert_eq!(heard.ended.cause, Cause::Timeout);
}

#[tokio::test]
async fn one_that_left_the_group_holds_nobody_up() {
    let launcher = Local::new().unwrap();
    let heard = run(&launcher, shell("j", "setsid sleep 20 & echo $!; sleep 0.2")).await;
    assert!(heard.ended.is_success() && heard.ended.stdout.left_open);
    let _ = std::process::Command::new("kill").args(["-9", &heard.out[0]]).status();
}

#[tokio::test]
async fn lines_and_outputs_are_capped_and_counted() {
    let launcher = Local::new().unwrap();
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo";
    let mut command = shell("j", script);
    (command.line_bytes_max, command.stream_bytes_max) = (1000, 1020);
    let heard = run(&launcher, command).await;
    assert_eq!(heard.out, ["x".repeat(1000).as_str(), "line 1", "line 2", "line 3"]);
    let tally = heard.ended.stdout;
    assert_eq!((tally.lines, tally.bytes), (11, 100_000 + 9 * 6));
    assert_eq!((tally.lines_dropped, tally.bytes_dropped), (7, 99_000 + 6 * 6));
    assert_eq!(heard.ended.last_line.unwrap().text(), "line 9");
}

#[tokio::test]
async fn an_endless_line_takes_no_memory() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "head -c 300000000 /dev/zero");
    command.line_bytes_max = 10;
    let heard = run(&launcher, command).await;
    assert_eq!((heard.out.len(), heard.ended.stdout.bytes), (1, 300_000_000));
}

#[tokio::test]
async fn who_takes_too_much_memory_is_killed_and_the_cause_is_told() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "");
    command.program = "python3".to_owned();
    let hold = "import time; held = bytearray(200 << 20); print('held'); time.sleep(20)";
    command.arguments = vec!["-c".to_owned(), hold.to_owned()];
    command.memory_bytes_max = Some(100 << 20);
    let ended = run(&launcher, command.clone()).await.ended;
    assert_eq!((ended.cause, ended.status), (Cause::OutOfMemory, Status::Signal(9)));
    // A child's memory counts too, and memory that two share counts once.
    let fork = "import os, time; pid = os.fork(); held = bytearray((0 if pid else 200) << 20); time.sleep(20)";
    command.arguments[1] = fork.to_owned();
    assert_eq!(run(&launcher, command.clone()).await.ended.cause, Cause::OutOfMemory);
    let share = "import os, time; held = bytearray(60 << 20); os.fork(); os.fork(); time.sleep(0.5)";
    command.arguments[1] = share.to_owned();
    assert!(run(&launcher, command.clone()).await.ended.is_success());
    // Far beyond the bound, the kernel refuses before anybody looks.
    command.arguments[1] = "bytearray(2 << 30)".to_owned();
    let heard = run(&launcher, command).await;
    assert_eq!(heard.ended.status, Status::Exit(1));
    assert_eq!(heard.err.last().unwrap(), "MemoryError");
}
