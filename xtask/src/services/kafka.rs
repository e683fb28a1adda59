//! Apache Kafka, in `KRaft` mode: each broker is a controller too.

mod jars;
mod secure;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use jars::jars;
use secure::Secrets;
use settings::Broker;

use super::ports;
use super::process::{Process, stop, wait};
use super::state::{Part, State, make_folder, write_secret};
use crate::context::Context;
use crate::report::say;
use crate::setup;

/// How long brokers may take until they answer. One that was killed reads its logs first, on a busy machine for long.
const START_WITHIN: Duration = Duration::from_mins(4);

/// What a broker says when it serves.
const STARTED: &str = "Kafka Server started";

/// Start-up of a program that lives for a second or two.
const SHORT_LIVED: [&str; 3] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];

/// What is asked of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// How many brokers.
    pub(super) brokers: u32,
    /// Whether it has listeners with certificates and passwords.
    pub(super) secure: bool,
    /// Memory of each broker's heap at most.
    pub(super) heap_mib: u32,
}

/// Starts a cluster with nothing in it, and returns once it answers. `folder` is there and empty.
pub(super) fn start(context: &Context, name: &str, folder: &Path, asked: Asked, now: u64) -> Result<State> {
    let jars = jars(context)?;
    let secrets = asked.secure.then(|| secure::make(context, folder)).transpose()?;
    let brokers = brokers(folder, asked)?;
    format(&jars, folder, &brokers, secrets.as_ref())?;
    let mut state = State {
        name: name.to_owned(),
        ready: false,
        started_unix_seconds: now,
        parts: Vec::new(),
        listeners: listeners(&brokers),
        files: secrets.map(|secrets| secrets.files).unwrap_or_default(),
    };
    state.files.insert("jars".to_owned(), jars.clone());
    match setup::python(context) {
        Ok(python) => drop(state.files.insert("python".to_owned(), python)),
        Err(error) => say(format_args!("{name}: tests that read with another client are skipped: {error:#}")),
    }
    let words = command(&jars, folder, asked.heap_mib);
    for broker in &brokers {
        let log = broker.folder.join("server.log");
        let command = [words.as_slice(), &[path(&broker.settings())]].concat();
        let process = Process::start(&command, &log)?;
        state.parts.push(Part { number: broker.number, process, command, log });
        // At once, so that `down` finds it when this program is interrupted.
        state.write(folder)?;
    }
    say(format_args!("{name}: waiting until {} answer", counted(asked.brokers)));
    if let Err(error) = answered(&state, &brokers) {
        stop(&state.processes(), Duration::ZERO)?;
        return Err(error);
    }
    state.ready = true;
    state.write(folder)?;
    Ok(state)
}

/// Starts one broker again, with what it had, and returns once it answers.
pub(super) fn start_again(part: &mut Part) -> Result<()> {
    let said_before = fs::metadata(&part.log).map_or(0, |log| log.len());
    part.process = Process::start(&part.command, &part.log)?;
    wait_for(part, said_before)
}

fn counted(brokers: u32) -> String {
    if brokers == 1 { "a broker".to_owned() } else { format!("{brokers} brokers") }
}

/// Each broker with its folder and free ports.
fn brokers(folder: &Path, asked: Asked) -> Result<Vec<Broker>> {
    let kinds: &[&str] = if asked.secure { &settings::SECURE } else { &settings::PLAIN };
    let count = asked.brokers as usize * kinds.len();
    // Services that start side by side have different folders.
    let seed = path(folder).bytes().fold(std::process::id(), |seed, byte| seed.wrapping_mul(31) ^ u32::from(byte));
    let found = ports::free(count, seed)?;
    let brokers = (1..=asked.brokers).zip(found.chunks(kinds.len())).map(|(number, found)| Broker {
        number,
        folder: folder.join(format!("broker-{number}")),
        ports: kinds.iter().copied().zip(found.iter().copied()).collect(),
    });
    Ok(brokers.collect())
}

/// The addresses of all brokers by kind of listener, without that of the controllers.
fn listeners(brokers: &[Broker]) -> BTreeMap<String, String> {
    let mut listeners = BTreeMap::<String, Vec<String>>::new();
    for (kind, port) in
        brokers.iter().flat_map(|broker| &broker.ports).filter(|(kind, _)| **kind != settings::CONTROLLER)
    {
        listeners.entry(settings::name(kind).to_owned()).or_default().push(format!("127.0.0.1:{port}"));
    }
    listeners.into_iter().map(|(kind, addresses)| (kind, addresses.join(","))).collect()
}

/// Writes the settings and gives each broker an empty log folder, side by side.
fn format(jars: &Path, folder: &Path, brokers: &[Broker], secrets: Option<&Secrets>) -> Result<()> {
    let log4j = folder.join("log4j2.properties");
    fs::write(&log4j, settings::LOG4J).with_context(|| format!("write {}", log4j.display()))?;
    let mut running = Vec::new();
    for broker in brokers {
        make_folder(&broker.folder)?;
        write_secret(&broker.settings(), &settings::text(broker, brokers, secrets))?;
        let mut tool = Command::new("java");
        tool.args(SHORT_LIVED).arg("-cp").arg(jars.join("*"));
        tool.args(["kafka.tools.StorageTool", "format", "--cluster-id", settings::CLUSTER, "--config"]);
        tool.arg(broker.settings()).args(secrets.iter().flat_map(|secrets| secrets.of_storage()));
        tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        running.push(tool.spawn().context("start `java` to format a broker's folder")?);
    }
    for tool in running {
        let answer = tool.wait_with_output().context("wait for Kafka's StorageTool")?;
        let told = [answer.stdout, answer.stderr].concat();
        ensure!(answer.status.success(), "Kafka's StorageTool failed:\n{}", String::from_utf8_lossy(&told).trim());
    }
    Ok(())
}

/// What starts a broker, but for its settings.
fn command(jars: &Path, folder: &Path, heap_mib: u32) -> Vec<String> {
    vec![
        "java".to_owned(),
        format!("-Xmx{heap_mib}m"),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()),
        "-cp".to_owned(),
        path(&jars.join("*")),
        "kafka.Kafka".to_owned(),
    ]
}

fn answered(state: &State, brokers: &[Broker]) -> Result<()> {
    state.parts.iter().try_for_each(|part| wait_for(part, 0))?;
    for port in brokers.iter().flat_map(|broker| broker.ports.values()) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(|| format!("reach {address}"))?;
    }
    Ok(())
}

/// Waits until a broker says that it serves, in what it writes after `said_before` bytes.
fn wait_for(part: &Part, said_before: u64) -> Result<()> {
    let said = || {
        let log = fs::read(&part.log).unwrap_or_default();
        let from = usize::try_from(said_before).unwrap_or(0).min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    };
    wait(START_WITHIN, || said().contains(STARTED) || !part.process.runs());
    let text = said();
    if text.contains(STARTED) && part.process.runs() {
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(20)..].join("\n");
    let what = if part.process.runs() { "does not answer within four minutes" } else { "ended" };
    bail!("broker {} {what}. The end of {}:\n{end}", part.number, part.log.display())
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Broker {
    /// Its settings file.
    fn settings(&self) -> PathBuf {
        self.folder.join("server.properties")
    }
}
