//! What can be known to be wrong with a queue without looking at the world.

use std::net::SocketAddr;

use document::{Path, Problem};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::limit;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::spec::{AuthSpec, Spec, WorkerSpec};
use crate::store::kind::StoreSpec;
use crate::store::name_is_fine;
use crate::timetable::Timetable;

/// A queue document: what it is called, and what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What is asked.
    pub spec: Spec,
}

/// All that is wrong with a spec by itself.
pub fn check(service: &Service) -> Vec<Problem> {
    let spec = service.spec.clone();
    let parts = Parts {
        store: Some(spec.store),
        listen: Some(spec.listen),
        has_auth: spec.auth.is_some(),
        auth: spec.auth,
        names: spec.queues.keys().cloned().collect(),
        queues: spec.queues,
        schedules: spec.schedules,
        workers: spec.workers,
    };
    parts.problems()
}

/// What is wrong with those parts of a spec that can be read, where others can't. So all is told at once.
pub fn check_tree(spec: &Value) -> Vec<Problem> {
    fn one<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
        serde_json::from_value(value?.clone()).ok()
    }
    fn all<T: DeserializeOwned>(value: Option<&Value>) -> IndexMap<String, T> {
        let entries = value.and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(name, value)| Some((name.clone(), one(Some(value))?))).collect()
    }
    let names = spec.get("queues").and_then(Value::as_object).into_iter().flatten();
    let parts = Parts {
        store: one(spec.get("store")),
        listen: one(spec.get("listen")),
        has_auth: spec.get("auth").is_some(),
        auth: one(spec.get("auth")),
        names: names.map(|(name, _)| name.clone()).collect(),
        queues: all(spec.get("queues")),
        schedules: all(spec.get("schedules")),
        workers: all(spec.get("workers")),
    };
    parts.problems()
}

/// As much of a spec as could be read.
struct Parts {
    store: Option<StoreSpec>,
    listen: Option<SocketAddr>,
    has_auth: bool,
    auth: Option<AuthSpec>,
    names: Vec<String>,
    queues: IndexMap<String, QueueSettings>,
    schedules: IndexMap<String, ScheduleSpec>,
    workers: IndexMap<String, WorkerSpec>,
}

impl Parts {
    fn problems(&self) -> Vec<Problem> {
        let spec = Path::default().field("spec");
        let mut problems: Vec<Problem> = self.store.iter().filter_map(StoreSpec::problem).collect();
        problems.extend(self.access_problems(&spec));
        let path = spec.field("queues");
        for name in &self.names {
            problems.extend(misnamed(&path.field(name), name));
        }
        for (name, settings) in &self.queues {
            problems.extend(settings.check().err().map(|error| refused(&path.field(name), &error)));
        }
        let path = spec.field("schedules");
        for (name, schedule) in &self.schedules {
            problems.extend(self.schedule_problems(&path.field(name), name, schedule));
        }
        let path = spec.field("workers");
        for (name, worker) in &self.workers {
            problems.extend(self.worker_problems(&path.field(name), name, worker));
        }
        problems
    }

    fn access_problems(&self, spec: &Path) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(listen) = self.listen.filter(|listen| !listen.ip().to_canonical().is_loopback() && !self.has_auth) {
            problems.push(
                Problem::at(spec.field("listen"))
                    .found(format!("{listen} can be reached from other machines, and there is no `auth`"))
                    .expected("a loopback address such as `127.0.0.1:5000`, or `auth`")
                    .hint("give tokens in `auth`: whoever reaches the address could run any job"),
            );
        }
        if self.auth.as_ref().is_some_and(|auth| auth.tokens.is_empty()) {
            let problem = Problem::at(spec.field("auth").field("tokens")).found("no token: nobody could do anything");
            problems.push(problem.expected("at least one token"));
        }
        for (name, token) in self.auth.iter().flat_map(|auth| &auth.tokens) {
            if token.scopes.is_empty() {
                let path = spec.field("auth").field("tokens").field(name).field("scopes");
                problems.push(Problem::at(path).found("no scope").expected("at least one scope"));
            }
        }
        problems
    }

    fn schedule_problems(&self, path: &Path, name: &str, schedule: &ScheduleSpec) -> Vec<Problem> {
        let mut problems: Vec<Problem> = misnamed(path, name).into_iter().collect();
        problems.extend(self.unknown(&path.field("queue"), &schedule.queue));
        let job = schedule.job.job();
        let settings = self.queues.get(&schedule.queue);
        let admitted = job.check().and_then(|()| settings.map_or(Ok(()), |settings| settings.admit(&job)));
        problems.extend(admitted.err().map(|error| refused(&path.field("job"), &error)));
        let ScheduleSpec { cron, every, time_zone, .. } = schedule;
        let timetable = Timetable::new(cron.as_deref(), *every, time_zone.as_deref());
        problems.extend(timetable.err().map(|error| refused(path, &error)));
        problems
    }

    fn worker_problems(&self, path: &Path, name: &str, worker: &WorkerSpec) -> Vec<Problem> {
        let mut problems: Vec<Problem> = misnamed(path, name).into_iter().collect();
        let runs = match (&worker.command, &worker.python) {
            (Some(command), None) if command.first().is_none_or(String::is_empty) => {
                Some(Problem::at(path.field("command")).found("no program").expected("a program and its arguments"))
            }
            (Some(_), None) => None,
            (None, Some(_)) => Some(
                Problem::at(path.field("python"))
                    .found("a pool of Python functions, which is not run yet")
                    .expected("`command`")
                    .hint("write a program that reads the payload from standard input: `command: [python3, work.py]`"),
            ),
            (None, None) => Some(Problem::at(path).found("a pool that runs nothing").expected("`command`")),
            (Some(_), Some(_)) => {
                Some(Problem::at(path.field("python")).found("`python` beside `command`").expected("one of them"))
            }
        };
        problems.extend(runs);
        if worker.queues.is_empty() {
            problems.push(Problem::at(path.field("queues")).found("no queue").expected("at least one queue"));
        }
        if worker.queues.len() > limit::LEASE_QUEUES_MAX {
            let found = format!("{} queues", worker.queues.len());
            let expected = format!("at most {}", limit::LEASE_QUEUES_MAX);
            problems.push(Problem::at(path.field("queues")).found(found).expected(expected));
        }
        for (at, queue) in worker.queues.iter().enumerate() {
            problems.extend(self.unknown(&path.field("queues").item(at), queue));
        }
        if !(1..=1000).contains(&worker.concurrency) {
            let found = format!("`concurrency` {}", worker.concurrency);
            problems.push(Problem::at(path.field("concurrency")).found(found).expected("1 to 1,000"));
        }
        let bad = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
        for name in worker.environment.keys().filter(bad) {
            let problem = Problem::at(path.field("environment").field(name)).found(format!("the variable `{name}`"));
            problems.push(problem.expected("a name without `=`"));
        }
        problems
    }

    fn unknown(&self, path: &Path, queue: &str) -> Option<Problem> {
        let known = || self.names.iter().map(String::as_str);
        if known().any(|name| name == queue) {
            return None;
        }
        let listed = known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let expected = if listed.is_empty() { "a queue of `spec.queues`".to_owned() } else { listed };
        let problem = Problem::at(path).found(format!("there is no queue `{queue}`")).expected(expected);
        let problem = problem.nearest(queue, known());
        Some(if problem.hint.is_none() { problem.hint(format!("add `{queue}: {{}}` to `queues`")) } else { problem })
    }
}

/// A name that can't stand in the path of a request.
fn misnamed(path: &Path, name: &str) -> Option<Problem> {
    (!name_is_fine(name)).then(|| {
        let expected =
            format!("at most {} letters, digits, `-`, `_` and `.`, a letter or digit first", limit::NAME_BYTES_MAX);
        Problem::at(path).found(format!("the name `{name}`")).expected(expected)
    })
}

/// A refusal of the queue's own checks, at its field.
fn refused(path: &Path, error: &Error) -> Problem {
    match error {
        Error::Invalid { field, expected } => {
            let own = field.split('.').fold(path.clone(), |path, part| path.field(part));
            Problem::at(own).found(format!("`{field}` {expected}"))
        }
        Error::TooLarge { field, .. } => Problem::at(path.field(field)).found(error.to_string()),
        other => Problem::at(path).found(other.to_string()),
    }
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
        let service = Service { name: "jobs".to_owned(), namespace: "default".to_owned(), spec };
        let paths: Vec<String> = check(&service).into_iter().map(|problem| problem.path).collect();
        let tree = check_tree(&serde_json::from_str(text).unwrap());
        assert_eq!(tree.into_iter().map(|problem| problem.path).collect::<Vec<_>>(), paths, "by its parts");
        paths
    }

    #[test]
    fn a_short_spec_is_whole() {
        let spec: Spec = serde_json::from_str(JOBS).unwrap();
        assert_eq!(spec.listen.to_string(), "127.0.0.1:5000");
        assert!(paths(JOBS).is_empty());
        assert_eq!(spec.declaration(3).queues.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        assert_eq!(paths(&JOBS.replace("\"store\"", "\"listen\": \"0.0.0.0:80\", \"store\"")), ["spec.listen"]);
        assert_eq!(paths(&JOBS.replace("sqlite\": {\"path\": \"jobs.sqlite\"}", "redis\": {}")), ["spec.store.redis"]);
        let none = JOBS.replace("\"default\": {}", "\"other\": {\"attempts\": 0}");
        assert_eq!(paths(&none), ["spec.queues.other.attempts", "spec.workers.lecture.queues[0]"]);
        let two = JOBS.replace("\"command\"", "\"python\": {\"call\": \"a:b\"}, \"command\"");
        assert_eq!(paths(&two), ["spec.workers.lecture.python"]);
        let schedule = "\"schedules\": {\"s\": {\"cron\": \"x\", \"queue\": \"default\"}}, \"workers\"";
        assert_eq!(paths(&JOBS.replace("\"workers\"", schedule)), ["spec.schedules.s.cron"]);
        let typed = JOBS.replace("\"default\": {}", "\"default\": {\"payload\": {\"type\": \"null\"}}");
        let schedule = "\"schedules\": {\"s\": {\"every\": \"1h\", \"job\": {\"payload\": 1}}}, \"workers\"";
        assert_eq!(paths(&typed.replace("\"workers\"", schedule)), ["spec.schedules.s.job.payload"]);
        assert_eq!(paths(&typed.replace("null", "nil")), ["spec.queues.default.payload"]);
    }

    #[test]
    fn the_rest_is_checked_where_a_part_cannot_be_read() {
        let spec = serde_json::json!({
            "store": {"sqlite": {}},
            "queues": {"default": {"attempts": "many"}, "a/b": {}},
            "workers": {"good": {"command": ["true"], "queues": ["default", "defalt"]}, "bad": {"queues": 3}},
        });
        let problems = check_tree(&spec);
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["spec.queues[\"a/b\"]", "spec.workers.good.queues[1]"]);
        assert_eq!(problems[1].hint.as_deref(), Some("did you mean `default`?"));
    }
}
