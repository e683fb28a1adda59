//! Real PostgreSQL for tests: what `cargo xtask services up postgres` started.
//!
//! A test asks for [`shared`] and works in a schema of its own ([`Server::schema`]), side by side with others. One that
//! ends the server starts its [`Private`] one. Where PostgreSQL isn't up, the test is skipped with the reason, and with
//! `CI=true` it fails.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::{Client, NoTls};

use crate::part::{is_ci, own, read, services, skip, xtask};

/// The name of the service.
const NAME: &str = "postgres";

/// A PostgreSQL that is up, and a connection to it. The schemas that were asked for go with it.
pub struct Server {
    address: String,
    client: Mutex<Client>,
    schemas: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The PostgreSQL of `cargo xtask services`, together with other tests. `None` when it isn't up: the test is then
/// counted as skipped and returns.
pub fn shared(test: &str) -> Option<Server> {
    let state = read(&services(), NAME);
    let address = state.as_ref().and_then(|state| state["listeners"]["tcp"].as_str()).map(str::to_owned);
    let found = address.and_then(|address| {
        let client = Client::connect(&url(&address, "public"), NoTls).ok()?;
        Some(Server { address, client: Mutex::new(client), schemas: Mutex::default() })
    });
    if found.is_none() {
        let reason = format!("PostgreSQL isn't up: cargo xtask services up {NAME}");
        assert!(!is_ci(), "{test}: {reason}");
        skip(test, &reason);
    }
    found
}

fn url(address: &str, schema: &str) -> String {
    let name = format!("headwater%20{schema}");
    format!("postgres://headwater@{address}/postgres?application_name={name}&options=-csearch_path%3D{schema}")
}

impl Server {
    /// Where a client finds the tables of a schema.
    pub fn url(&self, schema: &str) -> String {
        url(&self.address, schema)
    }

    /// A new schema, with a name that no other test has.
    pub fn schema(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let moment = stdx::Clock::system().now().micros();
        let name = format!("{what}_{process}_{moment:x}_{next}");
        self.run(&format!("CREATE SCHEMA {name}"));
        self.schemas.lock().expect("no other test panicked").push(name.clone());
        name
    }

    /// Runs statements as the server's owner.
    pub fn run(&self, sql: &str) {
        let ran = self.client.lock().expect("no other test panicked").batch_execute(sql);
        ran.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Ends all connections that work in a schema, as the server does with those of a client that died.
    pub fn cut(&self, schema: &str) {
        // The settings of other sessions are not to be seen, so the URL names the schema a second time.
        self.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headwater {schema}'"
        ));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for schema in self.schemas.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default() {
            if let Ok(client) = self.client.get_mut() {
                let _ = client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE"));
            }
        }
    }
}

/// A PostgreSQL of a test's own, for what would break that of others. Ended when dropped; that of a test that was killed
/// ends with the next `cargo xtask services up`.
#[derive(Debug)]
pub struct Private {
    services: PathBuf,
    address: String,
}

impl Private {
    /// Starts one, which takes some two seconds. `None`, and the test counts as skipped, where the shared one isn't up:
    /// who has that can have this.
    pub fn start(test: &str) -> Option<Self> {
        shared(test)?;
        let services = own(&services());
        xtask(&services, &["up", NAME]);
        let state = read(&services, NAME).expect("a service that is up");
        let address = state["listeners"]["tcp"].as_str().expect("an address").to_owned();
        Some(Self { services, address })
    }

    /// Where a client finds the tables, which are in the schema that everybody has.
    pub fn url(&self) -> String {
        url(&self.address, "public")
    }

    /// Kills the server with all that it is doing. It is away until [`Private::start_again`].
    pub fn kill(&self) {
        xtask(&self.services, &["kill", &format!("{NAME}:1")]);
    }

    /// Starts the server again with what it had on disk, and returns once it serves.
    pub fn start_again(&self) {
        xtask(&self.services, &["start", &format!("{NAME}:1")]);
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        xtask(&self.services, &["down"]);
        drop(std::fs::remove_dir_all(&self.services));
    }
}
