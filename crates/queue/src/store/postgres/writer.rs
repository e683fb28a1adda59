//! The one thread of a replica that writes: it takes whoever waits into one transaction, with a savepoint for each,
//! and answers them after its commit.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::Shared;
use super::book::Book;
use super::db::{Broken, Done, Fault};
use crate::error::Error;
use crate::store::{Pending, Promise, promise};

/// Requests that share one transaction at most. Fewer than a file takes: their locks are held until its end.
const GROUP_MAX: usize = 256;

/// How often a request is tried whose transaction met another replica's.
const TRIES_MAX: usize = 5;

/// Something to do in a transaction, perhaps more than once: where two replicas wait for each other, one begins anew.
pub(super) trait Work: Send {
    /// Does it, and keeps the reply.
    fn run(&mut self, book: &mut Book) -> Result<(), Broken>;

    /// Sends the reply, if it is durable. What is returned gives back what nobody took.
    fn answer(self: Box<Self>, durable: Result<(), Error>) -> Option<Box<dyn Work>>;
}

struct Task<T, F> {
    run: F,
    untaken: fn(T) -> Option<Box<dyn Work>>,
    promise: Promise<T>,
    reply: Option<Result<T, Error>>,
}

/// Work of which a refusal rolls back its own part only.
pub(super) fn work<T: Send + 'static>(
    run: impl FnMut(&mut Book) -> Done<T> + Send + 'static,
    untaken: fn(T) -> Option<Box<dyn Work>>,
) -> (Box<dyn Work>, Pending<T>) {
    let (promise, pending) = promise();
    (Box::new(Task { run, untaken, promise, reply: None }), pending)
}

impl<T: Send, F: FnMut(&mut Book) -> Done<T> + Send> Work for Task<T, F> {
    fn run(&mut self, book: &mut Book) -> Result<(), Broken> {
        let reply = match book.part(&mut self.run) {
            Ok(reply) => Ok(reply),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Broken(broken)) => return Err(broken),
        };
        self.reply = Some(reply);
        Ok(())
    }

    fn answer(self: Box<Self>, durable: Result<(), Error>) -> Option<Box<dyn Work>> {
        let Self { untaken, promise, reply, .. } = *self;
        let gone = || Err(Error::StoreDown { why: "the transaction was not committed".to_owned() });
        let left = promise.keep(durable.and_then(|()| reply.unwrap_or_else(gone)));
        left.and_then(Result::ok).and_then(untaken)
    }
}

/// Until nobody can ask any more.
pub(super) fn run(mut book: Book, works: &Receiver<Box<dyn Work>>, shared: &Shared) {
    let mut next = Vec::new();
    while let Some(group) = gather(works, &mut next) {
        next = commit(&mut book, group, shared);
    }
}

/// Whoever waits; `None`, where nobody can come any more.
fn gather(works: &Receiver<Box<dyn Work>>, next: &mut Vec<Box<dyn Work>>) -> Option<Vec<Box<dyn Work>>> {
    let mut group = std::mem::take(next);
    if group.is_empty() {
        group.push(works.recv().ok()?);
    }
    while group.len() < GROUP_MAX {
        match works.try_recv() {
            Ok(work) => group.push(work),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    Some(group)
}

/// One transaction for all, then all answers. What is returned is more work.
fn commit(book: &mut Book, mut group: Vec<Box<dyn Work>>, shared: &Shared) -> Vec<Box<dyn Work>> {
    shared.groups.fetch_add(1, Ordering::Relaxed);
    shared.requests.fetch_add(group.len() as u64, Ordering::Relaxed);
    let done = transaction(book, &mut group);
    if let Err(Failed { broken, is_undone: true }) = &done
        && book.is_connected()
    {
        tracing::debug!(why = broken.why, requests = group.len(), "a transaction begins anew, one request each");
        return group.into_iter().filter_map(|work| alone(book, work)).collect();
    }
    let durable = done.map_err(|failed| failed.broken.error());
    group.into_iter().filter_map(|work| work.answer(durable.clone())).collect()
}

/// A transaction for one request that could not be done beside others, or beside another replica's.
fn alone(book: &mut Book, work: Box<dyn Work>) -> Option<Box<dyn Work>> {
    let mut own = [work];
    let mut done = Ok(());
    for _ in 0..TRIES_MAX {
        done = transaction(book, &mut own);
        if !matches!(&done, Err(Failed { is_undone: true, .. })) || !book.is_connected() {
            break;
        }
    }
    let durable = done.map_err(|failed| failed.broken.error());
    let [work] = own;
    work.answer(durable)
}

struct Failed {
    broken: Broken,
    /// Whether nothing of it can have been done. A commit whose answer was lost may have been.
    is_undone: bool,
}

fn transaction(book: &mut Book, group: &mut [Box<dyn Work>]) -> Result<(), Failed> {
    let worked = book.begin().and_then(|()| {
        group.iter_mut().try_for_each(|work| work.run(book))?;
        book.flush()
    });
    if let Err(broken) = worked {
        book.roll_back();
        return Err(Failed { broken, is_undone: true });
    }
    book.commit().map_err(|broken| {
        book.roll_back();
        Failed { broken, is_undone: false }
    })
}
