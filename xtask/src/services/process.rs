//! Processes that outlive us: started apart, known again by the moment they were born.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// How often something is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Closes what the caller's caller left open (a pipe of `make`, say), so that nobody waits for our brokers to end. In
/// bash, because plain shells close no number above nine.
const CLOSE_AND_START: &str =
    "for open in /dev/fd/*; do number=${open##*/}; ((number > 2)) && eval \"exec $number>&-\"; done; exec \"$@\"";

/// A process, and the moment it was born, so that a stranger who was given the same number isn't taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The number the system gave it.
    pub(crate) pid: u32,
    born: String,
}

impl Process {
    /// Starts a program that goes on when we end: in a process group of its own, with all it says in `log`.
    pub(crate) fn start(command: &[String], log: &Path) -> Result<Process> {
        let told = File::options().create(true).append(true).open(log);
        let told = told.with_context(|| format!("open {}", log.display()))?;
        let mut apart = Command::new("bash");
        apart.args(["-c", CLOSE_AND_START, "bash"]).args(command).process_group(0);
        apart.stdin(Stdio::null()).stdout(told.try_clone()?).stderr(told);
        // Where a program that crashes leaves its last words.
        apart.current_dir(log.parent().unwrap_or(Path::new(".")));
        let child = apart.spawn().with_context(|| format!("start `{}`", command.join(" ")))?;
        Process::of(child.id()).with_context(|| format!("`{}` ended at once: see {}", command.join(" "), log.display()))
    }

    /// The process of this number that runs now.
    pub(crate) fn of(pid: u32) -> Option<Process> {
        Some(Process { pid, born: born(pid)? })
    }

    /// Whether it still runs. Not so when its number has gone to another, or when only its exit code is left.
    pub(crate) fn runs(&self) -> bool {
        born(self.pid).as_deref() == Some(self.born.as_str())
    }

    /// Sends a signal such as `TERM`, unless the process has ended.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        if !self.runs() {
            return Ok(());
        }
        // The shell's own `kill` is on every machine; the program isn't.
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {}", self.pid)]).stderr(Stdio::null());
        let status = kill.status().context("start `sh`")?;
        ensure!(status.success() || !self.runs(), "could not send SIG{name} to process {}", self.pid);
        Ok(())
    }

    /// Bytes of memory in use, where the system tells.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// As it is kept in a file.
    pub(crate) fn to_json(&self) -> Value {
        json!({"pid": self.pid, "born": self.born})
    }

    /// As it was kept in a file.
    pub(crate) fn from_json(value: &Value) -> Option<Process> {
        Some(Process { pid: u32::try_from(value["pid"].as_u64()?).ok()?, born: value["born"].as_str()?.to_owned() })
    }
}

/// Asks all to end, waits, and ends those that don't.
pub(crate) fn stop(processes: &[Process], patience: Duration) -> Result<()> {
    for process in processes {
        process.signal("TERM")?;
        // PostgreSQL waits for its clients, unless it is asked like this.
        process.signal("INT")?;
        // One that is paused hears nothing until it goes on.
        process.signal("CONT")?;
    }
    if !wait(patience, || processes.iter().all(|process| !process.runs())) {
        processes.iter().try_for_each(|process| process.signal("KILL"))?;
    }
    let ended = wait(Duration::from_secs(10), || processes.iter().all(|process| !process.runs()));
    ensure!(ended, "a process does not end, even when killed: {processes:?}");
    Ok(())
}

/// Waits until something holds, and says whether it does.
#[expect(clippy::disallowed_methods, reason = "other programs take real time to start and to end")]
pub(crate) fn wait(at_most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() > at_most {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The moment of birth, as the system writes it; `None` when there is no such process or it has ended.
fn born(pid: u32) -> Option<String> {
    let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return born_by_ps(pid) };
    // Read by hand: these files have no length.
    let mut stat = String::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
    Some(format!("{} {}", boot.trim(), born_of_stat(&stat)?))
}

/// The 22nd field, ticks since the machine started. The second may hold anything, also blanks and parentheses.
fn born_of_stat(stat: &str) -> Option<&str> {
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    (!is_over).then(|| fields.nth(18)).flatten()
}

/// On systems without `/proc`.
fn born_by_ps(pid: u32) -> Option<String> {
    let answer = Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let line = String::from_utf8(answer.stdout).ok()?;
    let (state, born) = line.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| born.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Process {
        let words = ["sleep", "60"].map(str::to_owned);
        Process::start(&words, &folder.join("log")).expect("started")
    }

    #[test]
    fn the_birth_is_found_behind_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(born_of_stat(&format!("42 (a b) S) S {rest}\n")), Some("777"));
        assert_eq!(born_of_stat(&format!("42 (java) Z {rest}\n")), None);
        assert_eq!(born_of_stat(""), None);
    }

    #[test]
    fn what_was_started_is_known_again_and_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = sleeper(folder.path());
        let kept = Process::from_json(&process.to_json()).expect("read back");
        assert!(kept == process && kept.runs());
        stop(&[kept], Duration::from_secs(5)).expect("stopped");
        assert!(!process.runs());
    }

    #[test]
    fn one_that_is_paused_ends_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = sleeper(folder.path());
        process.signal("STOP").expect("paused");
        stop(std::slice::from_ref(&process), Duration::from_secs(5)).expect("stopped");
        assert!(!process.runs());
    }

    #[test]
    fn a_stranger_with_the_same_number_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = sleeper(folder.path());
        let taken = Process { pid: process.pid, born: "another time".to_owned() };
        assert!(!taken.runs());
        stop(&[taken], Duration::ZERO).expect("nothing to stop");
        assert!(process.runs());
        stop(&[process], Duration::ZERO).expect("stopped");
    }

    #[test]
    fn nothing_of_ours_stays_open_in_it() {
        if !Path::new("/proc/self/fd").exists() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let process = sleeper(folder.path());
        let name = || fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
        assert!(wait(Duration::from_secs(10), || name().trim() == "sleep"), "still {}", name());
        let open = fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("listed");
        let names: Vec<String> = open.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        stop(&[process], Duration::ZERO).expect("stopped");
        assert!(names.iter().all(|name| ["0", "1", "2"].contains(&name.as_str())), "{names:?}");
    }
}
