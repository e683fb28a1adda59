//! Order and limits.

use std::collections::HashSet;

use super::{Rule, Scene, ids, job};
use crate::error::Error;
use crate::job::State;
use crate::lease::LeaseRequest;
use crate::store::{Change, Put};

pub(super) const RULES: &[Rule] = &[
    ("jobs_go_in_the_order_they_came", in_order),
    ("priority_goes_first_and_ageing_starves_nobody", priority),
    ("queues_that_are_leased_together_share_one_line", one_line),
    ("a_key_never_has_more_running_than_its_bound", never_more),
    ("two_replicas_on_a_key_of_two_never_run_three", two_replicas),
    ("a_slot_is_freed_however_its_lease_ends", freed),
    ("a_key_belongs_to_its_queue", of_its_queue),
    ("jobs_behind_a_full_key_hold_up_nobody", hold_up_nobody),
    ("priority_holds_among_jobs_of_a_key", priority_of_key),
    ("a_key_that_is_shared_by_types_is_held_up_by_none", shared_by_types),
    ("a_queue_runs_no_more_than_its_concurrency", queue_concurrency),
    ("a_full_queue_refuses_and_takes_again_when_it_empties", full),
];

fn in_order(scene: &mut Scene) {
    let jobs = scene.put_many("{}", 5);
    let more = scene.put("{}");
    assert_eq!(ids(&scene.lease(9)), [&jobs[..], &[more]].concat());
}

fn priority(scene: &mut Scene) {
    scene.queue("q", r#"{"ageing": "60s"}"#);
    let old = scene.put("{}");
    scene.pass(119);
    let low = scene.put(r#"{"priority": -1}"#);
    let high = scene.put(r#"{"priority": 2}"#);
    let leases = scene.lease(9);
    assert_eq!(ids(&leases), [high, old, low]);
    scene.ack_all(&leases);
    let old = scene.put("{}");
    scene.pass(121);
    let high = scene.put(r#"{"priority": 2}"#);
    assert_eq!(ids(&scene.lease(9)), [old, high], "two steps of ageing outweigh a priority of 2");
}

fn one_line(scene: &mut Scene) {
    scene.queue("other", "{}");
    let first = scene.put("{}");
    scene.pass(1);
    let put = |queue: &str| {
        let placed = scene.store().put(Put::one(queue, job("{}"))).wait().expect("put").remove(0);
        placed.expect("the job is taken").id
    };
    let second = put("other");
    scene.pass(1);
    let third = put("q");
    let queues = vec!["other".to_owned(), "q".to_owned(), "other".to_owned()];
    let leases = scene.ask(LeaseRequest { queues, n: 9, ..LeaseRequest::new("q", "w") });
    assert_eq!(ids(&leases), [first, second, third]);
}

const OF_TWO: &str = r#"{"concurrency": {"key": "k", "max": 2}}"#;

fn running(scene: &Scene) -> usize {
    let states = vec![State::Running];
    let query = crate::JobQuery { states, limit: 1000, ..crate::JobQuery::default() };
    scene.view().list(query).wait().expect("list").items.len()
}

fn never_more(scene: &mut Scene) {
    let jobs = scene.put_many(OF_TWO, 7);
    let mut done = Vec::new();
    while done.len() < 7 {
        let leases = scene.lease(9);
        assert!(!leases.is_empty() && running(scene) <= 2);
        assert!(scene.lease(9).is_empty() || running(scene) <= 2);
        scene.ack(&leases[0]);
        done.push(leases[0].id);
        for lease in &leases[1..] {
            scene.end(lease, r#""release": {}"#).expect("held");
        }
        scene.counts_are_right();
    }
    assert_eq!(done, jobs, "in their order");
}

fn two_replicas(scene: &mut Scene) {
    let second = scene.second();
    scene.put_many(OF_TWO, 30);
    let mut seen = HashSet::new();
    let mut round = 0;
    while seen.len() < 30 {
        round += 1;
        assert!(round < 100, "it goes on for ever");
        let ask = || LeaseRequest { n: 2, ..LeaseRequest::new("q", "w") };
        let (one, two) = (scene.store().lease(ask()), second.store.lease(ask()));
        let leases = [one.wait().expect("lease"), two.wait().expect("lease")].concat();
        assert!(running(scene) <= 2, "{} run", running(scene));
        seen.extend(ids(&leases));
        scene.ack_all(&leases);
    }
}

fn freed(scene: &mut Scene) {
    scene.put_many(r#"{"concurrency": {"key": "k", "max": 1}, "timeout": "20s", "attempts": 1}"#, 6);
    let endings = [r#""ack": {}"#, r#""nack": {"retry": false}"#, r#""nack": {"snooze": "1h"}"#];
    for ending in endings {
        let lease = scene.lease_one();
        assert!(scene.lease(1).is_empty(), "one slot");
        scene.end(&lease, ending).expect("held");
    }
    scene.lease_one();
    scene.pass(30);
    let lease = scene.lease_one();
    scene.change(Change::Cancel(lease.id)).expect("cancel");
    scene.crash();
    assert!(scene.lease(1).is_empty(), "the slot is held over a crash");
    scene.end(&lease, r#""nack": {}"#).expect("held");
    scene.lease_one();
    scene.counts_are_right();
}

fn of_its_queue(scene: &mut Scene) {
    scene.queue("other", "{}");
    let text = r#"{"concurrency": {"key": "k", "max": 1}}"#;
    scene.put(text);
    scene.store().put(Put::one("other", job(text))).wait().expect("put").remove(0).expect("the job is taken");
    assert_eq!(scene.lease(9).len(), 1);
    assert_eq!(scene.ask(LeaseRequest::new("other", "w")).len(), 1);
}

fn hold_up_nobody(scene: &mut Scene) {
    scene.put_many(OF_TWO, 50);
    let free = scene.put("{}");
    let leases = scene.lease(9);
    assert_eq!(leases.len(), 3);
    assert!(ids(&leases).contains(&free));
    let stats = scene.view().stats(None).wait().expect("stats");
    let count = |state| stats.iter().filter(|stats| stats.state == state).map(|stats| stats.jobs).sum::<u64>();
    assert_eq!((count(State::Waiting), count(State::Ready)), (48, 0), "they are parked");
}

fn priority_of_key(scene: &mut Scene) {
    let low = scene.put(r#"{"concurrency": {"key": "k", "max": 1}}"#);
    let high = scene.put(r#"{"concurrency": {"key": "k", "max": 1}, "priority": 5}"#);
    assert_eq!(scene.states(&[low, high]), [State::Waiting, State::Ready]);
    let lease = scene.lease_one();
    assert_eq!(lease.id, high);
    scene.ack(&lease);
    assert_eq!(scene.lease_one().id, low);
}

fn shared_by_types(scene: &mut Scene) {
    scene.put(r#"{"type": "a", "concurrency": {"key": "k", "max": 1}}"#);
    let b = scene.put(r#"{"type": "b", "concurrency": {"key": "k", "max": 1}}"#);
    let ask = |kind: &str| scene.ask(LeaseRequest { types: vec![kind.to_owned()], ..LeaseRequest::new("q", "w") });
    let leases = ask("b");
    assert_eq!(ids(&leases), [b], "though nobody works on the first type");
    assert!(ask("a").is_empty());
    scene.ack(&leases[0]);
    assert_eq!(ask("a").len(), 1);
}

fn queue_concurrency(scene: &mut Scene) {
    scene.queue("q", r#"{"concurrency": 2}"#);
    scene.put_many("{}", 5);
    let leases = scene.lease(9);
    assert_eq!(leases.len(), 2);
    assert!(scene.lease(9).is_empty());
    scene.ack(&leases[0]);
    assert_eq!(scene.lease(9).len(), 1);
}

fn full(scene: &mut Scene) {
    scene.queue("q", r#"{"depthMax": 3}"#);
    let put = Put { queue: "q".to_owned(), jobs: vec![job("{}"); 5], atomic: false };
    let placed = scene.store().put(put).wait().expect("put");
    let taken: Vec<_> = placed.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, true, true, false, false]);
    let error = scene.try_put("{}").expect_err("full");
    assert!(matches!(&error, Error::QueueFull { depth: 3, .. }) && error.retry_after().is_some());
    let lease = scene.lease_one();
    scene.ack(&lease);
    scene.put("{}");
}
