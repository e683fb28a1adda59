//! Topics: what there is, and what is made.

use std::ffi::CString;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientContext as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use stdx::{Bell, Clock};

use super::connection::{Connection, Context, Role};
use super::reader::Reader;
use crate::{Error, World};

/// How long a broker may take to make a topic.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// How often a new topic is looked for until all brokers know of it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A topic to be made.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: u32,
    /// `None`: what the broker does by default.
    pub(crate) replication: Option<u32>,
    pub(crate) settings: &'a [(&'a str, String)],
}

/// What a topic takes.
#[derive(Debug, Default)]
pub(crate) struct Takes {
    /// The largest batch of messages, in bytes.
    pub(crate) bytes_max: Option<usize>,
    /// Whether messages without a key are refused: only the last one of each key is kept.
    pub(crate) only_with_key: bool,
}

/// Makes topics, and asks for their settings.
pub(crate) struct Admin<'a> {
    connection: &'a Connection,
    world: &'a World,
    reader: Reader,
    context: Context,
    client: OnceLock<AdminClient<Context>>,
    clock: Clock,
}

impl<'a> Admin<'a> {
    pub(crate) fn open(connection: &'a Connection, world: &'a World) -> Result<Self, Error> {
        let (reader, context) = (Reader::open(connection, world)?, connection.context(world));
        Ok(Self { connection, world, reader, context, client: OnceLock::new(), clock: Clock::system() })
    }

    /// The client that looked, to look on.
    pub(crate) fn into_reader(self) -> Reader {
        self.reader
    }

    /// The partitions of a topic; `None` where there is no such topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.reader.partitions(topic)
    }

    /// Makes a topic unless it is there, and tells how many partitions it has.
    pub(crate) fn create(&self, wanted: &Wanted<'_>) -> Result<u32, Error> {
        if let Some(partitions) = self.partitions(wanted.name)? {
            return Ok(partitions);
        }
        let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(wanted.replication.map_or(-1, count));
        let topic = NewTopic::new(wanted.name, count(wanted.partitions), replication);
        let topic = wanted.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = self.world.runtime.block_on(self.client()?.create_topics([&topic], &options()));
        let made = made.map_err(|error| self.error("make", wanted.name, &error))?;
        match made.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                Err(self.error("make", wanted.name, &KafkaError::AdminOp(code)))
            }
            _ => self.wait(wanted.name, 1),
        }
    }

    /// Gives a topic at least so many partitions.
    pub(crate) fn grow(&self, topic: &str, partitions: u32) -> Result<u32, Error> {
        let new = NewPartitions::new(topic, partitions as usize);
        let grown = self.world.runtime.block_on(self.client()?.create_partitions([&new], &options()));
        let grown = grown.map_err(|error| self.error("grow", topic, &error))?;
        match grown.into_iter().next() {
            // Somebody else has grown it.
            Some(Err((_, RDKafkaErrorCode::InvalidPartitions)) | Ok(_)) | None => self.wait(topic, partitions),
            Some(Err((_, code))) => Err(self.error("grow", topic, &KafkaError::AdminOp(code))),
        }
    }

    /// What a topic takes, as far as we may know.
    pub(crate) fn takes(&self, topic: &str) -> Result<Takes, Error> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let found = self.world.runtime.block_on(self.client()?.describe_configs(&asked, &options()));
        let found = found.map_err(|error| self.error("ask for the settings of", topic, &error))?;
        let Some(Ok(settings)) = found.into_iter().next() else { return Ok(Takes::default()) };
        let value = |name: &str| settings.get(name).and_then(|entry| entry.value.as_deref());
        Ok(Takes {
            bytes_max: value("max.message.bytes").and_then(|value| value.parse().ok()),
            only_with_key: value("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
        })
    }

    /// Waits until the cluster tells of so many partitions.
    fn wait(&self, topic: &str, partitions: u32) -> Result<u32, Error> {
        let bell = Bell::default();
        let until = self.clock.elapsed() + MADE_WITHIN;
        loop {
            match self.partitions(topic)? {
                Some(found) if found >= partitions => return Ok(found),
                _ if self.clock.elapsed() >= until => {
                    let error = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
                    return Err(self.error("see", topic, &error));
                }
                _ => bell.wait(&self.clock, Some(self.clock.elapsed() + LOOK_EVERY)),
            };
        }
    }

    fn client(&self) -> Result<&AdminClient<Context>, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let config = self.connection.config(&Role::Produce, &self.world.secrets, &self.world.folder)?;
        let client = AdminClient::from_config_and_context(&config, self.context.clone())
            .map_err(|error| self.context.error("open a client for", &error))?;
        self.show_token(&client)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Gives the client its token, where it shows one. Other clients ask for it by an event; those of this kind have
    /// nobody who would hear them.
    fn show_token(&self, client: &AdminClient<Context>) -> Result<(), Error> {
        if !self.connection.has_token() {
            return Ok(());
        }
        let failed = |reason: String| {
            let (verb, brokers) = ("show a token to".to_owned(), self.connection.brokers());
            Error::Kafka { verb, brokers, reason }
        };
        let token = self.context.generate_oauth_token(None).map_err(|error| failed(error.to_string()))?;
        let text = |text: String| CString::new(text).map_err(|error| failed(error.to_string()));
        let (value, principal) = (text(token.token)?, text(token.principal_name)?);
        let mut said = [0; 256];
        #[expect(unsafe_code, reason = "the library has no safe way to do it")]
        // SAFETY: the client lives, the texts end with a zero, and the length of what may be said is given.
        let answer = unsafe {
            rdkafka::bindings::rd_kafka_oauthbearer_set_token(
                client.inner().native_ptr(),
                value.as_ptr(),
                token.lifetime_ms,
                principal.as_ptr(),
                std::ptr::null_mut(),
                0,
                said.as_mut_ptr(),
                said.len(),
            )
        };
        match RDKafkaErrorCode::from(answer) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(failed(code.to_string())),
        }
    }

    fn error(&self, verb: &str, topic: &str, error: &KafkaError) -> Error {
        self.context.error(&format!("{verb} topic {topic} of"), error)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(MADE_WITHIN)).operation_timeout(Some(MADE_WITHIN))
}
