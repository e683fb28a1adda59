//! A producer whose calls end: each waits in small steps, listens to the client meanwhile, and has a limit.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use stdx::{Bell, Clock};

use super::connection::{Connection, Context, Role};
use crate::{Error, World};

/// How long a call of the client may block before its events are looked at: a refusal is among them.
const STEP: Duration = Duration::from_millis(100);
/// How long the client is left alone before its events are looked at, at first and at most.
const REST_FIRST: Duration = Duration::from_micros(500);
const REST_LONGEST: Duration = Duration::from_millis(10);
/// How long a partition's end is asked for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long an open transaction is tried to be ended when its producer goes. The broker ends it later otherwise.
const ABORT_WITHIN: Duration = Duration::from_secs(2);

/// One message to be sent.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    /// `None`: by the key.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// Why a producer can't go on.
#[derive(Debug)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) error: Error,
    /// Whether the broker says that a later producer has our name, or that it ended our transaction.
    pub(crate) is_fenced: bool,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// What became of a message that was handed to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way.
    Queued,
    /// The client doesn't take it, whatever is waited for.
    Refused(RDKafkaErrorCode),
}

/// A message that was not delivered.
#[derive(Clone, Debug)]
pub(crate) struct Undelivered {
    pub(crate) error: KafkaError,
    pub(crate) topic: String,
    /// Its key, value and headers, in bytes.
    pub(crate) bytes: usize,
}

/// Listens to a producer.
struct Outbox {
    context: Context,
    /// The first message that failed.
    undelivered: Mutex<Option<Undelivered>>,
}

impl ClientContext for Outbox {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The client warns of `isolation.level`, which a producer's look at the end of a partition does heed.
        let level = if facility == "CONFWARN" { RDKafkaLogLevel::Debug } else { level };
        ClientContext::log(&self.context, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.context, error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Outbox {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let mut undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        undelivered.get_or_insert_with(|| Undelivered {
            error: error.clone(),
            topic: message.topic().to_owned(),
            bytes: message.payload_len() + message.key_len(),
        });
    }
}

/// A producer of one task.
pub(crate) struct Producer {
    inner: BaseProducer<Outbox>,
    context: Context,
    clock: Clock,
    /// Never rung: it lets the thread sleep.
    bell: Bell,
    /// The longest wait for deliveries.
    limit: Duration,
    /// The longest wait for the answer to a commit.
    pub(super) commit_within: Duration,
    in_transaction: bool,
}

impl Producer {
    /// Opens one; it connects by and by. `settings` go over the document's own properties.
    pub(crate) fn open(
        connection: &Connection,
        role: &Role,
        settings: &[(&'static str, String)],
        limit: Duration,
        world: &World,
    ) -> Result<Self, Error> {
        let mut config = connection.config(role, &world.secrets, &world.folder)?;
        for (name, value) in settings {
            config.set(*name, value);
        }
        // Only failures are told one by one. The end of a partition is asked for with what isn't committed.
        config.set("delivery.report.only.error", "true").set("isolation.level", "read_uncommitted");
        let context = connection.context(world);
        let outbox = Outbox { context: context.clone(), undelivered: Mutex::default() };
        let inner = BaseProducer::from_config_and_context(&config, outbox)
            .map_err(|error| context.error("open a producer for", &error))?;
        // Real time: what is waited for is a real broker.
        Ok(Self {
            inner,
            context,
            clock: Clock::system(),
            bell: Bell::default(),
            limit,
            commit_within: limit,
            in_transaction: false,
        })
    }

    /// Takes the transactional name over: who had it is fenced, and the transaction that it left open is ended.
    pub(crate) fn init(&mut self, within: Duration) -> Result<(), Fault> {
        self.persist("take over the transactions in", within, |step| self.inner.init_transactions(step))
    }

    /// Begins a transaction, unless one is open.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        if !self.in_transaction {
            self.inner.begin_transaction().map_err(|error| self.fault("begin a transaction in", &error))?;
            self.in_transaction = true;
        }
        Ok(())
    }

    /// Hands over a message; waits where the buffer is full.
    pub(crate) fn send(&mut self, message: Message<'_>) -> Result<Sent, Fault> {
        let Message { topic, partition, key, value, headers } = message;
        let mut record = BaseRecord::<[u8], [u8]> {
            topic,
            partition,
            payload: value,
            key,
            timestamp: None,
            headers,
            delivery_opaque: (),
        };
        let until = self.clock.elapsed() + self.limit;
        loop {
            let (error, back) = match self.inner.send(record) {
                Ok(()) => return Ok(Sent::Queued),
                Err(refused) => refused,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) if self.clock.elapsed() < until => {
                    self.rest(REST_FIRST);
                    self.check("write to")?;
                    record = back;
                }
                Some(
                    code @ (RDKafkaErrorCode::MessageSizeTooLarge
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition),
                ) => return Ok(Sent::Refused(code)),
                _ => return Err(self.fault("write to", &error)),
            }
        }
    }

    /// Listens to the client for a moment, and tells what failed since.
    pub(crate) fn serve(&mut self) -> Result<(), Fault> {
        self.inner.poll(Duration::ZERO);
        self.check("write to")
    }

    /// Waits until all that was sent is delivered.
    pub(crate) fn deliver(&mut self) -> Result<(), Fault> {
        let until = self.clock.elapsed() + self.limit;
        let mut step = REST_FIRST;
        while self.inner.in_flight_count() > 0 {
            self.rest(step);
            self.check("write to")?;
            if self.clock.elapsed() >= until {
                return Err(self.late("write to"));
            }
            step = (step * 5 / 4).min(REST_LONGEST);
        }
        self.check("write to")
    }

    /// Delivers what was sent and commits the transaction. After a failure nobody knows whether it is committed, until
    /// the name is taken over again.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        self.deliver()?;
        self.persist("commit to", self.commit_within, |step| self.inner.commit_transaction(step))?;
        self.in_transaction = false;
        Ok(())
    }

    /// Whether nothing waits to be sent or acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.in_flight_count() == 0
    }

    /// The offset behind the last message of a partition, committed or not.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        let until = self.clock.elapsed() + ANSWER_WITHIN;
        loop {
            let error = match self.inner.client().fetch_watermarks(topic, partition, STEP) {
                Ok((_, end)) => return Ok(end),
                Err(error) => error,
            };
            // A new partition has no leader at first.
            self.rest(REST_LONGEST);
            self.check("look at")?;
            if self.clock.elapsed() >= until {
                return Err(self.context.error("look at", &error));
            }
        }
    }

    /// The first message that was not delivered.
    pub(crate) fn undelivered(&self) -> Option<Undelivered> {
        self.inner.context().undelivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits, and looks at the client's events. Its own poll spins through the last millisecond of its time.
    fn rest(&self, time: Duration) {
        self.bell.wait(&self.clock, Some(self.clock.elapsed() + time));
        self.inner.poll(Duration::ZERO);
    }

    fn check(&self, verb: &str) -> Result<(), Fault> {
        if let Some(error) = self.context.refusal() {
            return Err(Fault { error, is_fenced: false });
        }
        self.undelivered().map_or(Ok(()), |undelivered| Err(self.fault(verb, &undelivered.error)))
    }

    /// Repeats a call that may be resumed until it succeeds, fails for good, or takes too long.
    fn persist(&self, verb: &str, within: Duration, call: impl Fn(Duration) -> KafkaResult<()>) -> Result<(), Fault> {
        let until = self.clock.elapsed() + within;
        loop {
            // A token, or news of a refusal, may wait for us.
            self.inner.poll(Duration::ZERO);
            let error = match call(STEP.min(within)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            self.rest(REST_FIRST);
            self.check(verb)?;
            let again = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            if !again {
                return Err(self.fault(verb, &error));
            }
            if self.clock.elapsed() >= until {
                return Err(self.late(verb));
            }
        }
    }

    fn late(&self, verb: &str) -> Fault {
        let error = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);
        Fault { error: self.context.error(verb, &error), is_fenced: false }
    }

    fn fault(&self, verb: &str, error: &KafkaError) -> Fault {
        let fatal = self.inner.client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        let is_fenced = matches!(
            code,
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
        );
        let said = self.context.error(verb, error);
        let error = match (said, fatal) {
            (Error::Kafka { verb, brokers, .. }, Some((_, reason))) => Error::Kafka { verb, brokers, reason },
            (said, _) => said,
        };
        Fault { error, is_fenced }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.in_transaction || self.inner.client().fatal_error().is_some() {
            return;
        }
        // Readers wait for the end of a transaction: a process that goes in peace doesn't let them wait.
        self.inner.purge(PurgeConfig::default().queue().inflight());
        let until = self.clock.elapsed() + ABORT_WITHIN;
        while self.inner.in_flight_count() > 0 && self.clock.elapsed() < until {
            self.rest(REST_FIRST);
        }
        if let Err(error) = self.inner.abort_transaction(until.saturating_sub(self.clock.elapsed())) {
            tracing::debug!(%error, "a transaction was left open; the broker ends it");
        }
    }
}
