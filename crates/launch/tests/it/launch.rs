//! What every place promises, and what `Local` does beyond that.

use std::time::Duration;

use launch::{Cause, Command, Error, Launcher, Local, Status};

use crate::place::{first_line, hear, is_alive, run, shell, state, until_gone, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_the_promises_of_a_place() {
    exercise(&Local::new().unwrap()).await;
}

/// The promises of the seam, for any launcher that can start a shell.
async fn exercise(launcher: &dyn Launcher) {
    let heard = run(launcher, shell("says", "echo one; echo two >&2; echo three")).await;
    assert_eq!((heard.out, heard.err), (vec!["one".to_owned(), "three".to_owned()], vec!["two".to_owned()]));
    assert!(heard.ended.is_success());

    let heard = run(launcher, shell("fails", "exit 7")).await;
    assert_eq!((heard.ended.cause, heard.ended.status), (Cause::Own, Status::Exit(7)));

    // A repeated start is the same process, also when it has ended; after a stop the name is free.
    launcher.start(shell("once", "echo $$")).await.unwrap();
    launcher.start(shell("once", "echo other")).await.unwrap();
    let first = hear(launcher, "once").await.out;
    assert_ne!(first, ["other"]);
    launcher.start(shell("once", "echo other")).await.unwrap();
    let ended = launcher.stop("once", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(ended.cause, Cause::Own);
    assert_eq!(run(launcher, shell("once", "echo other")).await.out, ["other"]);

    launcher.start(shell("long", "sleep 1000")).await.unwrap();
    let ended = within(launcher.stop("long", Duration::from_secs(10))).await.unwrap().unwrap();
    assert_eq!((ended.cause, ended.status), (Cause::Stopped, Status::Signal(15)));

    assert!(launcher.stop("nobody", Duration::ZERO).await.unwrap().is_none());
    assert!(matches!(launcher.watch("nobody").await, Err(Error::Unknown { .. })));
    assert!(launcher.start(Command::new("absent", "/no/such/program")).await.is_err());
    assert!(run(launcher, shell("absent", "true")).await.ended.is_success(), "a failed start leaves the name free");
}

#[tokio::test]
async fn starts_at_the_same_moment_are_one_process() {
    let launcher = Local::new().unwrap();
    let starts = (0..20).map(|_| launcher.start(shell("one", "echo $$; sleep 0.1")));
    for start in starts {
        start.await.unwrap();
    }
    assert_eq!(hear(&launcher, "one").await.out.len(), 1);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_with_where_it_was_looked_for() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "");
    command.program = "no-such-program".to_owned();
    let error = launcher.start(command.clone()).await.unwrap_err();
    let said = "program \"no-such-program\" is not there: looked for /usr/bin/no-such-program, /bin/no-such-program";
    assert_eq!(error.to_string(), said);
    assert_eq!(error.blame(), stdx::Blame::Document);
    command.environment.clear();
    let error = launcher.start(command.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Pathless { .. }), "{error}");
    command.program = "/etc/passwd".to_owned();
    let error = launcher.start(command.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "/etc/passwd is not an executable file; is its mode right?");
    // A relative path stands in the working directory.
    (command.program, command.folder) = ("./sh".to_owned(), "/bin".into());
    assert!(run(&launcher, command).await.ended.is_success());
}

#[tokio::test]
async fn a_file_that_is_no_program_and_words_that_cannot_be_given_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let launcher = Local::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad");
    std::fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = launcher.start(Command::new("j", file.to_str().unwrap())).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    let mut command = shell("j", "true");
    command.environment.push(("A".to_owned(), "b\0c".to_owned()));
    let error = launcher.start(command).await.unwrap_err();
    assert!(error.to_string().starts_with("variable \"A\" can't be given to a process"), "{error}");
}

#[tokio::test]
async fn a_missing_working_directory_is_named() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "pwd");
    command.folder = "/no/such/folder".into();
    let error = launcher.start(command.clone()).await.unwrap_err();
    let said = "working directory /no/such/folder can't be entered: No such file or directory (os error 2)";
    assert_eq!(stdx::Chain(&error).to_string(), said);
    command.folder = "/usr".into();
    assert_eq!(run(&launcher, command).await.out, ["/usr"]);
}

#[tokio::test]
async fn the_environment_is_what_the_command_says_and_nothing_else() {
    let launcher = Local::new().unwrap();
    let mut command = Command::new("j", "/usr/bin/env");
    command.environment = vec![("B".to_owned(), "two words".to_owned()), ("A".to_owned(), String::new())];
    let mut out = run(&launcher, command).await.out;
    out.sort();
    assert_eq!(out, ["A=", "B=two words"]);
}

#[tokio::test]
async fn codes_and_signals_are_told_as_they_are() {
    let launcher = Local::new().unwrap();
    for (script, status, said) in [
        ("exit 255", Status::Exit(255), "ended with exit code 255"),
        ("kill -9 $$", Status::Signal(9), "ended with signal 9 (SIGKILL)"),
        ("kill -SEGV $$", Status::Signal(11), "ended with signal 11 (SIGSEGV)"),
        ("kill -TERM $$", Status::Signal(15), "ended with signal 15 (SIGTERM)"),
    ] {
        let ended = run(&launcher, shell("j", script)).await.ended;
        assert_eq!((ended.cause, ended.status, ended.to_string().as_str()), (Cause::Own, status, said));
    }
}

#[tokio::test]
async fn ten_megabytes_go_in_and_come_out() {
    let launcher = Local::new().unwrap();
    let line = "x".repeat(99);
    let mut command = shell("j", "cat");
    command.input = format!("{line}\n").repeat(100_000).into_bytes();
    let heard = run(&launcher, command).await;
    assert_eq!(heard.out.len(), 100_000);
    assert!(heard.out.iter().all(|out| *out == line));
    assert_eq!((heard.ended.stdout.bytes, heard.ended.stdout.bytes_dropped), (9_900_000, 0));
}

#[tokio::test]
async fn input_that_nobody_reads_harms_nobody() {
    let launcher = Local::new().unwrap();
    let mut command = shell("j", "echo done");
    command.input = vec![b'x'; 10 << 20];
    let heard = run(&launcher, command).await;
    assert_eq!(heard.out, ["done"]);
    assert!(heard.ended.is_success());
    // A reader that waits for the end of its input gets it, also when there is none.
    assert_eq!(run(&launcher, shell("j", "cat; echo end")).await.out, ["end"]);
}

#[tokio::test]
async fn a_watch_that_is_dropped_is_taken_up_by_the_next() {
    let launcher = Local::new().unwrap();
    launcher.start(shell("j", "echo one; read x; echo two")).await.unwrap();
    let watch = launcher.watch("j").await.unwrap();
    assert!(matches!(launcher.watch("j").await, Err(Error::Watched { .. })));
    drop(watch);
    assert_eq!(hear(&launcher, "j").await.out, ["one", "two"]);
}

#[tokio::test]
async fn stopped_while_it_starts_it_is_gone() {
    let launcher = Local::new().unwrap();
    for round in 0..20_u64 {
        let start = launcher.start(shell("j", "echo $$; sleep 1000"));
        let stop = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            launcher.stop("j", Duration::ZERO).await
        };
        let (_, stopped) = within(async { tokio::join!(start, stop) }).await;
        assert_eq!(stopped.unwrap().unwrap().cause, Cause::Stopped);
        assert!(launcher.watch("j").await.is_err(), "the name is free");
    }
}

#[tokio::test]
async fn a_start_whose_answer_was_dropped_can_still_be_stopped() {
    let launcher = Local::new().unwrap();
    tokio::select! {
        biased;
        _ = launcher.start(shell("j", "echo $$; sleep 1000")) => panic!("it was not dropped"),
        () = std::future::ready(()) => {}
    }
    let process = first_line(&launcher, "j").await;
    within(launcher.stop("j", Duration::ZERO)).await.unwrap().unwrap();
    assert_eq!(state(&process), None);
}

#[tokio::test]
async fn no_zombie_is_left() {
    let launcher = Local::new().unwrap();
    let process = run(&launcher, shell("j", "echo $$")).await.out.remove(0);
    assert_eq!(state(&process), None, "a zombie is Some('Z')");
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_a_watch_that_sleeps() {
    let launcher = Local::new().unwrap();
    launcher.start(shell("j", "yes")).await.unwrap();
    let watch = launcher.watch("j").await.unwrap();
    let ended = within(launcher.stop("j", Duration::ZERO)).await.unwrap().unwrap();
    assert_eq!(ended.cause, Cause::Stopped);
    drop(watch);
}

#[tokio::test]
async fn a_launcher_that_is_dropped_takes_its_processes_along() {
    let launcher = Local::new().unwrap();
    launcher.start(shell("j", "trap '' TERM; echo $$; sleep 1000 & wait")).await.unwrap();
    let process = first_line(&launcher, "j").await;
    assert!(is_alive(&process));
    drop(launcher);
    until_gone(&process).await;
}

#[test]
fn a_runtime_that_ends_takes_its_processes_along() {
    let launcher = Local::new().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let process = runtime.block_on(async {
        launcher.start(shell("j", "echo $$; sleep 1000")).await.unwrap();
        first_line(&launcher, "j").await
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until_gone(&process));
    assert!(runtime.block_on(launcher.stop("j", Duration::ZERO)).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_run_side_by_side() {
    let launcher = Local::new().unwrap();
    let names: Vec<String> = (0..64).map(|number| format!("j{number}")).collect();
    for name in &names {
        launcher.start(shell(name, "sleep 1; echo $0")).await.unwrap();
    }
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 64, "{threads} threads");
    for name in &names {
        let heard = hear(&launcher, name).await;
        assert_eq!(heard.out, ["sh"]);
        assert!(heard.ended.elapsed < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_suspended_process_hears_a_stop() {
    let launcher = Local::new().unwrap();
    launcher.start(shell("j", "trap 'exit 3' TERM; echo $$; kill -STOP $$; sleep 1000 & wait")).await.unwrap();
    let process = first_line(&launcher, "j").await;
    within(async {
        while state(&process) != Some('T') {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let begun = tokio::time::Instant::now();
    let ended = within(launcher.stop("j", Duration::from_secs(20))).await.unwrap().unwrap();
    assert_eq!((ended.cause, ended.status), (Cause::Stopped, Status::Exit(3)));
    assert!(begun.elapsed() < Duration::from_secs(10));
}
