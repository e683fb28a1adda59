//! What a producer for each task costs. Prints numbers for `docs/guide/kafka.md`; checks nothing but that it works.

use std::time::Duration;

use stdx::Clock;

use super::{Home, commit, record};
use crate::{Sink, exercise};

const ROWS: i64 = 100;

/// Threads, and resident KiB, of this process.
fn process() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("Threads:"), number("VmRSS:"))
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    format!("p50 {:?}, p95 {:?}, longest {:?}", at(50), at(95), at(100))
}

/// Commits `times` times, and tells how long each took.
fn commits(sink: &mut dyn Sink, claim: u64, from: u64, times: u64) -> Vec<Duration> {
    let clock = Clock::system();
    let one = |sequence| {
        let rows = exercise::rows(0..ROWS);
        let started = clock.elapsed();
        commit(sink, &rows, &record(claim, sequence));
        clock.elapsed().saturating_sub(started)
    };
    (from..from + times).map(one).collect()
}

#[test]
#[ignore = "prints figures, which takes a minute"]
fn the_cost_of_a_producer_for_each_task() {
    let Some(kafka) = testkit::kafka::shared("the_cost_of_a_producer_for_each_task", "kafka") else { return };
    let topic = kafka.topic("cost");
    kafka.client().create(&topic, 1);
    let home = Home::new(&kafka, &topic);
    let clock = Clock::system();
    let mut sinks: Vec<(Box<dyn Sink>, u64)> = Vec::new();
    let (threads, kib) = process();
    println!("no task: {threads} threads, {} MiB", kib / 1024);
    for tasks in [1, 16, 128] {
        let mut opening = Vec::new();
        while sinks.len() < tasks {
            let started = clock.elapsed();
            let mut sink = home.open_for(&exercise::schema(), &format!("rows-{}", sinks.len()), "uid");
            let claim = sink.ledger().unwrap().claim().unwrap().claim;
            opening.push(clock.elapsed().saturating_sub(started));
            commits(sink.as_mut(), claim, 1, 1);
            sinks.push((sink, claim));
        }
        println!("{tasks} tasks: open and claim: {}", percentiles(opening));
        let (threads, kib) = process();
        println!("{tasks} tasks: {threads} threads, {} MiB", kib / 1024);
        let (first, claim) = &mut sinks[0];
        let times = commits(first.as_mut(), *claim, 100 * tasks as u64, 200);
        println!("{tasks} tasks: commit of {ROWS} rows by one: {}", percentiles(times));
        let started = clock.elapsed();
        let all: Vec<Vec<Duration>> = std::thread::scope(|scope| {
            let each = sinks
                .iter_mut()
                .map(|(sink, claim)| scope.spawn(|| commits(sink.as_mut(), *claim, 100_000 + tasks as u64, 10)));
            each.collect::<Vec<_>>().into_iter().map(|each| each.join().unwrap()).collect()
        });
        let took = clock.elapsed().saturating_sub(started);
        let count = all.iter().map(Vec::len).sum::<usize>();
        println!("{tasks} tasks: all at once, {count} commits in {took:?}: {}", percentiles(all.concat()));
    }
}
