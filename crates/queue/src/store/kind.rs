//! The kinds of stores, and all that differs between them before they are open.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use document::{ByteSize, Problem, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::Chain;

use super::postgres::{self, Postgres, PostgresOptions};
use super::sqlite::{self, Sqlite, SqliteOptions};
use super::{Store, View};
use crate::artifact::Artifacts;
use crate::error::Error;
use crate::world::World;

/// What is promised, whatever the store.
pub(crate) const PROMISE: &str =
    "a job that was accepted is on disk, is not lost and ends once; it may run more than once";

/// Where jobs are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StoreSpec {
    /// A file of this machine, for one server.
    Sqlite(SqliteSpec),
    /// A database, for several servers.
    Postgres(PostgresSpec),
    /// Not there yet: use `sqlite` or `postgres`.
    Redis(serde_json::Value),
}

/// A file of this machine, for one server. Nothing needs to be installed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqliteSpec {
    /// The file. It is made where there is none, with its folder. It must be on a local disk: network file systems
    /// don't lock reliably.
    pub path: PathBuf,
}

/// A PostgreSQL database, for several servers that share its jobs. Version 13 or later. The tables are made where there
/// are none, in the schema that the user finds first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSpec {
    /// Where it is: `postgres://user@host/database`, without the password. `?sslmode=require` asks for TLS and checks
    /// the server's certificate; without it nothing is encrypted.
    pub url: String,
    /// The password, where the server asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// A PEM file with the authorities that sign the server's certificate. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl StoreSpec {
    /// The file, where jobs are kept in one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(sqlite) => Some(&sqlite.path),
            Self::Postgres(_) | Self::Redis(_) => None,
        }
    }

    /// The password that opens it, where one does, and where the document says so.
    pub fn password(&self) -> Option<(&'static str, &SecretRef)> {
        match self {
            Self::Postgres(postgres) => {
                postgres.password.as_ref().map(|secret| ("spec.store.postgres.password", secret))
            }
            Self::Sqlite(_) | Self::Redis(_) => None,
        }
    }

    /// Why it can't be used.
    pub(crate) fn problem(&self) -> Option<Problem> {
        match self {
            Self::Sqlite(sqlite) if sqlite.path.file_name().is_none() => {
                Some(Problem::at("spec.store.sqlite.path").found("no file").expected("a path such as `jobs.db`"))
            }
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => postgres::problem(&postgres.url)
                // What can't be read may hold a password too.
                .map(|found| Problem::at("spec.store.postgres.url").found(found).masked())
                .map(|problem| problem.expected("`postgres://user@host/database`, the password in `password`")),
            Self::Redis(_) => Some(
                Problem::at("spec.store.redis")
                    .found("a Redis store, which is not there yet")
                    .expected("`sqlite` or `postgres`")
                    .hint("write `store: {sqlite: {path: jobs.db}}`: a file of this machine that needs no server"),
            ),
        }
    }

    /// What is known of it before it is opened. A server is asked, and may not answer.
    pub(crate) fn facts(&self, world: &World) -> StoreFacts {
        match self.plan(&world.folder) {
            Some(StorePlan::Sqlite { path }) => StoreFacts {
                bytes: path.metadata().ok().map(|file| file.len()),
                holder: sqlite::holder(&path),
                ..StoreFacts::default()
            },
            Some(StorePlan::Postgres { url, ca }) => match postgres::version(&options(&url, ca, world)) {
                Ok(version) => StoreFacts { version: Some(version), ..StoreFacts::default() },
                Err(error) => StoreFacts { unreachable: Some(Chain(&error).to_string()), ..StoreFacts::default() },
            },
            None => StoreFacts::default(),
        }
    }

    /// Where that is, seen from a folder.
    pub(crate) fn plan(&self, folder: &Path) -> Option<StorePlan> {
        match self {
            Self::Sqlite(sqlite) => Some(StorePlan::Sqlite { path: folder.join(&sqlite.path) }),
            Self::Postgres(postgres) => {
                let ca = postgres.ca.as_ref().map(|ca| folder.join(ca));
                Some(StorePlan::Postgres { url: postgres.url.clone(), ca })
            }
            Self::Redis(_) => None,
        }
    }
}

/// What is known of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreFacts {
    /// The bytes of its file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Who has the file open, if anybody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The version of its server, if it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why its server does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// Where the jobs of a plan are kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StorePlan {
    /// In a file.
    Sqlite {
        /// Its path.
        path: PathBuf,
    },
    /// In a PostgreSQL database.
    Postgres {
        /// Its URL, which holds no password.
        url: String,
        /// A file of authorities.
        #[serde(skip_serializing_if = "Option::is_none")]
        ca: Option<PathBuf>,
    },
}

/// An open store, as those see it who put, who read and who leave files.
#[derive(Clone)]
pub struct Opened {
    /// For changes.
    pub store: Arc<dyn Store>,
    /// For reading.
    pub view: Arc<dyn View>,
    /// For files.
    pub artifacts: Arc<dyn Artifacts>,
}

impl<T: Store + View + Artifacts + 'static> From<T> for Opened {
    fn from(store: T) -> Self {
        let store = Arc::new(store);
        Self { store: Arc::clone(&store) as _, view: Arc::clone(&store) as _, artifacts: store }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

impl StorePlan {
    /// Opens it, and makes it where there is nothing. Blocks.
    pub(crate) fn open(&self, world: &World) -> Result<Opened, Error> {
        Ok(match self {
            Self::Sqlite { path } => Sqlite::open(&SqliteOptions::new(path, world.clock.clone()))?.into(),
            Self::Postgres { url, ca } => Postgres::open(&options(url, ca.clone(), world))?.into(),
        })
    }

    /// As a person reads it, with what is known of it.
    pub(crate) fn print(&self, found: &StoreFacts, f: &mut Formatter<'_>) -> fmt::Result {
        let is_there = match (self, found.bytes, &found.version, &found.unreachable) {
            (Self::Sqlite { .. }, None, ..) => "not there yet".to_owned(),
            (Self::Sqlite { .. }, Some(bytes), ..) => ByteSize::from_bytes(bytes).to_string(),
            (Self::Postgres { .. }, _, Some(version), _) => format!("PostgreSQL {version}"),
            (Self::Postgres { .. }, _, None, Some(_)) => "does not answer".to_owned(),
            (Self::Postgres { .. }, _, None, None) => "not asked".to_owned(),
        };
        writeln!(f, "\nstore    {self} ({is_there})")?;
        if let Some(holder) = &found.holder {
            writeln!(f, "  held     by {holder}: a run is refused until it ends")?;
        }
        if let Some(why) = &found.unreachable {
            writeln!(f, "  asked    {why}")?;
        }
        Ok(())
    }
}

impl Display for StorePlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "{}", path.display()),
            Self::Postgres { url, .. } => f.write_str(url),
        }
    }
}

fn options(url: &str, ca: Option<PathBuf>, world: &World) -> PostgresOptions {
    let mut options = PostgresOptions::new(url, world.clock.clone());
    options.password.clone_from(&world.store_password);
    options.ca = ca;
    options
}
