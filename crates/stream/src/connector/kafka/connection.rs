//! How a cluster is reached: brokers, certificates, passwords, and librdkafka's settings made of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use document::{Problem, SecretRef, Secrets};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compression, Partitioner, SinkSpec, SourceSpec};
use crate::{Error, World};

/// One name, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One, or several with commas between them.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Names {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Encryption, and who is who by certificate. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsSpec {
    /// The file of the authorities that may have signed the broker's certificate. Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The file of our own certificate, for brokers that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The private key of our certificate: the text of the PEM file, as a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
}

/// Who we are. Exactly one mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SaslSpec {
    /// A name and a password, sent as they are: use it with `tls` only.
    Plain(Login),
    /// A name and a password that is proved and never sent, with SHA-256.
    ScramSha256(Login),
    /// The same with SHA-512.
    ScramSha512(Login),
    /// A token.
    Oauthbearer(Token),
    /// Kerberos. Needs a binary built with `--features kerberos`.
    Kerberos(Kerberos),
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password, as a secret.
    pub password: SecretRef,
}

/// A bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The token, a JWT, as a secret. Its `sub` and `exp` are read; the secret is looked at again when it expires.
    pub token: SecretRef,
}

/// A Kerberos identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kerberos {
    /// Our principal, as `headwater@EXAMPLE.ORG`.
    pub principal: String,
    /// The file of its keys.
    pub keytab: PathBuf,
    /// The first part of the brokers' principal. Default `kafka`.
    #[serde(default = "kafka")]
    pub service: String,
}

fn kafka() -> String {
    "kafka".into()
}

/// What librdkafka keeps of a message that is ready, beside its bytes: more than it is, so that the bound holds.
const KEPT_BYTES_OF_A_MESSAGE: u64 = 512;

/// What a client is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Reads partitions that we assign; `partitions` of them share `memory_bytes`.
    Consume { group: String, memory_bytes: u64, partitions: usize },
    /// Looks at topics and at a few messages, committed or not.
    Look,
    /// Writes in transactions of this id.
    Transact { id: String, timeout: Duration },
    /// Writes at once, without doubling a message by its own retries.
    Produce,
}

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connection {
    brokers: Vec<String>,
    tls: Option<TlsSpec>,
    sasl: Option<SaslSpec>,
    properties: BTreeMap<String, String>,
}

impl SourceSpec {
    pub(crate) fn connection(&self) -> Connection {
        Connection::new(&self.brokers, self.tls.as_ref(), self.sasl.as_ref(), &self.properties)
    }
}

impl SinkSpec {
    pub(crate) fn connection(&self) -> Connection {
        Connection::new(&self.brokers, self.tls.as_ref(), self.sasl.as_ref(), &self.properties)
    }

    /// What of the settings is the sink's own.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let compression = match self.compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        let partitioner = match self.partitioner {
            Partitioner::Murmur2 | Partitioner::Task => "murmur2_random",
            Partitioner::Crc32 => "consistent_random",
        };
        let kib = (self.buffer.0.bytes() / 1024).clamp(1, 2_097_151);
        vec![
            ("compression.type", compression.into()),
            ("partitioner", partitioner.into()),
            ("queue.buffering.max.kbytes", kib.to_string()),
        ]
    }
}

/// Properties that other fields decide, and the field.
const OWNED: [(&str, &str); 27] = [
    ("bootstrap.servers", "brokers"),
    ("metadata.broker.list", "brokers"),
    ("security.protocol", "tls and sasl"),
    ("sasl.mechanism", "sasl"),
    ("sasl.mechanisms", "sasl"),
    ("sasl.username", "sasl"),
    ("sasl.password", "sasl"),
    ("sasl.oauthbearer.config", "sasl"),
    ("sasl.oauthbearer.client.secret", "sasl"),
    ("ssl.ca.location", "tls.ca"),
    ("ssl.ca.pem", "tls.ca"),
    ("ssl.certificate.location", "tls.certificate"),
    ("ssl.certificate.pem", "tls.certificate"),
    ("ssl.key.location", "tls.key"),
    ("ssl.key.pem", "tls.key"),
    ("ssl.key.password", "tls.key"),
    ("ssl.keystore.password", "tls.key"),
    ("group.id", "group"),
    ("group.instance.id", "group"),
    ("auto.offset.reset", "start and onGap"),
    ("isolation.level", "nothing: only committed messages are read"),
    ("enable.auto.commit", "the stream's commits"),
    ("enable.auto.offset.store", "the stream's commits"),
    ("enable.partition.eof", "stop"),
    ("enable.idempotence", "delivery"),
    ("transactional.id", "the stream's name"),
    ("transaction.timeout.ms", "transactionTimeout"),
];

impl Connection {
    fn new(
        brokers: &Names,
        tls: Option<&TlsSpec>,
        sasl: Option<&SaslSpec>,
        properties: &BTreeMap<String, String>,
    ) -> Self {
        let each = brokers.as_slice().iter().flat_map(|names| names.split(','));
        let brokers = each.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        Self { brokers, tls: tls.cloned(), sasl: sasl.cloned(), properties: properties.clone() }
    }

    /// The brokers, for people.
    pub(crate) fn brokers(&self) -> String {
        self.brokers.join(",")
    }

    /// Whether we show a token.
    pub(crate) const fn has_token(&self) -> bool {
        matches!(self.sasl, Some(SaslSpec::Oauthbearer(_)))
    }

    pub(crate) fn problems(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.brokers.is_empty() {
            let problem = Problem::at(format!("{path}.brokers")).found("no broker");
            problems.push(problem.expected("one or more `host:port`"));
        }
        for broker in &self.brokers {
            let port = broker.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
                let problem = Problem::at(format!("{path}.brokers")).found(format!("`{broker}`"));
                problems.push(problem.expected("`host:port`").hint("the usual port is 9092"));
            }
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            let problem = Problem::at(format!("{path}.tls")).found("one of `certificate` and `key`");
            problems.push(problem.expected("both, or neither"));
        }
        if let (Some(SaslSpec::Kerberos(_)), false) = (&self.sasl, cfg!(feature = "kerberos")) {
            let problem = Problem::at(format!("{path}.sasl")).found("`kerberos`");
            problems.push(
                problem
                    .expected(
                        "a mechanism that this binary was built with: plain, scramSha256, scramSha512, oauthbearer",
                    )
                    .hint("build with `--features kerberos`"),
            );
        }
        for name in self.properties.keys() {
            if let Some((_, by)) = OWNED.iter().find(|(owned, _)| owned == name) {
                let problem = Problem::at(format!("{path}.properties.{name}")).found("a property that is decided here");
                problems.push(problem.expected(format!("it to be left out: it is decided by {by}")));
            }
        }
        problems.extend(self.unknown_properties(path));
        problems
    }

    /// What librdkafka says of the properties: it knows its own names and ranges.
    fn unknown_properties(&self, path: &str) -> Vec<Problem> {
        let known = |(name, _): &(&String, &String)| !OWNED.iter().any(|(owned, _)| owned == name);
        let each = self.properties.iter().filter(known);
        each.filter_map(|(name, value)| {
            let mut config = ClientConfig::new();
            config.set(name, value);
            let Err(KafkaError::ClientConfig(_, words, ..)) = config.create_native_config() else { return None };
            let problem = Problem::at(format!("{path}.properties.{name}")).found(format!("`{value}`: {words}"));
            Some(problem.expected("a property of librdkafka and a value that it takes"))
        })
        .collect()
    }

    /// The settings of a client for `role`.
    pub(crate) fn config(&self, role: &Role, secrets: &Secrets, folder: &Path) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers()).set("client.id", "headwater");
        config.set("log.connection.close", "false").set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "2000");
        config.set_log_level(RDKafkaLogLevel::Warning);
        role.set(&mut config);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        self.secure(&mut config, secrets, folder)?;
        Ok(config)
    }

    fn secure(&self, config: &mut ClientConfig, secrets: &Secrets, folder: &Path) -> Result<(), Error> {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => return Ok(()),
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        let secret = |reference: &SecretRef| {
            secrets.resolve(reference, "kafka").map_err(|problem| Error::Secret(problem.to_string()))
        };
        if let Some(tls) = &self.tls {
            let text = |path: &PathBuf| {
                let path = folder.join(path);
                std::fs::read_to_string(&path).map_err(Error::file("read", path))
            };
            if let Some(ca) = &tls.ca {
                config.set("ssl.ca.pem", text(ca)?);
            }
            if let Some(certificate) = &tls.certificate {
                config.set("ssl.certificate.pem", text(certificate)?);
            }
            if let Some(key) = &tls.key {
                config.set("ssl.key.pem", secret(key)?.expose());
            }
        }
        let mut login = |mechanism: &str, login: &Login| {
            config.set("sasl.mechanism", mechanism).set("sasl.username", &login.username);
            config.set("sasl.password", secret(&login.password)?.expose());
            Ok(())
        };
        match &self.sasl {
            Some(SaslSpec::Plain(given)) => login("PLAIN", given),
            Some(SaslSpec::ScramSha256(given)) => login("SCRAM-SHA-256", given),
            Some(SaslSpec::ScramSha512(given)) => login("SCRAM-SHA-512", given),
            Some(SaslSpec::Oauthbearer(_)) => {
                config.set("sasl.mechanism", "OAUTHBEARER");
                Ok(())
            }
            Some(SaslSpec::Kerberos(given)) => {
                config.set("sasl.mechanism", "GSSAPI").set("sasl.kerberos.principal", &given.principal);
                config.set("sasl.kerberos.service.name", &given.service);
                config.set("sasl.kerberos.keytab", folder.join(&given.keytab).display().to_string());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What a client of this connection tells us, and asks of us.
    pub(crate) fn context(&self, world: &World) -> Context {
        let token = match &self.sasl {
            Some(SaslSpec::Oauthbearer(token)) => Some(token.token.clone()),
            _ => None,
        };
        Context {
            token,
            secrets: Arc::clone(&world.secrets),
            brokers: self.brokers().into(),
            refusal: Arc::default(),
            trouble: Arc::default(),
            reach: Arc::default(),
        }
    }
}

impl Role {
    fn set(&self, config: &mut ClientConfig) {
        match self {
            Self::Consume { group, memory_bytes, partitions } => {
                // Half of it for what is ready, the rest for what is on its way or just unpacked: one answer may
                // overshoot the queue by so much for each partition, and messages unpack to some times their size.
                let share = memory_bytes / (*partitions).max(1) as u64;
                let kib = (share / 2 / 1024).clamp(32, 65_536);
                config.set("group.id", group).set("queued.max.messages.kbytes", kib.to_string());
                // Bytes are those of messages; what the client keeps of each beside them counts nowhere, and is more
                // than a short message.
                let messages = (kib * 1024 / KEPT_BYTES_OF_A_MESSAGE).clamp(100, 100_000);
                config.set("queued.min.messages", messages.to_string());
                config.set("isolation.level", "read_committed").set("auto.offset.reset", "error");
                config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
                config.set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "2");
                config.set("fetch.wait.max.ms", "500").set("check.crcs", "true");
                let fetch = (share / 8).clamp(16_384, 1_048_576);
                config.set("fetch.message.max.bytes", fetch.to_string());
                config.set("fetch.max.bytes", (*memory_bytes).clamp(1_048_576, 52_428_800).to_string());
                // How far partitions reach, for the lag: read off the answers to fetches, so it asks nobody.
                config.set("statistics.interval.ms", "5000");
            }
            Self::Look => {
                config.set("group.id", "headwater-look").set("isolation.level", "read_committed");
                config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
                config.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
                config.set("queued.max.messages.kbytes", "4096");
                // Whoever looks doesn't wait for what may come: an end is told at once.
                config.set("fetch.wait.max.ms", "10");
            }
            Self::Transact { id, timeout } => {
                config.set("transactional.id", id).set("transaction.timeout.ms", timeout.as_millis().to_string());
                config.set("linger.ms", "1");
            }
            Self::Produce => {
                config.set("enable.idempotence", "true").set("linger.ms", "1");
            }
        }
    }
}

/// Listens to a client: what it logs, whether it was refused, and what token it shall show.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    token: Option<SecretRef>,
    secrets: Arc<Secrets>,
    brokers: Arc<str>,
    /// Why the cluster will not have us, once it said so. Waiting would not help.
    refusal: Arc<Mutex<Option<String>>>,
    /// What last went wrong on the way to the brokers, since a call that timed out doesn't say.
    trouble: Arc<Mutex<Option<String>>>,
    /// How far partitions reach, by the client's own statistics.
    reach: Reach,
}

/// How far partitions reach, by topic and partition.
pub(crate) type Reach = Arc<Mutex<HashMap<String, HashMap<i32, Reached>>>>;

/// How far a partition reaches, as last heard of. Negative: not heard of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// The offset behind the last message that may be read.
    pub(crate) end: i64,
    /// Where the end was last when everything before it had been handed over.
    pub(crate) read_to: i64,
}

impl Context {
    /// Why the cluster will not have us, once it said so.
    pub(crate) fn refusal(&self) -> Option<Error> {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Error::Secret(format!("Kafka at {}: {refusal}", self.brokers)))
    }

    fn refuse(&self, reason: &str) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    /// What last went wrong on the way to the brokers.
    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far a partition reaches, once the client has heard of it.
    pub(crate) fn reach(&self, topic: &str, partition: i32) -> Option<Reached> {
        let reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.get(topic)?.get(&partition).copied().filter(|reached| reached.end >= 0)
    }

    /// What was heard of a partition counts no more: it is read anew, and the topic may be another of that name.
    pub(crate) fn forget_reach(&self, topic: &str, partition: i32) {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.get_mut(topic).and_then(|topic| topic.remove(&partition));
    }

    /// An error of a client, as ours: the refusal where there was one.
    pub(crate) fn error(&self, verb: &str, error: &KafkaError) -> Error {
        let reason = match error {
            // The last part is the value, which may be a secret.
            KafkaError::ClientConfig(_, words, property, _) => format!("{property}: {words}"),
            other => other.to_string(),
        };
        let reason = match (self.trouble(), error.rdkafka_error_code()) {
            (Some(trouble), Some(code)) if is_vague(code) => format!("{trouble} ({reason})"),
            _ => reason,
        };
        self.refusal().unwrap_or_else(|| self.failed(verb, reason))
    }

    /// The brokers that the document names.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A failure in our own words.
    pub(crate) fn failed(&self, verb: &str, reason: String) -> Error {
        Error::Kafka { verb: verb.to_owned(), brokers: self.brokers.to_string(), reason }
    }
}

/// Whether an error says only that nothing came back.
const fn is_vague(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve, TimedOutQueue};
    matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve | TimedOutQueue)
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(brokers = %self.brokers, facility, "{message}");
            }
            // These also come as errors, once each.
            _ if matches!(facility, "FAIL" | "ERROR") => {
                tracing::debug!(brokers = %self.brokers, facility, "{message}");
            }
            _ => tracing::warn!(brokers = %self.brokers, facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, AutoOffsetReset, PartitionEOF, SSL, SaslAuthenticationFailed,
        };
        let code = error.rdkafka_error_code();
        match code {
            // A partition's own error is dealt with where the partition is read; that all brokers are away says less
            // than what came before it.
            Some(PartitionEOF | AutoOffsetReset | AllBrokersDown) => return,
            Some(Authentication | SSL | SaslAuthenticationFailed) => self.refuse(reason),
            // Whom the broker doesn't trust hears of it when the connection seems to stand.
            _ if reason.contains("SSL alert number") => self.refuse(reason),
            Some(code) if is_vague(code) => {
                *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
            }
            _ => {}
        }
        tracing::warn!(brokers = %self.brokers, reason, "Kafka");
    }

    fn stats(&self, statistics: Statistics) {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, seen) in statistics.topics {
            let seen = seen.partitions.into_iter();
            let seen = seen.map(|(id, seen)| (id, Reached { end: seen.ls_offset, read_to: seen.eof_offset }));
            reach.insert(topic, seen.collect());
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let reference = self.token.as_ref().ok_or("the document names no token")?;
        let token = self.secrets.resolve(reference, "kafka.sasl").map_err(|problem| problem.to_string())?;
        let (principal_name, lifetime_ms) = claims(token.expose())?;
        Ok(OAuthToken { token: token.expose().to_owned(), principal_name, lifetime_ms })
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(brokers = %self.brokers, %error, "offsets are not committed to the consumer group; others may see an old lag");
        }
    }
}

/// The `sub` and `exp` (in milliseconds) of a JSON Web Token, RFC 7519.
fn claims(token: &str) -> Result<(String, i64), &'static str> {
    use base64::Engine as _;
    let expected = "the token is no JSON Web Token with `sub` and `exp`";
    let body = token.split('.').nth(1).ok_or(expected)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).map_err(|_| expected)?;
    let body: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| expected)?;
    let subject = body["sub"].as_str().ok_or(expected)?;
    let expires = body["exp"].as_f64().ok_or(expected)?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
    Ok((subject.to_owned(), (expires * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_who_and_until_when() {
        // {"alg":"none"} . {"sub":"admin","exp":1900000000.5} .
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsImV4cCI6MTkwMDAwMDAwMC41fQ.";
        assert_eq!(claims(token), Ok(("admin".to_owned(), 1_900_000_000_500)));
        assert!(claims("nonsense").is_err() && claims("a.b.c").is_err());
    }

    #[test]
    fn owned_and_unknown_properties_are_problems() {
        let properties =
            [("group.id", "x"), ("fetch.min.bytes", "many"), ("no.such", "1"), ("fetch.max.bytes", "100000")];
        let spec = SourceSpec {
            brokers: Names::One("a:9092, b".into()),
            properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..SourceSpec::default()
        };
        let paths: Vec<String> = spec.connection().problems("k").into_iter().map(|problem| problem.path).collect();
        assert_eq!(
            paths,
            ["k.brokers", "k.properties.group.id", "k.properties.fetch.min.bytes", "k.properties.no.such"]
        );
    }
}
