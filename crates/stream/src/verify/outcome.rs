//! What sinks hold against what they should hold: rows as JSON, counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;

/// A row as it was read back from a sink, by its columns' names.
pub type Row = BTreeMap<String, Value>;

/// Rows that are shown of those that are not as they should be.
const EXAMPLES_MAX: usize = 10;

/// What was found in one sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Rows that should be there.
    pub expected: u64,
    /// Rows that are there.
    pub found: u64,
    /// Rows that should be there and are not.
    pub lost: u64,
    /// Rows that are there more often than they should be.
    pub duplicated: u64,
    /// Rows that should not be there at all.
    pub unexpected: u64,
    /// A few rows that are not as they should be.
    pub examples: Vec<Example>,
}

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// What is wrong with it.
    pub fault: Fault,
    /// How often it should be there.
    pub expected: u64,
    /// How often it is there.
    pub found: u64,
    /// The row.
    pub row: Value,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It is missing.
    Lost,
    /// It is there too often.
    Duplicated,
    /// Nothing should have made it.
    Unexpected,
}

impl Fault {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Unexpected => "unexpected",
        }
    }
}

/// Compares the rows of a sink as multisets, without the columns in `left_out`.
pub fn compare(expected: &[Row], found: &[Row], left_out: &[String]) -> Comparison {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in expected {
        counts.entry(canonical(row, left_out)).or_default().0 += 1;
    }
    for row in found {
        counts.entry(canonical(row, left_out)).or_default().1 += 1;
    }
    let count = |rows: &[Row]| rows.len() as u64;
    let mut comparison = Comparison { expected: count(expected), found: count(found), ..Comparison::default() };
    for (row, (expected, found)) in counts {
        let fault = match expected {
            _ if found == expected => continue,
            _ if found < expected => Fault::Lost,
            0 => Fault::Unexpected,
            _ => Fault::Duplicated,
        };
        *comparison.count_mut(fault) += found.abs_diff(expected);
        if comparison.examples.len() < EXAMPLES_MAX {
            let row = serde_json::from_str(&row).unwrap_or(Value::String(row));
            comparison.examples.push(Example { fault, expected, found, row });
        }
    }
    comparison.examples.sort_by_key(|example| example.fault);
    comparison
}

impl Comparison {
    const fn count_mut(&mut self, fault: Fault) -> &mut u64 {
        match fault {
            Fault::Lost => &mut self.lost,
            Fault::Duplicated => &mut self.duplicated,
            Fault::Unexpected => &mut self.unexpected,
        }
    }
}

/// The columns that differ between two undisturbed runs over the same input, such as those made of `now()`. Where leaving
/// them out doesn't make the runs the same, nothing can be compared: an error that says so.
pub fn unstable(once: &[Row], again: &[Row]) -> Result<Vec<String>, String> {
    let names: BTreeSet<&String> = once.iter().chain(again).flat_map(Row::keys).collect();
    let column = |rows: &[Row], name: &String| {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for row in rows {
            *counts.entry(row.get(name).map_or_else(String::new, Value::to_string)).or_default() += 1;
        }
        counts
    };
    let is_same = |left_out: &[String]| {
        let Comparison { lost, duplicated, unexpected, .. } = compare(once, again, left_out);
        lost + duplicated + unexpected == 0
    };
    if is_same(&[]) {
        return Ok(Vec::new());
    }
    let differs = |name: &&String| column(once, name) != column(again, name);
    let unstable: Vec<String> = names.iter().copied().filter(differs).cloned().collect();
    if unstable.len() < names.len() && is_same(&unstable) {
        return Ok(unstable);
    }
    Err(format!(
        "two undisturbed runs over the same input gave {} and {} rows that don't agree{}",
        once.len(),
        again.len(),
        if unstable.is_empty() { String::new() } else { format!(", in {}", unstable.join(", ")) },
    ))
}

fn canonical(row: &Row, left_out: &[String]) -> String {
    let kept: BTreeMap<&String, &Value> = row.iter().filter(|(name, _)| !left_out.contains(name)).collect();
    // Names and values that came from JSON go back into it.
    serde_json::to_string(&kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(id: i64, at: i64) -> Row {
        [("id".to_owned(), json!(id)), ("at".to_owned(), json!(at))].into()
    }

    fn rows(count: i64, at: i64) -> Vec<Row> {
        (0..count).map(|id| row(id, at)).collect()
    }

    #[test]
    fn what_is_as_it_should_be_has_no_faults() {
        let mut found = rows(50, 1);
        found.reverse();
        let comparison = compare(&rows(50, 1), &found, &[]);
        assert_eq!(comparison, Comparison { expected: 50, found: 50, ..Comparison::default() });
    }

    #[test]
    fn a_lost_a_doubled_and_a_foreign_row_are_found() {
        let mut found = rows(50, 1);
        found.remove(7);
        found.extend([row(9, 1), row(9, 1), row(99, 1)]);
        let comparison = compare(&rows(50, 1), &found, &[]);
        assert_eq!((comparison.lost, comparison.duplicated, comparison.unexpected), (1, 2, 1));
        let examples: Vec<(Fault, Value)> =
            comparison.examples.iter().map(|example| (example.fault, example.row["id"].clone())).collect();
        assert_eq!(examples, [(Fault::Lost, json!(7)), (Fault::Duplicated, json!(9)), (Fault::Unexpected, json!(99))]);
    }

    #[test]
    fn rows_that_are_twice_in_the_input_may_be_twice_in_the_output() {
        let twice = [rows(5, 1), rows(5, 1)].concat();
        assert_eq!(compare(&twice, &twice, &[]).duplicated, 0);
        assert_eq!(compare(&twice, &[twice.clone(), rows(1, 1)].concat(), &[]).duplicated, 1);
        assert_eq!(compare(&twice, &rows(5, 1), &[]).lost, 5);
    }

    #[test]
    fn columns_that_differ_between_undisturbed_runs_are_left_out() {
        assert_eq!(unstable(&rows(5, 1), &rows(5, 1)), Ok(vec![]));
        assert_eq!(unstable(&rows(5, 1), &rows(5, 2)), Ok(vec!["at".to_owned()]));
        assert!(unstable(&rows(5, 1), &rows(6, 1)).unwrap_err().contains("5 and 6 rows"));
        let mut swapped = rows(2, 1);
        swapped[0].insert("at".into(), json!(2));
        let mut other = rows(2, 1);
        other[1].insert("at".into(), json!(2));
        assert!(unstable(&swapped, &other).is_err(), "no column differs by itself");
        assert_eq!(compare(&rows(5, 1), &rows(5, 2), &["at".to_owned()]).lost, 0);
    }
}
