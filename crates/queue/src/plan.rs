//! What will happen, with nothing left to choose.

mod print;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use document::{Path, Problem, SecretRef};
use indexmap::IndexMap;
use serde::Serialize;

use crate::check::{Service, check};
use crate::facts::Facts;
use crate::moment::Moment;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::spec::{Scope, WorkerSpec};
use crate::store::kind::{PROMISE, StoreFacts, StorePlan};

/// What will happen. Printed, never sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The queue's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The address of the API.
    pub listen: SocketAddr,
    /// Who may do what. Without holders, whoever reaches the address may do everything.
    pub holders: Vec<Holder>,
    /// Where jobs are kept.
    pub store: StorePlan,
    /// What is known of that place.
    pub found: StoreFacts,
    /// The queues.
    pub queues: IndexMap<String, QueueSettings>,
    /// The schedules.
    pub schedules: Vec<Schedule>,
    /// The pools of workers.
    pub pools: Vec<Pool>,
    /// How long jobs may still run once the server was told to stop.
    #[serde(skip)]
    pub drain_timeout: Duration,
    /// What is promised.
    pub promise: &'static str,
}

/// Somebody who shows a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Who.
    pub name: String,
    /// Which secret holds the token.
    pub token: SecretRef,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// In which queues: names, with `*` for any letters.
    pub queues: Vec<String>,
}

/// A job that is put again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub spec: ScheduleSpec,
    /// When it fires next, counted from when the world was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Moment>,
}

/// A pool of workers in the server's process.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// What it is called.
    pub name: String,
    /// From which queues it leases.
    pub queues: Vec<String>,
    /// Only jobs of these types; of any if empty.
    pub types: Vec<String>,
    /// How many jobs at once.
    pub concurrency: u32,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The folder that it starts in.
    pub folder: PathBuf,
    /// What the document adds to the environment. The rest is the server's own, without its secrets.
    #[serde(skip)]
    pub environment: Vec<(String, String)>,
    /// How long one attempt may take where neither job nor queue says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<document::Duration>,
    /// How long a process that was told to stop may take before it is killed.
    pub stop_grace: document::Duration,
    /// The memory that one process may use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
}

/// What will happen, or all that stands in the way of it.
pub fn plan(service: &Service, facts: &Facts) -> Result<Plan, Vec<Problem>> {
    let mut problems = check(service);
    let spec = &service.spec;
    let path = Path::default().field("spec").field("workers");
    let mut pools = Vec::new();
    for (name, worker) in &spec.workers {
        match pool(name, worker, facts) {
            Ok(pool) => pools.push(pool),
            // Where the check has told of it, it isn't told again.
            Err(_) if problems.iter().any(|problem| problem.path.starts_with(&path.field(name).to_string())) => {}
            Err(why) => {
                let problem = Problem::at(path.field(name).field("command")).found(why);
                problems.push(problem.expected("a program that can be run"));
            }
        }
    }
    let Some(store) = spec.store.plan(&facts.folder).filter(|_| problems.is_empty()) else { return Err(problems) };
    let schedules = spec.schedules.iter().map(|(name, spec)| Schedule {
        name: name.clone(),
        spec: spec.clone(),
        next_at: spec.check().ok().and_then(|timetable| timetable.after(facts.at)),
    });
    let holders = spec.auth.iter().flat_map(|auth| &auth.tokens).map(|(name, token)| Holder {
        name: name.clone(),
        token: token.value.clone(),
        scopes: token.scopes.clone(),
        queues: token.queues.clone(),
    });
    Ok(Plan {
        name: service.name.clone(),
        namespace: service.namespace.clone(),
        listen: spec.listen,
        holders: holders.collect(),
        store,
        found: facts.store.clone(),
        queues: spec.queues.clone(),
        schedules: schedules.collect(),
        pools,
        drain_timeout: spec.drain_timeout.get(),
        promise: PROMISE,
    })
}

fn pool(name: &str, worker: &WorkerSpec, facts: &Facts) -> Result<Pool, String> {
    let found = facts.programs.get(name).cloned().unwrap_or_default();
    let program = found.path.ok_or_else(|| found.why.unwrap_or_else(|| "it was not looked for".to_owned()))?;
    let folder = worker.working_directory.as_ref().map_or(facts.folder.clone(), |folder| facts.folder.join(folder));
    let arguments = worker.command.iter().flatten().skip(1).cloned();
    Ok(Pool {
        name: name.to_owned(),
        queues: worker.queues.clone(),
        types: worker.types.clone(),
        concurrency: worker.concurrency,
        program,
        arguments: arguments.collect(),
        folder,
        environment: worker.environment_with(&[]),
        timeout: worker.timeout,
        stop_grace: worker.stop_grace,
        memory_bytes_max: worker.memory_max.map(document::ByteSize::bytes),
    })
}
