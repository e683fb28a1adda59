//! Topics that come and go with a verification: made, filled, read back, deleted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::outcome::Row;
use super::read;
use crate::connector::kafka::{Connection, Context, Role, SinkSpec, SourceSpec};
use crate::format::Format;
use crate::{Error, World};

/// The longest wait for an answer of the cluster.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest wait for transactions that nobody ends to be ended by the broker.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);
/// Between two looks at the broker.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A cluster that a document names.
#[derive(Clone)]
pub(super) struct Cluster {
    connection: Connection,
    world: World,
}

impl Cluster {
    pub(super) fn of_source(spec: &SourceSpec, world: &World) -> Self {
        let mut spec = spec.clone();
        spec.properties.retain(|name, _| is_of_connection(name));
        Self { connection: spec.connection(), world: world.clone() }
    }

    pub(super) fn of_sink(spec: &SinkSpec, world: &World) -> Self {
        let mut spec = spec.clone();
        spec.properties.retain(|name, _| is_of_connection(name));
        Self { connection: spec.connection(), world: world.clone() }
    }

    /// Its brokers, for people.
    pub(super) fn brokers(&self) -> String {
        self.connection.brokers()
    }

    /// Makes a topic.
    pub(super) fn create(&self, topic: &str, partitions: u32) -> Result<(), Error> {
        let (admin, context) = self.admin()?;
        let partitions = i32::try_from(partitions).unwrap_or(1);
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let made = self.world.runtime.block_on(admin.create_topics([&new], &options()));
        let made = made.map_err(|error| context.error("make a topic in", &error))?;
        made.into_iter().try_for_each(|one| one.map(drop)).map_err(|(topic, code)| Error::Kafka {
            verb: format!("make topic {topic} in"),
            brokers: self.brokers(),
            reason: code.to_string(),
        })
    }

    /// Deletes the topics whose names begin with one of `prefixes`, and consumer groups.
    pub(super) fn delete(&self, prefixes: &[String], groups: &[String]) -> Result<(), Error> {
        let (admin, context) = self.admin()?;
        let all = admin.inner().fetch_metadata(None, ANSWER);
        let all = all.map_err(|error| context.error("list the topics of", &error))?;
        let ours = all.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
        let ours: Vec<&str> = ours.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        // A group that never committed isn't there, and one that is left behind holds nothing but numbers.
        drop(self.world.runtime.block_on(admin.delete_groups(&groups, &options())));
        if ours.is_empty() {
            return Ok(());
        }
        let gone = self.world.runtime.block_on(admin.delete_topics(&ours, &options()));
        let gone = gone.map_err(|error| context.error("delete topics of", &error))?;
        let failed: Vec<String> = gone
            .into_iter()
            .filter_map(Result::err)
            .filter(|(_, code)| *code != RDKafkaErrorCode::UnknownTopicOrPartition)
            .map(|(topic, code)| format!("{topic}: {code}"))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let (verb, brokers) = ("delete topics of".to_owned(), self.brokers());
        Err(Error::Kafka { verb, brokers, reason: failed.join("; ") })
    }

    pub(super) fn producer(&self) -> Result<Producer, Error> {
        let (config, context) = self.client(&Role::Produce)?;
        let delivery = Delivery { context: context.clone(), failed: Arc::default() };
        let failed = Arc::clone(&delivery.failed);
        let client = config.create_with_context(delivery).map_err(|error| context.error("write to", &error))?;
        Ok(Producer { client, context, failed })
    }

    /// The rows that a reader of committed messages finds in a topic, once no transaction is open there any more.
    pub(super) fn rows(&self, topic: &str, format: &Format) -> Result<Vec<Row>, Error> {
        let (config, context) = self.client(&Role::Look)?;
        let failed = |error: KafkaError| context.error("read from", &error);
        let consumer: BaseConsumer<Context> = config.create_with_context(context.clone()).map_err(failed)?;
        let mut all = config.clone();
        all.set("isolation.level", "read_uncommitted");
        let uncommitted: BaseConsumer<Context> = all.create_with_context(context.clone()).map_err(failed)?;
        let found = consumer.fetch_metadata(Some(topic), ANSWER).map_err(failed)?;
        let partitions = found.topics().first().map_or(0, |topic| topic.partitions().len());
        let mut assigned = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).unwrap_or(0) {
            self.settled(topic, partition, &consumer, &uncommitted, &context)?;
            assigned.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
        }
        consumer.assign(&assigned).map_err(failed)?;
        let (mut rows, mut open) = (Vec::new(), partitions);
        while open > 0 {
            match consumer.poll(ANSWER) {
                Some(Ok(message)) => rows.extend(of_message(&message, format)?),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => return Err(failed(error)),
                None => {
                    let reason = format!("topic {topic} came to no end");
                    return Err(Error::Kafka { verb: "read from".into(), brokers: self.brokers(), reason });
                }
            }
        }
        Ok(rows)
    }

    /// Waits until all there is in a partition is decided: committed or aborted.
    fn settled(
        &self,
        topic: &str,
        partition: i32,
        committed: &BaseConsumer<Context>,
        uncommitted: &BaseConsumer<Context>,
        context: &Context,
    ) -> Result<(), Error> {
        let end = |consumer: &BaseConsumer<Context>| {
            let ends = consumer.fetch_watermarks(topic, partition, ANSWER);
            ends.map(|(_, end)| end).map_err(|error| context.error("read from", &error))
        };
        let clock = &self.world.clock;
        let until = clock.elapsed() + SETTLED_WITHIN;
        while end(committed)? < end(uncommitted)? {
            if clock.elapsed() >= until {
                let reason = format!("a transaction in partition {partition} of {topic} stays open");
                return Err(Error::Kafka { verb: "read from".into(), brokers: self.brokers(), reason });
            }
            stdx::Bell::default().wait(clock, Some(clock.elapsed() + LOOK_EVERY));
        }
        Ok(())
    }

    fn admin(&self) -> Result<(AdminClient<Context>, Context), Error> {
        let (config, context) = self.client(&Role::Produce)?;
        let admin = config.create_with_context(context.clone());
        Ok((admin.map_err(|error| context.error("reach", &error))?, context))
    }

    fn client(&self, role: &Role) -> Result<(ClientConfig, Context), Error> {
        let config = self.connection.config(role, &self.world.secrets, &self.world.folder)?;
        Ok((config, self.connection.context(&self.world)))
    }
}

/// Whether a property is about the way to the brokers, and not about what is read or written.
fn is_of_connection(name: &str) -> bool {
    ["ssl.", "sasl.", "socket.", "enable.ssl", "enable.sasl", "broker.address", "client."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER))
}

/// A message's rows: its value's columns, and what else a reader sees of it.
fn of_message(message: &rdkafka::message::BorrowedMessage<'_>, format: &Format) -> Result<Vec<Row>, Error> {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let mut rows = match message.payload() {
        Some(bytes) => read::message(bytes, format)?,
        None => vec![Row::from([("_tombstone".into(), json!(true))])],
    };
    for row in &mut rows {
        if let Some(key) = message.key() {
            row.insert("_key".into(), text(key));
        }
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            row.insert(format!("_header.{}", header.key), header.value.map_or(Value::Null, text));
        }
    }
    Ok(rows)
}

/// Writes messages, and remembers which could not be.
pub(super) struct Producer {
    client: BaseProducer<Delivery>,
    context: Context,
    failed: Failed,
}

type Failed = Arc<Mutex<Option<KafkaError>>>;

impl Producer {
    pub(super) fn send(&self, topic: &str, partition: i32, key: &str, value: &[u8]) -> Result<(), Error> {
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.client.poll(LOOK_EVERY);
                }
                Err((error, _)) => return Err(self.context.error("write to", &error)),
            }
        }
    }

    pub(super) fn flush(&self) -> Result<(), Error> {
        self.client.flush(ANSWER).map_err(|error| self.context.error("write to", &error))?;
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |error| Err(self.context.error("write to", &error)))
    }
}

struct Delivery {
    context: Context,
    failed: Failed,
}

impl ClientContext for Delivery {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.context, error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::kafka::{Record, Tool, shared};

    use super::*;
    use crate::connector::kafka::Names;
    use crate::format::Name;

    #[test]
    fn committed_rows_are_counted_and_topics_go() {
        let Some(kafka) = shared("verify::kafka::committed_rows", "kafka") else { return };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = World::local(std::path::Path::new(""), runtime.handle());
        let spec = SourceSpec { brokers: Names::One(kafka.brokers().into()), ..SourceSpec::default() };
        let cluster = Cluster::of_source(&spec, &world);
        let (topic, neighbour) = (kafka.topic("verified"), kafka.topic("neighbour"));
        cluster.create(&topic, 3).unwrap();
        cluster.create(&neighbour, 1).unwrap();
        let producer = cluster.producer().unwrap();
        for id in 0..100 {
            producer.send(&topic, id % 3, &id.to_string(), format!("{{\"id\":{id}}}").as_bytes()).unwrap();
        }
        producer.flush().unwrap();
        let records = [Record::of("{\"id\":200}"), Record::of("{\"id\":201}")];
        let client = |id: &str| kafka.client().with("transactional.id", format!("{topic}-{id}"));
        client("committed").produce_in_transaction(&topic, &records[..1], true);
        client("aborted").produce_in_transaction(&topic, &records[1..], false);
        let rows = cluster.rows(&topic, &Format::named(Name::Json)).unwrap();
        let mut ids: Vec<i64> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..100).chain([200]).collect::<Vec<_>>());
        assert_eq!(rows.iter().filter(|row| row.get("_key") == Some(&json!("42"))).count(), 1);
        cluster.delete(std::slice::from_ref(&topic), &["no-such-group".to_owned()]).unwrap();
        let left = kafka.tool(Tool::TOPICS).arguments(&["--bootstrap-server", kafka.brokers(), "--list"]).output();
        assert!(left.contains(&neighbour) && !left.contains(&topic), "{left}");
        cluster.delete(&[neighbour], &[]).unwrap();
    }
}
