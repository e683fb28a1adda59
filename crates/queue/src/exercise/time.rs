//! Time.

use std::time::Duration;

use super::{Rule, Scene};
use crate::error::Error;
use crate::job::{Reason, State};
use crate::store::Change;

pub(super) const RULES: &[Rule] = &[
    ("a_job_with_a_delay_is_ready_when_it_is_over", delay),
    ("a_scheduled_job_outlives_a_crash", scheduled_crash),
    ("a_job_can_be_given_another_time", reschedule),
    ("a_timeout_tells_the_worker_and_then_ends_the_attempt_whatever_its_beats", timeout),
    ("a_lost_job_comes_back_within_a_second_of_its_lease", comes_back),
    ("a_server_that_was_down_loses_no_lease", down),
    ("a_server_that_stood_still_loses_no_lease", stood_still),
    ("standing_still_for_less_than_a_lease_loses_none_that_is_beaten_for", stood_still_for_less),
    ("a_clock_that_is_set_ends_no_lease_and_fires_nothing_twice", clock_set),
    ("an_ended_job_is_forgotten_with_its_retention", retention),
    ("a_sweep_says_when_to_sweep_next", next),
    ("what_is_acknowledged_outlives_a_crash", acknowledged),
];

fn delay(scene: &mut Scene) {
    let id = scene.put(r#"{"delay": "30s"}"#);
    let at = scene.put(&format!(r#"{{"runAt": "{}"}}"#, scene.job(id).created_at.plus(Duration::from_secs(10))));
    let past = scene.put(r#"{"runAt": "2001-01-01T00:00:00Z"}"#);
    assert_eq!(scene.states(&[id, at, past]), [State::Scheduled, State::Scheduled, State::Ready]);
    scene.pass(9);
    assert_eq!(scene.state(at), State::Scheduled);
    scene.pass(1);
    assert_eq!(scene.states(&[id, at]), [State::Scheduled, State::Ready]);
    scene.pass(20);
    assert_eq!(scene.state(id), State::Ready);
    scene.counts_are_right();
}

fn scheduled_crash(scene: &mut Scene) {
    let id = scene.put(r#"{"delay": "30s"}"#);
    scene.crash();
    scene.clock.advance(Duration::from_mins(1));
    scene.sweep();
    assert_eq!(scene.state(id), State::Ready);
}

fn reschedule(scene: &mut Scene) {
    let id = scene.put(r#"{"delay": "1h"}"#);
    let soon = scene.job(id).created_at.plus(Duration::from_secs(5));
    scene.change(Change::Reschedule(id, soon)).expect("reschedule");
    scene.pass(5);
    assert_eq!(scene.state(id), State::Ready);
    scene.change(Change::Reschedule(id, soon.plus(Duration::from_mins(1)))).expect("reschedule");
    assert_eq!(scene.state(id), State::Scheduled);
    assert!(scene.lease(1).is_empty());
    scene.counts_are_right();
}

fn timeout(scene: &mut Scene) {
    let id = scene.put(r#"{"timeout": "30s", "attempts": 1}"#);
    let lease = scene.lease_one();
    for second in 1..35 {
        scene.pass(1);
        let pulse = scene.beat(id, &lease.token).expect("held");
        assert_eq!(pulse.cancel, second >= 30, "second {second}");
    }
    scene.pass(1);
    assert_eq!(scene.beat(id, &lease.token).expect_err("revoked"), Error::LeaseLost { id });
    assert_eq!((scene.state(id), scene.job(id).reason), (State::Failed, Some(Reason::Timeout)));
}

fn comes_back(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = crate::LeaseRequest { lease: Some(document::Duration::from_secs(4)), ..lease_request() };
    assert_eq!(scene.ask(lease).len(), 1);
    scene.pass(3);
    assert_eq!(scene.state(id), State::Running);
    scene.pass(1);
    assert_eq!(scene.state(id), State::Ready);
}

fn lease_request() -> crate::LeaseRequest {
    crate::LeaseRequest::new("q", "w")
}

fn down(scene: &mut Scene) {
    let id = scene.put(r#"{"timeout": "50s"}"#);
    let lease = scene.lease_one();
    scene.crash();
    scene.clock.advance(Duration::from_mins(2));
    scene.crash();
    scene.sweep();
    assert_eq!(scene.state(id), State::Running);
    scene.pass(40);
    assert_eq!(scene.state(id), State::Running, "nothing is swept for one lease");
    scene.ack(&lease);
    assert_eq!(scene.job(id).attempt, 1);
}

fn stood_still(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    scene.pass(2);
    scene.clock.advance(Duration::from_mins(2));
    scene.sweep();
    assert_eq!(scene.state(id), State::Running);
    scene.beat(id, &lease.token).expect("held");
    scene.pass(61);
    assert_eq!(scene.state(id), State::Ready);
}

fn stood_still_for_less(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = crate::LeaseRequest { lease: Some(document::Duration::from_secs(4)), ..lease_request() };
    let lease = scene.ask(lease).remove(0);
    for tenths in 1..40 {
        // The next beat is due when the server stops.
        scene.clock.advance(Duration::from_millis(900));
        scene.sweep();
        scene.clock.advance(Duration::from_millis(100 * tenths));
        scene.sweep();
        assert_eq!(scene.state(id), State::Running, "it stood still for {tenths} tenths of a second");
        scene.beat(id, &lease.token).expect("held");
    }
}

const HOUR_MICROS: i64 = 3_600_000_000;

fn clock_set(scene: &mut Scene) {
    let spec = serde_json::from_str(r#"{"every": "10m", "queue": "q", "job": {"type": "tick"}}"#).expect("a schedule");
    let id = scene.put(r#"{"timeout": "30m"}"#);
    let lease = scene.lease_one();
    scene.change(Change::PutSchedule("s".to_owned(), Box::new(spec))).expect("put the schedule");
    for jump in [HOUR_MICROS, -HOUR_MICROS, -HOUR_MICROS, HOUR_MICROS] {
        scene.clock.jump(jump);
        scene.pass(10);
        assert_eq!(scene.state(id), State::Running);
        scene.beat(id, &lease.token).expect("held");
        scene.put("{}");
    }
    scene.pass(30);
    let query = crate::JobQuery { kind: Some("tick".to_owned()), limit: 99, ..crate::JobQuery::default() };
    let ticks = scene.view().list(query).wait().expect("list").items.len();
    assert_eq!(ticks, 1, "the hour that was jumped over is caught up with once, and not again");
    scene.pass(31);
    assert_eq!(scene.state(id), State::Ready, "a lease ends by the time that went by");
    scene.counts_are_right();
}

fn retention(scene: &mut Scene) {
    scene.queue("q", r#"{"retention": "1m"}"#);
    let id = scene.put("{}");
    let long = scene.put(r#"{"resultTtl": "1h"}"#);
    for lease in scene.lease(2) {
        scene.ack(&lease);
    }
    scene.pass(59);
    assert_eq!(scene.state(id), State::Succeeded);
    scene.pass(2);
    assert!(matches!(scene.view().get(id).wait(), Err(Error::NotFound { .. })));
    assert_eq!(scene.state(long), State::Succeeded);
    scene.counts_are_right();
}

fn next(scene: &mut Scene) {
    assert_eq!(scene.sweep().next, Duration::from_secs(1));
    scene.put(r#"{"delay": "300ms"}"#);
    assert_eq!(scene.sweep().next, Duration::from_millis(300));
    scene.clock.advance(Duration::from_millis(300));
    assert_eq!(scene.sweep().due, 1);
}

fn acknowledged(scene: &mut Scene) {
    let ended = scene.put("{}");
    let lease = scene.lease_one();
    scene.ack(&lease);
    let waiting = scene.put(r#"{"payload": {"a": [1, 2.50]}, "meta": {"m": 1}, "priority": 3}"#);
    let before = (scene.job(ended), scene.job(waiting));
    scene.crash();
    assert_eq!((scene.job(ended), scene.job(waiting)), before);
    assert_eq!(before.1.payload.expect("a payload").as_str(), r#"{"a": [1, 2.50]}"#);
    scene.counts_are_right();
}
