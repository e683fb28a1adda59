//! Lists, counts, events, logs, and those who wait.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Rule, Scene, job};
use crate::error::Error;
use crate::job::State;
use crate::lease::Beat;
use crate::store::{Change, Put};
use crate::view::JobQuery;

pub(super) const RULES: &[Rule] = &[
    ("a_list_is_newest_first_and_its_pages_hold_each_job_once", pages),
    ("a_list_is_filtered_by_queue_state_and_type", filters),
    ("events_carry_sequence_numbers_that_outlive_a_crash", events),
    ("progress_is_kept_and_its_last_word_only", progress),
    ("log_lines_are_numbered_over_attempts_and_capped", logs),
    ("who_waits_for_a_job_is_woken_when_one_is_ready", woken),
    ("who_waits_is_woken_when_a_full_queue_has_room", woken_by_room),
    ("who_waits_is_woken_when_a_full_key_has_room", woken_by_slot),
    ("who_waits_for_an_end_is_woken_when_it_comes", woken_by_end),
];

fn pages(scene: &mut Scene) {
    let mut jobs = scene.put_many("{}", 25);
    jobs.reverse();
    for queues in [Vec::new(), vec!["q".to_owned()]] {
        let mut query = JobQuery { queues, limit: 10, ..JobQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = scene.view().list(query.clone()).wait().expect("list");
            seen.extend(page.items.iter().map(|job| job.id));
            query.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(seen, jobs);
    }
}

fn filters(scene: &mut Scene) {
    scene.queue("other", "{}");
    let a = scene.put(r#"{"type": "a"}"#);
    let lease = scene.lease_one();
    let b = scene.put(r#"{"type": "b", "delay": "1h"}"#);
    let child = scene.put(&format!(r#"{{"after": ["{a}"]}}"#));
    let other = scene.store().put(Put::one("other", job(r#"{"type": "a"}"#))).wait().expect("put").remove(0);
    let other = other.expect("the job is taken").id;
    let list = |queues: &[&str], states: &[State], kind: Option<&str>| {
        let queues = queues.iter().map(|name| (*name).to_owned()).collect();
        let kind = kind.map(ToOwned::to_owned);
        let query = JobQuery { queues, states: states.to_vec(), kind, limit: 9, cursor: None };
        scene.view().list(query).wait().expect("list").items.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(list(&["q"], &[], None), [child, b, a]);
    assert_eq!(list(&[], &[], Some("a")), [other, a]);
    assert_eq!(list(&["q"], &[State::Running, State::Waiting], None), [child, a]);
    assert_eq!(list(&["nowhere"], &[], None), []);
    let stats = scene.view().stats(Some("q".to_owned())).wait().expect("stats");
    assert_eq!(stats.iter().map(|stats| stats.jobs).sum::<u64>(), 3);
    scene.ack(&lease);
}

fn events(scene: &mut Scene) {
    let id = scene.put(r#"{"backoff": {"base": "1s"}}"#);
    let lease = scene.lease_one();
    scene.end(&lease, r#""nack": {}"#).expect("held");
    scene.crash();
    scene.pass(2);
    let lease = scene.lease_one();
    scene.ack(&lease);
    let events = scene.view().events(id, 0, 100).wait().expect("events");
    let words: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(words, ["created", "running", "retry", "running", "succeeded"]);
    assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    let later = scene.view().events(id, 3, 100).wait().expect("events");
    assert_eq!(later[..], events[3..]);
}

fn progress(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    for done in 0..5 {
        let beat = |text: String| {
            let beat = Beat { id, token: lease.token.clone(), progress: Some(super::json(&text)) };
            scene.store().heartbeat(vec![beat]).wait().expect("heartbeat").remove(0)
        };
        beat(format!(r#"{{"done": {done}}}"#)).expect("held");
        assert!(matches!(beat(format!("\"{}\"", "x".repeat(5000))), Err(Error::TooLarge { .. })));
    }
    assert_eq!(scene.job(id).progress, Some(super::json(r#"{"done": 4}"#)));
    let events = scene.view().events(id, 0, 100).wait().expect("events");
    let words: Vec<_> = events.iter().map(|event| (event.sequence, event.event.as_str())).collect();
    assert_eq!(words, [(1, "created"), (2, "running"), (7, "progress")]);
}

fn logs(scene: &mut Scene) {
    scene.queue("q", r#"{"logBytesMax": "30B"}"#);
    let id = scene.put("{}");
    let log = |lease: &crate::Lease, lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        scene.change(Change::Log { id, token: lease.token.clone(), lines }).expect("log");
    };
    let first = scene.lease_one();
    log(&first, &["one", "two"]);
    scene.end(&first, r#""nack": {"snooze": "0s"}"#).expect("held");
    let second = scene.lease_one();
    log(&second, &["three"]);
    log(&second, &[&"x".repeat(40), "dropped"]);
    log(&second, &["dropped"]);
    scene.ack(&second);
    let lines = scene.view().logs(id, 0, 100).wait().expect("logs");
    let texts: Vec<_> = lines.iter().map(|line| line.line.as_str()).collect();
    assert_eq!(texts[..3], ["one", "two", "three"]);
    assert!(texts.len() == 4 && texts[3].contains("full"), "{texts:?}");
    assert!(lines.iter().zip(1..).all(|(line, number)| line.number == number));
    assert_eq!(scene.view().logs(id, 3, 100).wait().expect("logs").len(), 1);
}

/// Whether a waiter has been woken.
fn is_woken(waiter: crate::Waiter) -> bool {
    matches!(pin!(waiter.woken()).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}

fn woken(scene: &mut Scene) {
    let queues = ["q".to_owned()];
    let wait = |types: &[&str]| {
        let types: Vec<_> = types.iter().map(|kind| (*kind).to_owned()).collect();
        scene.store().hub().ready(&queues, &types)
    };
    let (other, first, second) = (wait(&["other"]), wait(&[]), wait(&["a"]));
    scene.put(r#"{"type": "a"}"#);
    assert!(is_woken(first), "one job wakes one, the longest waiting");
    assert!(!is_woken(second) && !is_woken(other));
    let (gone, next) = (wait(&[]), wait(&[]));
    scene.put("{}");
    drop(gone);
    assert!(is_woken(next), "who leaves passes it on");
    let waiter = wait(&[]);
    scene.put(r#"{"delay": "5s"}"#);
    scene.pass(5);
    assert!(is_woken(waiter));
}

fn woken_by_room(scene: &mut Scene) {
    scene.queue("q", r#"{"concurrency": 1}"#);
    scene.put_many("{}", 2);
    let lease = scene.lease_one();
    let waiter = scene.store().hub().ready(&["q".to_owned()], &[]);
    assert!(scene.lease(1).is_empty());
    scene.ack(&lease);
    assert!(is_woken(waiter));
    assert_eq!(scene.lease(1).len(), 1);
}

fn woken_by_slot(scene: &mut Scene) {
    scene.put_many(r#"{"concurrency": {"key": "k", "max": 1}}"#, 2);
    let lease = scene.lease_one();
    let waiter = scene.store().hub().ready(&["q".to_owned()], &[]);
    scene.ack(&lease);
    assert!(is_woken(waiter));
}

fn woken_by_end(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    let (one, two) = (scene.store().hub().job(id), scene.store().hub().job(id));
    scene.ack(&lease);
    assert!(is_woken(one) && is_woken(two));
}
