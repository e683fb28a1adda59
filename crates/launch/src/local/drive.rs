//! One process from its start to its end.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::State;
use super::memory::{self, KernelKills};
use super::start::Process;
use crate::output::{self, Phase, Read, Splitter, at};
use crate::{Cause, Command, Ended, Event, Status, Stream};

/// Where a process's news go, and where wishes come from.
pub(super) struct Ends {
    pub(super) state: watch::Sender<State>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) events: mpsc::Sender<Event>,
    /// The grace of a stop that was asked for. Closed when the launcher is dropped.
    pub(super) stop: watch::Receiver<Option<Duration>>,
}

pub(super) async fn drive(mut command: Command, mut process: Process, mut ends: Ends) {
    let begun = Instant::now();
    let kills = KernelKills::watch();
    let input = std::mem::take(&mut command.input);
    let writer = process.input.take().map(|pipe| tokio::spawn(write(pipe, input)));
    let stdout = spawn_read(process.stdout.take(), Stream::Stdout, &command, &ends);
    let stderr = spawn_read(process.stderr.take(), Stream::Stderr, &command, &ends);

    let cause = until_exit(&command, &process, &mut ends.stop, begun).await;
    let elapsed = begun.elapsed();
    // The exit was seen, so waiting for the status does not wait.
    let status = process.reap().map_or(Status::Exit(-1), Status::from);
    drop(process);
    if let Some(writer) = writer {
        writer.abort();
    }
    ends.phase.send_if_modified(|phase| phase.raise(Phase::Exited));
    let (stdout, stderr) = (finish(stdout).await, finish(stderr).await);
    let cause = match (cause, status) {
        (Some(cause), _) => cause,
        (None, Status::Signal(9)) if kills.happened() => Cause::OutOfMemory,
        (None, _) => Cause::Own,
    };
    let ended =
        Ended { cause, status, elapsed, stdout: stdout.tally, stderr: stderr.tally, last_line: stdout.last_line };
    ends.state.send_replace(State::Ended(Box::new(ended.clone())));
    output::send(&ends.events, &mut ends.phase.subscribe(), Event::Ended(Box::new(ended))).await;
}

/// Waits for the exit, and sees to it that it comes in time. The cause, if it isn't the process's own.
async fn until_exit(
    command: &Command,
    process: &Process,
    stop: &mut watch::Receiver<Option<Duration>>,
    begun: Instant,
) -> Option<Cause> {
    let mut cause = None;
    let mut timeout = command.timeout.and_then(|timeout| begun.checked_add(timeout));
    let mut kill = None;
    let mut look = command.memory_bytes_max.map(|_| begun + memory::LOOK / 4);
    let mut listening = true;
    loop {
        tokio::select! {
            biased;
            _ = process.exit.readable() => return cause,
            changed = stop.changed(), if listening => {
                // Without a launcher, there is nobody who could want anything else than the end.
                listening = changed.is_ok();
                let grace = stop.borrow_and_update().filter(|_| listening).unwrap_or_default();
                cause.get_or_insert(Cause::Stopped);
                terminate(process);
                let at = Instant::now() + grace;
                kill = Some(kill.map_or(at, |before: Instant| before.min(at)));
                timeout = None;
            }
            () = at(timeout) => {
                cause.get_or_insert(Cause::Timeout);
                terminate(process);
                kill = Some(Instant::now() + command.grace);
                timeout = None;
            }
            () = at(kill) => {
                process.signal(Signal::KILL);
                kill = None;
            }
            () = at(look) => {
                look = Some(Instant::now() + memory::LOOK);
                if command.memory_bytes_max.is_some_and(|bytes_max| memory::is_over(process.group, bytes_max)) {
                    cause = Some(Cause::OutOfMemory);
                    process.signal(Signal::KILL);
                    (look, timeout) = (None, None);
                }
            }
        }
    }
}

/// Asks the group to end; one that is suspended must wake up to hear it.
fn terminate(process: &Process) {
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
}

async fn write(mut pipe: pipe::Sender, input: Vec<u8>) {
    // A process need not read its input, so a broken pipe is no error.
    let _ = pipe.write_all(&input).await;
}

fn spawn_read(
    pipe: Option<pipe::Receiver>,
    stream: Stream,
    command: &Command,
    ends: &Ends,
) -> Option<JoinHandle<Read>> {
    let splitter = Splitter::new(command.line_bytes_max, command.stream_bytes_max, stream == Stream::Stdout);
    let (events, phase) = (ends.events.clone(), ends.phase.subscribe());
    pipe.map(|pipe| tokio::spawn(output::read(pipe, stream, splitter, events, phase)))
}

async fn finish(reader: Option<JoinHandle<Read>>) -> Read {
    match reader {
        Some(reader) => reader.await.unwrap_or_default(),
        None => Read::default(),
    }
}
