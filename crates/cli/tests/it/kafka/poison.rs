//! Messages that can't be read, amidst a partition.

use testkit::kafka::Record;

use super::feed::{assert_exactly, assert_in_order, rows};
use super::stage::{COPY, SOURCE, Stage, address, metric};
use crate::process::until;

const POISON: [&[u8]; 4] = [b"{\"id\": \"none\", \"key\": \"k\"}", b"\xff\xfe\x00", b"{\"id\": 1", b""];

#[test]
fn messages_that_cannot_be_read_are_put_aside_and_the_rest_goes_on() {
    let test = "messages that cannot be read are put aside and the rest goes on";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "poison", 2);
    stage.document(&format!("{SOURCE}{COPY}commit: {{every: 100ms}}\n"));
    let mut feed = stage.feed(&stage.input, 2);
    for poison in POISON {
        feed.more(100);
        stage.client.produce(&stage.input, &[Record::of(poison).partition(1)]);
    }
    feed.more(100);
    let mut process = stage.start(&["--listen", "127.0.0.1:0"]);
    let address = address(&process);
    let ends: i64 = stage.client.ends(&stage.input).iter().sum();
    let group = format!("headwater.default.{}", stage.name);
    until("the group stands at the end", || {
        let committed = stage.client.committed(&group, &stage.input);
        committed.iter().flatten().sum::<i64>() == ends
    });
    until("no lag is left", || {
        let lags = metric(&address, "headwater_lag");
        lags.len() == 2 && lags.iter().all(|(_, lag)| *lag == 0)
    });
    process.signal("TERM");
    process.succeed();
    let rows = rows(&stage.client, &stage.output);
    assert_exactly(&rows, feed.rows);
    assert_in_order(&rows);
    let mut listed = stage.place.start(&["quarantine", "list", "stream.yaml", "--output", "json"]);
    listed.succeed();
    let listed: serde_json::Value = serde_json::from_str(&listed.out()).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(POISON.len()), "{listed}");
    let mut again = stage.start(&["--until-idle"]);
    again.succeed();
    assert_eq!(super::stage::commits(&again), 0, "nothing is read again: {}", again.err());
}
