//! A document that changes while its records stay: where the ledger lives, and under which names.

use super::feed::{assert_exactly, rows};
use super::stage::{COPY, SOURCE, Stage};
use crate::outputs;

const FOLDER: &str = "
sinks:
  copy: {from: rows, files: {url: out}, format: {parquet: {}}}
";

#[test]
fn a_renamed_sink_that_holds_the_ledger_goes_on_where_it_stood() {
    let test = "a renamed sink that holds the ledger goes on where it stood";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "renamed", 3);
    let mut feed = stage.feed(&stage.input, 3);
    for name in ["copy", "other", "third"] {
        stage.document(&format!("{SOURCE}{}", COPY.replace("copy", name)));
        feed.more(200);
        // Killed with what isn't committed, the next one goes on from there.
        let mut process = stage.run();
        super::stage::until_commits(&mut process, 1);
        process.kill();
    }
    stage.drain();
    assert_exactly(&rows(&stage.client, &stage.output), feed.rows);
}

#[test]
fn a_ledger_that_stays_behind_is_told_with_the_command_that_settles_it() {
    let test = "a ledger that stays behind is told with the command that settles it";
    let Some(kafka) = testkit::kafka::shared(test, "kafka") else { return };
    let stage = Stage::new(&kafka, "moved", 3);
    let (topic, folder) = (format!("{SOURCE}{COPY}"), format!("{SOURCE}{FOLDER}"));
    let mut feed = stage.feed(&stage.input, 3);
    feed.more(100);
    stage.document(&topic);
    stage.drain();
    // From Kafka to files: without its ledger it would begin anew.
    stage.document(&folder);
    let mut refused = stage.start(&["--until-idle"]);
    assert_eq!(refused.code(), 2, "{}", refused.err());
    let told = refused.err();
    assert!(told.contains(&format!("topics _headwater.default.{}", stage.name)), "{told}");
    assert!(told.contains("headwater run --fresh"), "{told}");
    stage.start(&["--until-idle", "--fresh"]).succeed();
    outputs::assert_exactly(&stage.place.path("out"), 100);
    stage.drain();
    outputs::assert_exactly(&stage.place.path("out"), 100);
    // And back.
    stage.document(&format!("{topic}commit: {{url: out/_headwater}}\n"));
    let mut refused = stage.start(&["--until-idle"]);
    assert_eq!(refused.code(), 2, "{}", refused.err());
    let told = refused.err();
    assert!(told.contains("out/_headwater") && told.contains("headwater run --fresh"), "{told}");
}
