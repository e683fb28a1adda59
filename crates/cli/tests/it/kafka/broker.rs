//! Brokers that go away and come back while rows flow.

use std::time::Duration;

use testkit::kafka::{Kafka, Private, Tool};

use super::feed::{assert_exactly, assert_in_order, rows};
use super::stage::{COPY, SOURCE, Stage, commits, until_commits};
use crate::process::{Process, draw, pause};

/// The process goes on, with two commits more than it has.
fn goes_on(process: &mut Process) {
    let now = commits(process);
    until_commits(process, now + 2);
}

#[test]
fn while_the_broker_restarts_nothing_is_lost_or_twice() {
    let test = "while the broker restarts nothing is lost or twice";
    let Some(kafka) = Private::start(test, "kafka") else { return };
    let mut draw = draw();
    let stage = Stage::new(&kafka, "restart", 3);
    stage.client.create(&stage.output, 3);
    stage.document(&format!("{SOURCE}{COPY}commit: {{every: 100ms}}\n"));
    let feeding = stage.feed(&stage.input, 3).go_on(300);
    let mut process = stage.run();
    let ways: [fn(&Kafka) -> testkit::kafka::Away<'_>; 3] =
        [|kafka| kafka.stop(1), |kafka| kafka.kill(1), |kafka| kafka.pause(1)];
    for away in ways {
        goes_on(&mut process);
        pause(Duration::from_millis(draw.u64(..150)));
        let away = away(&kafka);
        pause(Duration::from_millis(draw.u64(..2000)));
        away.back();
    }
    goes_on(&mut process);
    let feed = feeding.stop();
    process.signal("TERM");
    process.succeed();
    stage.drain();
    let rows = rows(&stage.client, &stage.output);
    assert_exactly(&rows, feed.rows);
    assert_in_order(&rows);
}

/// The brokers that lead the partitions of a topic, as Kafka's own tool tells.
fn leaders(kafka: &Kafka, topic: &str) -> Vec<u32> {
    let arguments = ["--bootstrap-server", kafka.brokers(), "--describe", "--topic", topic];
    let told = kafka.tool(Tool::TOPICS).arguments(&arguments).output();
    let words: Vec<&str> = told.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "Leader:").map(|pair| pair[1].parse().unwrap()).collect()
}

#[test]
fn while_leaders_move_nothing_is_lost_or_twice() {
    let test = "while leaders move nothing is lost or twice";
    let Some(kafka) = testkit::kafka::alone(test, "kafka3") else { return };
    let stage = Stage::new(&kafka, "leaders", 3);
    stage.client.create(&stage.output, 3);
    stage.document(&format!("{SOURCE}{COPY}commit: {{every: 100ms}}\n"));
    let feeding = stage.feed(&stage.input, 3).go_on(300);
    let mut process = stage.run();
    for is_killed in [true, false] {
        goes_on(&mut process);
        let leader = leaders(&kafka, &stage.input)[0];
        let away = if is_killed { kafka.kill(leader) } else { kafka.stop(leader) };
        // Without its leader: the others have taken over.
        goes_on(&mut process);
        assert_ne!(leaders(&kafka, &stage.input)[0], leader);
        away.back();
    }
    let all = ["--bootstrap-server", kafka.brokers(), "--election-type", "preferred", "--all-topic-partitions"];
    kafka.tool(Tool::ELECTION).arguments(&all).output();
    goes_on(&mut process);
    let feed = feeding.stop();
    process.signal("TERM");
    process.succeed();
    stage.drain();
    let rows = rows(&stage.client, &stage.output);
    assert_exactly(&rows, feed.rows);
    assert_in_order(&rows);
}
