//! A file is a chapter: at most 600 lines without its tests, 200 for most.

use super::source;
use super::tree::Tree;

/// Where good code bases have nine files of ten.
const LINES_MAX: usize = 600;

/// Held by every Rust file of code.
pub(super) fn problems(tree: &Tree) -> Vec<String> {
    let files =
        tree.ending(".rs").filter(|file| !source::is_tests(&file.path) || file.path.starts_with("crates/testkit/src/"));
    let counted = files.map(|file| (file, source::before_tests(&file.text).lines().count()));
    let long = counted.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| {
        format!("{}:{LINES_MAX}: {lines} lines, at most 600 lines without tests: split it by what it tells", file.path)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_code_is_found_and_long_tests_are_not() {
        let (fits, long) = ("x\n".repeat(600), "x\n".repeat(601));
        let tested = format!("{fits}#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let files =
            [("a/src/a.rs", long.as_str()), ("a/src/b.rs", &tested), ("a/src/b/tests.rs", &long), ("a/c.md", &long)];
        let problems = problems(&Tree::of(&files));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("a/src/a.rs:600: 601 lines"));
    }
}
