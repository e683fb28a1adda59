//! What is asked of a queue.

use std::net::SocketAddr;
use std::path::PathBuf;

use document::{ByteSize, Duration, Problem, SecretRef};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::store::Declaration;

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
}

impl Spec {
    /// What is wrong with it beyond its form.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let StoreSpec::Redis(_) = self.store {
            let hint = "use `sqlite: {path}`, or `postgres: {url}` for several servers";
            problems.push(Problem::at("spec.store.redis").found("a store that is not there yet").hint(hint));
        }
        if self.auth.is_none() && !self.listen.ip().is_loopback() {
            problems.push(
                Problem::at("spec.listen")
                    .found(format!("`{}`, which others can reach, without `auth`", self.listen))
                    .expected("a loopback address such as `127.0.0.1:5000`")
                    .hint("add `auth` to let others in"),
            );
        }
        for (name, settings) in &self.queues {
            problems.extend(settings.check().err().map(|error| wrong(&format!("spec.queues.{name}"), &error)));
        }
        for (name, schedule) in &self.schedules {
            let path = format!("spec.schedules.{name}");
            problems.extend(schedule.check().err().map(|error| wrong(&path, &error)));
            problems.extend(self.unknown_queue(&format!("{path}.queue"), &schedule.queue));
        }
        for (name, worker) in &self.workers {
            let path = format!("spec.workers.{name}");
            if worker.command.is_some() == worker.python.is_some() {
                problems.push(Problem::at(&path).found("no way to work, or two").expected("`command` or `python`"));
            }
            if worker.command.as_ref().is_some_and(Vec::is_empty) {
                problems.push(Problem::at(format!("{path}.command")).found("no program"));
            }
            let queues = worker.queues.iter().enumerate();
            problems
                .extend(queues.filter_map(|(at, queue)| self.unknown_queue(&format!("{path}.queues[{at}]"), queue)));
        }
        problems
    }

    fn unknown_queue(&self, path: &str, queue: &str) -> Option<Problem> {
        let is_known = self.queues.contains_key(queue);
        let known = self.queues.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        (!is_known).then(|| {
            Problem::at(path)
                .found(format!("unknown queue `{queue}`"))
                .expected(format!("one of `spec.queues`: {known}"))
        })
    }

    /// What the store is told of it.
    pub fn declaration(&self, generation: u64) -> Declaration {
        Declaration { generation, queues: self.queues.clone(), schedules: self.schedules.clone() }
    }
}

fn wrong(path: &str, error: &Error) -> Problem {
    match error {
        Error::Invalid { field, expected } => {
            Problem::at(format!("{path}.{field}")).found(format!("a value that {expected}"))
        }
        other => Problem::at(path).found(other.to_string()),
    }
}

fn listen_default() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000))
}

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

/// A database, for several servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSpec {
    /// Where it is: `postgres://user@host/database`. The password is a secret of its own.
    pub url: String,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
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

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: &str = r#"{
        "store": {"sqlite": {"path": "jobs.sqlite"}}, "queues": {"default": {}},
        "workers": {"lecture": {"command": ["python3", "work.py"], "queues": ["default"]}}
    }"#;

    fn paths(text: &str) -> Vec<String> {
        let spec: Spec = serde_json::from_str(text).unwrap();
        spec.problems().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn a_short_spec_is_whole() {
        let spec: Spec = serde_json::from_str(JOBS).unwrap();
        assert_eq!(spec.listen.to_string(), "127.0.0.1:5000");
        assert_eq!(spec.problems(), []);
        assert_eq!(spec.declaration(3).queues.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        assert_eq!(paths(&JOBS.replace("\"store\"", "\"listen\": \"0.0.0.0:80\", \"store\"")), ["spec.listen"]);
        assert_eq!(paths(&JOBS.replace("sqlite\": {\"path\": \"jobs.sqlite\"}", "redis\": {}")), ["spec.store.redis"]);
        let none = JOBS.replace("\"default\": {}", "\"other\": {\"attempts\": 0}");
        assert_eq!(paths(&none), ["spec.queues.other.attempts", "spec.workers.lecture.queues[0]"]);
        let two = JOBS.replace("\"command\"", "\"python\": {\"call\": \"a:b\"}, \"command\"");
        assert_eq!(paths(&two), ["spec.workers.lecture"]);
        let schedule = "\"schedules\": {\"s\": {\"cron\": \"x\", \"queue\": \"default\"}}, \"workers\"";
        assert_eq!(paths(&JOBS.replace("\"workers\"", schedule)), ["spec.schedules.s.cron"]);
    }
}
