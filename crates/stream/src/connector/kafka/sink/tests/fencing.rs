//! Who may write, and what a record that nobody heard of counts.

use std::process::Command;
use std::time::Duration;

use stdx::{Bell, Clock};
use testkit::kafka::{Kafka, Private};

use super::{Home, commit, record, visible};
use crate::connector::kafka::connection::Role;
use crate::connector::kafka::producer::{Message, Producer};
use crate::{Error, Ledger as _, Sink, exercise};

fn pause(time: Duration) {
    let clock = Clock::system();
    Bell::default().wait(&clock, Some(clock.elapsed() + time));
}

fn claim(sink: &mut dyn Sink) -> (u64, Option<u64>) {
    let claimed = sink.ledger().unwrap().claim().unwrap();
    (claimed.claim, claimed.last.map(|record| record.sequence))
}

fn home(kafka: &Kafka, what: &str) -> (Home, String) {
    let topic = kafka.topic(what);
    kafka.client().create(&topic, 2);
    (Home::new(kafka, &topic), topic)
}

#[test]
fn of_claimants_that_race_each_has_its_own_number_and_one_remains() {
    let Some(kafka) = testkit::kafka::shared("of_claimants_that_race", "kafka") else { return };
    let (home, _) = home(&kafka, "race");
    let mut ledgers: Vec<_> = (0..4).map(|_| home.ledger("rows-0")).collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let claims: Vec<_> = ledgers.iter_mut().map(|ledger| scope.spawn(move || ledger.claim())).collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).collect()
    });
    let mut numbers = Vec::new();
    for result in &results {
        match result {
            Ok(claimed) => numbers.push(claimed.claim),
            Err(Error::Fenced { ours, theirs, .. }) => assert!(theirs > ours, "{theirs} after {ours}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    numbers.sort_unstable();
    assert!(!numbers.is_empty() && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let newest = *numbers.last().unwrap();
    for (ledger, result) in ledgers.iter_mut().zip(results) {
        let Ok(claimed) = result else { continue };
        let answer = ledger.append(&record(claimed.claim, claimed.claim));
        match answer {
            Ok(()) => assert_eq!(claimed.claim, newest),
            Err(Error::Fenced { .. }) => assert_ne!(claimed.claim, newest),
            Err(other) => panic!("{other:?}"),
        }
    }
    let last = home.ledger("rows-0").claim().unwrap();
    assert_eq!((last.claim, last.last), (newest + 1, Some(record(newest, newest))));
}

#[test]
fn a_slow_claimant_disturbs_nobody() {
    let Some(kafka) = testkit::kafka::shared("a_slow_claimant_disturbs_nobody", "kafka") else { return };
    let (home, _) = home(&kafka, "slow");
    let (mut slow, mut quick) = (home.ledger("rows-0"), home.ledger("rows-0"));
    let reader = slow.take_over().unwrap();
    let claimed = quick.claim().unwrap();
    quick.append(&record(claimed.claim, 1)).unwrap();
    // It read nothing yet, and must not write what it would.
    let answer = slow.sign(&reader);
    assert!(matches!(answer, Err(Error::Fenced { .. })), "{answer:?}");
    quick.append(&record(claimed.claim, 2)).unwrap();
    let last = home.ledger("rows-0").claim().unwrap();
    assert_eq!((last.claim, last.last), (claimed.claim + 1, Some(record(claimed.claim, 2))));
}

#[test]
fn another_tasks_open_transaction_hides_nothing_and_an_open_one_of_ours_is_waited_for() {
    let Some(kafka) = testkit::kafka::shared("another_tasks_open_transaction", "kafka") else { return };
    let (home, _) = home(&kafka, "hidden");
    for task in ["rows-0", "rows-1"] {
        let mut ledger = home.ledger(task);
        let claim = ledger.claim().unwrap().claim;
        ledger.append(&record(claim, 7)).unwrap();
    }
    // A stranger's transaction in the partition of task 0.
    let role = Role::Transact { id: format!("stranger-{}", home.stream), timeout: Duration::from_mins(1) };
    let limit = Duration::from_secs(10);
    let mut stranger = Producer::open(&home.spec.connection(), &role, &[], limit, &home.world()).unwrap();
    stranger.init(limit).unwrap();
    stranger.begin().unwrap();
    let topic = format!("_headwater.{}.rows", home.stream);
    let (key, value) = (Some(&b"rows-0"[..]), Some(&b"nonsense"[..]));
    stranger.send(Message { topic: &topic, partition: Some(0), key, value, headers: None }).unwrap();
    stranger.deliver().unwrap();

    let clock = Clock::system();
    assert_eq!(home.ledger("rows-1").claim().unwrap().last.unwrap().sequence, 7);
    assert!(clock.elapsed() < Duration::from_secs(5));
    let mut ours = home.ledger("rows-0");
    let claimed = std::thread::scope(|scope| {
        let claim = scope.spawn(|| ours.claim());
        pause(Duration::from_secs(2));
        assert!(!claim.is_finished(), "a claim was granted though what stands before it isn't decided");
        drop(stranger);
        claim.join().unwrap()
    });
    assert_eq!(claimed.unwrap().last.unwrap().sequence, 7);
}

#[test]
fn what_a_killed_process_left_open_is_never_seen() {
    let Some(kafka) = testkit::kafka::shared("what_a_killed_process_left_open_is_never_seen", "kafka") else { return };
    let (home, topic) = home(&kafka, "killed");
    let mut killed = home.open();
    claim(killed.as_mut());
    killed.write(&exercise::rows(0..10)).unwrap();
    killed.prepare(1).unwrap();
    // Nothing is said to the broker, as after SIGKILL.
    std::mem::forget(killed);
    let mut next = home.open();
    let (ours, last) = claim(next.as_mut());
    assert_eq!(last, None);
    commit(next.as_mut(), &exercise::rows(10..12), &record(ours, 1));
    let mut found = visible(&kafka, &topic);
    found.sort();
    assert_eq!(found, ["row-10", "row-11"]);
}

#[test]
fn a_commit_that_landed_without_an_answer_counts_once() {
    let Some(kafka) = testkit::kafka::shared("a_commit_that_landed_without_an_answer", "kafka") else { return };
    let (home, _) = home(&kafka, "landed");
    let mut landed = 0;
    for round in 1..=8 {
        let mut ledger = home.ledger("rows-0");
        let claimed = ledger.claim().unwrap();
        let before = claimed.last.map_or(0, |record| record.sequence);
        // The answer is not waited for, as if the connection broke.
        ledger.producer().commit_within = Duration::from_millis(round % 2);
        let answer = ledger.append(&record(claimed.claim, before + 1));
        drop(ledger);
        let after = home.ledger("rows-0").claim().unwrap().last.map_or(0, |record| record.sequence);
        match answer {
            Ok(()) => assert_eq!(after, before + 1),
            Err(Error::Kafka { .. }) => assert!(after == before || after == before + 1, "{after} after {before}"),
            Err(other) => panic!("{other:?}"),
        }
        landed += u32::from(answer.is_err() && after == before + 1);
    }
    assert!(landed > 0, "no commit landed unheard: the test shows nothing");
}

/// Opens the sink and claims its task as the engine does: a broker that has only just woken up is asked again.
fn opened_again(home: &Home) -> (Box<dyn Sink>, u64, u64) {
    let clock = Clock::system();
    loop {
        let opened = home.try_open_for(&exercise::schema(), "rows-0", "uid").and_then(|mut sink| {
            let claimed = sink.ledger().unwrap().claim()?;
            Ok((sink, claimed.claim, claimed.last.map_or(0, |record| record.sequence)))
        });
        match opened {
            Ok(opened) => return opened,
            Err(error) => assert!(clock.elapsed() < Duration::from_mins(2), "{error:?}"),
        }
    }
}

#[test]
fn a_broker_that_stands_still_during_a_commit() {
    let Some(kafka) = Private::start("a_broker_that_stands_still_during_a_commit", "kafka") else { return };
    let (mut home, topic) = home(&kafka, "paused");
    home.spec.transaction_timeout.0 = document::Duration::from_secs(5);
    let text = std::fs::read_to_string(kafka.folder().join("service.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    let process = state["parts"][0]["process"]["pid"].to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    let mut expected: Vec<String> = Vec::new();
    let mut rounds = 0;
    for (round, delay_ms) in [0_u32, 2, 4, 8].into_iter().enumerate() {
        let (mut sink, ours, before) = opened_again(&home);
        let first = i64::try_from(round).unwrap() * 10;
        let written = sink.write(&exercise::rows(first..first + 10)).and_then(|_| sink.prepare(before + 1));
        if let Err(error) = written {
            // On a busy machine the broker may not be awake yet: then the round is none.
            assert!(matches!(error, Error::Kafka { .. }), "{error:?}");
            continue;
        }
        rounds += 1;
        let next = record(ours, before + 1);
        let answer = std::thread::scope(|scope| {
            let append = scope.spawn(|| sink.ledger().unwrap().append(&next));
            pause(Duration::from_millis(delay_ms.into()));
            signal("-STOP");
            append.join().unwrap()
        });
        signal("-CONT");
        drop(sink);
        let (_, _, after) = opened_again(&home);
        if after == before + 1 {
            expected.extend((first..first + 10).map(|number| format!("row-{number}")));
        } else {
            assert!(answer.is_err(), "an append that was acknowledged is gone");
            assert_eq!(after, before);
        }
        let mut found = visible(&kafka, &topic);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "rows and record are one, round {round}: {answer:?}");
    }
    assert!(rounds > 0, "the broker was never ready for a round");
}

#[test]
fn a_transaction_that_was_too_slow_is_no_take_over() {
    let Some(kafka) = testkit::kafka::shared("a_transaction_that_was_too_slow_is_no_take_over", "kafka") else {
        return;
    };
    let (mut home, topic) = home(&kafka, "late");
    home.spec.transaction_timeout.0 = document::Duration::from_secs(2);
    let mut sink = home.open();
    let (ours, _) = claim(sink.as_mut());
    sink.write(&exercise::rows(0..10)).unwrap();
    sink.prepare(1).unwrap();
    // Brokers look for such transactions every ten seconds.
    pause(Duration::from_secs(14));
    let error = sink.ledger().unwrap().append(&record(ours, 1)).unwrap_err();
    assert!(matches!(error, Error::Kafka { .. }) && error.to_string().contains("transactionTimeout"), "{error}");
    drop(sink);
    let mut again = home.open();
    let (ours, last) = claim(again.as_mut());
    assert_eq!(last, None);
    commit(again.as_mut(), &exercise::rows(0..10), &record(ours, 1));
    assert_eq!(visible(&kafka, &topic).len(), 10);
}
