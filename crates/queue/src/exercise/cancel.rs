//! Cancellation, retry, deletion.

use super::{Rule, Scene, json};
use crate::error::Error;
use crate::id::JobId;
use crate::job::{Reason, State};
use crate::lease::{Finish, Outcome};
use crate::store::{Change, Changed, RetryMany};

pub(super) const RULES: &[Rule] = &[
    ("a_job_that_does_not_run_is_cancelled_at_once", at_once),
    ("an_ack_beats_a_pending_cancel", ack_beats),
    ("a_cancel_beside_an_ack_leaves_one_end", beside_ack),
    ("a_nack_after_a_cancel_ends_the_job_as_cancelled", nack_after),
    ("a_cancel_that_is_not_heeded_ends_with_its_grace", grace),
    ("a_cancel_outlives_a_crash", outlives),
    ("losing_the_lease_of_a_cancelled_job_ends_it", lost_lease),
    ("an_ended_job_can_not_be_cancelled", ended),
    ("a_retried_job_has_all_its_attempts", retry),
    ("many_jobs_are_tried_again_at_once", retry_many),
    ("only_an_ended_job_is_deleted", delete),
];

fn cancel(scene: &Scene, id: JobId) {
    scene.change(Change::Cancel(id)).expect("cancel");
}

fn at_once(scene: &mut Scene) {
    let parent = scene.put("{}");
    let jobs =
        [parent, scene.put(r#"{"delay": "1h"}"#), scene.put(&format!(r#"{{"after": ["{parent}"], "onFail": "run"}}"#))];
    for id in jobs.into_iter().rev() {
        cancel(scene, id);
        assert_eq!((scene.state(id), scene.job(id).reason), (State::Cancelled, Some(Reason::Requested)));
    }
    assert!(scene.lease(9).is_empty());
    scene.counts_are_right();
}

fn ack_beats(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    cancel(scene, id);
    assert!(scene.job(id).cancel_requested);
    assert!(scene.beat(id, &lease.token).expect("held").cancel);
    scene.ack(&lease);
    let job = scene.job(id);
    assert_eq!((job.state, job.reason, job.cancel_requested), (State::Succeeded, None, false));
}

fn beside_ack(scene: &mut Scene) {
    let second = scene.second();
    for round in 0..30 {
        let id = scene.put("{}");
        let lease = scene.lease_one();
        let finish = || {
            let outcome = Outcome::ack(id, lease.token.clone(), json("1"));
            second.store.finish(Finish { outcomes: vec![outcome], lease: None })
        };
        let cancel = || scene.store().change(Change::Cancel(id));
        let (finish, cancel) = if round % 2 == 0 {
            let finish = finish();
            (finish, cancel())
        } else {
            let cancel = cancel();
            (finish(), cancel)
        };
        let finished = finish.wait().expect("finish").outcomes.remove(0).expect("held");
        let cancelled = cancel.wait();
        let is_known = matches!(cancelled, Ok(Changed::Job(_)) | Err(Error::WrongState { .. }));
        assert!(is_known && finished.state == State::Succeeded, "{cancelled:?} {finished:?}");
        assert_eq!(scene.state(id), State::Succeeded);
        let events = scene.view().events(id, 0, 100).wait().expect("events");
        assert_eq!(events.iter().filter(|event| ["succeeded", "cancelled"].contains(&event.event.as_str())).count(), 1);
    }
    scene.counts_are_right();
}

fn nack_after(scene: &mut Scene) {
    for ending in [r#""nack": {}"#, r#""nack": {"snooze": "1m"}"#, r#""release": {}"#] {
        let id = scene.put("{}");
        let lease = scene.lease_one();
        cancel(scene, id);
        scene.end(&lease, ending).expect("held");
        assert_eq!((scene.state(id), scene.job(id).reason), (State::Cancelled, Some(Reason::Requested)), "{ending}");
    }
}

fn grace(scene: &mut Scene) {
    scene.queue("q", r#"{"cancelGrace": "20s"}"#);
    let id = scene.put("{}");
    let lease = scene.lease_one();
    cancel(scene, id);
    for _ in 0..19 {
        scene.pass(1);
        assert!(scene.beat(id, &lease.token).expect("held").cancel);
    }
    scene.pass(1);
    assert_eq!((scene.state(id), scene.job(id).reason), (State::Cancelled, Some(Reason::Requested)));
    assert_eq!(scene.beat(id, &lease.token).expect_err("revoked"), Error::LeaseLost { id });
    assert_eq!(scene.end(&lease, r#""ack": {}"#).expect_err("revoked"), Error::LeaseLost { id });
}

fn outlives(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    cancel(scene, id);
    scene.crash();
    assert!(scene.beat(id, &lease.token).expect("held").cancel);
}

fn lost_lease(scene: &mut Scene) {
    scene.queue("q", r#"{"cancelGrace": "10m"}"#);
    let id = scene.put("{}");
    scene.lease_one();
    cancel(scene, id);
    scene.pass(61);
    assert_eq!((scene.state(id), scene.job(id).reason), (State::Cancelled, Some(Reason::Requested)));
}

fn ended(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    scene.ack(&lease);
    assert!(matches!(scene.change(Change::Cancel(id)), Err(Error::WrongState { .. })));
    assert!(matches!(scene.change(Change::Retry(id)), Err(Error::WrongState { .. })));
    let later = scene.job(id).created_at;
    assert!(matches!(scene.change(Change::Reschedule(id, later)), Err(Error::WrongState { .. })));
}

fn retry(scene: &mut Scene) {
    let id = scene.put(r#"{"attempts": 1}"#);
    for _ in 0..3 {
        let lease = scene.lease_one();
        assert_eq!(lease.attempt, 1);
        scene.end(&lease, r#""nack": {}"#).expect("held");
        assert_eq!(scene.state(id), State::Failed);
        let Ok(Changed::Job(job)) = scene.change(Change::Retry(id)) else { panic!("the job comes back") };
        assert_eq!((job.state, job.attempt, job.reason, job.ended_at), (State::Ready, 0, None, None));
    }
    scene.counts_are_right();
}

fn retry_many(scene: &mut Scene) {
    scene.put_many(r#"{"attempts": 1}"#, 5);
    for lease in scene.lease(5) {
        scene.pass(10);
        scene.end(&lease, r#""nack": {}"#).expect("held");
    }
    let since = scene.view().list(crate::JobQuery { limit: 9, ..Default::default() }).wait().expect("list");
    let since = since.items.iter().filter_map(|job| job.ended_at).max();
    let mut many = RetryMany { queue: Some("q".to_owned()), state: State::Failed, since, limit: 2 };
    assert_eq!(scene.change(Change::RetryMany(many.clone())), Ok(Changed::Count(1)), "only since then");
    many.since = None;
    assert_eq!(scene.change(Change::RetryMany(many.clone())), Ok(Changed::Count(2)));
    assert_eq!(scene.change(Change::RetryMany(many.clone())), Ok(Changed::Count(2)));
    assert_eq!(scene.change(Change::RetryMany(many)), Ok(Changed::Count(0)));
    assert_eq!(scene.lease(9).len(), 5);
}

fn delete(scene: &mut Scene) {
    let id = scene.put(r#"{"key": "k"}"#);
    assert!(matches!(scene.change(Change::Delete(id)), Err(Error::WrongState { .. })));
    let lease = scene.lease_one();
    scene.ack(&lease);
    let child = scene.put(&format!(r#"{{"after": ["{id}"], "delay": "1h"}}"#));
    assert!(matches!(scene.change(Change::Delete(id)), Err(Error::WrongState { .. })), "its child may want it");
    cancel(scene, child);
    scene.change(Change::Delete(id)).expect("delete");
    assert!(matches!(scene.change(Change::Delete(id)), Err(Error::NotFound { .. })));
    assert_ne!(scene.put(r#"{"key": "k"}"#), id, "its key is free");
    scene.counts_are_right();
}
