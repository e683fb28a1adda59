//! Partitions that are added, and containers that come and go, while rows flow and while nothing runs.

use std::collections::BTreeSet;

use super::feed::{assert_exactly, assert_in_order, assert_nothing_twice, rows};
use super::stage::{COPY, SOURCE, Stage, address, metric};
use crate::process::{Process, until};

const QUICK: &str = "
tasks: {metadataEvery: 300ms}
commit: {every: 100ms}
";

/// The tasks of which a process tells the lag, and the lag of all of them.
fn lags(process: &Process) -> (BTreeSet<String>, i64) {
    let series = metric(&address(process), "headwater_lag");
    let task = |labels: &str| labels.split("task=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (series.iter().map(|(labels, _)| task(labels)).collect(), series.iter().map(|(_, lag)| lag).sum())
}

/// Waits until each process has the tasks with these numbers, and no others.
fn until_shared(processes: &[&Process], shares: &[&[u32]]) {
    let names = |share: &&[u32]| share.iter().map(|number| format!("rows-{number}")).collect::<BTreeSet<String>>();
    let wanted: Vec<_> = shares.iter().map(names).collect();
    until(&format!("tasks are shared as {shares:?}"), || {
        processes.iter().map(|process| lags(process).0).collect::<Vec<_>>() == wanted
    });
}

fn container(stage: &Stage, index: u32, of: u32) -> Process {
    stage.start(&["--listen", "127.0.0.1:0", "--container", &format!("{index}/{of}")])
}

fn scale(stage: &Stage, containers: u32) {
    let mut process = stage.place.start(&["scale", "stream.yaml", "--containers", &containers.to_string()]);
    process.succeed();
}

#[test]
fn partitions_and_containers_change_under_load_and_no_row_is_lost_or_twice() {
    let test = "partitions and containers change under load and no row is lost or twice";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "growth", 3);
    stage.document(&format!("{SOURCE}{COPY}{QUICK}"));
    let feeding = stage.feed(&stage.input, 3).go_on(200);
    let mut first = container(&stage, 0, 1);
    until_shared(&[&first], &[&[0, 1, 2]]);
    scale(&stage, 3);
    let (mut second, mut third) = (container(&stage, 1, 3), container(&stage, 2, 3));
    until_shared(&[&first, &second, &third], &[&[0], &[1], &[2]]);
    let mut feed = feeding.stop();
    let grown_at = feed.rows;
    stage.client.grow(&stage.input, 6);
    feed.partitions = 6;
    let feeding = feed.go_on(200);
    until_shared(&[&first, &second, &third], &[&[0, 3], &[1, 4], &[2, 5]]);
    scale(&stage, 2);
    until_shared(&[&first, &second, &third], &[&[0, 2, 4], &[1, 3, 5], &[]]);
    let feed = feeding.stop();
    until("everything is read", || lags(&first).1 + lags(&second).1 == 0);
    for process in [&mut first, &mut second, &mut third] {
        process.signal("TERM");
        process.succeed();
    }
    let rows = rows(&stage.client, &stage.output);
    assert_exactly(&rows, feed.rows);
    // Keys may change their partition where the topic grows, and only there.
    let (before, after): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id < grown_at);
    assert_in_order(&before);
    assert_in_order(&after);
}

#[test]
fn a_start_at_the_latest_message_holds_from_the_first_start_on() {
    let test = "a start at the latest message holds from the first start on";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "latest", 3);
    // Nothing is committed before the kill.
    let latest = format!("{SOURCE}{COPY}{QUICK}")
        .replace("topics: INPUT", "topics: INPUT, start: latest")
        .replace("100ms", "20s");
    stage.document(&latest);
    let mut feed = stage.feed(&stage.input, 3);
    feed.more(90);
    let mut process = stage.start(&["--listen", "127.0.0.1:0"]);
    until_shared(&[&process], &[&[0, 1, 2]]);
    feed.more(60);
    until("rows are read", || {
        let series = metric(&address(&process), "headwater_rows_total");
        series.iter().any(|(labels, rows)| labels.contains("\"copy\"") && *rows > 0)
    });
    process.kill();
    assert_eq!(super::stage::commits(&process), 0, "{}", process.err());
    // While it is down: more rows, and a partition that nobody has seen.
    feed.more(30);
    stage.client.grow(&stage.input, 4);
    feed.partitions = 4;
    feed.more(40);
    stage.drain();
    let rows = rows(&stage.client, &stage.output);
    assert_nothing_twice(&rows);
    let there: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!(there, (90..feed.rows).collect());
}
