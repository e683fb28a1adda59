//! What a process says, on its way into the job's log.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::Pace;
use super::client::{ANSWER, Client, Patience, Trouble, is_lost};
use crate::id::Token;
use crate::lease::Lease;
use crate::limit;

/// Lines are gathered for so long.
const EVERY: Duration = Duration::from_millis(250);
/// How many chunks may wait for the server. What comes then is dropped and counted: a process must not wait for it.
const CHUNKS_MAX: usize = 64;
/// How many bytes of lines are sent at once.
const SEND_BYTES_MAX: usize = 512 << 10;
/// How often one append is tried.
const TRIES: u32 = 4;
/// How long the end of a job waits for the end of its log.
const END: Duration = Duration::from_secs(5);

/// A job's log. What can't be told to the server in time is counted and said in the log itself, if that comes back.
pub(super) struct Log {
    lines: mpsc::Sender<Vec<String>>,
    task: JoinHandle<()>,
    dropped: u64,
}

#[derive(Serialize)]
struct Append<'a> {
    token: &'a Token,
    lines: &'a [String],
}

impl Log {
    pub(super) fn new(client: &Arc<Client>, pace: Pace, lease: &Lease) -> Self {
        let (lines, chunks) = mpsc::channel(CHUNKS_MAX);
        let writer = Writer {
            client: Arc::clone(client),
            path: format!("/v1/jobs/{}/logs", lease.id),
            token: lease.token.clone(),
            pace,
        };
        Self { lines, task: tokio::spawn(writer.write(chunks)), dropped: 0 }
    }

    pub(super) fn add(&mut self, mut lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        let count = lines.len() as u64;
        if self.dropped > 0 {
            lines.insert(0, format!("({} lines are missing here: the server did not take them)", self.dropped));
        }
        match self.lines.try_send(lines) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += count,
        }
    }

    /// Says the last of it. To be done before the job is finished, because its token is no good afterwards.
    pub(super) async fn end(self) {
        drop(self.lines);
        let mut task = self.task;
        if timeout(END, &mut task).await.is_err() {
            task.abort();
        }
    }
}

struct Writer {
    client: Arc<Client>,
    path: String,
    token: Token,
    pace: Pace,
}

impl Writer {
    async fn write(self, mut chunks: mpsc::Receiver<Vec<String>>) {
        while let Some(mut lines) = chunks.recv().await {
            let until = Instant::now() + EVERY;
            while lines.len() < limit::LOG_LINES_MAX
                && let Ok(Some(more)) = timeout_at(until, chunks.recv()).await
            {
                lines.extend(more);
            }
            let mut taken = true;
            while taken && !lines.is_empty() {
                let rest = lines.split_off(fitting(&lines));
                taken = self.append(&lines).await;
                lines = rest;
            }
            if !taken {
                return;
            }
        }
    }

    /// False if it is no use to go on.
    async fn append(&self, lines: &[String]) -> bool {
        let mut patience = Patience::new(self.pace);
        for _ in 0..TRIES {
            let body = Append { token: &self.token, lines };
            match self.client.post::<serde::de::IgnoredAny>(&self.path, &body, ANSWER).await {
                Ok(_) => return true,
                Err(Trouble::Refused { code, why }) => {
                    tracing::warn!(code, why, "append to a job's log");
                    return !is_lost(&code);
                }
                Err(away) => patience.wait("append to a job's log", &away).await,
            }
        }
        true
    }
}

/// How many of the lines go into one request: at least one.
fn fitting(lines: &[String]) -> usize {
    let mut bytes = 0;
    let fits = |line: &&String| {
        bytes += line.len();
        bytes <= SEND_BYTES_MAX
    };
    lines.iter().take(limit::LOG_LINES_MAX).take_while(fits).count().max(1)
}
