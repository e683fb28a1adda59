//! The last rows of a quiet source come out, and waiting for more costs no processor time.

use std::time::Duration;

use stdx::Clock;

use crate::process::{Place, Process, pause, until};

const SPEC: &str = "
sources:
  rows: {generate: {total: 15, then: wait, seed: 1, columns: {id: {sequence: {}}}}}
sinks:
  out: {from: rows, stdout: {}, format: {json: {}}}
batch: {rows: 10}
";

fn started() -> (Place, Process) {
    let place = Place::new();
    place.document(SPEC);
    let process = place.run();
    (place, process)
}

fn lines(process: &Process) -> usize {
    process.out().lines().count()
}

#[test]
fn fifteen_rows_through_batches_of_ten_all_come_out() {
    let (_place, mut process) = started();
    until("the first row", || lines(&process) > 0);
    let clock = Clock::system();
    while lines(&process) < 15 {
        assert!(clock.elapsed() < Duration::from_secs(2), "{}", process.out());
        pause(Duration::from_millis(1));
    }
    let expected: Vec<String> = (0..15).map(|id| format!("{{\"id\":{id}}}")).collect();
    assert_eq!(process.out().lines().collect::<Vec<_>>(), expected);
    assert!(process.ended_within(Duration::from_millis(300)).is_none(), "it shall wait:\n{}", process.err());
    process.signal("TERM");
    let status = process.ended_within(Duration::from_secs(5)).expect("an idle stream ends when it is asked to");
    assert_eq!(status.code(), Some(0), "{}", process.err());
    assert_eq!(lines(&process), 15);
}

#[test]
fn a_stream_that_waits_costs_less_than_a_thousandth_of_a_core() {
    let (_place, process) = started();
    until("all rows", || lines(&process) == 15);
    pause(Duration::from_millis(500));
    let before = process.cpu_ticks();
    pause(Duration::from_secs(10));
    let spent = process.cpu_ticks() - before;
    assert!(spent <= 1, "{} ms in 10 s", spent * 10);
}
