//! A consumer, and the thread that listens to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::Offset;
use stdx::{Bell, Clock};

use super::connection::{Connection, Context, Role};
use crate::memory::Lease;
use crate::{Error, World};

pub(super) type Consumer = BaseConsumer<Context>;
pub(super) type Queue = PartitionQueue<Context>;

/// How long the cluster may take to answer one question.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the last commit of a group's offsets may take: nobody depends on it.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(2);
/// How often offsets are committed to the group at most.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long the client is left alone at most: an event that came while another was served may not have rung.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// How long one look at the client's events waits for the next.
const EVENT_WAIT: Duration = Duration::from_millis(2);
/// How often it is looked whether the cluster refused us, while an answer is waited for.
const REFUSAL_EVERY: Duration = Duration::from_millis(20);

/// A consumer that is connected. Nobody needs to poll it: a thread does, which sleeps until there is an event.
pub(super) struct Client {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
    _memory: Lease,
}

struct Shared {
    consumer: Arc<Consumer>,
    context: Context,
    /// Rung when the client has events, and when there is something to commit or to end.
    news: Bell,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_closing: bool,
    /// What makes the client useless to everybody.
    failure: Option<String>,
    /// Those who wait for messages, to be woken when there will be none.
    readers: BTreeMap<u64, Bell>,
    readers_ever: u64,
    /// What is still to be committed to the group.
    commits: BTreeMap<(Arc<str>, i32), i64>,
}

impl Client {
    /// Makes a consumer; it connects by itself, and its memory is that of the role.
    pub(super) fn connect(connection: &Connection, role: &Role, memory: Lease, world: &World) -> Result<Self, Error> {
        let config = connection.config(role, &world.secrets, &world.folder)?;
        let context = connection.context(world);
        let made: KafkaResult<Consumer> = config.create_with_context(context.clone());
        let mut consumer = made.map_err(|error| context.error("connect to", &error))?;
        let news = Bell::default();
        let bell = news.clone();
        consumer.set_nonempty_callback(move || bell.ring());
        let shared = Arc::new(Shared { consumer: Arc::new(consumer), context, news, state: Mutex::default() });
        let listening = Arc::clone(&shared);
        let listener = std::thread::Builder::new().name("kafka".into()).spawn(move || listening.listen());
        let listener = listener.map_err(|source| Error::Io { verb: "start", what: "a thread".into(), source })?;
        Ok(Self { shared, listener: Some(listener), _memory: memory })
    }

    pub(super) fn context(&self) -> &Context {
        &self.shared.context
    }

    /// Asks the cluster something, on a thread of its own, so that a refusal ends the wait.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        verb: &str,
        question: impl FnOnce(&Consumer, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_within(ANSWER_WITHIN, verb, question)
    }

    fn ask_within<T: Send + 'static>(
        &self,
        within: Duration,
        verb: &str,
        question: impl FnOnce(&Consumer, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = mpsc::channel();
        let consumer = Arc::clone(&self.shared.consumer);
        std::thread::spawn(move || {
            let answer = question(&consumer, within);
            // Whoever asked may have been refused, and has gone.
            drop(consumer);
            drop(send.send(answer));
        });
        let clock = Clock::system();
        loop {
            match receive.recv_timeout(REFUSAL_EVERY) {
                Ok(answer) => return answer.map_err(|error| self.context().error(verb, &error)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::House("a question died".into())),
                Err(mpsc::RecvTimeoutError::Timeout) => self.check()?,
            }
            if clock.elapsed() > within * 2 {
                let timeout = KafkaError::Global(rdkafka::types::RDKafkaErrorCode::OperationTimedOut);
                return Err(self.context().error(verb, &timeout));
            }
        }
    }

    /// An error if the client is of no use any more.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(refusal) = self.context().refusal() {
            return Err(refusal);
        }
        match &self.shared.state().failure {
            Some(words) => Err(self.context().failed("read from", words.clone())),
            None => Ok(()),
        }
    }

    /// Wakes `bell` when the client fails, until [`Client::forget`].
    pub(super) fn tell(&self, bell: &Bell) -> u64 {
        let mut state = self.shared.state();
        state.readers_ever += 1;
        let number = state.readers_ever;
        state.readers.insert(number, bell.clone());
        number
    }

    pub(super) fn forget(&self, reader: u64) {
        self.shared.state().readers.remove(&reader);
    }

    /// Takes partitions over, each from an offset on, and gives a queue of each that rings `bell`.
    ///
    /// A queue is split off before its partition is assigned: then no message can go anywhere else.
    pub(super) fn take(&self, partitions: &[(&str, i32, Offset)], bell: &Bell) -> Result<Vec<Queue>, Error> {
        let mut queues = Vec::new();
        for (topic, partition, _) in partitions {
            let queue = self.shared.consumer.split_partition_queue(topic, *partition);
            let mut queue = queue.ok_or_else(|| Error::House(format!("no queue for {topic}-{partition}")))?;
            let bell = bell.clone();
            queue.set_nonempty_callback(move || bell.ring());
            queues.push(queue);
        }
        self.assign(partitions)?;
        Ok(queues)
    }

    /// Reads partitions whose queues are there, from an offset on.
    pub(super) fn assign(&self, partitions: &[(&str, i32, Offset)]) -> Result<(), Error> {
        let list = list(partitions).map_err(|error| self.context().error("read from", &error))?;
        for (topic, partition, _) in partitions {
            self.context().forget_reach(topic, *partition);
        }
        self.shared.consumer.incremental_assign(&list).map_err(|error| self.context().error("read from", &error))
    }

    /// Lets go of partitions. What waits in their queues is forgotten.
    pub(super) fn release(&self, partitions: &[(&str, i32, Offset)]) {
        let released = list(partitions).and_then(|list| self.shared.consumer.incremental_unassign(&list));
        if let Err(error) = released {
            tracing::warn!(%error, "partitions are not let go");
        }
    }

    /// Commits an offset to the group, soon.
    pub(super) fn commit(&self, topic: &Arc<str>, partition: i32, offset: i64) {
        let mut state = self.shared.state();
        let is_first = state.commits.is_empty();
        state.commits.insert((Arc::clone(topic), partition), offset);
        drop(state);
        if is_first {
            self.shared.news.ring();
        }
    }
}

fn list(partitions: &[(&str, i32, Offset)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition, offset) in partitions {
        list.add_partition_offset(topic, *partition, *offset)?;
    }
    Ok(list)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the client's events: errors, tokens, statistics, logs.
    fn listen(&self) {
        let clock = Clock::system();
        let mut commit_at = Duration::ZERO;
        loop {
            self.serve();
            let state = self.state();
            let (is_closing, commits) = (state.is_closing, !state.commits.is_empty());
            if self.context.refusal().is_some() {
                state.readers.values().for_each(Bell::ring);
            }
            drop(state);
            if is_closing {
                return;
            }
            let now = clock.elapsed();
            if commits && now >= commit_at {
                commit_at = now + COMMIT_EVERY;
                self.commit();
                continue;
            }
            let latest = now + LISTEN_EVERY;
            let until = if commits { latest.min(commit_at) } else { latest };
            self.news.wait(&clock, Some(until));
        }
    }

    /// Takes the events that are there.
    fn serve(&self) {
        while let Some(event) = self.consumer.poll(EVENT_WAIT) {
            match event {
                Err(KafkaError::MessageConsumptionFatal(code)) => self.fail(KafkaError::Global(code).to_string()),
                // The context has logged it, and the client goes on trying.
                Err(_) => {}
                Ok(_) => self.fail("a message came past its partition's queue".into()),
            }
        }
    }

    fn commit(&self) {
        let Some(list) = self.commits() else { return };
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets are not committed to the group");
        }
    }

    fn fail(&self, words: String) {
        let mut state = self.state();
        state.failure.get_or_insert(words);
        state.readers.values().for_each(Bell::ring);
    }

    /// What is to be committed to the group.
    fn commits(&self) -> Option<TopicPartitionList> {
        let commits = std::mem::take(&mut self.state().commits);
        let each: Vec<_> = commits
            .iter()
            .map(|((topic, partition), offset)| (&**topic, *partition, Offset::Offset(*offset)))
            .collect();
        list(&each).ok().filter(|list| list.count() > 0)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(list) = self.shared.commits()
            && self.check().is_ok()
        {
            // The listener still runs: it serves the answer.
            let last = self.ask_within(LAST_COMMIT_WITHIN, "commit to", move |consumer, _| {
                consumer.commit(&list, CommitMode::Sync)
            });
            if let Err(error) = last {
                tracing::debug!(error = %stdx::Chain(&error), "the last offsets are not committed to the group");
            }
        }
        self.shared.state().is_closing = true;
        self.shared.news.ring();
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}
