//! The leases that the worker holds, and the beats that keep them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::Worker;
use super::client::{Client, Refusal, Trouble};
use crate::id::{JobId, Token};
use crate::lease::{Beat, Lease};
use crate::limit;

/// What is wanted of a job that runs. A later one outdoes an earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    GoOn,
    /// End it and give it back.
    Release,
    /// End it: somebody cancelled it.
    Cancel,
    /// End it: it is another's now.
    Lost,
}

pub(super) struct Held {
    jobs: Mutex<HashMap<Token, (JobId, watch::Sender<Wish>)>>,
    draining: AtomicBool,
}

impl Held {
    pub(super) fn new() -> Self {
        Self { jobs: Mutex::default(), draining: AtomicBool::new(false) }
    }

    /// Notes a lease, unless it is held already: a repeated reply brings nothing new.
    pub(super) fn take(&self, lease: &Lease) -> Option<watch::Receiver<Wish>> {
        let mut jobs = self.jobs();
        if jobs.contains_key(&lease.token) {
            return None;
        }
        let (sender, receiver) = watch::channel(Wish::GoOn);
        jobs.insert(lease.token.clone(), (lease.id, sender));
        Some(receiver)
    }

    pub(super) fn give_up(&self, token: &Token) {
        self.jobs().remove(token);
    }

    pub(super) fn wish_all(&self, wish: Wish) {
        for (_, sender) in self.jobs().values() {
            raise(sender, wish);
        }
    }

    /// Whether the server wants this worker to lease no more.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn wish(&self, token: &Token, wish: Wish) {
        if let Some((_, sender)) = self.jobs().get(token) {
            raise(sender, wish);
        }
    }

    fn beats(&self) -> Vec<Beat> {
        let jobs = self.jobs();
        jobs.iter().map(|(token, (id, _))| Beat { id: *id, token: token.clone(), progress: None }).collect()
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Token, (JobId, watch::Sender<Wish>)>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raise(sender: &watch::Sender<Wish>, wish: Wish) {
    sender.send_if_modified(|now| {
        let more = wish > *now;
        *now = wish.max(*now);
        more
    });
}

/// Beats until it is aborted.
pub(super) async fn beat(held: Arc<Held>, client: Arc<Client>, worker: Arc<Worker>) {
    let mut interval = tokio::time::interval(worker.pace.beat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for beats in held.beats().chunks(limit::BATCH_MAX) {
            beat_once(&held, &client, "/v1/leases/heartbeat", beats, worker.pace.lease).await;
        }
    }
}

async fn beat_once(held: &Held, client: &Client, path: &str, beats: &[Beat], lease: Duration) {
    // A beat that isn't answered within half a lease must make room for the next.
    match client.post::<Vec<Value>>(path, &beats, lease / 2).await {
        Ok(pulses) if pulses.len() == beats.len() => {
            for (beat, pulse) in beats.iter().zip(&pulses) {
                hear(held, &beat.token, pulse);
            }
        }
        Ok(pulses) => {
            tracing::warn!(found = pulses.len(), expected = beats.len(), "beat: the reply has not one item for each");
        }
        Err(Trouble::Away { why, .. } | Trouble::Refused { why, .. }) => tracing::warn!(why, "beat"),
    }
}

fn hear(held: &Held, token: &Token, pulse: &Value) {
    let is = |field: &str| pulse.get(field).and_then(Value::as_bool).unwrap_or_default();
    if is("drain") {
        held.draining.store(true, Ordering::Relaxed);
    }
    // Any other refusal is the store's, which may be back for the next beat.
    if Refusal::of(pulse).is_some_and(|refusal| refusal.is_lost()) {
        held.wish(token, Wish::Lost);
    } else if is("cancel") {
        held.wish(token, Wish::Cancel);
    }
}
