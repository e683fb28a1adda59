//! Where tasks stand, read and moved from outside while nothing runs.

use std::collections::BTreeMap;

use serde::Serialize;
use stdx::Clock;

use crate::ledger::{Books, Record, VERSION};
use crate::{Error, Position};

/// Where one task stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPositions {
    /// The task's stored name.
    pub task: String,
    /// The position in each of its sources.
    pub positions: BTreeMap<String, Position>,
    /// The number of its last record.
    pub sequence: u64,
    /// When that was written, milliseconds since 1970.
    pub committed_at_millis: i64,
    /// Sinks for which rows are prepared that the next start publishes first.
    pub pending: Vec<String>,
}

/// A position that was changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The task's stored name.
    pub task: String,
    /// The source.
    pub source: String,
    /// Where it stood.
    pub before: Option<Position>,
    /// Sinks for which rows are prepared that the next start publishes first.
    pub pending: Vec<String>,
}

/// Where every task that ever ran stands.
pub fn show(books: &dyn Books) -> Result<Vec<TaskPositions>, Error> {
    let records = books.records()?.into_iter();
    Ok(records
        .map(|(task, record)| TaskPositions {
            task,
            sequence: record.sequence,
            committed_at_millis: record.at,
            pending: record.tokens.keys().cloned().collect(),
            positions: record.positions,
        })
        .collect())
}

/// Moves a task to `position` in a source. Refused while anybody holds a task of the stream, for a task that never
/// ran, and for a source that it doesn't read.
///
/// What its last record has prepared stays prepared: the next start publishes it, then reads on from `position`.
pub fn set(
    books: &dyn Books,
    (task, source): (&str, &str),
    position: Position,
    holder: &str,
    clock: &Clock,
) -> Result<Moved, Error> {
    let records = books.records()?;
    let Some(record) = records.get(task) else {
        let known: Vec<&str> = records.keys().map(String::as_str).collect();
        return Err(Error::World(format!("no task `{task}` has run; {}", known_ones("tasks", &known))));
    };
    if !record.positions.contains_key(source) {
        let known: Vec<&str> = record.positions.keys().map(String::as_str).collect();
        let known = known_ones("its sources", &known);
        return Err(Error::World(format!("task `{task}` has no position in `{source}`; {known}")));
    }
    change(books, task, source, Some(position), holder, clock)
}

/// Takes the positions in `source` away, of all tasks or of one, so that it is read from its beginning again.
pub fn reset(
    books: &dyn Books,
    source: &str,
    task: Option<&str>,
    holder: &str,
    clock: &Clock,
) -> Result<Vec<Moved>, Error> {
    let records = books.records()?;
    let with = records.iter().filter(|(_, record)| record.positions.contains_key(source));
    let tasks: Vec<&String> = with.map(|(name, _)| name).filter(|name| task.is_none_or(|only| only == *name)).collect();
    if tasks.is_empty() {
        let known: std::collections::BTreeSet<&str> =
            records.values().flat_map(|record| record.positions.keys()).map(String::as_str).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let whose = task.map_or_else(String::new, |task| format!(" of task `{task}`"));
        return Err(Error::World(format!(
            "there is no position{whose} in `{source}`; {}",
            known_ones("sources", &known)
        )));
    }
    tasks.into_iter().map(|task| change(books, task, source, None, holder, clock)).collect()
}

fn known_ones(what: &str, known: &[&str]) -> String {
    if known.is_empty() { format!("there are no {what} yet") } else { format!("{what}: {}", known.join(", ")) }
}

fn change(
    books: &dyn Books,
    task: &str,
    source: &str,
    position: Option<Position>,
    holder: &str,
    clock: &Clock,
) -> Result<Moved, Error> {
    if let Some((task, holder)) = books.holder()? {
        return Err(Error::Held { task, holder });
    }
    let mut ledger = books.ledger(task, holder)?;
    let claimed = ledger.claim()?;
    let Some(last) = claimed.last else {
        return Err(Error::World(format!(
            "the record of task `{task}` went away while its position was being changed"
        )));
    };
    let mut positions = last.positions;
    let before = match position {
        Some(position) => positions.insert(source.to_owned(), position),
        None => positions.remove(source),
    };
    let pending = last.tokens.keys().cloned().collect();
    ledger.append(&Record {
        version: VERSION,
        claim: claimed.claim,
        sequence: last.sequence + 1,
        nonce: format!("{:016x}", fastrand::u64(..)),
        at: clock.now().millis(),
        positions,
        tokens: last.tokens,
    })?;
    Ok(Moved { task: task.to_owned(), source: source.to_owned(), before, pending })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::local::LocalLedger;
    use crate::ledger::{Home, LocalBooks};
    use crate::{Ledger, Token};

    fn books(folder: &std::path::Path) -> LocalBooks {
        let home = Home::local(folder, "default", "ids");
        for task in ["ids-0", "ids-1"] {
            let mut ledger = LocalLedger::new(task, home.task(task), "the test");
            let claim = ledger.claim().unwrap().claim;
            let positions = [("ids", 7), ("others", 3)];
            ledger
                .append(&Record {
                    version: VERSION,
                    claim,
                    sequence: 4,
                    nonce: "n".into(),
                    at: 1000,
                    positions: positions.map(|(name, row)| (name.into(), Position(row.into()))).into(),
                    tokens: [("raw".into(), Token("staged".into()))].into(),
                })
                .unwrap();
        }
        LocalBooks(home)
    }

    #[test]
    fn a_position_is_moved_by_a_record_that_keeps_what_is_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let (books, clock) = (books(folder.path()), Clock::manual(stdx::Timestamp::from_millis(2000)));
        let moved = set(&books, ("ids-1", "ids"), Position(9.into()), "me", &clock).unwrap();
        assert_eq!((moved.before, moved.pending), (Some(Position(7.into())), vec!["raw".to_owned()]));
        let record = books.records().unwrap()["ids-1"].clone();
        assert_eq!((record.sequence, record.claim, record.at), (5, 2, 2000));
        assert_eq!(record.positions["ids"], Position(9.into()));
        assert_eq!(record.positions["others"], Position(3.into()));
        assert_eq!(record.tokens["raw"], Token("staged".into()));
        assert_eq!(show(&books).unwrap()[0].positions["ids"], Position(7.into()));
    }

    #[test]
    fn a_reset_takes_the_positions_of_all_tasks_away() {
        let folder = tempfile::tempdir().unwrap();
        let (books, clock) = (books(folder.path()), Clock::system());
        assert_eq!(reset(&books, "ids", None, "me", &clock).unwrap().len(), 2);
        assert!(show(&books).unwrap().iter().all(|task| !task.positions.contains_key("ids")));
        assert_eq!(reset(&books, "others", Some("ids-0"), "me", &clock).unwrap().len(), 1);
        let error = reset(&books, "ids", None, "me", &clock).unwrap_err().to_string();
        assert!(error.contains("`ids`") && error.contains("others"), "{error}");
    }

    #[test]
    fn nothing_is_moved_while_a_task_is_held_or_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let (books, clock) = (books(folder.path()), Clock::system());
        let mut running = LocalLedger::new("ids-0", books.0.task("ids-0"), "a run");
        running.claim().unwrap();
        let held = set(&books, ("ids-1", "ids"), Position(0.into()), "me", &clock).unwrap_err();
        assert!(matches!(&held, Error::Held { holder, .. } if holder == "a run"), "{held}");
        drop(running);
        for (task, source) in [("ids-2", "ids"), ("ids-0", "nobody")] {
            set(&books, (task, source), Position(0.into()), "me", &clock).unwrap_err();
        }
        assert_eq!(books.records().unwrap()["ids-1"].positions["ids"], Position(7.into()));
    }
}
