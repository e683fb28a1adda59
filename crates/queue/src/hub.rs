use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::Error;
use crate::id::JobId;
use crate::lease::{Lease, LeaseRequest};
use crate::store::Store;

/// Where many wait for few: who waits for a job of a queue is woken one for each job that becomes ready, the longest
/// waiting first, so that two thousand idle workers cost nothing.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    queues: HashMap<String, VecDeque<Arc<Seat>>>,
    jobs: HashMap<JobId, Vec<Arc<Seat>>>,
}

#[derive(Default)]
struct Seat {
    types: Vec<String>,
    bell: Notify,
    woken: AtomicBool,
}

impl Seat {
    fn takes(&self, kind: Option<&str>) -> bool {
        self.types.is_empty() || kind.is_some_and(|kind| self.types.iter().any(|own| own == kind))
    }
}

impl Hub {
    /// Waits for a ready job of one of the queues. Ask the store after this, then wait: a job that comes between is
    /// then not missed.
    pub fn ready(&self, queues: &[String], types: &[String]) -> Waiter {
        let seat = Arc::new(Seat { types: types.to_vec(), ..Seat::default() });
        let mut waiting = self.lock();
        for queue in queues {
            waiting.queues.entry(queue.clone()).or_default().push_back(Arc::clone(&seat));
        }
        Waiter { hub: self.clone(), seat, on: On::Queues(queues.to_vec()) }
    }

    /// Waits for a job to change.
    pub fn job(&self, id: JobId) -> Waiter {
        let seat = Arc::new(Seat::default());
        self.lock().jobs.entry(id).or_default().push(Arc::clone(&seat));
        Waiter { hub: self.clone(), seat, on: On::Job(id) }
    }

    /// Wakes up to `jobs` of those who wait for such a job. For stores, once the jobs are durable.
    pub fn wake_ready(&self, queue: &str, kind: Option<&str>, jobs: usize) {
        self.wake(queue, jobs, |seat| seat.takes(kind));
    }

    fn wake(&self, queue: &str, jobs: usize, takes: impl Fn(&Seat) -> bool) {
        let mut waiting = self.lock();
        let Some(seats) = waiting.queues.get_mut(queue) else { return };
        let mut left = jobs;
        seats.retain(|seat| {
            if left == 0 || !takes(seat) {
                return true;
            }
            // Somebody who was woken for another queue needs no second bell.
            if !seat.woken.swap(true, Ordering::AcqRel) {
                seat.bell.notify_one();
                left -= 1;
            }
            false
        });
        if seats.is_empty() {
            waiting.queues.remove(queue);
        }
    }

    /// Wakes all who wait for this job. For stores, once the change is durable.
    pub fn wake_job(&self, id: JobId) {
        for seat in self.lock().jobs.remove(&id).unwrap_or_default() {
            seat.woken.store(true, Ordering::Release);
            seat.bell.notify_one();
        }
    }

    /// Wakes everybody: the store has stopped, or may have missed something.
    pub fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        for seat in waiting.queues.into_values().flatten().chain(waiting.jobs.into_values().flatten()) {
            seat.woken.store(true, Ordering::Release);
            seat.bell.notify_one();
        }
    }

    /// Whether anybody waits for a job: a store may then spare itself the telling.
    pub fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.queues.is_empty() && waiting.jobs.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

/// A place in a [`Hub`]. Dropped, it is free; if it was woken for a job and did not take note, the next one is.
pub struct Waiter {
    hub: Hub,
    seat: Arc<Seat>,
    on: On,
}

enum On {
    Queues(Vec<String>),
    Job(JobId),
}

impl Waiter {
    /// Until woken.
    pub async fn woken(self) {
        self.seat.bell.notified().await;
        // Taken note of: whoever drops this now has nothing to pass on.
        self.seat.woken.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.hub.lock().leave(&self.seat, &self.on);
        if let On::Queues(queues) = &self.on
            && self.seat.woken.load(Ordering::Acquire)
        {
            // Which queue it was is not known any more; a bell too many does no harm.
            for queue in queues {
                self.hub.wake(queue, 1, |_| true);
            }
        }
    }
}

impl Waiting {
    fn leave(&mut self, seat: &Arc<Seat>, on: &On) {
        match on {
            On::Job(id) => {
                if let Some(seats) = self.jobs.get_mut(id) {
                    seats.retain(|own| !Arc::ptr_eq(own, seat));
                }
                let is_left = self.jobs.get(id).is_some_and(Vec::is_empty);
                is_left.then(|| self.jobs.remove(id));
            }
            On::Queues(queues) => queues.iter().for_each(|queue| self.leave_queue(seat, queue)),
        }
    }

    fn leave_queue(&mut self, seat: &Arc<Seat>, queue: &str) {
        let Some(seats) = self.queues.get_mut(queue) else { return };
        seats.retain(|own| !Arc::ptr_eq(own, seat));
        if seats.is_empty() {
            self.queues.remove(queue);
        }
    }
}

/// Leases as [`Store::lease`] does, and waits for a job while there is none, for as long as the request says but at
/// most `longest`. Needs a tokio runtime with time.
pub async fn lease_wait(store: &dyn Store, request: LeaseRequest, longest: Duration) -> Result<Vec<Lease>, Error> {
    let wait = request.wait.map_or(Duration::ZERO, |wait| wait.get().min(longest));
    let asked = async {
        loop {
            let waiter = store.hub().ready(&request.queues, &request.types);
            let leases = store.lease(request.clone()).await?;
            if !leases.is_empty() || wait.is_zero() {
                return Ok(leases);
            }
            match store.poll_every() {
                Some(every) => drop(tokio::time::timeout(every, waiter.woken()).await),
                None => waiter.woken().await,
            }
        }
    };
    if wait.is_zero() {
        return asked.await;
    }
    // A lease that is cut off here is given back by the store, since nobody takes its reply.
    tokio::time::timeout(wait, asked).await.unwrap_or_else(|_| Ok(Vec::new()))
}

#[cfg(test)]
mod tests {
    use stdx::{Clock, Timestamp};

    use super::*;
    use crate::store::sqlite::{Sqlite, SqliteOptions};
    use crate::store::{Change, Put};
    use crate::{NewJob, QueueSettings};

    async fn store(folder: &tempfile::TempDir) -> Sqlite {
        let clock = Clock::manual(Timestamp::from_millis(1_772_323_200_000));
        let store = Sqlite::open(&SqliteOptions::new(folder.path().join("q.sqlite"), clock)).unwrap();
        store.change(Change::PutQueue("q".to_owned(), QueueSettings::default())).await.unwrap();
        store
    }

    fn ask(wait_seconds: u64) -> LeaseRequest {
        LeaseRequest { wait: Some(document::Duration::from_secs(wait_seconds)), ..LeaseRequest::new("q", "w") }
    }

    #[tokio::test]
    async fn who_waits_gets_the_job_that_comes_and_each_job_goes_to_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Arc::new(store(&folder).await);
        let wait =
            |store: Arc<Sqlite>| async move { lease_wait(&*store, ask(600), Duration::from_mins(10)).await.unwrap() };
        let waiters: Vec<_> = (0..50).map(|_| tokio::spawn(wait(Arc::clone(&store)))).collect();
        tokio::task::yield_now().await;
        for _ in 0..50 {
            store.put(Put::one("q", NewJob::default())).await.unwrap().remove(0).unwrap();
        }
        let mut ids = std::collections::HashSet::new();
        for waiter in waiters {
            let leases = waiter.await.unwrap();
            assert_eq!(leases.len(), 1);
            assert!(ids.insert(leases[0].id));
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_nothing_leased() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        let asked = lease_wait(&store, ask(600), Duration::from_mins(10));
        assert!(tokio::time::timeout(Duration::from_millis(30), asked).await.is_err());
        assert!(store.hub().is_idle(), "nobody waits any more");
        store.put(Put::one("q", NewJob::default())).await.unwrap().remove(0).unwrap();
        assert_eq!(lease_wait(&store, ask(0), Duration::ZERO).await.unwrap().len(), 1);
        let none = lease_wait(&store, LeaseRequest { wait: None, ..ask(0) }, Duration::from_mins(1));
        assert!(none.await.unwrap().is_empty(), "without a wait the reply comes at once");
    }

    #[tokio::test]
    async fn a_reply_that_came_and_was_not_taken_is_given_back() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(&folder).await;
        store.put(Put::one("q", NewJob::default())).await.unwrap().remove(0).unwrap();
        let pending = store.lease(LeaseRequest::new("q", "gone"));
        // Answered in the same order, so the lease's reply has come.
        store.sweep().await.unwrap();
        drop(pending);
        assert_eq!(store.lease(LeaseRequest::new("q", "w")).await.unwrap().len(), 1);
    }
}
