//! Replicas tell each other who is to be woken: what happens within a moment goes in one message.

use std::collections::{BTreeSet, HashMap};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator as _;
use serde::{Deserialize, Serialize};

use super::db::{Broken, Db};
use super::server::Server;
use crate::hub::Hub;
use crate::id::JobId;

/// What happens within this time goes in one message.
const GATHER: Duration = Duration::from_millis(10);

/// What a message may hold: PostgreSQL takes less than 8,000 bytes.
const MESSAGE_BYTES_MAX: usize = 7500;

/// How long the listener waits at once: it looks then whether anybody still needs it.
const LISTEN: Duration = Duration::from_millis(500);

/// Who is to be woken.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) ready: HashMap<(String, Option<String>), usize>,
    pub(super) jobs: BTreeSet<JobId>,
}

/// A message. Without lists, it means everybody.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    from: u64,
    ready: Vec<(String, Option<String>, usize)>,
    jobs: Vec<JobId>,
}

impl Told {
    pub(super) fn ring(&self, hub: &Hub) {
        if hub.is_idle() {
            return;
        }
        for ((queue, kind), jobs) in &self.ready {
            hub.wake_ready(queue, kind.as_deref(), *jobs);
        }
        self.jobs.iter().for_each(|id| hub.wake_job(*id));
    }

    fn add(&mut self, other: Self) {
        for (name, jobs) in other.ready {
            *self.ready.entry(name).or_default() += jobs;
        }
        self.jobs.extend(other.jobs);
    }

    fn message(self, from: u64) -> String {
        let ready = self.ready.into_iter().map(|((queue, kind), jobs)| (queue, kind, jobs)).collect();
        let message = Message { from, ready, jobs: self.jobs.into_iter().collect() };
        let text = serde_json::to_string(&message).unwrap_or_default();
        if text.len() <= MESSAGE_BYTES_MAX {
            return text;
        }
        serde_json::to_string(&Message { from, ..Message::default() }).unwrap_or_default()
    }
}

/// The channel belongs to the tables: two sets of them in one database don't hear each other.
const CHANNEL: &str = "'headwater_' || current_schema()::regnamespace::oid";

/// Tells the other replicas, until nobody can send any more. A message that is lost is made up for by their poll.
pub(super) fn run(server: &Server, from: u64, told: &Receiver<Told>) {
    let mut db: Option<Db> = None;
    while let Ok(mut all) = told.recv() {
        loop {
            match told.recv_timeout(GATHER) {
                Ok(more) => all.add(more),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if all.jobs.len() > MESSAGE_BYTES_MAX / 36 {
                break;
            }
        }
        if db.as_ref().is_none_or(|db| db.client.is_closed()) {
            db = Db::connect(server).ok();
        }
        let Some(db) = &mut db else { continue };
        let sent = db
            .query("SELECT pg_notify('headwater_' || current_schema()::regnamespace::oid, $1)", &[&all.message(from)]);
        if let Err(error) = sent {
            tracing::debug!(%error, "other replicas were not told");
        }
    }
}

/// Hears what the other replicas tell, while there is a store to hear it for.
pub(super) fn listen<T>(server: &Server, from: u64, hub: &Hub, store: &Weak<T>) {
    let (_sender, wait) = std::sync::mpsc::channel::<()>();
    while store.strong_count() > 0 {
        let heard = listen_on(server, from, hub, store);
        // Something may have been missed.
        hub.wake_all();
        if let Err(broken) = heard {
            tracing::debug!(why = broken.why, "not listening to other replicas");
            let _ = wait.recv_timeout(LISTEN);
        }
    }
}

fn listen_on<T>(server: &Server, from: u64, hub: &Hub, store: &Weak<T>) -> Result<(), Broken> {
    let mut db = Db::connect(server)?;
    let sql = format!("DO $$ BEGIN EXECUTE format('LISTEN %I', {CHANNEL}); END $$");
    db.client.batch_execute(&sql)?;
    while store.strong_count() > 0 {
        {
            let mut notifications = db.client.notifications();
            let mut next = notifications.timeout_iter(LISTEN);
            while let Some(notification) = next.next()? {
                hear(notification.payload(), from, hub);
            }
        }
        if db.client.is_closed() {
            return Err(Broken { why: "PostgreSQL: the connection is closed".to_owned() });
        }
    }
    Ok(())
}

fn hear(text: &str, from: u64, hub: &Hub) {
    match serde_json::from_str::<Message>(text) {
        Ok(message) if message.from == from => {}
        Ok(message) if message.ready.is_empty() && message.jobs.is_empty() => hub.wake_all(),
        Ok(message) => {
            let ready = message.ready.into_iter().map(|(queue, kind, jobs)| ((queue, kind), jobs)).collect();
            Told { ready, jobs: message.jobs.into_iter().collect() }.ring(hub);
        }
        Err(_) => hub.wake_all(),
    }
}
