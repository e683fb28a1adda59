//! Keys.

use super::{Rule, Scene, job};
use crate::error::Error;
use crate::job::State;
use crate::store::Put;

pub(super) const RULES: &[Rule] = &[
    ("the_same_key_with_the_same_body_returns_the_first_job", same_body),
    ("the_same_key_with_another_body_is_refused", other_body),
    ("a_key_belongs_to_its_queue", of_its_queue),
    ("a_key_outlives_a_crash_and_its_job_by_key_ttl", outlives),
    ("another_trace_makes_no_other_job", trace),
    ("a_full_queue_still_knows_its_keys", full_queue),
    ("an_atomic_bulk_is_all_or_nothing", atomic),
    ("a_bulk_answers_each_job", bulk),
    ("two_replicas_put_a_key_once", two_replicas),
];

fn same_body(scene: &mut Scene) {
    let first = scene.try_put(r#"{"key": "k", "payload": {"a": 1}}"#).expect("put");
    let again = scene.try_put(r#"{"payload": {"a": 1}, "key": "k"}"#).expect("put");
    assert_eq!((again.id, again.duplicate, first.duplicate), (first.id, true, false));
    let lease = scene.lease_one();
    scene.ack(&lease);
    let ended = scene.try_put(r#"{"key": "k", "payload": {"a": 1}}"#).expect("put");
    assert_eq!((ended.id, ended.state), (first.id, State::Succeeded));
    assert!(scene.job(first.id).result.is_some(), "its result is there");
    assert!(scene.lease(10).is_empty(), "there was one job");
}

fn other_body(scene: &mut Scene) {
    let first = scene.put(r#"{"key": "k", "payload": 1}"#);
    let refused = scene.try_put(r#"{"key": "k", "payload": 2}"#);
    assert_eq!(refused, Err(Error::KeyReused { key: "k".to_owned(), first }));
}

fn of_its_queue(scene: &mut Scene) {
    scene.queue("other", "{}");
    let first = scene.put(r#"{"key": "k"}"#);
    let put = Put::one("other", job(r#"{"key": "k", "payload": 2}"#));
    let other = scene.store().put(put).wait().expect("put").remove(0).expect("the job is taken");
    assert!(other.id != first && !other.duplicate);
}

fn outlives(scene: &mut Scene) {
    let text = r#"{"key": "k", "keyTtl": "1h", "resultTtl": "10s"}"#;
    let first = scene.put(text);
    scene.crash();
    assert_eq!(scene.put(text), first);
    let lease = scene.lease_one();
    scene.ack(&lease);
    scene.pass(3000);
    assert_eq!(scene.put(text), first, "within keyTtl");
    scene.pass(700);
    assert_ne!(scene.put(text), first, "past keyTtl");
}

fn trace(scene: &mut Scene) {
    let first = scene.put(r#"{"key": "k", "traceparent": "00-a-b-01"}"#);
    assert_eq!(scene.put(r#"{"key": "k", "traceparent": "00-c-d-01"}"#), first);
}

fn full_queue(scene: &mut Scene) {
    scene.queue("q", r#"{"depthMax": 1}"#);
    let first = scene.put(r#"{"key": "k"}"#);
    assert_eq!(scene.put(r#"{"key": "k"}"#), first);
    assert!(matches!(scene.try_put("{}"), Err(Error::QueueFull { .. })));
}

fn atomic(scene: &mut Scene) {
    scene.put(r#"{"key": "k", "payload": 1}"#);
    let jobs = vec![job("{}"), job(r#"{"key": "k", "payload": 2}"#), job("{}")];
    let put = Put { queue: "q".to_owned(), jobs, atomic: true };
    let placed = scene.store().put(put).wait().expect("put");
    assert!(matches!(placed[0], Err(Error::Atomic { index: 1, .. })), "{placed:?}");
    assert!(matches!(placed[1], Err(Error::KeyReused { .. })), "{placed:?}");
    assert!(matches!(placed[2], Err(Error::Atomic { index: 1, .. })), "{placed:?}");
    assert_eq!(scene.lease(10).len(), 1);
    scene.counts_are_right();
}

fn bulk(scene: &mut Scene) {
    let jobs = vec![job(r#"{"key": "a"}"#), job(r#"{"priority": 9999}"#), job(r#"{"key": "a"}"#)];
    let put = Put { queue: "q".to_owned(), jobs, atomic: false };
    let placed = scene.store().put(put).wait().expect("put");
    assert!(matches!(placed[1], Err(Error::Invalid { .. })), "{placed:?}");
    let first = placed[0].as_ref().expect("the job is taken");
    let again = placed[2].as_ref().expect("the job is known");
    assert_eq!((again.id, again.duplicate), (first.id, true));
}

fn two_replicas(scene: &mut Scene) {
    let second = scene.second();
    for _ in 0..20 {
        let put = || Put::one("q", job(r#"{"key": "k"}"#));
        let (one, two) = (scene.store().put(put()), second.store.put(put()));
        let placed = [one, two].map(|pending| pending.wait().expect("put").remove(0).expect("the job is taken"));
        assert_eq!(placed[0].id, placed[1].id);
    }
    assert_eq!(scene.lease(10).len(), 1);
}
