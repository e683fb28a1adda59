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
    ("a_large_bulk_is_as_the_same_jobs_one_by_one", large_bulk),
    ("a_large_bulk_stops_at_the_depth_of_its_queue", deep_bulk),
    ("two_replicas_put_a_key_once", two_replicas),
    ("two_replicas_put_the_same_bulk_once", two_bulks),
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

fn large_bulk(scene: &mut Scene) {
    let known = scene.put(r#"{"key": "known", "payload": 1}"#);
    let parent = scene.put(r#"{"priority": -5}"#);
    let mut texts: Vec<String> = (0..60).map(|at| format!(r#"{{"payload": {at}, "priority": {}}}"#, at % 3)).collect();
    texts.extend((0..6).map(|_| r#"{"concurrency": {"key": "c", "max": 2}}"#.to_owned()));
    texts.push(format!(r#"{{"key": "child", "after": ["{parent}"]}}"#));
    let special = [
        r#"{"key": "known", "payload": 1}"#,
        r#"{"key": "known", "payload": 2}"#,
        r#"{"key": "new", "traceparent": "00-a-b-01"}"#,
        r#"{"key": "new"}"#,
        r#"{"key": "new", "payload": 3}"#,
        r#"{"key": "child"}"#,
        r#"{"delay": "1h", "type": "t"}"#,
        r#"{"priority": 9999}"#,
        r#"{"key": "a\u0000b"}"#,
    ];
    texts.extend(special.into_iter().map(str::to_owned));
    let jobs = texts.iter().map(|text| job(text)).collect();
    let placed = scene.store().put(Put { queue: "q".to_owned(), jobs, atomic: false }).wait().expect("put");
    let of = |at: usize| placed[67 + at].as_ref();
    assert!(placed[..67].iter().all(|one| one.as_ref().is_ok_and(|one| !one.duplicate)), "{placed:?}");
    assert_eq!(of(0).map(|one| (one.id, one.duplicate)), Ok((known, true)));
    assert_eq!(of(1), Err(&Error::KeyReused { key: "known".to_owned(), first: known }));
    let new = of(2).expect("the job is taken").id;
    assert_eq!(of(3).map(|one| (one.id, one.duplicate)), Ok((new, true)));
    assert_eq!(of(4), Err(&Error::KeyReused { key: "new".to_owned(), first: new }));
    assert!(matches!(of(5), Err(Error::KeyReused { .. })), "{placed:?}");
    assert_eq!(of(6).map(|one| one.state), Ok(State::Scheduled));
    assert!(matches!(of(7), Err(Error::Invalid { .. })) && matches!(of(8), Err(Error::Invalid { .. })), "{placed:?}");
    scene.counts_are_right();
    assert_eq!(scene.job(new).id, new);
    let leases = scene.lease(200);
    // 60 and 2 of the 6 behind the key, `known`, `new` and the parent; neither the child nor what has time.
    assert_eq!(leases.len(), 65);
    let first = leases[0].payload.as_str().parse::<u32>().expect("a number");
    assert_eq!(first % 3, 2, "the highest priority comes first");
    scene.ack_all(&leases);
    assert_eq!(scene.lease(200).len(), 3, "two more behind the key, and the child");
    scene.counts_are_right();
}

fn deep_bulk(scene: &mut Scene) {
    scene.queue("q", r#"{"depthMax": 30}"#);
    scene.put_many("{}", 5);
    let put = Put { queue: "q".to_owned(), jobs: vec![job("{}"); 40], atomic: false };
    let placed = scene.store().put(put).wait().expect("put");
    assert!(placed[..25].iter().all(Result::is_ok), "{placed:?}");
    assert!(placed[25..].iter().all(|one| matches!(one, Err(Error::QueueFull { depth: 30, .. }))), "{placed:?}");
    scene.counts_are_right();
}

fn two_bulks(scene: &mut Scene) {
    let second = scene.second();
    for round in 0..5 {
        let texts = |turn: usize| {
            let mut jobs: Vec<_> = (0..40).map(|at| job(&format!(r#"{{"key": "k{round}-{at}"}}"#))).collect();
            jobs.rotate_left(turn);
            Put { queue: "q".to_owned(), jobs, atomic: false }
        };
        // In another order, so that they would wait for each other.
        let (one, two) = (scene.store().put(texts(0)), second.store.put(texts(20)));
        let [one, two] = [one, two].map(|pending| pending.wait().expect("put"));
        for (at, placed) in one.iter().enumerate() {
            let other = two[(at + 20) % 40].as_ref().expect("the job is taken");
            assert_eq!(placed.as_ref().expect("the job is taken").id, other.id);
        }
    }
    assert_eq!(scene.lease(1000).len(), 200);
    scene.counts_are_right();
}
