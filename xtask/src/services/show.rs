//! What people and programs are told of services.

use serde_json::{Value, json};

use super::state::State;

/// A line for each service.
pub(super) fn table(states: &[(&str, Option<State>)], now_unix_seconds: u64) -> String {
    let mut lines = vec![line(["NAME", "STATE", "UP FOR", "MEMORY", "PROCESSES", "ADDRESSES"].map(str::to_owned))];
    for (name, state) in states {
        let Some(state) = state else {
            lines.push(line([name, "down", "-", "-", "-", "-"].map(str::to_owned)));
            continue;
        };
        let age = now_unix_seconds.saturating_sub(state.started_unix_seconds);
        let memory = memory_bytes(state).map_or("-".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let processes: Vec<String> = state.parts.iter().map(|part| part.process.pid.to_string()).collect();
        let mut kinds = state.listeners.iter().map(|(kind, addresses)| format!("{kind} {addresses}"));
        let first = kinds.next().unwrap_or_default();
        lines.push(line([(*name).to_owned(), condition(state), ago(age), memory, processes.join(","), first]));
        lines.extend(kinds.map(|kind| line(["", "", "", "", "", &kind].map(str::to_owned))));
    }
    lines.join("\n")
}

/// All that is known, for programs.
pub(super) fn json(states: &[(&str, Option<State>)]) -> String {
    let services = states.iter().map(|(name, state)| match state {
        None => json!({"name": name, "state": "down"}),
        Some(state) => {
            let mut value = state.to_json();
            value["state"] = condition(state).into();
            value["memoryBytes"] = memory_bytes(state).into();
            value
        }
    });
    format!("{:#}", Value::Array(services.collect()))
}

/// How one uses a service that is up.
pub(super) fn usage(state: &State) -> String {
    let listeners = state.listeners.iter().map(|(kind, addresses)| format!("  {kind:<15} {addresses}"));
    let files = state.files.iter().map(|(kind, path)| format!("  {kind:<19} {}", path.display()));
    let brokers = state.listeners.get("plaintext").map(|brokers| format!("--set brokers={brokers}"));
    let url = state.listeners.get("tcp").map(|address| format!("postgres://headwater@{address}/postgres"));
    let lines = listeners.chain(files).chain(brokers.or(url).map(|how| format!("  use it with        {how}")));
    lines.collect::<Vec<_>>().join("\n")
}

fn condition(state: &State) -> String {
    match (state.running(), state.parts.len()) {
        (running, all) if running == all && state.ready => "up".to_owned(),
        (running, all) if running == all => "starting".to_owned(),
        (0, _) => "ended".to_owned(),
        (running, all) => format!("{running} of {all}"),
    }
}

fn memory_bytes(state: &State) -> Option<u64> {
    state.parts.iter().filter(|part| part.process.runs()).map(|part| part.process.memory_bytes()).sum()
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn line([name, state, age, memory, processes, addresses]: [String; 6]) -> String {
    let line = format!("{name:<13} {state:<9} {age:<11} {memory:<9} {processes:<23} {addresses}");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::process::Process;
    use crate::services::state::Part;

    fn state(ready: bool) -> State {
        let process = Process::of(std::process::id()).expect("our own process");
        State {
            name: "kafka".to_owned(),
            ready,
            started_unix_seconds: 1000,
            parts: vec![Part { number: 1, process, command: Vec::new(), log: "x".into() }],
            listeners: [("plaintext".to_owned(), "127.0.0.1:1".to_owned())].into(),
            files: std::collections::BTreeMap::default(),
        }
    }

    #[test]
    fn the_table_tells_what_is_up_and_what_is_not() {
        let table = table(&[("kafka", Some(state(true))), ("kafka3", None)], 1000 + 7300);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("kafka         up        2 h 1 min"), "{table}");
        assert!(lines[1].ends_with("plaintext 127.0.0.1:1"), "{table}");
        assert!(lines[2].starts_with("kafka3        down"), "{table}");
    }

    #[test]
    fn programs_are_told_the_state() {
        let told: Value = serde_json::from_str(&json(&[("kafka", Some(state(false))), ("x", None)])).expect("JSON");
        assert_eq!((&told[0]["state"], &told[1]["state"]), (&"starting".into(), &"down".into()));
        assert_eq!(told[0]["listeners"]["plaintext"], "127.0.0.1:1");
    }
}
