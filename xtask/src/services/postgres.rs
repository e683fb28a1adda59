//! PostgreSQL from the system's package: one server, with a database of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::ports;
use super::process::{Process, stop, wait};
use super::state::{Part, State};
use crate::context::Context;
use crate::process::answers;
use crate::setup;

/// How long a server may take until it answers. One that was killed reads its log first.
const START_WITHIN: Duration = Duration::from_mins(1);

/// What a server says when it serves.
const STARTED: &str = "database system is ready to accept connections";

/// Where Debian keeps the programs, a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// PostgreSQL refuses to run as root, and another user could not look into a root's folder. In a user namespace of its
/// own it is somebody else, with the same rights.
const SOMEBODY: [&str; 4] = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];

/// Where `initdb` and `postgres` are; the newest version there is.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().filter_map(Result::ok);
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let number = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let on_path = || answers("initdb", &["--version"]).then(PathBuf::new);
    found.max_by_key(number).or_else(on_path)
}

/// Starts a server with nothing in it, and returns once it answers. `folder` is there and empty.
pub(super) fn start(context: &Context, name: &str, folder: &Path, now: u64) -> Result<State> {
    setup::postgres(context)?;
    let programs = programs().context("find initdb and postgres")?;
    let somebody = somebody()?;
    let data = folder.join("data");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let command = |program: &str, words: &[&str]| {
        let program = path(&programs.join(program));
        let own = words.iter().map(|word| (*word).to_owned());
        somebody.iter().map(|word| (*word).to_owned()).chain([program]).chain(own).collect::<Vec<String>>()
    };
    let trust = ["--auth=trust", "--username=headwater", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"];
    let initdb = command("initdb", &[&trust[..], &[&path(&data)]].concat());
    let made = Command::new(&initdb[0]).args(&initdb[1..]).output().context("start initdb")?;
    ensure!(made.status.success(), "make a database:\n{}", String::from_utf8_lossy(&made.stderr));
    let seed = path(folder).bytes().fold(std::process::id(), |seed, byte| seed.wrapping_mul(31) ^ u32::from(byte));
    let port = ports::free(1, seed)?[0];
    // The path of a local socket may not be long, so there is none.
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 300\n\
         shared_buffers = 64MB\n"
    );
    let file = data.join("postgresql.auto.conf");
    fs::write(&file, settings).with_context(|| format!("write {}", file.display()))?;
    let command = command("postgres", &["-D", &path(&data)]);
    let log = folder.join("server.log");
    let process = Process::start(&command, &log)?;
    let mut state = State {
        name: name.to_owned(),
        ready: false,
        started_unix_seconds: now,
        parts: vec![Part { number: 1, process, command, log }],
        listeners: [("tcp".to_owned(), format!("127.0.0.1:{port}"))].into(),
        files: std::collections::BTreeMap::default(),
    };
    // At once, so that `down` finds it when this program is interrupted.
    state.write(folder)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answered = wait_for(&state.parts[0], 0).and_then(|()| {
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(|| format!("reach {address}"))
    });
    if let Err(error) = answered {
        stop(&state.processes(), Duration::ZERO)?;
        return Err(error);
    }
    state.ready = true;
    state.write(folder)?;
    Ok(state)
}

/// What a server says that finds the one before it not quite gone: it was killed, but nobody took its exit code yet, or
/// the processes that it had started are still ending.
const HELD: [&str; 2] = ["lock file \"postmaster.pid\" already exists", "is still in use"];

/// Starts a server again, with what it had, and returns once it answers.
pub(super) fn start_again(part: &mut Part) -> Result<()> {
    let mut answered = Ok(());
    wait(START_WITHIN, || {
        let said_before = fs::metadata(&part.log).map_or(0, |log| log.len());
        let started = Process::start(&part.command, &part.log);
        answered = started.and_then(|process| {
            part.process = process;
            wait_for(part, said_before)
        });
        answered.is_ok() || !HELD.iter().any(|words| said(&part.log, said_before).contains(words))
    });
    answered
}

/// What stands before a program that refuses to run as root; nothing where nobody is root.
fn somebody() -> Result<&'static [&'static str]> {
    let id = Command::new("id").arg("-u").output().context("start `id`")?;
    if id.stdout.trim_ascii() != b"0" {
        return Ok(&[]);
    }
    let words: Vec<&str> = SOMEBODY[1..].iter().copied().chain(["true"]).collect();
    ensure!(
        answers(SOMEBODY[0], &words),
        "PostgreSQL refuses to run as root, and this system lets nobody be somebody else (`{} true` fails): run this as \
         another user",
        SOMEBODY.join(" ")
    );
    Ok(&SOMEBODY)
}

fn wait_for(part: &Part, said_before: u64) -> Result<()> {
    let said = || said(&part.log, said_before);
    wait(START_WITHIN, || said().contains(STARTED) || !part.process.runs());
    let is_up = said().contains(STARTED) && part.process.runs();
    ensure!(is_up, "PostgreSQL does not answer. {}:\n{}", part.log.display(), said());
    Ok(())
}

/// What a server has said after the first so many bytes of its log.
fn said(log: &Path, before: u64) -> String {
    let log = fs::read(log).unwrap_or_default();
    let from = usize::try_from(before).unwrap_or(0).min(log.len());
    String::from_utf8_lossy(&log[from..]).into_owned()
}
