//! What the stages need beyond Rust and a linker, fetched once.
//!
//! Each part is asked for by the stage that uses it, so a single stage does its own set-up. Parts are kept in
//! `${HEADWATER_CACHE:-$HOME/.cache/headwater}`. With `CI=true` a missing Debian package is installed when root asks;
//! elsewhere the command is printed, for a person to run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::context::Context;
use crate::process::{answers, cargo, program, run};
use crate::report::{Report, say};
use crate::services::{kafka, postgres as postgres_service};

/// Built from source once, which takes some minutes.
const CARGO_DENY: &str = "0.20.2";

/// What the Python environment holds. Its folder carries the hash of this text.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// A Debian package, and how to tell that what it brings is there.
struct Package {
    name: &'static str,
    there: fn() -> bool,
}

const PACKAGES: [Package; 5] = [
    Package { name: "ca-certificates", there: || Path::new("/etc/ssl/certs/ca-certificates.crt").exists() },
    Package { name: "pkg-config", there: || answers("pkg-config", &["--version"]) },
    Package { name: "libssl-dev", there: || answers("pkg-config", &["--exists", "libssl"]) },
    Package { name: "python3", there: || answers("python3", &["--version"]) },
    Package { name: "python3-venv", there: || answers("python3", &["-c", "import ensurepip, venv"]) },
];

/// What the services need, beyond the jars that are fetched.
const JAVA: Package = Package { name: "default-jre-headless", there: || answers("java", &["-version"]) };
const MAVEN: Package = Package { name: "maven", there: || answers("mvn", &["--version"]) };
const POSTGRES: Package = Package { name: "postgresql", there: || postgres_service::programs().is_some() };
const OPENSSL: Package = Package { name: "openssl", there: || answers("openssl", &["version"]) };

/// All parts, one after another.
pub(crate) fn stage(context: &Context, report: &mut Report) -> Result<()> {
    let found = packages(context, &PACKAGES);
    report.part(context, "Debian packages", found)?;
    for name in ["fmt", "clippy"] {
        let found = component(context, name);
        report.part(context, name, found)?;
    }
    let found = deny(context);
    report.part(context, "cargo-deny", found)?;
    let found = python(context);
    report.part(context, "Python environment", found)?;
    let found = packages(context, &[OPENSSL]).and_then(|()| kafka::jars(context));
    report.part(context, "Apache Kafka", found)?;
    let found = postgres(context);
    report.part(context, "PostgreSQL", found)?;
    Ok(())
}

/// A Java that runs programs.
pub(crate) fn java(context: &Context) -> Result<()> {
    packages(context, &[JAVA])
}

/// What fetches Java programs. Asked together with Java, so that one line names all that is missing.
pub(crate) fn maven(context: &Context) -> Result<()> {
    packages(context, &[JAVA, MAVEN])
}

/// What makes certificates.
pub(crate) fn openssl(context: &Context) -> Result<()> {
    packages(context, &[OPENSSL])
}

/// A database server.
pub(crate) fn postgres(context: &Context) -> Result<()> {
    packages(context, &[POSTGRES])
}

/// Debian packages that later parts need.
fn packages(context: &Context, wanted: &[Package]) -> Result<()> {
    let missing = |package: &&Package| !(package.there)();
    let names: Vec<&str> = wanted.iter().filter(missing).map(|package| package.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install --yes --no-install-recommends {}", names.join(" "));
    ensure!(context.ci && is_root(), "missing: {}. As root: {install}", names.join(", "));
    say(format_args!("{install}"));
    let mut apt = program(context, "sh");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-c", &format!("apt-get update && {install}")]);
    run(&mut apt)
}

/// `cargo fmt` or `cargo clippy`, which rustup brings.
pub(crate) fn component(context: &Context, name: &str) -> Result<()> {
    if answers("cargo", &[name, "--version"]) {
        return Ok(());
    }
    let part = if name == "fmt" { "rustfmt" } else { name };
    ensure!(context.ci, "`cargo {name}` isn't there. Run: rustup component add {part}");
    run(program(context, "rustup").args(["component", "add", part]))
}

/// The `cargo-deny` program: one on the path, or our own.
pub(crate) fn deny(context: &Context) -> Result<PathBuf> {
    if answers("cargo-deny", &["--version"]) {
        return Ok("cargo-deny".into());
    }
    let root = context.cache.join(format!("tools/cargo-deny-{CARGO_DENY}"));
    let tool = root.join("bin/cargo-deny");
    if !tool.exists() {
        say(format_args!("building cargo-deny {CARGO_DENY} into {}, once", root.display()));
        let mut install = cargo(context, &["install", "--locked", "--debug", "--root"]);
        // Outside the caller's target folder: otherwise its profile and ours share a lock for minutes.
        install.arg(&root).arg(format!("cargo-deny@{CARGO_DENY}")).env_remove("CARGO_TARGET_DIR");
        run(&mut install).context("install cargo-deny")?;
    }
    Ok(tool)
}

/// The Python of an environment with what the tests compare with.
pub(crate) fn python(context: &Context) -> Result<PathBuf> {
    let home = context.cache.join(format!("python-{:016x}", hash(REQUIREMENTS)));
    let python = home.join("bin/python");
    let ready = home.join("ready");
    if ready.exists() {
        return Ok(python);
    }
    packages(context, &PACKAGES)?;
    fs::create_dir_all(&home).with_context(|| format!("make the folder {}", home.display()))?;
    // Others may ask for it at the same time. The lock is no part of the folder, which `--clear` empties.
    let lock = home.with_extension("lock");
    let lock =
        File::options().create(true).append(true).open(&lock).with_context(|| format!("open {}", lock.display()))?;
    lock.lock().context("wait for another who makes the Python environment")?;
    if ready.exists() {
        return Ok(python);
    }
    say(format_args!("making the Python environment {}, once", home.display()));
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home)).context("make a Python environment")?;
    let list = home.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).with_context(|| format!("write {}", list.display()))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"]);
    run(pip.arg(&list)).context("install the Python packages of xtask/requirements.txt")?;
    if !answers(&python, &["-c", "import confluent_kafka, fastavro, pyarrow, schemathesis"]) {
        bail!("the Python environment {} doesn't work: remove it and try again", home.display());
    }
    // Last, so that an environment which was interrupted is made anew.
    fs::write(&ready, "").with_context(|| format!("write {}", ready.display()))?;
    Ok(python)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|answer| answer.stdout.trim_ascii() == b"0")
}

/// FNV-1a, which stays the same from one toolchain to the next.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
