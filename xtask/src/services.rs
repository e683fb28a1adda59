//! `cargo xtask services`: real servers for the tests, started and stopped by name.
//!
//! A service lives in a folder of its own, `${HEADWATER_CACHE:-$HOME/.cache/headwater}/services/NAME`, or beneath
//! `HEADWATER_SERVICES`. Its `service.json` tells tests where it listens, and this program which processes it is made of.
//! To add a kind of service: a file beneath this one, and its lines in [`SERVICES`].

pub(crate) mod kafka;
mod lent;
mod ports;
pub(crate) mod postgres;
mod process;
mod show;
mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use lent::Lent;
use state::{Part, State};

use crate::context::Context;
use crate::report::say;

/// How long processes may take to end when they are asked to. Not long: what they hold is thrown away.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A service, and how it is started.
struct Service {
    name: &'static str,
    what: &'static str,
    kind: Kind,
}

/// What sort of server it is.
enum Kind {
    Kafka(kafka::Asked),
    Postgres,
}

const SERVICES: [Service; 4] = [
    Service {
        name: "kafka",
        what: "one broker",
        kind: Kind::Kafka(kafka::Asked { brokers: 1, secure: false, heap_mib: 512 }),
    },
    Service {
        name: "kafka3",
        what: "three brokers: three copies, two of them in sync",
        kind: Kind::Kafka(kafka::Asked { brokers: 3, secure: false, heap_mib: 384 }),
    },
    Service {
        name: "kafka-secure",
        what: "one broker with TLS, client certificates, passwords, tokens and access rights",
        kind: Kind::Kafka(kafka::Asked { brokers: 1, secure: true, heap_mib: 512 }),
    },
    Service { name: "postgres", what: "one PostgreSQL, for the store of queues", kind: Kind::Postgres },
];

const HELP: &str = "\
cargo xtask services VERB [NAME...] [--output json]

  up      starts services, and says where they listen; one that is up stays as it is   [default: kafka]
  down    ends services and removes what they hold                                     [default: all]
  status  what is up, where, since when and with how much memory                       [default: all]

  stop | kill | start | pause | resume  NAME:NUMBER
          asks one server to end, ends it at once, starts it again, or stops and continues its clockwork

Services";

/// Does what the words after `services` say.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => up(context, &[&SERVICES[0]]).map(drop),
        ["up", names @ ..] => up(context, &named(names)?).map(drop),
        ["down", names @ ..] => named(names)?.into_iter().try_for_each(|service| down(context, service)),
        ["status", names @ .., "--output", "json"] | ["status", "--output", "json", names @ ..] => {
            say(show::json(&states(context, names)?));
            Ok(())
        }
        ["status", names @ ..] => {
            say(show::table(&states(context, names)?, now()));
            Ok(())
        }
        [verb @ ("stop" | "kill" | "start" | "pause" | "resume"), place] => one(context, verb, place),
        [] | ["help" | "--help" | "-h", ..] => {
            let lines = SERVICES.iter().map(|service| format!("  {:<13} {}", service.name, service.what));
            say(format_args!("{HELP}\n{}", lines.collect::<Vec<_>>().join("\n")));
            Ok(())
        }
        _ => bail!("`services {}` isn't understood; see `cargo xtask services help`", words.join(" ")),
    }
}

/// The services of these names; all when there is none.
fn named(names: &[&str]) -> Result<Vec<&'static Service>> {
    if names.is_empty() {
        return Ok(SERVICES.iter().collect());
    }
    let service = |name: &&str| {
        let known = SERVICES.map(|service| service.name).join(", ");
        let found = SERVICES.iter().find(|service| service.name == *name);
        found.with_context(|| format!("unknown service {name}; there are {known}"))
    };
    names.iter().map(service).collect()
}

/// Starts services side by side, and gives those that were not up before.
fn up(context: &Context, services: &[&'static Service]) -> Result<Vec<&'static Service>> {
    lent::sweep(context);
    let results = std::thread::scope(|scope| {
        let starts: Vec<_> = services.iter().map(|service| scope.spawn(|| up_one(context, service))).collect();
        let end = |start: std::thread::ScopedJoinHandle<'_, Result<bool>>| start.join();
        starts.into_iter().map(end).collect::<Vec<_>>()
    });
    let (mut fresh, mut failed) = (Vec::new(), Vec::new());
    for (service, result) in services.iter().zip(results) {
        match result.unwrap_or_else(|_| Err(anyhow::anyhow!("its start panicked"))) {
            Ok(true) => fresh.push(*service),
            Ok(false) => {}
            Err(error) => failed.push(format!("start {}: {error:#}", service.name)),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(fresh)
}

/// Starts a service, and says whether that was needed.
fn up_one(context: &Context, service: &Service) -> Result<bool> {
    let _alone = alone(context, service)?;
    let folder = folder(context, service);
    match State::read(&folder)? {
        Some(state) if state.is_up() => {
            say(format_args!("{} is up already\n{}", service.name, show::usage(&state)));
            return Ok(false);
        }
        Some(state) => {
            let running = state.running();
            say(format_args!("{}: {running} of {} processes run; starting anew", service.name, state.parts.len()));
        }
        None => say(format_args!("{}: starting", service.name)),
    }
    remove(&folder)?;
    state::make_folder(&folder)?;
    let state = match &service.kind {
        Kind::Kafka(asked) => kafka::start(context, service.name, &folder, *asked, now())?,
        Kind::Postgres => postgres::start(context, service.name, &folder, now())?,
    };
    let took = now().saturating_sub(state.started_unix_seconds);
    say(format_args!("{} is up after {took} s\n{}", service.name, show::usage(&state)));
    Ok(true)
}

/// Ends a service and removes its folder.
fn down(context: &Context, service: &Service) -> Result<()> {
    let folder = folder(context, service);
    if !folder.exists() {
        return Ok(());
    }
    let _alone = alone(context, service)?;
    remove(&folder)?;
    say(format_args!("{} is down", service.name));
    Ok(())
}

/// Ends what the state in a folder names, and removes the folder.
fn remove(folder: &Path) -> Result<()> {
    if let Some(state) = State::read(folder)? {
        process::stop(&state.processes(), STOP_WITHIN)?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Does something to one process of a service, named as `kafka3:2`.
fn one(context: &Context, verb: &str, place: &str) -> Result<()> {
    let (name, number) = place.split_once(':').unwrap_or((place, "1"));
    let service = named(&[name])?[0];
    let _alone = alone(context, service)?;
    let folder = folder(context, service);
    let mut state =
        State::read(&folder)?.with_context(|| format!("{name} isn't up: cargo xtask services up {name}"))?;
    let count = state.parts.len();
    let part = state.parts.iter_mut().find(|part| part.number.to_string() == number);
    let part = part.with_context(|| format!("{name} has {count} processes, numbered from 1, and no {number}"))?;
    act(&service.kind, verb, part)?;
    let runs = part.process.runs();
    say(format_args!("{name}:{number}: process {} {}", part.process.pid, if runs { "runs" } else { "has ended" }));
    state.write(&folder)
}

fn act(kind: &Kind, verb: &str, part: &mut Part) -> Result<()> {
    match verb {
        "pause" => part.process.signal("STOP"),
        "resume" => part.process.signal("CONT"),
        // A broker hands its partitions over first, for which it is given the time of a start.
        "stop" => process::stop(std::slice::from_ref(&part.process), Duration::from_mins(1)),
        "kill" => {
            part.process.signal("KILL").and_then(|()| process::stop(std::slice::from_ref(&part.process), STOP_WITHIN))
        }
        _ if part.process.runs() => Ok(()),
        _ => match kind {
            Kind::Kafka(_) => kafka::start_again(part),
            Kind::Postgres => postgres::start_again(part),
        },
    }
}

/// The services of these names with their states, if they have one.
fn states(context: &Context, names: &[&str]) -> Result<Vec<(&'static str, Option<State>)>> {
    let state = |service: &Service| Ok((service.name, State::read(&folder(context, service))?));
    named(names)?.into_iter().map(state).collect()
}

/// Keeps others of our kind from starting and ending the same service meanwhile.
fn alone(context: &Context, service: &Service) -> Result<File> {
    state::make_folder(&context.services)?;
    let path = context.services.join(format!("{}.lock", service.name));
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

fn folder(context: &Context, service: &Service) -> PathBuf {
    context.services.join(service.name)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "people are told since when a service is up")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_and_none_means_all() {
        let names = |asked: &[&str]| named(asked).map(|found| found.iter().map(|service| service.name).collect());
        let all: Vec<&str> = names(&[]).expect("all");
        assert_eq!(all, ["kafka", "kafka3", "kafka-secure", "postgres"]);
        let one: Vec<&str> = names(&["kafka3"]).expect("one");
        assert_eq!(one, ["kafka3"]);
        let error = named(&["kaffka"]).err().expect("refused").to_string();
        assert!(error.contains("unknown service kaffka; there are kafka, kafka3"), "{error}");
    }
}
