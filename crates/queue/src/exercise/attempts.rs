//! Attempts.

use super::{Rule, Scene, ids};
use crate::job::{Reason, State};
use crate::lease::Lease;

pub(super) const RULES: &[Rule] = &[
    ("an_attempt_is_counted_at_lease_and_given_back_by_release", counted),
    ("a_nack_comes_back_after_its_backoff_until_attempts_are_spent", backoff),
    ("a_nack_without_retry_ends_the_job", no_retry),
    ("a_snooze_costs_no_attempt", snooze),
    ("a_lost_batch_charges_only_the_one_that_kills_its_worker", lost_batch),
    ("a_worker_lost_with_one_job_spends_its_attempt", worker_lost),
    ("the_cause_is_what_the_worker_saw", cause),
    ("a_released_job_keeps_its_place", keeps_place),
];

fn counted(scene: &mut Scene) {
    let id = scene.put("{}");
    for _ in 0..10 {
        let lease = scene.lease_one();
        assert_eq!((lease.attempt, scene.job(id).attempt), (1, 1));
        scene.end(&lease, r#""release": {}"#).expect("held");
        assert_eq!((scene.job(id).attempt, scene.state(id)), (0, State::Ready));
    }
}

fn backoff(scene: &mut Scene) {
    let id = scene.put(r#"{"attempts": 3, "backoff": {"base": "10s", "factor": 3, "jitter": 0}}"#);
    for wait in [10, 30] {
        let lease = scene.lease_one();
        let finished = scene.end(&lease, r#""nack": {"error": {"message": "no"}}"#).expect("held");
        assert_eq!((finished.state, finished.reason), (State::Scheduled, Some(Reason::Error)));
        scene.pass(wait - 1);
        assert!(scene.lease(1).is_empty(), "it waits {wait} s");
        scene.pass(1);
    }
    let lease = scene.lease_one();
    assert_eq!(lease.attempt, 3);
    scene.end(&lease, r#""nack": {"error": {"message": "no"}}"#).expect("held");
    let job = scene.job(id);
    assert_eq!((job.state, job.reason), (State::Failed, Some(Reason::Error)));
    assert_eq!(job.error.expect("its error is kept").message, "no");
    scene.counts_are_right();
}

fn no_retry(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    scene.end(&lease, r#""nack": {"retry": false}"#).expect("held");
    assert_eq!(scene.state(id), State::Failed);
}

fn snooze(scene: &mut Scene) {
    let id = scene.put(r#"{"attempts": 1}"#);
    for _ in 0..3 {
        let lease = scene.lease_one();
        scene.end(&lease, r#""nack": {"snooze": "10m"}"#).expect("held");
        assert_eq!((scene.state(id), scene.job(id).attempt), (State::Scheduled, 0));
        scene.pass(600);
    }
    let lease = scene.lease_one();
    scene.ack(&lease);
}

/// Until nothing is left: the killer takes its worker with it, whatever else that holds.
fn work_beside_killer(scene: &Scene, killer: crate::JobId) {
    for _ in 0..1000 {
        let leases = scene.lease(100);
        if leases.is_empty() {
            return;
        }
        if ids(&leases).contains(&killer) {
            scene.pass(61);
        } else {
            scene.ack_all(&leases);
        }
    }
    panic!("it goes on for ever");
}

fn lost_batch(scene: &mut Scene) {
    let jobs = scene.put_many(r#"{"attempts": 2}"#, 100);
    let killer = jobs[50];
    work_beside_killer(scene, killer);
    let job = scene.job(killer);
    assert_eq!((job.state, job.reason, job.attempt), (State::Failed, Some(Reason::WorkerLost), 2));
    for id in jobs.iter().filter(|id| **id != killer) {
        let job = scene.job(*id);
        assert_eq!((job.state, job.attempt), (State::Succeeded, 1));
    }
}

fn worker_lost(scene: &mut Scene) {
    let id = scene.put(r#"{"attempts": 2}"#);
    let lose = |attempt: u32| {
        let lease: Lease = scene.lease_one();
        assert_eq!(lease.attempt, attempt);
        scene.pass(61);
    };
    lose(1);
    assert_eq!(scene.state(id), State::Ready, "it comes back at once");
    lose(2);
    let job = scene.job(id);
    assert_eq!((job.state, job.reason), (State::Failed, Some(Reason::WorkerLost)));
}

fn cause(scene: &mut Scene) {
    for (word, reason) in
        [("signal", Reason::Signal), ("outOfMemory", Reason::OutOfMemory), ("timeout", Reason::Timeout)]
    {
        let id = scene.put(r#"{"attempts": 1}"#);
        let lease = scene.lease_one();
        let ending = format!(r#""nack": {{"reason": "{word}", "error": {{"message": "m", "signal": 9}}}}"#);
        scene.end(&lease, &ending).expect("held");
        assert_eq!(scene.job(id).reason, Some(reason));
    }
    let lease = {
        scene.put("{}");
        scene.lease_one()
    };
    assert!(scene.end(&lease, r#""nack": {"reason": "requested"}"#).is_err(), "that is not the worker's to say");
    scene.ack(&lease);
}

fn keeps_place(scene: &mut Scene) {
    let jobs = scene.put_many("{}", 3);
    let lease = scene.lease_one();
    scene.pass(5);
    scene.end(&lease, r#""release": {}"#).expect("held");
    assert_eq!(ids(&scene.lease(3)), jobs);
}
