//! The example on real alerts, compared value by value with what fastavro and pyarrow read.

use std::path::Path;
use std::process::Command;

use testkit::{alerts, python, skip};

use crate::support::Place;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ztf.yaml");

#[test]
fn the_example_keeps_every_value_of_real_alerts() {
    let name = "ztf::the_example_keeps_every_value_of_real_alerts";
    let Some(alerts) = alerts() else { return skip(name, "no folder of real alerts: set HEADWATER_ALERTS") };
    let Some(python) = python() else { return skip(name, "no Python with fastavro and pyarrow: HEADWATER_PYTHON") };
    let place = Place::new("");
    let input = format!("input={}/*.avro", alerts.canonicalize().unwrap().display());
    place.run(&["run", EXAMPLE, "--set", &input, "--set", "output=out"]).ends(0);
    let out = place.path().join("out");
    assert_eq!(compare(&python, &alerts, &out.join("raw"), &[]), "38 alerts, 10678 values agree");
    assert_eq!(compare(&python, &alerts, &out.join("science"), &["science"]), "8 alerts, 3184 values agree");
}

fn compare(python: &Path, alerts: &Path, rows: &Path, more: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/compare_alerts.py");
    let compared = Command::new(python).arg(script).arg(alerts).arg(rows).args(more).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
    String::from_utf8_lossy(&compared.stdout).trim().to_owned()
}
