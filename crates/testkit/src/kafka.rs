//! Real Kafka for tests: what `cargo xtask services up` started, or a broker of the test's own.
//!
//! A test asks for [`shared`] and works on topics with names of its own ([`Kafka::topic`]), side by side with others. One
//! that stops or pauses brokers asks for [`alone`], or starts its [`Private`] broker. Where Kafka isn't up, the test is
//! skipped with the reason, and with `CI=true` it fails.

mod client;
mod tool;

use std::fs::File;
use std::net::TcpStream;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

pub use client::{Client, Record};
pub use tool::{Answer, Tool};

use crate::part::{is_ci, own, read, services, skip, xtask};

/// How long a broker that is up may take to accept a connection.
const ACCEPT_WITHIN: Duration = Duration::from_secs(5);

/// A Kafka that is up. As long as it lives, nobody who wants the same Kafka [`alone`] gets it.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    services: PathBuf,
    state: Value,
    _turn: Option<File>,
}

/// The Kafka of this name (`kafka`, `kafka3`, `kafka-secure`), together with other tests. `None` when it isn't up: the
/// test is then counted as skipped and returns.
pub fn shared(test: &str, name: &str) -> Option<Kafka> {
    open(test, name, File::lock_shared)
}

/// The Kafka of this name, with no other test in it. To be asked for once a test, and not beside [`shared`]: it waits
/// until all others are done.
pub fn alone(test: &str, name: &str) -> Option<Kafka> {
    open(test, name, File::lock)
}

fn open(test: &str, name: &str, lock: fn(&File) -> std::io::Result<()>) -> Option<Kafka> {
    let services = services();
    let found = take_turn(&services, name, lock)
        .and_then(|turn| {
            Some(Kafka { state: read(&services, name)?, name: name.to_owned(), services, _turn: Some(turn) })
        })
        .filter(Kafka::accepts);
    let reason = match &found {
        None => format!("Kafka isn't up: cargo xtask services up {name}"),
        Some(kafka) if kafka.python().is_none() => {
            "no Python to read Kafka with: cargo xtask setup, then cargo xtask services down and up".to_owned()
        }
        Some(_) => return found,
    };
    assert!(!is_ci(), "{test}: {reason}");
    skip(test, &reason);
    None
}

/// A lock between tests, also of different programs, beside the lock between those who start and end services.
fn take_turn(services: &Path, name: &str, lock: fn(&File) -> std::io::Result<()>) -> Option<File> {
    let file = File::options().create(true).append(true).open(services.join(format!("{name}.turn"))).ok()?;
    lock(&file).ok()?;
    Some(file)
}

impl Kafka {
    /// The addresses of the plain listener, as `brokers` takes them.
    pub fn brokers(&self) -> &str {
        self.listener("plaintext")
    }

    /// The addresses of a listener: `plaintext`, and in `kafka-secure` also `saslSsl`, `saslPlaintext`, `mtls`, `oauth`.
    pub fn listener(&self, kind: &str) -> &str {
        let address = self.state["listeners"][kind].as_str();
        address.unwrap_or_else(|| panic!("{} has no listener {kind}: {}", self.name, self.state["listeners"]))
    }

    /// A file of the service. In `kafka-secure`: `ca`, `otherCa`, `clientCertificate`, `clientKey`, `password` (of the
    /// user `headwater`, who may do all), `strangerCertificate`, `strangerKey`, `strangerPassword` (of the user `stranger`,
    /// who may do nothing).
    pub fn file(&self, kind: &str) -> PathBuf {
        let path = self.state["files"][kind].as_str();
        path.unwrap_or_else(|| panic!("{} has no file {kind}: {}", self.name, self.state["files"])).into()
    }

    /// The folder of the service.
    pub fn folder(&self) -> PathBuf {
        self.services.join(&self.name)
    }

    /// What a broker has logged so far. Brokers are numbered from 1, as Kafka's `node.id`.
    pub fn log(&self, number: u32) -> String {
        let path = self.folder().join(format!("broker-{number}/server.log"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }

    /// A topic name that no other test has.
    pub fn topic(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Process numbers come again while a Kafka stays up; the moment doesn't.
        let moment = stdx::Clock::system().now().micros();
        format!("{what}-{process}-{moment:x}-{next}")
    }

    /// A client by other people, on the plain listener.
    pub fn client(&self) -> Client {
        let python = self.python().expect("a Python, as `shared` and `alone` saw to");
        Client::new(python, self.brokers())
    }

    /// One of Kafka's own tools, by its class, such as [`Tool::TOPICS`]. Starting it takes a second.
    pub fn tool(&self, class: &str) -> Tool {
        Tool::new(&self.file("jars"), class)
    }

    /// Stops a broker as an administrator does: it hands its partitions over. Back when the answer is dropped.
    pub fn stop(&self, number: u32) -> Away<'_> {
        self.away("stop", "start", number)
    }

    /// Kills a broker. Back when the answer is dropped.
    pub fn kill(&self, number: u32) -> Away<'_> {
        self.away("kill", "start", number)
    }

    /// Freezes a broker, as a machine that swaps does: its connections stay. Back when the answer is dropped.
    pub fn pause(&self, number: u32) -> Away<'_> {
        self.away("pause", "resume", number)
    }

    fn away(&self, verb: &str, back: &'static str, number: u32) -> Away<'_> {
        self.ask(verb, number);
        Away { kafka: self, back, number }
    }

    fn ask(&self, verb: &str, number: u32) {
        xtask(&self.services, &[verb, &format!("{}:{number}", self.name)]);
    }

    fn python(&self) -> Option<PathBuf> {
        let kept = self.state["files"]["python"].as_str().map(PathBuf::from);
        crate::python().or(kept).filter(|python| python.exists())
    }

    fn accepts(&self) -> bool {
        let mut addresses = self.brokers().split(',').filter_map(|address| address.parse().ok());
        addresses.any(|address| TcpStream::connect_timeout(&address, ACCEPT_WITHIN).is_ok())
    }
}

/// A broker that is stopped, killed or paused.
#[derive(Debug)]
#[must_use = "the broker comes back when this is dropped"]
pub struct Away<'a> {
    kafka: &'a Kafka,
    back: &'static str,
    number: u32,
}

impl Away<'_> {
    /// Brings the broker back now, and returns once it serves.
    pub fn back(self) {}
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.kafka.ask(self.back, self.number);
    }
}

/// A Kafka of a test's own, for what would break that of others. Ended when dropped; that of a test that was killed ends
/// with the next `cargo xtask services up`.
#[derive(Debug)]
pub struct Private(Kafka);

impl Private {
    /// Starts one (`kafka`, `kafka3` or `kafka-secure`), which takes some five seconds. `None`, and the test counts as
    /// skipped, where the shared one isn't up: who has that can have this.
    pub fn start(test: &str, name: &str) -> Option<Private> {
        let services = own(&shared(test, "kafka")?.services);
        xtask(&services, &["up", name]);
        let state = read(&services, name).expect("a service that is up");
        Some(Private(Kafka { name: name.to_owned(), services, state, _turn: None }))
    }
}

impl Deref for Private {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        &self.0
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        xtask(&self.0.services, &["down"]);
        drop(std::fs::remove_dir_all(&self.0.services));
    }
}
