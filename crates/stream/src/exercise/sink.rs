//! The promises of sinks and ledgers.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{Error, Ledger, Position, Record, Sink, Token};

use super::{rows, text};

/// Writes rows, all of which must be taken.
fn write(sink: &mut dyn Sink, numbers: Range<i64>) {
    let bad = sink.write(&rows(numbers.clone())).expect("a write");
    assert_eq!(bad, [], "rows {numbers:?} can be written");
}

/// Checks that exactly the rows of `ranges`, each up to but not with its second number, are visible, each once, in any order.
fn check(visible: &mut impl FnMut() -> Vec<String>, ranges: &[(i64, i64)], when: &str) {
    let mut found = visible();
    found.sort();
    let mut expected: Vec<String> = ranges.iter().flat_map(|(from, to)| *from..*to).map(text).collect();
    expected.sort();
    assert_eq!(found, expected, "visible rows {when}");
}

fn prepared(sink: &mut dyn Sink, sequence: u64) -> Token {
    sink.prepare(sequence).expect("prepare").expect("a token for the rows that were written")
}

/// Checks a staged [`Sink`]: rows are invisible until published, published twice is published once, also by a later
/// claim; a sweep spares what it is told to keep, what is published, and what higher claims staged.
///
/// `open` opens the sink under a claim, for rows of [`super::schema`], each time on the same place, which is empty at
/// first. `visible` tells the column `text` of each row that a reader sees there.
pub fn sink(mut open: impl FnMut(u64) -> Box<dyn Sink>, mut visible: impl FnMut() -> Vec<String>) {
    let mut first = open(1);
    first.sweep(None).expect("a sweep where nothing is");
    assert_eq!(first.prepare(1).expect("prepare"), None, "nothing was written, so nothing is prepared");
    write(first.as_mut(), 0..5);
    write(first.as_mut(), 5..10);
    check(&mut visible, &[], "before prepare");
    let token = prepared(first.as_mut(), 1);
    check(&mut visible, &[], "before publish");
    first.publish(&token).expect("publish");
    check(&mut visible, &[(0, 10)], "after publish");
    first.publish(&token).expect("publish again");
    check(&mut visible, &[(0, 10)], "after publishing twice");
    assert_eq!(first.prepare(2).expect("prepare"), None, "nothing was written since, so nothing is prepared");
    write(first.as_mut(), 10..20);
    let token = prepared(first.as_mut(), 2);
    drop(first);
    check(&mut visible, &[(0, 10)], "after the death of a process that had prepared");

    let mut second = open(2);
    second.publish(&token).expect("publish by a later claim");
    second.sweep(Some(&token)).expect("sweep");
    second.publish(&token).expect("publish again, after a sweep that keeps the token");
    check(&mut visible, &[(0, 20)], "after a later claim published and swept");
    write(second.as_mut(), 20..30);
    let forgotten = prepared(second.as_mut(), 3);
    write(second.as_mut(), 30..40);
    drop(second);

    let mut third = open(3);
    third.sweep(Some(&token)).expect("sweep what no record names");
    check(&mut visible, &[(0, 20)], "after a sweep of what was prepared and never recorded");
    write(third.as_mut(), 40..50);
    let kept = prepared(third.as_mut(), 3);
    assert_ne!(kept, forgotten, "no two prepared things have one name");
    drop(third);

    let mut fourth = open(4);
    fourth.sweep(Some(&kept)).expect("sweep before publish");
    fourth.publish(&kept).expect("publish what a sweep was told to keep");
    check(&mut visible, &[(0, 20), (40, 50)], "after a sweep that came before the publish");

    let mut sixth = open(6);
    write(sixth.as_mut(), 50..60);
    let newer = prepared(sixth.as_mut(), 4);
    write(sixth.as_mut(), 60..70);
    let mut slow = open(5);
    slow.sweep(None).expect("sweep by a slow claimant");
    let newest = prepared(sixth.as_mut(), 5);
    sixth.publish(&newer).expect("publish what a lower claim must not have swept");
    sixth.publish(&newest).expect("publish what was being written while a lower claim swept");
    check(&mut visible, &[(0, 20), (40, 70)], "after a slow claimant's sweep");
}

/// Checks a direct [`Sink`], opened on an empty place: rows are visible after a flush and after prepare, which names
/// nothing.
pub fn direct_sink(mut sink: Box<dyn Sink>, mut visible: impl FnMut() -> Vec<String>) {
    sink.sweep(None).expect("a sweep, of nothing");
    write(sink.as_mut(), 0..5);
    sink.flush().expect("flush");
    check(&mut visible, &[(0, 5)], "after a flush");
    write(sink.as_mut(), 5..10);
    assert_eq!(sink.prepare(1).expect("prepare"), None, "a direct sink has no tokens");
    check(&mut visible, &[(0, 10)], "after prepare");
    assert!(sink.bytes_written() > 0, "what was written is counted");
    drop(sink);
    check(&mut visible, &[(0, 10)], "after the end");
}

fn record(claim: u64, sequence: u64, token: Option<Token>) -> Record {
    Record {
        version: 1,
        claim,
        sequence,
        nonce: format!("{claim}-{sequence}"),
        at: 0,
        positions: BTreeMap::from([("exercise".to_owned(), Position(sequence.into()))]),
        tokens: token.into_iter().map(|token| ("exercise".to_owned(), token)).collect(),
    }
}

fn claim(sink: &mut dyn Sink) -> (u64, Option<Record>) {
    let claimed = sink.ledger().expect("a hosting sink has a ledger").claim().expect("claim");
    (claimed.claim, claimed.last)
}

/// Checks a hosting [`Sink`]: rows and record become visible together, or neither does; a writer that was taken over
/// makes nothing visible. Its ledger is checked by [`ledger`].
///
/// `open` opens the sink on the same place each time, which is empty at first; it is claimed by its ledger. `visible`
/// is as for [`sink`].
pub fn hosting_sink(mut open: impl FnMut() -> Box<dyn Sink>, mut visible: impl FnMut() -> Vec<String>) {
    let mut first = open();
    let (ours, last) = claim(first.as_mut());
    assert_eq!(last, None, "the exercise starts with an empty ledger");
    write(first.as_mut(), 0..10);
    check(&mut visible, &[], "before prepare");
    let token = first.prepare(1).expect("prepare");
    check(&mut visible, &[], "before the record is appended");
    let written = record(ours, 1, token.clone());
    first.ledger().expect("a ledger").append(&written).expect("append");
    for _ in 0..2 {
        publish(first.as_mut(), token.as_ref());
        check(&mut visible, &[(0, 10)], "after the record was appended");
    }
    write(first.as_mut(), 10..20);
    first.prepare(2).expect("prepare");
    drop(first);

    let mut second = open();
    let (theirs, last) = claim(second.as_mut());
    assert!(theirs > ours, "claims grow: {theirs} after {ours}");
    assert_eq!(last.as_ref(), Some(&written), "a claim returns the last record");
    publish(second.as_mut(), token.as_ref());
    second.sweep(token.as_ref()).expect("sweep");
    check(&mut visible, &[(0, 10)], "after the death of a process that had prepared and not appended");
    write(second.as_mut(), 20..30);
    let token = second.prepare(2).expect("prepare");
    let lost = record(theirs, 2, token);

    let mut third = open();
    let (newest, last) = claim(third.as_mut());
    assert_eq!(last, Some(written), "what was prepared and not appended is no record");
    let answer = second.ledger().expect("a ledger").append(&lost);
    assert!(matches!(answer, Err(Error::Fenced { .. })), "an append after another's claim must fail: {answer:?}");
    check(&mut visible, &[(0, 10)], "after a writer that was taken over tried to append");
    write(third.as_mut(), 30..40);
    let token = third.prepare(2).expect("prepare");
    third.ledger().expect("a ledger").append(&record(newest, 2, token.clone())).expect("append");
    drop((second, third));

    let mut fourth = open();
    claim(fourth.as_mut());
    publish(fourth.as_mut(), token.as_ref());
    check(&mut visible, &[(0, 10), (30, 40)], "after a later claim published what was appended");
}

fn publish(sink: &mut dyn Sink, token: Option<&Token>) {
    if let Some(token) = token {
        sink.publish(token).expect("publish");
    }
}

/// Checks a [`Ledger`]: claims grow and fence; a claim returns the last record that was appended; an append that fails
/// leaves nothing behind.
///
/// `open` opens the ledger of one task, which is empty at first. A ledger may refuse a claim while another holds it
/// ([`Error::Held`]), if the claim succeeds once the other is gone.
pub fn ledger(mut open: impl FnMut() -> Box<dyn Ledger>) {
    let mut first = open();
    let claimed = first.claim().expect("the first claim");
    assert_eq!(claimed.last, None, "the exercise starts with an empty ledger");
    let one = record(claimed.claim, 1, None);
    first.append(&one).expect("append");
    let two = record(claimed.claim, 2, Some(Token("token".into())));
    first.append(&two).expect("append");
    let mut newest = two;

    let mut second = open();
    let taken = match second.claim() {
        Ok(taken) => {
            let answer = first.append(&record(claimed.claim, 3, None));
            assert!(
                matches!(answer, Err(Error::Fenced { .. })),
                "an append after another's claim must fail: {answer:?}"
            );
            drop(first);
            taken
        }
        Err(Error::Held { .. }) => {
            newest = record(claimed.claim, 3, None);
            first.append(&newest).expect("who is refused a claim doesn't disturb the holder");
            drop(first);
            second.claim().expect("a claim once the holder is gone")
        }
        Err(error) => panic!("a second claim is granted, or refused as held: {error:?}"),
    };
    assert!(taken.claim > claimed.claim, "claims grow: {} after {}", taken.claim, claimed.claim);
    assert_eq!(taken.last, Some(newest.clone()), "a claim returns the last record");
    drop(second);

    let mut third = open();
    let again = third.claim().expect("a claim after one that appended nothing");
    assert!(again.claim > taken.claim, "claims grow: {} after {}", again.claim, taken.claim);
    assert_eq!(again.last.as_ref(), Some(&newest), "a claim that appended nothing leaves the last record");
    newest = record(again.claim, newest.sequence + 1, None);
    third.append(&newest).expect("append");
    drop(third);
    let last = open().claim().expect("the last claim").last;
    assert_eq!(last, Some(newest), "a claim returns the last record, over several claims");
}
