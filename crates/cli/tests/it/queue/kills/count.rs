//! What became of the jobs, as the server tells, beside what it had acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::load::{End, Load, Told};
use crate::queue::server::Http;

/// The figures of a run that held.
#[derive(Debug)]
#[expect(dead_code, reason = "they are printed")]
pub(super) struct Counted {
    pub(super) kills: u64,
    pub(super) jobs: u64,
    pub(super) children: u64,
    pub(super) failed: u64,
    more_attempts: u64,
    put_twice: u64,
    finished_twice: u64,
    leases_lost: u64,
    leases_left: u64,
    unavailable: u64,
}

/// Compares all jobs of the store with all that was acknowledged.
pub(super) fn count(http: &Http, load: &Load) -> Counted {
    let told = load.told.lock().unwrap();
    let jobs = all(http);
    let mut keys = BTreeSet::new();
    for (id, job) in &jobs {
        let key = job["key"].as_str().unwrap();
        assert!(keys.insert(key), "key {key} has two jobs");
        let known = told.put.get(id).or_else(|| told.children.get(id));
        assert_eq!(known.map(String::as_str), Some(key), "nobody was told of {job}");
    }
    let lost: Vec<&String> = told.put.keys().chain(told.children.keys()).filter(|id| !jobs.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} jobs were acknowledged and are lost: {lost:?}", lost.len());
    let (mut failed, mut more_attempts) = (0, 0);
    for id in jobs.keys() {
        let job = http.get(&format!("/v1/jobs/{id}")).ok();
        ended_right(&job, &told);
        ended_once(http, id, &job);
        failed += u64::from(job["state"] == "failed");
        more_attempts += u64::from(job["attempt"].as_u64().unwrap() > 1);
    }
    Counted {
        kills: 0,
        jobs: jobs.len() as u64,
        children: told.children.len() as u64,
        failed,
        more_attempts,
        put_twice: told.duplicates,
        finished_twice: told.finished_twice,
        leases_lost: told.lost,
        leases_left: told.left,
        unavailable: told.unavailable,
    }
}

/// All jobs of the store, by their ids.
fn all(http: &Http) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut path = "/v1/jobs?limit=1000".to_owned();
    loop {
        let page = http.get(&path).ok();
        for job in page["items"].as_array().unwrap() {
            let before = jobs.insert(job["id"].as_str().unwrap().to_owned(), job.clone());
            assert!(before.is_none(), "{job} is listed twice");
        }
        let Some(next) = page["next"].as_str() else { return jobs };
        path = format!("/v1/jobs?limit=1000&cursor={next}");
    }
}

/// It is in the state that its payload asks for, with the result of the one attempt that was acknowledged.
fn ended_right(job: &Value, told: &Told) {
    let wanted = job["payload"]["do"].as_str();
    let is_own = job["queue"] == "own";
    let state = if wanted == Some("fail") && !is_own { "failed" } else { "succeeded" };
    assert_eq!(job["state"], state, "{job}");
    if is_own {
        assert_eq!(job["result"], job["payload"], "{job}");
        return;
    }
    let id = job["id"].as_str().unwrap();
    let ends = told.ended.get(id).map(Vec::as_slice).unwrap_or_default();
    let [End { state, mark }] = ends else { panic!("{} ends of {job} were acknowledged: {ends:?}", ends.len()) };
    assert_eq!(job["state"], *state);
    if *state == "failed" {
        assert_eq!(job["error"]["message"], *mark, "{job}");
    } else {
        assert_eq!(
            (&job["result"]["by"], &job["result"]["number"]),
            (&Value::from(mark.as_str()), &job["payload"]["number"])
        );
    }
    if wanted == Some("child") {
        let key = format!("child of {id}");
        assert_eq!(told.children.values().filter(|child| **child == key).count(), 1, "{key}");
    }
}

/// Its events have no gap, and hold one end: the last one.
fn ended_once(http: &Http, id: &str, job: &Value) {
    let text = http.get(&format!("/v1/jobs/{id}/events")).body;
    let of = |name: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
    };
    let numbers: Vec<u64> = of("id: ").iter().map(|number| number.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{text}");
    let events = of("event: ");
    let ends = events.iter().filter(|event| ["succeeded", "failed", "cancelled"].contains(&event.as_str()));
    assert_eq!(ends.count(), 1, "{text}");
    assert_eq!(events.last().unwrap(), job["state"].as_str().unwrap(), "{text}");
}
