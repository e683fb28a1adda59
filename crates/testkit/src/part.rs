//! Parts that a test may find or lack. A test that lacks one says so and ends; the runner prints it last, and with
//! `CI=true` fails.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "tests are told of their parts by the runner's environment")]
pub(crate) fn told(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where services keep what they hold: `HEADWATER_SERVICES`, otherwise a folder of the cache.
pub(crate) fn services() -> PathBuf {
    let cache = told("HEADWATER_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&told("HOME")?).join(".cache/headwater")));
    told("HEADWATER_SERVICES").map(PathBuf::from).or_else(|| Some(cache?.join("services"))).unwrap_or_default()
}

pub(crate) fn is_ci() -> bool {
    told("CI").is_some_and(|value| value == "true" || value == "1")
}

/// What the service says of itself, once it has answered.
pub(crate) fn read(services: &Path, name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(services.join(name).join("service.json")).ok()?;
    let state: Value = serde_json::from_str(&text).ok()?;
    (state["ready"] == true).then_some(state)
}

/// A folder for services of a test's own. The name says whose they are, so that `xtask` can end them when this process
/// no longer can.
pub(crate) fn own(services: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    services.join(format!("own-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Runs `cargo xtask services` on the services in a folder: the program that runs the tests, or by way of cargo.
pub(crate) fn xtask(services: &Path, words: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = told("HEADWATER_XTASK").filter(|program| Path::new(program).exists());
    let mut command = Command::new(built.clone().or_else(|| told("CARGO")).unwrap_or_else(|| "cargo".into()));
    if built.is_none() {
        command.args(["run", "--quiet", "--package", "xtask", "--"]);
    }
    command.arg("services").args(words).current_dir(&root).stdin(Stdio::null());
    command.env("HEADWATER_SERVICES", services).env("CARGO_MANIFEST_DIR", root.join("xtask"));
    let answer = command.output().expect("xtask starts");
    let told = [answer.stdout, answer.stderr].concat();
    let what = words.join(" ");
    // A second panic while a test fails would hide the first.
    let held = answer.status.success() || std::thread::panicking();
    assert!(held, "`xtask services {what}` failed:\n{}", String::from_utf8_lossy(&told));
}

/// Says that a test was skipped, and why.
pub fn skip(test: &str, reason: &str) {
    say(&format!("{test}: {reason}"));
}

/// Says something about a test that did run, such as what it made do with.
pub fn note(test: &str, what: &str) {
    say(&format!("note: {test}: {what}"));
}

fn say(line: &str) {
    let Some(file) = told("HEADWATER_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    // One write, so that lines of tests side by side don't mix.
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("a file that takes the line");
}

/// The folder of real ZTF alerts: `HEADWATER_ALERTS`, otherwise `../shared/data/ztf` beside the checkout.
pub fn alerts() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ztf");
    told("HEADWATER_ALERTS").map(PathBuf::from).into_iter().chain([beside]).find(|folder| folder.is_dir())
}

/// Whether files of expected output are to be written anew: `UPDATE=1`.
pub fn is_update() -> bool {
    told("UPDATE").is_some()
}

/// A Python with fastavro and pyarrow: `HEADWATER_PYTHON`.
pub fn python() -> Option<PathBuf> {
    told("HEADWATER_PYTHON").map(PathBuf::from).filter(|python| python.exists())
}
