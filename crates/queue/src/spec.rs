//! What is asked of a queue.

use std::net::SocketAddr;
use std::path::PathBuf;

use document::{ByteSize, Duration, SecretRef};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{QueueSettings, ScheduleSpec};
use crate::store::Declaration;
use crate::store::kind::StoreSpec;

/// A jobs API over a durable store, and workers beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Where jobs are kept.
    pub store: StoreSpec,
    /// The address of the API. Default 127.0.0.1:5000. Without `auth` it must be a loopback address.
    #[serde(default = "listen_default")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Who may do what. Default: whoever reaches the address may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSpec>,
    /// The queues, by name. HTTP can't change those that stand here, except to pause, resume and drain them.
    #[serde(default)]
    pub queues: IndexMap<String, QueueSettings>,
    /// Jobs that are put again and again, by name. HTTP can't change those that stand here.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub schedules: IndexMap<String, ScheduleSpec>,
    /// Pools of workers that run in the server's process, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub workers: IndexMap<String, WorkerSpec>,
    /// How long jobs may still run once the server was told to stop; what has not ended then is ended and given back.
    /// Default 30s.
    #[serde(default = "drain_default")]
    pub drain_timeout: Duration,
}

impl Spec {
    /// What the store is told of it.
    pub fn declaration(&self, generation: u64) -> Declaration {
        Declaration { generation, queues: self.queues.clone(), schedules: self.schedules.clone() }
    }
}

fn listen_default() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000))
}

const fn drain_default() -> Duration {
    Duration::from_secs(30)
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthSpec {
    /// The tokens, by the name of their holder. A request shows one as `Authorization: Bearer`.
    pub tokens: IndexMap<String, TokenSpec>,
}

/// A token and what it allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSpec {
    /// The token itself.
    pub value: SecretRef,
    /// What its holder may do.
    #[schemars(length(min = 1))]
    pub scopes: Vec<Scope>,
    /// In which queues: names, with `*` for any letters. Default: in all.
    #[serde(default = "all_queues")]
    pub queues: Vec<String>,
}

fn all_queues() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Something that a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// To put jobs, and to read the results of those whose ids one knows.
    Enqueue,
    /// To lease, finish and log.
    Work,
    /// To list, read and count.
    Read,
    /// Everything, with queues, schedules, cancellation and deletion.
    Admin,
}

impl Scope {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Work => "work",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A pool of workers in the server's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerSpec {
    /// A process for each job: the payload on its standard input, the result from the last line that it writes. Exactly
    /// one of `command` and `python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Python functions in long-lived processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonSpec>,
    /// From which queues it leases.
    #[schemars(length(min = 1))]
    pub queues: Vec<String>,
    /// Only jobs of these types. Default: of any type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// How many jobs at once. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// How long one attempt may take where neither job nor queue says. Default: as long as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a process that was told to stop may take before it is killed. Default 10s.
    #[serde(default = "grace_default")]
    pub stop_grace: Duration,
    /// Variables of the processes' environment, beside the server's own.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub environment: IndexMap<String, String>,
    /// The folder that processes start in. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<PathBuf>,
    /// The memory that one process may use. Default: as much as there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
}

impl WorkerSpec {
    /// An environment with what the document adds to it. What the document says goes before.
    pub(crate) fn environment_with(&self, own: &[(String, String)]) -> Vec<(String, String)> {
        let kept = own.iter().filter(|(name, _)| !self.environment.contains_key(name)).cloned();
        kept.chain(self.environment.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
    }
}

const fn one() -> u32 {
    1
}

const fn grace_default() -> Duration {
    Duration::from_secs(10)
}

/// Python functions in long-lived processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PythonSpec {
    /// The function: `module:function`, the module found from the working directory.
    pub call: String,
    /// The interpreter. Default `python3`.
    #[serde(default = "interpreter_default")]
    pub interpreter: PathBuf,
}

fn interpreter_default() -> PathBuf {
    PathBuf::from("python3")
}
