//! The binary as a process of its own in a folder of its own: started, stopped, killed and looked at.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use stdx::{Bell, Clock};

/// No step of a test takes longer than this, unless something hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// A folder with a document, in which processes are started.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    clock: Clock,
    started: std::cell::Cell<usize>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::system(), started: std::cell::Cell::new(0) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes `stream.yaml`: the stream `test` with a spec.
    pub(crate) fn document(&self, spec: &str) {
        self.document_of("test", spec);
    }

    /// Writes `stream.yaml`: a stream with a name and a spec.
    pub(crate) fn document_of(&self, name: &str, spec: &str) {
        let mut text = format!("apiVersion: headwater.dev/v1alpha1\nkind: Stream\nmetadata: {{name: {name}}}\nspec:\n");
        for line in spec.lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        self.write("stream.yaml", text);
    }

    /// Starts the binary; its outputs go to files.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.started(&mut self.command(arguments))
    }

    /// The binary with arguments, in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts a command; its outputs go to files.
    pub(crate) fn started(&self, command: &mut Command) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        let (out, err) = (self.path(&format!("{number}.out")), self.path(&format!("{number}.err")));
        let child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
        Process { child, out, err, clock: self.clock.clone() }
    }

    /// Starts `headwater run stream.yaml`.
    pub(crate) fn run(&self) -> Process {
        self.start(&["run", "stream.yaml"])
    }

    /// The stream's ledger where the document names `ledger` as its home.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("ledger/default/test")
    }
}

/// A process. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    clock: Clock,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds its standard output.
    pub(crate) fn out_path(&self) -> &Path {
        &self.out
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Sends a signal by its name: `STOP`, `CONT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends, at most so long.
    pub(crate) fn ended_within(&mut self, longest: Duration) -> Option<ExitStatus> {
        let until = self.clock.elapsed() + longest;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if self.clock.elapsed() >= until {
                return None;
            }
            pause(Duration::from_millis(2));
        }
    }

    /// Whether it came to its end, of which nobody has asked yet.
    pub(crate) fn has_ended(&self) -> bool {
        // The state stands behind the name, which stands in brackets: proc(5).
        fs::read_to_string(format!("/proc/{}/stat", self.id())).is_ok_and(|stat| stat.contains(") Z "))
    }

    /// Waits until it ends, and gives the exit code.
    pub(crate) fn code(&mut self) -> i32 {
        let status = self.ended_within(PATIENCE).unwrap_or_else(|| panic!("it hangs:\n{}", self.err()));
        status.code().unwrap_or_else(|| panic!("{status}:\n{}", self.err()))
    }

    /// Waits until it ends, which must be in peace.
    pub(crate) fn succeed(&mut self) {
        let code = self.code();
        assert_eq!(code, 0, "{}", self.err());
    }

    /// A number in kB of `/proc/<id>/status`, such as the peak `VmHWM`; `None` once it has ended.
    pub(crate) fn status_kb(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// Processor time so far, in ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be stopped, or have ended: SIGKILL ends the one and does nothing to the other.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lets time pass for another process, which a clock of the test can't move.
pub(crate) fn pause(time: Duration) {
    let clock = Clock::system();
    Bell::default().wait(&clock, Some(clock.elapsed() + time));
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = Clock::system();
    while !holds() {
        assert!(clock.elapsed() < PATIENCE, "in vain: {what}");
        pause(Duration::from_millis(2));
    }
}

/// A number that the environment may give.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how hard they are, in the environment")]
pub(crate) fn given(name: &str) -> Option<u64> {
    Some(std::env::var_os(name)?.to_str()?.parse().expect("a number"))
}

/// Random numbers from the seed in `HEADWATER_SEED`, or from a new one; it is printed when the test fails.
#[expect(clippy::print_stdout, reason = "libtest shows it when the test fails")]
pub(crate) fn draw() -> fastrand::Rng {
    let seed = given("HEADWATER_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("HEADWATER_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
