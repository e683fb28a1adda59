use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use queue::exercise::{Site, exercise};
use queue::{Opened, Postgres, PostgresOptions, Sqlite, SqliteOptions};
use stdx::Clock;
use tempfile::TempDir;
use testkit::postgres;

/// A SQLite file. Its second handle is a clone of the first: another process is kept out by the file's lock.
struct File {
    folder: TempDir,
    open: Mutex<Option<Sqlite>>,
}

impl File {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), open: Mutex::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("queue.sqlite")
    }
}

impl Site for File {
    fn open(&self, clock: &Clock) -> Opened {
        let mut open = self.open.lock().unwrap();
        let store = open.get_or_insert_with(|| Sqlite::open(&SqliteOptions::new(self.path(), clock.clone())).unwrap());
        store.clone().into()
    }

    fn crash(&self) {
        self.open.lock().unwrap().take();
    }
}

#[test]
fn sqlite() {
    exercise(|| Box::new(File::new()));
}

/// Tables of their own in a real PostgreSQL. Each handle is a replica of its own, with its own connections.
struct Tables {
    server: Arc<postgres::Server>,
    schema: String,
}

impl Tables {
    fn new(server: &Arc<postgres::Server>) -> Self {
        Self { server: Arc::clone(server), schema: server.schema("exercise") }
    }
}

impl Site for Tables {
    fn open(&self, clock: &Clock) -> Opened {
        Postgres::open(&PostgresOptions::new(self.server.url(&self.schema), clock.clone())).unwrap().into()
    }

    /// The server ends what a replica that was killed leaves behind.
    fn crash(&self) {
        self.server.cut(&self.schema);
    }
}

#[test]
fn postgres() {
    let Some(server) = postgres::shared("queue::store::postgres") else { return };
    let server = Arc::new(server);
    exercise(move || Box::new(Tables::new(&server)));
}
