//! Schedules.

use std::time::Duration;

use super::{Rule, Scene};
use crate::job::State;
use crate::store::{Change, Changed};
use crate::view::{Job, ScheduleInfo};

pub(super) const RULES: &[Rule] = &[
    ("a_schedule_fires_at_each_of_its_times", fires),
    ("a_schedule_fires_once_however_many_sweep", fires_once),
    ("a_schedule_that_skips_leaves_out_while_its_job_runs", skip),
    ("a_schedule_that_replaces_cancels_its_last_job", replace),
    ("missed_times_are_caught_up_with_one_job_or_none", catch_up),
    ("a_local_time_that_daylight_saving_skips_or_repeats_fires_once", daylight_saving),
    ("a_schedule_that_is_put_again_keeps_its_next_time", put_again),
    ("a_deleted_schedule_fires_no_more", deleted),
];

fn schedule(scene: &Scene, text: &str) -> ScheduleInfo {
    let spec = Box::new(serde_json::from_str(text).expect("a schedule"));
    match scene.change(Change::PutSchedule("s".to_owned(), spec)) {
        Ok(Changed::Schedule(schedule)) => *schedule,
        other => panic!("{other:?}"),
    }
}

/// All jobs, the oldest first.
fn jobs(scene: &Scene) -> Vec<Job> {
    let query = crate::JobQuery { limit: 1000, ..crate::JobQuery::default() };
    let mut items = scene.view().list(query).wait().expect("list").items;
    items.reverse();
    items
}

fn fires(scene: &mut Scene) {
    let info = schedule(scene, r#"{"every": "10s", "queue": "q", "job": {"payload": {"n": 1}, "type": "tick"}}"#);
    assert_eq!(info.next_at.map(|at| at.to_string()), Some("2026-03-01T00:00:10.000Z".to_owned()));
    scene.pass(35);
    let keys: Vec<_> = jobs(scene).into_iter().filter_map(|job| job.key).collect();
    let times = ["00:00:10", "00:00:20", "00:00:30"];
    assert_eq!(keys, times.map(|time| format!("schedule:s:2026-03-01T{time}.000Z")));
    let lease = scene.lease_one();
    assert_eq!((lease.kind.as_deref(), lease.payload.as_str()), (Some("tick"), r#"{"n":1}"#));
    let info = scene.view().schedules().wait().expect("schedules").remove(0);
    assert_eq!(info.last_job, jobs(scene).last().map(|job| job.id));
}

fn fires_once(scene: &mut Scene) {
    schedule(scene, r#"{"every": "10s", "queue": "q"}"#);
    let second = scene.second();
    for _ in 0..30 {
        scene.clock.advance(Duration::from_secs(1));
        let (one, two) = (scene.store().sweep(), second.store.sweep());
        one.wait().expect("sweep");
        two.wait().expect("sweep");
    }
    drop(second);
    scene.crash();
    scene.sweep();
    assert_eq!(jobs(scene).len(), 3);
}

fn skip(scene: &mut Scene) {
    schedule(scene, r#"{"every": "10s", "queue": "q", "overlap": "skip"}"#);
    scene.pass(25);
    assert_eq!(jobs(scene).len(), 1);
    let lease = scene.lease_one();
    scene.ack(&lease);
    scene.pass(5);
    assert_eq!(jobs(scene).len(), 2);
}

fn replace(scene: &mut Scene) {
    schedule(scene, r#"{"every": "10s", "queue": "q", "overlap": "replace"}"#);
    scene.pass(10);
    let lease = scene.lease_one();
    scene.pass(10);
    assert!(scene.beat(lease.id, &lease.token).expect("held").cancel);
    scene.pass(10);
    let states: Vec<_> = jobs(scene).iter().map(|job| job.state).collect();
    assert_eq!(states, [State::Running, State::Cancelled, State::Ready]);
}

fn catch_up(scene: &mut Scene) {
    for (word, fired) in [("one", 1), ("none", 0)] {
        let before = jobs(scene).len();
        // Noon of each day.
        let spec = format!(r#"{{"cron": "0 12 * * *", "queue": "q", "catchUp": "{word}"}}"#);
        schedule(scene, &spec);
        scene.clock.advance(Duration::from_hours(24 * 3 + 15));
        scene.sweep();
        let after = jobs(scene);
        assert_eq!(after.len() - before, fired, "{word}");
        if let Some(job) = after.last().filter(|_| fired > 0) {
            assert_eq!(job.key.as_deref(), Some("schedule:s:2026-03-04T12:00:00.000Z"), "the last of them");
        }
        let next = scene.view().schedules().wait().expect("schedules").remove(0).next_at;
        assert!(next.is_some_and(|next| next > crate::Moment::from(scene.clock.now())));
    }
}

/// Time goes by in halves of an hour.
fn pass_hours(scene: &Scene, hours: u64) {
    for _ in 0..hours * 2 {
        scene.clock.advance(Duration::from_mins(30));
        scene.sweep();
    }
}

fn daylight_saving(scene: &mut Scene) {
    scene.queue("q", r#"{"retention": "1000d", "keyTtl": "1000d"}"#);
    scene.clock.advance(Duration::from_hours(24 * 27));
    schedule(scene, r#"{"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "queue": "q"}"#);
    let keys = |scene: &Scene| {
        jobs(scene).into_iter().filter_map(|job| job.key).map(|key| key[11..27].to_owned()).collect::<Vec<_>>()
    };
    pass_hours(scene, 72);
    assert_eq!(keys(scene), ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]);
    scene.change(Change::DeleteSchedule("s".to_owned())).expect("delete");
    scene.clock.advance(Duration::from_hours(24 * 207));
    schedule(scene, r#"{"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "queue": "q"}"#);
    pass_hours(scene, 72);
    assert_eq!(keys(scene)[3..], ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]);
}

fn put_again(scene: &mut Scene) {
    let text = r#"{"every": "1h", "queue": "q"}"#;
    let first = schedule(scene, text);
    scene.clock.advance(Duration::from_mins(61));
    scene.crash();
    assert_eq!(schedule(scene, text).next_at, first.next_at, "what was due while the server was down is not lost");
    scene.sweep();
    assert_eq!(jobs(scene).len(), 1);
    let other = schedule(scene, r#"{"every": "7h", "queue": "q"}"#);
    assert_ne!(other.next_at, first.next_at);
}

fn deleted(scene: &mut Scene) {
    schedule(scene, r#"{"every": "10s", "queue": "q"}"#);
    scene.pass(10);
    scene.change(Change::DeleteSchedule("s".to_owned())).expect("delete");
    scene.pass(60);
    assert_eq!(jobs(scene).len(), 1);
    assert!(scene.change(Change::DeleteSchedule("s".to_owned())).is_err());
}
