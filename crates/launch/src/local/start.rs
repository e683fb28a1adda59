//! The thread that starts processes. It lives as long as they do, because the kernel kills a process (`PR_SET_PDEATHSIG`)
//! when the *thread* that started it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::drive::{self, Ends};
use super::keeper::Keeper;
use super::{State, memory, program};
use crate::{Command, Error, open_files};

/// What the thread is asked for.
pub(super) enum Request {
    /// Start this.
    Start(Box<Birth>),
    /// This group is no more.
    Gone(u32),
}

/// A process to be.
pub(super) struct Birth {
    pub(super) command: Command,
    pub(super) ends: Ends,
    pub(super) runtime: Handle,
    pub(super) gone: mpsc::Sender<Request>,
}

/// A process that runs. Dropped, it is killed with its group and leaves no zombie.
pub(super) struct Process {
    child: Option<Child>,
    pub(super) group: u32,
    pub(super) exit: AsyncFd<OwnedFd>,
    pub(super) input: Option<pipe::Sender>,
    pub(super) stdout: Option<pipe::Receiver>,
    pub(super) stderr: Option<pipe::Receiver>,
    gone: mpsc::Sender<Request>,
}

/// Serves until nobody can ask any more.
pub(super) fn serve(requests: &mpsc::Receiver<Request>) {
    let mut keeper = Keeper::default();
    while let Ok(request) = requests.recv() {
        match request {
            Request::Gone(group) => keeper.end(group),
            Request::Start(birth) => {
                let Birth { command, ends, runtime, gone } = *birth;
                let entered = runtime.enter();
                match start(&command, gone, &mut keeper) {
                    Ok(process) => {
                        drop(entered);
                        ends.state.send_replace(State::Running);
                        runtime.spawn(drive::drive(command, process, ends));
                    }
                    Err(error) => {
                        ends.state.send_replace(State::Failed(error));
                    }
                }
            }
        }
    }
}

fn start(command: &Command, gone: mpsc::Sender<Request>, keeper: &mut Keeper) -> Result<Process, Error> {
    let program = program::find(command)?;
    let refused = |program: &PathBuf| {
        let program = program.clone();
        move |source: io::Error| Error::Start { program, source: Arc::new(source) }
    };
    let mut child = prepare(command, &program).spawn().map_err(refused(&program))?;
    keeper.start(child.id());
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // From here on, whatever fails, the guard ends what was started.
    let mut guard = Guard(Some(child));
    let process = guard.0.as_ref().map(Pid::from_child).ok_or(Error::Over)?;
    let exit = rustix::process::pidfd_open(process, PidfdFlags::empty()).map_err(io::Error::from);
    let exit = exit.and_then(watched).map_err(refused(&program))?;
    let input = pipes.0.map(|pipe| pipe::Sender::from_owned_fd(pipe.into())).transpose();
    let stdout = pipes.1.map(|pipe| pipe::Receiver::from_owned_fd(pipe.into())).transpose();
    let stderr = pipes.2.map(|pipe| pipe::Receiver::from_owned_fd(pipe.into())).transpose();
    Ok(Process {
        group: process.as_raw_nonzero().get().unsigned_abs(),
        exit,
        input: input.map_err(refused(&program))?,
        stdout: stdout.map_err(refused(&program))?,
        stderr: stderr.map_err(refused(&program))?,
        child: guard.0.take(),
        gone,
    })
}

/// A process's descriptor is readable once it has exited.
fn watched(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same for as long as it is registered.
    #[expect(unsafe_code, reason = "tokio can't know that this type keeps its descriptor, and offers nothing safe")]
    let registered = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

fn prepare(command: &Command, program: &PathBuf) -> std::process::Command {
    let mut made = std::process::Command::new(program);
    made.arg0(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.folder)
        .process_group(0)
        .stdin(if command.input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let parent = rustix::process::getpid();
    let private = command.memory_bytes_max.map(memory::private_bytes_max);
    let open_files = open_files::given();
    let in_child = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(parent) {
            // The parent died before the kernel knew of our wish.
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        if private.is_some() {
            rustix::process::setrlimit(Resource::Data, Rlimit { current: private, maximum: private })?;
        }
        if let Some(given) = &open_files {
            rustix::process::setrlimit(Resource::Nofile, given.clone())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec, the closure makes some system calls, allocates nothing and takes no lock.
    #[expect(unsafe_code, reason = "only the child itself can ask the kernel for these, and only before exec")]
    unsafe {
        made.pre_exec(in_child);
    }
    made
}

/// Ends a child whose start went wrong half-way.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            end(child);
        }
    }
}

impl Process {
    /// Sends a signal to the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // Until it is reaped, its number is nobody else's.
            let _ = rustix::process::kill_process_group(Pid::from_child(child), signal);
        }
    }

    /// Ends what is left of the group and takes the status of a process that has exited.
    pub(super) fn reap(&mut self) -> io::Result<std::process::ExitStatus> {
        self.signal(Signal::KILL);
        let mut child = self.child.take().ok_or(io::ErrorKind::NotFound)?;
        let status = child.wait();
        let _ = self.gone.send(Request::Gone(self.group));
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child);
            let _ = self.gone.send(Request::Gone(self.group));
        }
    }
}

/// Kills and reaps. A killed process is gone in a moment, unless a device holds it; so another thread waits for it.
fn end(mut child: Child) {
    let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = std::thread::Builder::new().name("launch-reap".to_owned()).spawn(move || child.wait());
}
