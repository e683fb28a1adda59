//! After, and children.

use super::{Rule, Scene, job};
use crate::error::Error;
use crate::id::JobId;
use crate::job::{Reason, State};
use crate::json::Json;
use crate::lease::{Finish, Lease, Outcome};
use crate::limit;
use crate::store::{Put, Store};

pub(super) const RULES: &[Rule] = &[
    ("a_child_waits_for_all_its_parents", waits),
    ("a_parent_that_has_ended_is_not_waited_for", ended_parent),
    ("a_parent_that_ends_while_a_child_is_put_leaves_none_waiting", between),
    ("parents_in_any_order_hold_nobody_up", any_order),
    ("a_failed_parent_cancels_or_runs_as_on_fail_says", on_fail),
    ("cancellation_goes_down_the_whole_line", whole_line),
    ("an_unknown_parent_is_refused", unknown_parent),
    ("retention_spares_parents_of_jobs_that_have_not_ended", spares_parents),
    ("an_ack_and_its_children_commit_together", children),
    ("a_bad_child_refuses_the_whole_ack_and_keeps_the_lease", bad_child),
    ("an_ack_with_too_many_children_is_refused_and_keeps_the_lease", too_many_children),
    ("children_are_taken_though_the_queue_is_full", full_queue),
    ("a_parent_that_is_tried_again_is_counted_once", retried_parent),
    ("a_child_with_a_delay_waits_for_both", delayed_child),
];

fn after(parents: &[JobId], rest: &str) -> String {
    let parents: Vec<_> = parents.iter().map(|id| format!("\"{id}\"")).collect();
    format!(r#"{{"after": [{}]{rest}}}"#, parents.join(","))
}

fn fail(scene: &Scene) {
    let lease = scene.lease_one();
    scene.end(&lease, r#""nack": {"retry": false}"#).expect("held");
}

fn waits(scene: &mut Scene) {
    let parents = scene.put_many("{}", 2);
    let child = scene.put(&after(&[parents[1], parents[0], parents[1]], ""));
    assert_eq!((scene.state(child), scene.job(child).pending), (State::Waiting, 2));
    let leases = scene.lease(9);
    assert_eq!(leases.len(), 2);
    scene.ack(&leases[0]);
    scene.crash();
    assert_eq!((scene.state(child), scene.job(child).pending), (State::Waiting, 1));
    scene.ack(&leases[1]);
    assert_eq!(scene.state(child), State::Ready);
    assert_eq!(scene.lease_one().id, child);
    scene.counts_are_right();
}

fn ended_parent(scene: &mut Scene) {
    let parent = scene.put("{}");
    let lease = scene.lease_one();
    scene.ack(&lease);
    let child = scene.put(&after(&[parent], ""));
    assert_eq!(scene.state(child), State::Ready);
}

fn between(scene: &mut Scene) {
    let second = scene.second();
    for _ in 0..30 {
        let parent = scene.put("{}");
        let lease = scene.lease_one();
        let outcome = Outcome::ack(parent, lease.token, Json::null());
        let finish = second.store.finish(Finish { outcomes: vec![outcome], lease: None });
        let put = scene.store().put(Put::one("q", job(&after(&[parent], ""))));
        finish.wait().expect("finish");
        let child = put.wait().expect("put").remove(0).expect("the job is taken").id;
        let lease = scene.lease_one();
        assert_eq!(lease.id, child);
        scene.ack(&lease);
    }
}

fn any_order(scene: &mut Scene) {
    let second = scene.second();
    for _ in 0..20 {
        let parents = scene.put_many("{}", 6);
        let leases = scene.lease(6);
        let reversed: Vec<JobId> = parents.iter().rev().copied().collect();
        let put =
            |parents: &[JobId]| Put { queue: "q".to_owned(), jobs: vec![job(&after(parents, "")); 3], atomic: false };
        let puts = [scene.store().put(put(&parents)), second.store.put(put(&reversed))];
        let ack = |lease: &Lease| Outcome::ack(lease.id, lease.token.clone(), Json::null());
        let finish = |store: &dyn Store, leases: &[Lease]| {
            store.finish(Finish { outcomes: leases.iter().rev().map(ack).collect(), lease: None })
        };
        let finishes = [finish(&*second.store, &leases[..3]), finish(scene.store(), &leases[3..])];
        for finish in finishes {
            assert!(finish.wait().expect("finish").outcomes.iter().all(Result::is_ok));
        }
        for put in puts {
            assert!(put.wait().expect("put").iter().all(Result::is_ok));
        }
        let children = scene.lease(9);
        assert_eq!(children.len(), 6, "none waits for ever");
        scene.ack_all(&children);
    }
    scene.counts_are_right();
}

fn on_fail(scene: &mut Scene) {
    let parent = scene.put("{}");
    let cancels = scene.put(&after(&[parent], ""));
    let runs = scene.put(&after(&[parent], r#", "onFail": "run""#));
    fail(scene);
    assert_eq!((scene.state(cancels), scene.job(cancels).reason), (State::Cancelled, Some(Reason::Dependency)));
    assert_eq!(scene.state(runs), State::Ready);
    let late = scene.put(&after(&[parent], ""));
    assert_eq!((scene.state(late), scene.job(late).reason), (State::Cancelled, Some(Reason::Dependency)));
    scene.counts_are_right();
}

fn whole_line(scene: &mut Scene) {
    let mut line = vec![scene.put("{}")];
    for _ in 0..20 {
        let last = line.last().copied().into_iter().collect::<Vec<_>>();
        line.push(scene.put(&after(&last, "")));
    }
    fail(scene);
    assert!(line[1..].iter().all(|id| scene.state(*id) == State::Cancelled));
    scene.counts_are_right();
}

fn unknown_parent(scene: &mut Scene) {
    let parent = scene.put("{}");
    let unknown = JobId::new(parent.serial(), parent.tail() ^ 1);
    assert_eq!(scene.try_put(&after(&[parent, unknown], "")), Err(Error::UnknownParent { id: unknown }));
    assert_eq!(scene.lease(9).len(), 1);
    scene.counts_are_right();
}

fn spares_parents(scene: &mut Scene) {
    let parent = scene.put(r#"{"resultTtl": "10s"}"#);
    let child = scene.put(&after(&[parent], r#", "resultTtl": "10s""#));
    let lease = scene.lease_one();
    scene.ack(&lease);
    scene.pass(300);
    assert_eq!(scene.state(parent), State::Succeeded);
    let lease = scene.lease_one();
    assert_eq!(lease.id, child);
    scene.ack(&lease);
    scene.pass(100);
    for id in [parent, child] {
        assert!(matches!(scene.view().get(id).wait(), Err(Error::NotFound { .. })));
    }
}

fn children(scene: &mut Scene) {
    scene.put("{}");
    scene.queue("other", "{}");
    let lease = scene.lease_one();
    let finished =
        scene.end(&lease, r#""ack": {"enqueue": [{"payload": 1}, {"queue": "other", "key": "k"}]}"#).expect("held");
    let queues: Vec<_> = finished.enqueued.iter().map(|id| scene.job(*id).queue).collect();
    assert_eq!(queues, ["q", "other"]);
    scene.crash();
    assert_eq!(scene.states(&finished.enqueued), [State::Ready, State::Ready]);
}

fn bad_child(scene: &mut Scene) {
    let id = scene.put("{}");
    scene.put(r#"{"key": "k", "payload": 1, "delay": "1h"}"#);
    let lease = scene.lease_one();
    for bad in [
        r#"{"priority": 5000}"#,
        r#"{"key": "k", "payload": 2}"#,
        r#"{"queue": "nowhere"}"#,
        r#"{"after": ["00000000-0001-7000-8000-000000000000"]}"#,
    ] {
        let ending = format!(r#""ack": {{"result": 1, "enqueue": [{{}}, {bad}]}}"#);
        assert!(scene.end(&lease, &ending).is_err(), "{bad}");
        assert_eq!(scene.state(id), State::Running, "{bad}");
        assert!(scene.job(id).result.is_none());
    }
    scene.counts_are_right();
    assert!(scene.lease(9).is_empty(), "no child was left behind");
    scene.ack(&lease);
    scene.counts_are_right();
}

fn too_many_children(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    let of = |children: usize| format!(r#""ack": {{"enqueue": [{}]}}"#, vec!["{}"; children].join(","));
    assert!(matches!(scene.end(&lease, &of(limit::CHILDREN_MAX + 1)), Err(Error::Invalid { .. })));
    assert_eq!(scene.state(id), State::Running);
    assert_eq!(scene.end(&lease, &of(limit::CHILDREN_MAX)).expect("held").enqueued.len(), limit::CHILDREN_MAX);
}

fn full_queue(scene: &mut Scene) {
    scene.queue("q", r#"{"depthMax": 1}"#);
    scene.put("{}");
    let lease = scene.lease_one();
    assert!(matches!(scene.try_put("{}"), Err(Error::QueueFull { .. })));
    let finished = scene.end(&lease, r#""ack": {"enqueue": [{}, {}, {}]}"#).expect("held");
    assert_eq!(finished.enqueued.len(), 3);
}

fn retried_parent(scene: &mut Scene) {
    let parents = scene.put_many(r#"{"attempts": 1}"#, 2);
    let child = scene.put(&after(&parents, r#", "onFail": "run""#));
    fail(scene);
    scene.change(crate::Change::Retry(parents[0])).expect("retry");
    let leases = scene.lease(9);
    let again = leases.iter().find(|lease| lease.id == parents[0]).expect("it is ready");
    scene.ack(again);
    assert_eq!((scene.state(child), scene.job(child).pending), (State::Waiting, 1));
    let other = leases.iter().find(|lease| lease.id == parents[1]).expect("it is ready");
    scene.ack(other);
    assert_eq!(scene.state(child), State::Ready);
}

fn delayed_child(scene: &mut Scene) {
    let parent = scene.put("{}");
    let child = scene.put(&after(&[parent], r#", "delay": "30s""#));
    let lease = scene.lease_one();
    scene.ack(&lease);
    assert_eq!(scene.state(child), State::Scheduled);
    scene.pass(30);
    assert_eq!(scene.state(child), State::Ready);
}
