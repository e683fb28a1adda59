//! Of two processes that want one task, one works; the other is refused, or finds that it was taken over.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::crash::{ROWS, place};
use crate::outputs::{assert_exactly, assert_nothing_twice};
use crate::process::{Place, Process, draw, pause};

/// Rounds of zombies, at least.
const ROUNDS: u32 = 6;
const SPEC: &str = "
sources:
  rows: {files: {path: \"in/*.jsonl\"}}
sinks:
  out: {from: rows, files: {url: out, partitionBy: [part], roll: {rows: 40}}, format: {json: {}}}
";

fn lock(place: &Place) -> PathBuf {
    place.ledger().join("tasks/rows-0/lock")
}

/// Waits until a process holds the task, and tells whether it does: it may have ended.
fn holds(place: &Place, process: &mut Process) -> bool {
    let name = format!("process {} ", process.id());
    loop {
        if process.ended_within(Duration::from_millis(2)).is_some() {
            return false;
        }
        if fs::read_to_string(lock(place)).is_ok_and(|holder| holder.starts_with(&name)) {
            return true;
        }
    }
}

/// A second process must be refused, and say by whom.
fn assert_refused(place: &Place, holder: &Process) {
    let mut second = place.run();
    assert_eq!(second.code(), 1, "{}", second.err());
    let expected = format!("task rows-0 is held by process {} ", holder.id());
    assert!(second.err().contains(&expected), "{}", second.err());
}

#[test]
fn while_one_is_stopped_another_is_refused_and_when_it_is_killed_another_goes_on() {
    let mut draw = draw();
    let place = place(SPEC);
    let (mut first, mut refused, mut killed) = (place.run(), 0, 0);
    while holds(&place, &mut first) {
        pause(Duration::from_millis(draw.u64(..120)));
        first.signal("STOP");
        // It may have let go of the task, and be about to end.
        if fs::read_to_string(lock(&place)).is_ok() && first.status_kb("VmHWM").is_some() && is_locked(&place) {
            assert_refused(&place, &first);
            refused += 1;
        }
        assert_nothing_twice(&place.path("out"));
        if draw.bool() {
            first.kill();
            killed += 1;
            first = place.run();
        } else {
            first.signal("CONT");
        }
    }
    first.succeed();
    println!("{refused} refused, {killed} killed");
    assert!(refused > 0);
    assert_exactly(&place.path("out"), ROWS);
}

fn is_locked(place: &Place) -> bool {
    fs::File::open(lock(place)).unwrap().try_lock().is_err()
}

#[test]
fn of_two_that_start_together_one_does_the_work() {
    for _ in 0..3 {
        let place = place(SPEC);
        let (mut first, mut second) = (place.run(), place.run());
        let mut codes = [first.code(), second.code()];
        codes.sort_unstable();
        let errors = first.err() + &second.err();
        assert_eq!(codes, [0, 1], "{errors}");
        assert!(errors.contains("task rows-0 is held by process"), "{errors}");
        assert_exactly(&place.path("out"), ROWS);
    }
}

#[test]
fn one_that_lost_its_lock_while_it_was_stopped_does_no_harm_when_it_wakes_up() {
    let mut draw = draw();
    let (mut rounds, mut let_go) = (0, 0);
    // Which moments are hit is chance: on until one was fenced.
    while rounds < ROUNDS || let_go == 0 {
        rounds += 1;
        assert!(rounds < 10 * ROUNDS, "no zombie was fenced in {rounds} rounds");
        let place = place(SPEC);
        let mut zombie = place.run();
        assert!(holds(&place, &mut zombie));
        pause(Duration::from_millis(draw.u64(20..200)));
        zombie.signal("STOP");
        fs::remove_file(lock(&place)).unwrap();
        let mut heir = place.run();
        assert!(holds(&place, &mut heir), "{}", heir.err());
        pause(Duration::from_millis(draw.u64(..200)));
        let heir_dies = draw.bool();
        if heir_dies {
            heir.kill();
        }
        zombie.signal("CONT");
        // It is fenced at its next commit; or it misses what the heir swept, opens the task again, and is refused (or
        // goes on by right, where the heir is gone).
        if zombie.code() != 0 {
            let err = zombie.err();
            assert!(err.contains("task rows-0 was taken over") || err.contains("task rows-0 is held by"), "{err}");
            let_go += 1;
        }
        assert_nothing_twice(&place.path("out"));
        if heir_dies {
            heir = place.run();
        }
        heir.succeed();
        // What the zombie staged after the heir's sweep goes with the next.
        place.run().succeed();
        assert_exactly(&place.path("out"), ROWS);
    }
}
