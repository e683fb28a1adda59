//! One attempt at one job: a process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use launch::{Answer, Cause, Ended, Event, Launcher, Line, Status, Stream};
use stdx::{Blame, Chain};
use tokio::sync::watch;

use super::Worker;
use super::client::Client;
use super::held::Wish;
use super::log::Log;
use crate::job::{Failure, Reason};
use crate::json::Json;
use crate::lease::{Ending, Lease, Nack, Outcome};
use crate::limit;

/// How long a job stays away that the machine had no room for.
const SNOOZE: document::Duration = document::Duration::from_secs(5);
/// How long it may take from the lease to the start of the process.
const START_MAX: Duration = Duration::from_secs(1);
/// How many bytes of the last lines of standard error are told with a failure.
const TRACE_BYTES_MAX: usize = 8 << 10;

/// Runs the process. `None` if the lease was lost: then there is nobody to tell.
pub(super) async fn attempt(
    worker: &Worker,
    launcher: &dyn Launcher,
    client: &Arc<Client>,
    lease: &Lease,
    mut wish: watch::Receiver<Wish>,
) -> Option<Outcome> {
    let command = command(worker, lease);
    let name = command.name.clone();
    if let Err(error) = launcher.start(command).await {
        tracing::warn!(job = %lease.id, error = %Chain(&error), "start a job's process");
        return Some(unstarted(lease, &error));
    }
    let mut said = Said { log: Log::new(client, worker.pace, lease), held_back: None, tail: Tail::default() };
    let ended = listen(worker, launcher, &name, &mut wish, &mut said).await;
    let _ = launcher.stop(&name, worker.stop_grace).await;
    let wished = *wish.borrow();
    if wished == Wish::Lost {
        return None;
    }
    let Some(ended) = ended else {
        return Some(failed(lease, Failure::new("the process was lost by its launcher"), Reason::Error));
    };
    Some(conclude(lease, wished, &ended, said).await)
}

/// Hears the process out, and ends it when that is wished.
async fn listen(
    worker: &Worker,
    launcher: &dyn Launcher,
    name: &str,
    wish: &mut watch::Receiver<Wish>,
    said: &mut Said,
) -> Option<Ended> {
    let mut watch = launcher.watch(name).await.ok()?;
    let mut stopping: Option<Answer<'_, Option<Ended>>> = None;
    let mut stopped = None;
    loop {
        tokio::select! {
            event = watch.next() => match event {
                Some(Event::Lines(stream, lines)) => said.take(stream, lines),
                Some(Event::Ended(ended)) => return Some(*ended),
                None => break,
            },
            asked = wish.wait_for(|wish| *wish > Wish::GoOn), if stopping.is_none() && stopped.is_none() => {
                if asked.is_err() {
                    // The worker itself is gone, so nobody will hear of this job.
                    return None;
                }
                stopping = Some(launcher.stop(name, worker.stop_grace));
            }
            ended = polled(&mut stopping) => {
                stopping = None;
                stopped = Some(ended.ok().flatten());
            }
        }
    }
    match stopping {
        Some(stopping) => stopping.await.ok().flatten(),
        None => stopped.flatten(),
    }
}

async fn polled<T>(answer: &mut Option<Answer<'_, T>>) -> Result<T, launch::Error> {
    match answer {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

fn command(worker: &Worker, lease: &Lease) -> launch::Command {
    let (program, arguments) = worker.command.split_first().map_or((String::new(), &[][..]), |(p, a)| (p.clone(), a));
    // Names may be told in errors, so a token is none.
    let mut command = launch::Command::new(format!("{}-{:x}", lease.id, fastrand::u64(..)), program);
    command.arguments = arguments.to_vec();
    command.environment.clone_from(&worker.environment);
    let own = [
        ("HEADWATER_JOB_ID", lease.id.to_string()),
        ("HEADWATER_JOB_TOKEN", lease.token.as_str().to_owned()),
        ("HEADWATER_QUEUE", lease.queue.clone()),
        ("HEADWATER_ATTEMPT", lease.attempt.to_string()),
        ("HEADWATER_SERVER", worker.server.clone()),
    ];
    command.environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    command.folder.clone_from(&worker.folder);
    command.input = lease.payload.as_str().as_bytes().to_vec();
    command.timeout = lease.timeout.map(document::Duration::get).or(worker.timeout);
    command.grace = worker.stop_grace;
    command.memory_bytes_max = worker.memory_bytes_max;
    command.line_bytes_max = limit::RESULT_BYTES_MAX;
    command
}

/// What became of it. A process that ended well by itself has done its job, whatever was wished meanwhile.
async fn conclude(lease: &Lease, wished: Wish, ended: &Ended, mut said: Said) -> Outcome {
    let success = ended.is_success();
    said.end(success, ended);
    let Said { log, tail, .. } = said;
    log.end().await;
    match (ended.cause, wished) {
        _ if success => match result(ended.last_line.as_ref()) {
            Ok(result) => Outcome::ack(lease.id, lease.token.clone(), result),
            Err(why) => failed(lease, Failure::new(why), Reason::Error),
        },
        (Cause::Stopped, Wish::Release | Wish::GoOn) => Outcome::release(lease.id, lease.token.clone()),
        (Cause::Stopped, _) if is_out_of_time(lease, ended) => {
            failed(lease, Failure::new("stopped, because its timeout was over"), Reason::Timeout)
        }
        (Cause::Stopped, _) => failed(lease, Failure::new("stopped, because the job was cancelled"), Reason::Error),
        _ => failed(lease, failure(ended, tail), reason(ended)),
    }
}

/// A beat says that a timeout is over in the words of a cancel, and by the server's clock, which began before the process.
fn is_out_of_time(lease: &Lease, ended: &Ended) -> bool {
    lease.timeout.is_some_and(|timeout| ended.elapsed + START_MAX >= timeout.get())
}

fn reason(ended: &Ended) -> Reason {
    match (ended.cause, ended.status) {
        (Cause::Timeout, _) => Reason::Timeout,
        (Cause::OutOfMemory, _) => Reason::OutOfMemory,
        (_, Status::Signal(_)) => Reason::Signal,
        (_, Status::Exit(_)) => Reason::Error,
    }
}

fn failure(ended: &Ended, tail: Tail) -> Failure {
    let trace: Vec<String> = tail.lines.into();
    // Most programs say last what is wrong.
    let last = trace.iter().rev().find(|line| !line.trim().is_empty());
    let message = last.map_or_else(|| format!("the process {ended}"), |last| format!("the process {ended}: {last}"));
    let (exit_code, signal) = match ended.status {
        Status::Exit(code) => (Some(code), None),
        Status::Signal(signal) => (None, Some(signal)),
    };
    Failure { message, trace: (!trace.is_empty()).then(|| trace.join("\n")), exit_code, signal, kind: None }
}

/// What the job can't help costs it no attempt.
fn unstarted(lease: &Lease, error: &launch::Error) -> Outcome {
    let snooze = (error.blame() != Blame::Document).then_some(SNOOZE);
    let ending = Ending::Nack(Nack { error: Failure::new(Chain(error).to_string()), snooze, ..Nack::default() });
    Outcome { id: lease.id, token: lease.token.clone(), ending }
}

fn failed(lease: &Lease, error: Failure, reason: Reason) -> Outcome {
    let ending = Ending::Nack(Nack { error, reason, ..Nack::default() });
    Outcome { id: lease.id, token: lease.token.clone(), ending }
}

fn result(line: Option<&Line>) -> Result<Json, String> {
    let Some(line) = line else { return Ok(Json::null()) };
    let text = line.text();
    let json = Json::read(text.trim().to_owned())
        .unwrap_or_else(|| Json::from_value(&serde_json::Value::String(text.into_owned())));
    let found = json.as_str().len() as u64 + line.bytes_cut;
    if line.bytes_cut > 0 || json.as_str().len() > limit::RESULT_BYTES_MAX {
        let max = limit::RESULT_BYTES_MAX;
        return Err(format!(
            "the result, the last line of standard output, has {found} bytes; at most {max} are taken"
        ));
    }
    Ok(json)
}

/// What the process said so far.
struct Said {
    log: Log,
    /// The last line of standard output that isn't blank: it may be the result, which is not logged.
    held_back: Option<Line>,
    tail: Tail,
}

impl Said {
    fn take(&mut self, stream: Stream, lines: Vec<Line>) {
        let mut logged = Vec::with_capacity(lines.len());
        for line in lines {
            if stream == Stream::Stderr {
                let line = shown(&line);
                self.tail.add(&line);
                logged.push(line);
            } else if !line.bytes.trim_ascii().is_empty() {
                logged.extend(self.held_back.replace(line).as_ref().map(shown));
            }
        }
        self.log.add(logged);
    }

    fn end(&mut self, success: bool, ended: &Ended) {
        let held_back =
            self.held_back.take().filter(|held_back| !success || ended.last_line.as_ref() != Some(held_back));
        let mut last: Vec<String> = held_back.as_ref().map(shown).into_iter().collect();
        for (name, tally) in [("output", ended.stdout), ("error", ended.stderr)] {
            if tally.lines_dropped > 0 {
                last.push(format!("({} more lines of standard {name} were not kept)", tally.lines_dropped));
            }
        }
        self.log.add(last);
    }
}

/// A line as the log takes it.
fn shown(line: &Line) -> String {
    let text = line.text();
    if line.bytes_cut == 0 && text.len() <= limit::LOG_LINE_BYTES_MAX {
        return text.into_owned();
    }
    let whole = line.bytes.len() as u64 + line.bytes_cut;
    let note = format!(" (cut: {whole} bytes)");
    let end = text.floor_char_boundary(limit::LOG_LINE_BYTES_MAX - note.len());
    format!("{}{note}", &text[..end])
}

/// The last lines of standard error.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn add(&mut self, line: &str) {
        let line = &line[..line.floor_char_boundary(TRACE_BYTES_MAX / 4)];
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > TRACE_BYTES_MAX {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len() + 1;
        }
    }
}
