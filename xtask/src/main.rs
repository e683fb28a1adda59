//! `cargo xtask`: everything that is done to this repository other than using it.
//!
//! `cargo xtask ci` is what CI runs (`.ci/run`) and what a person runs before handing in a change. It calls cargo and the
//! `headwater` program, and names no crate of the workspace, so that it compiles in seconds.

mod context;
mod docs;
mod examples;
mod process;
mod report;
mod services;
mod setup;
mod suite;
mod tidy;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::context::Context;
use crate::report::{Report, say};

const HELP: &str = "\
cargo xtask STAGE... [--check] [--keep-going]
cargo xtask services up|down|status [NAME...]

  ci         all of the stages below, in this order, comparing generated files instead of writing them, with the
             services up for the time of the tests
  setup      what the stages need beyond Rust and a linker: Debian packages, rustfmt and clippy, cargo-deny, a Python
             environment with pyarrow, fastavro, confluent-kafka and schemathesis, and Apache Kafka. Stages ask
             for what they need, so this need not be run first
  fmt        rustfmt, changing nothing (`cargo fmt` changes)
  tidy       the rules that lints can't hold: layers, file length, links, listed modules (also a test of xtask)
  deny       one version of each crate, known licences, no foreign sources (deny.toml)
  lint       clippy on everything, warnings denied
  test       the tests of the workspace; those that need a service that isn't up are skipped
  docs       writes docs/reference and schema; with --check, says which of their files are not fresh
  examples   checks every examples/*.yaml, and plans those with a line `# plan: ARGUMENTS`

  services   real servers for tests, on this machine: see `cargo xtask services help`

  --check       docs: compare, write nothing
  --keep-going  go on after a stage that failed

Environment
  CI=true            nothing may be skipped; as root, missing Debian packages are installed
  HEADWATER_CACHE    where tools and the Python environment are kept [default: ~/.cache/headwater]
  HEADWATER_SERVICES where services keep what they hold [default: services in the cache]
  HEADWATER_ALERTS   a folder of ZTF alerts [default: ../shared/data/ztf, where it exists]
  CARGO_TARGET_DIR   respected

Elsewhere than in CI a part that can't be had is named in the last lines, with what was skipped for it.
The very last line counts the tests.";

type Run = fn(&Context, &mut Report) -> Result<()>;

/// In the order of `ci`: what is quick first, and the tests before what only needs the program they build.
const STAGES: [(&str, Run); 8] = [
    ("setup", setup::stage),
    ("fmt", fmt),
    ("tidy", tidy::stage),
    ("deny", deny),
    ("lint", lint),
    ("test", suite::stage),
    ("docs", docs::stage),
    ("examples", examples::stage),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks = |word: &String| ["--help", "-h", "help"].contains(&word.as_str());
    if arguments.is_empty() || (arguments[0] != "services" && arguments.iter().any(asks)) {
        say(HELP);
        return ExitCode::SUCCESS;
    }
    let ended = match arguments.split_first() {
        Some((verb, words)) if verb == "services" => {
            Context::read(false, false).and_then(|context| services::command(&context, words)).map(|()| true)
        }
        _ => start(&arguments),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Reads the arguments, runs the stages, and says whether all held.
fn start(arguments: &[String]) -> Result<bool> {
    let (options, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|word| word.starts_with('-'));
    if let Some(unknown) = options.iter().find(|word| !["--check", "--keep-going"].contains(word)) {
        anyhow::bail!("unknown option {unknown}; see `cargo xtask --help`");
    }
    let whole = names.contains(&"ci");
    let known = |name: &str| name == "ci" || STAGES.iter().any(|(stage, _)| *stage == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        anyhow::bail!("unknown stage {unknown}; see `cargo xtask --help`");
    }
    let context = Context::read(whole || options.contains(&"--check"), whole)?;
    let mut report = Report::default();
    for (stage, run) in STAGES.iter().filter(|(stage, _)| whole || names.contains(stage)) {
        let held = timed(&context, &mut report, stage, *run);
        if !held && !options.contains(&"--keep-going") {
            break;
        }
    }
    say(report.closing(context.ci));
    Ok(report.held(context.ci))
}

#[expect(clippy::disallowed_methods, reason = "how long a stage takes is measured in real time")]
fn timed(context: &Context, report: &mut Report, stage: &'static str, run: Run) -> bool {
    say(format_args!("==> {stage}"));
    let start = Instant::now();
    let result = run(context, report);
    let took = start.elapsed();
    if let Err(error) = &result {
        say(format_args!("error: {stage}: {error:#}"));
    }
    say(format_args!("<== {stage}: {} ({:.1} s)", if result.is_ok() { "ok" } else { "FAILED" }, took.as_secs_f64()));
    report.ended(stage, result.is_ok(), took);
    result.is_ok()
}

fn fmt(context: &Context, report: &mut Report) -> Result<()> {
    let part = setup::component(context, "fmt");
    if report.part(context, "fmt", part)?.is_none() {
        return Ok(());
    }
    process::run(&mut process::cargo(context, &["fmt", "--all", "--check"]))
}

fn lint(context: &Context, report: &mut Report) -> Result<()> {
    let part = setup::component(context, "clippy");
    if report.part(context, "lint", part)?.is_none() {
        return Ok(());
    }
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::run(&mut process::cargo(context, &arguments))
}

fn deny(context: &Context, report: &mut Report) -> Result<()> {
    let part = setup::deny(context);
    let Some(tool) = report.part(context, "deny", part)? else { return Ok(()) };
    process::run(process::program(context, tool).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}
