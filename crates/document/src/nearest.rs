//! Which known name a mistyped one may mean.

/// The candidate that is nearest to `name` by letters inserted, dropped, changed or swapped, if it is near enough to be
/// meant: a third of its letters may differ, and case doesn't count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = letters(name)?;
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let known = letters(candidate)?;
            let distance = distance(&name, &known);
            (distance <= (name.len().max(known.len()) / 3).max(1)).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The letters that count, or none for what is no name: empty, or so long that comparing would cost more than it helps.
fn letters(name: &str) -> Option<Vec<char>> {
    const LETTERS_MAX: usize = 64;
    (!name.is_empty() && name.len() <= LETTERS_MAX).then(|| name.to_lowercase().chars().collect())
}

/// The number of edits between two words, a swap of neighbours being one.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let swapped = i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b;
            let swap = if swapped { rows[i - 1][j - 1] + 1 } else { usize::MAX };
            row.push(changed.min(rows[i][j + 1] + 1).min(row[j] + 1).min(swap));
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["topics", "partitionBy", "compression", "a"];
        assert_eq!(nearest("topicss", known), Some("topics"));
        assert_eq!(nearest("tpoics", known), Some("topics"));
        assert_eq!(nearest("partition_by", known), Some("partitionBy"));
        assert_eq!(nearest("brokers", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("xy", ["yx"]), Some("yx"));
    }
}
