//! The one thread that writes: it takes whoever waits into one transaction, and answers them after its fsync.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::Shared;
use super::book::{Book, Done, Fault};
use crate::error::Error;
use crate::store::{Pending, promise};

/// Requests that share one transaction at most.
const GROUP_MAX: usize = 1024;

/// How long lines of logs wait for a transaction that comes anyway.
const LOGS_WAIT: Duration = Duration::from_millis(200);

/// Something to do in a transaction. It gives back how to answer once that is durable, and what broke, if it did.
pub(super) type Work = Box<dyn FnOnce(&mut Book) -> (Answer, Option<rusqlite::Error>) + Send>;

/// Answers, and may ask for more work: giving back what the answer would have handed out.
pub(super) struct Answer(Box<dyn FnOnce(Result<(), Error>) -> Option<Work>>);

/// Work of which a refusal rolls back its own part only.
pub(super) fn work<T: Send + 'static>(
    run: impl FnOnce(&mut Book) -> Done<T> + Send + 'static,
    untaken: fn(T) -> Option<Work>,
) -> (Work, Pending<T>) {
    let (promise, pending) = promise();
    let work = move |book: &mut Book| {
        let (reply, broken) = told(book.attempt(run));
        let answer = move |durable: Result<(), Error>| {
            let left = promise.keep(durable.and(reply));
            left.and_then(Result::ok).and_then(untaken)
        };
        (Answer(Box::new(answer)), broken)
    };
    (Box::new(work), pending)
}

/// Work that is answered at once, before it is durable.
pub(super) fn work_at_once<T: Send + 'static>(
    run: impl FnOnce(&mut Book) -> Done<T> + Send + 'static,
) -> (Work, Pending<T>) {
    let (promise, pending) = promise();
    let work = move |book: &mut Book| {
        let (reply, broken) = told(book.attempt(run));
        promise.keep(reply);
        (Answer(Box::new(|_| None)), broken)
    };
    (Box::new(work), pending)
}

fn told<T>(done: Done<T>) -> (Result<T, Error>, Option<rusqlite::Error>) {
    match done {
        Ok(reply) => (Ok(reply), None),
        Err(Fault::Refused(error)) => (Err(error), None),
        Err(Fault::Broken(error)) => (Err(down(&error)), Some(error)),
    }
}

pub(super) fn down(error: &rusqlite::Error) -> Error {
    Error::StoreDown { why: error.to_string() }
}

/// Until nobody can ask any more, or something could not be made durable.
pub(super) fn run(mut book: Book, works: &Receiver<Work>, shared: &Shared) {
    let mut next = Vec::new();
    while let Some(group) = gather(works, &mut next, !book.logs.is_empty()) {
        match commit(&mut book, group, shared) {
            Ok(more) => next = more,
            Err(why) => {
                tracing::error!(%why, "the queue's store has stopped");
                book.hub.wake_all();
                // Whoever still waits, or comes, is told by the handle, which looks at `shared` first, or by the
                // promise that is dropped with its work.
                return;
            }
        }
    }
    if !book.logs.is_empty() {
        let _ = commit(&mut book, Vec::new(), shared);
    }
}

/// Whoever waits. Empty, where only lines of logs do; `None`, where nobody can come any more.
fn gather(works: &Receiver<Work>, next: &mut Vec<Work>, has_logs: bool) -> Option<Vec<Work>> {
    let mut group = std::mem::take(next);
    if group.is_empty() {
        let first = if has_logs {
            match works.recv_timeout(LOGS_WAIT) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        } else {
            Some(works.recv().ok()?)
        };
        group.extend(first);
    }
    while group.len() < GROUP_MAX {
        match works.try_recv() {
            Ok(work) => group.push(work),
            Err(_) => break,
        }
    }
    Some(group)
}

/// One transaction for all, one fsync, then all answers. What is returned is more work.
fn commit(book: &mut Book, group: Vec<Work>, shared: &Shared) -> Result<Vec<Work>, Error> {
    let is_for_logs = group.is_empty();
    let mut answers = Vec::with_capacity(group.len());
    let done = transaction(book, group, &mut answers, is_for_logs);
    let durable = done.map_err(|error| down(&error));
    match &durable {
        Ok(()) => book.tell(),
        Err(why) => shared.fail(why),
    }
    shared.groups.fetch_add(1, Ordering::Relaxed);
    shared.requests.fetch_add(answers.len() as u64, Ordering::Relaxed);
    let more = answers.into_iter().filter_map(|answer| answer.0(durable.clone())).collect();
    durable.map(|()| more)
}

fn transaction(
    book: &mut Book,
    group: Vec<Work>,
    answers: &mut Vec<Answer>,
    is_for_logs: bool,
) -> Result<(), rusqlite::Error> {
    book.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let before = book.connection.total_changes();
    for work in group {
        let (answer, broken) = work(book);
        answers.push(answer);
        if let Some(error) = broken {
            return Err(roll_back(book, error));
        }
    }
    let flushed = book.flush().and_then(|()| {
        let is_written = book.connection.total_changes() != before;
        if is_written || is_for_logs { book.write_logs() } else { Ok(()) }
    });
    if let Err(Fault::Broken(error)) = flushed {
        return Err(roll_back(book, error));
    }
    let committed = book.connection.prepare_cached("COMMIT")?.execute([]);
    committed.map(drop).map_err(|error| roll_back(book, error))
}

/// The file is left as the last commit left it; the first error is the one that counts.
fn roll_back(book: &Book, error: rusqlite::Error) -> rusqlite::Error {
    let _ = book.connection.execute_batch("ROLLBACK");
    error
}
