//! Leases.

use std::collections::HashSet;

use super::{Rule, Scene, ids, job, json};
use crate::error::Error;
use crate::job::State;
use crate::lease::{Finish, LeaseRequest, Outcome};
use crate::store::{Change, Put};

pub(super) const RULES: &[Rule] = &[
    ("a_job_is_leased_to_one_worker_at_a_time", one_at_a_time),
    ("two_replicas_never_lease_one_job_twice", two_replicas),
    ("a_repeated_request_returns_the_same_leases", repeated_request),
    ("a_repeated_request_returns_the_same_leases_after_a_crash", repeated_after_crash),
    ("a_reply_that_nobody_takes_gives_its_leases_back", nobody_takes),
    ("a_wrong_token_is_refused_everywhere", wrong_token),
    ("a_repeated_finish_gets_what_was_stored", repeated_finish),
    ("a_repeated_finish_gets_what_was_stored_though_the_job_runs_again", repeated_nack),
    ("a_token_is_never_used_twice", tokens),
    ("a_beat_renews_a_lease", beat_renews),
    ("a_worker_that_comes_back_too_late_is_told_so", too_late),
    ("a_finish_leases_the_next", finish_and_lease),
    ("a_refused_outcome_refuses_only_itself", refused_outcome),
    ("only_the_types_that_are_asked_for_are_leased", types),
    ("a_drained_worker_gets_nothing_and_is_told_so", drained_worker),
];

fn one_at_a_time(scene: &mut Scene) {
    scene.put_many("{}", 3);
    let first = scene.lease(2);
    let second = scene.lease(2);
    assert_eq!((first.len(), second.len()), (2, 1));
    let all: HashSet<_> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert_eq!(all.len(), 3);
    scene.counts_are_right();
}

fn two_replicas(scene: &mut Scene) {
    let second = scene.second();
    scene.put_many("{}", 60);
    let mut all = Vec::new();
    for round in 0..10 {
        let ask = |worker: &str| LeaseRequest { n: 3, ..LeaseRequest::new("q", &format!("{worker}{round}")) };
        let (one, two) = (scene.store().lease(ask("a")), second.store.lease(ask("b")));
        all.extend(ids(&one.wait().expect("lease")));
        all.extend(ids(&two.wait().expect("lease")));
    }
    assert_eq!(all.len(), 60);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 60);
}

fn named(n: u32) -> LeaseRequest {
    LeaseRequest { n, request: Some("r1".to_owned()), ..LeaseRequest::new("q", "w") }
}

fn repeated_request(scene: &mut Scene) {
    scene.put_many("{}", 3);
    let first = scene.ask(named(2));
    let again = scene.ask(named(2));
    let tokens = |leases: &[crate::Lease]| leases.iter().map(|lease| lease.token.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first), tokens(&first)), (ids(&again), tokens(&again)));
    let other = scene.ask(LeaseRequest { worker: "other".to_owned(), ..named(2) });
    assert_eq!(other.len(), 1, "a request belongs to its worker");
    assert_eq!(scene.job(first[0].id).attempt, 1, "and is counted once");
}

fn repeated_after_crash(scene: &mut Scene) {
    scene.put_many("{}", 3);
    let first = scene.ask(named(2));
    scene.crash();
    let again = scene.ask(named(2));
    assert_eq!(ids(&first), ids(&again));
    assert_eq!(first[0].token, again[0].token);
    scene.ack(&first[0]);
}

fn nobody_takes(scene: &mut Scene) {
    let id = scene.put("{}");
    drop(scene.store().lease(LeaseRequest::new("q", "gone")));
    // The first of these may come before what was leased to nobody is given back.
    let leases = (0..200).map(|_| scene.lease(1)).find(|leases| !leases.is_empty()).expect("it is given back");
    assert_eq!((leases[0].id, leases[0].attempt), (id, 1));
}

fn wrong_token(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    let lost = Error::LeaseLost { id };
    for token in ["", "x", "1.1", &format!("{}0", lease.token.as_str())] {
        let token = crate::Token::from(token.to_owned());
        assert_eq!(scene.beat(id, &token).expect_err("refused"), lost);
        for outcome in [
            Outcome::ack(id, token.clone(), json("1")),
            Outcome::nack(id, token.clone(), "no"),
            Outcome::release(id, token.clone()),
        ] {
            assert_eq!(scene.finish(outcome).expect_err("refused"), lost);
        }
        let lines = vec!["line".to_owned()];
        assert_eq!(scene.change(Change::Log { id, token, lines }).expect_err("refused"), lost);
    }
    scene.ack(&lease);
}

fn repeated_finish(scene: &mut Scene) {
    scene.put("{}");
    let lease = scene.lease_one();
    let first = scene.end(&lease, r#""ack": {"result": 7, "enqueue": [{}, {}]}"#).expect("held");
    scene.crash();
    let again = scene.end(&lease, r#""ack": {"result": 8, "enqueue": [{}]}"#).expect("it was stored");
    assert_eq!((again.enqueued, again.duplicate, again.state), (first.enqueued, true, State::Succeeded));
    assert_eq!(scene.job(lease.id).result, Some(json("7")));
    assert_eq!(scene.lease(10).len(), 2);
}

fn repeated_nack(scene: &mut Scene) {
    let id = scene.put(r#"{"backoff": {"base": "1s"}}"#);
    let first = scene.lease_one();
    let stored = scene.end(&first, r#""nack": {}"#).expect("held");
    assert_eq!(stored.state, State::Scheduled);
    scene.pass(2);
    let second = scene.lease_one();
    let again = scene.end(&first, r#""nack": {}"#).expect("it was stored");
    assert_eq!((again.run_at, again.duplicate), (stored.run_at, true));
    assert_eq!(scene.state(id), State::Running, "the second attempt is not touched");
    scene.ack(&second);
}

fn tokens(scene: &mut Scene) {
    scene.put("{}");
    let mut seen = HashSet::new();
    for round in 0..30 {
        let lease = scene.lease_one();
        assert!(seen.insert(lease.token.as_str().to_owned()), "round {round}");
        scene.end(&lease, r#""release": {}"#).expect("held");
        if round % 10 == 9 {
            scene.crash();
        }
    }
}

fn beat_renews(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    for _ in 0..4 {
        scene.pass(50);
        let pulse = scene.beat(id, &lease.token).expect("held");
        assert!(!pulse.cancel && !pulse.drain);
    }
    assert_eq!(scene.state(id), State::Running);
    scene.pass(61);
    assert_eq!(scene.state(id), State::Ready);
}

fn too_late(scene: &mut Scene) {
    let id = scene.put("{}");
    let late = scene.lease_one();
    scene.pass(61);
    let now = scene.lease_one();
    let lost = Error::LeaseLost { id };
    assert_eq!(scene.beat(id, &late.token).expect_err("refused"), lost);
    assert_eq!(scene.end(&late, r#""ack": {"result": "late"}"#).expect_err("refused"), lost);
    scene.ack(&now);
    assert_eq!(scene.job(id).result, Some(json("1")));
    assert_eq!(scene.end(&late, r#""ack": {"result": "late"}"#).expect_err("refused"), lost);
}

fn finish_and_lease(scene: &mut Scene) {
    let jobs = scene.put_many("{}", 3);
    let lease = scene.lease_one();
    let outcomes = vec![Outcome::ack(lease.id, lease.token.clone(), json("1"))];
    let finish = Finish { outcomes, lease: Some(LeaseRequest { n: 5, ..named(5) }) };
    let reply = scene.store().finish(finish.clone()).wait().expect("finish");
    assert_eq!(ids(&reply.leases), jobs[1..]);
    let again = scene.store().finish(finish).wait().expect("finish");
    assert_eq!(ids(&again.leases), jobs[1..], "a lost reply loses no lease");
    assert!(again.outcomes[0].as_ref().is_ok_and(|finished| finished.duplicate));
    let finish = Finish { outcomes: Vec::new(), lease: Some(LeaseRequest::new("nowhere", "w")) };
    assert!(matches!(scene.store().finish(finish).wait(), Err(Error::NotFound { .. })));
}

fn refused_outcome(scene: &mut Scene) {
    scene.put_many("{}", 3);
    let leases = scene.lease(3);
    let mut outcomes: Vec<_> =
        leases.iter().map(|lease| Outcome::ack(lease.id, lease.token.clone(), json("1"))).collect();
    outcomes[1].token = leases[0].token.clone();
    let reply = scene.store().finish(Finish { outcomes, lease: None }).wait().expect("finish");
    let ended: Vec<_> = reply.outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ended, [true, false, true]);
    scene.ack(&leases[1]);
    scene.counts_are_right();
}

fn types(scene: &mut Scene) {
    scene.put("{}");
    let a = scene.put(r#"{"type": "a"}"#);
    let b = scene.put(r#"{"type": "b"}"#);
    let ask = |types: &[&str]| {
        let types = types.iter().map(|kind| (*kind).to_owned()).collect();
        scene.ask(LeaseRequest { types, n: 9, ..LeaseRequest::new("q", "w") })
    };
    assert_eq!(ids(&ask(&["b", "c"])), [b]);
    assert_eq!(ids(&ask(&["a", "b"])), [a]);
    assert_eq!(ask(&["c"]).len(), 0);
    assert_eq!(ask(&[]).len(), 1);
    let put = Put::one("nowhere", job("{}"));
    assert!(matches!(scene.store().put(put).wait(), Err(Error::NotFound { .. })));
}

fn drained_worker(scene: &mut Scene) {
    let jobs = scene.put_many("{}", 2);
    let lease = scene.lease_one();
    scene.change(Change::DrainWorker("w".to_owned())).expect("drain");
    assert!(scene.beat(lease.id, &lease.token).expect("held").drain);
    assert!(scene.lease(1).is_empty());
    scene.ack(&lease);
    assert_eq!(ids(&scene.ask(LeaseRequest::new("q", "other"))), jobs[1..]);
}
