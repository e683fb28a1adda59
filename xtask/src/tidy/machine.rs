//! No file names a folder of the machine it was written on.

use super::source;
use super::tree::{File, Tree};

/// Top folders where people and build machines keep their checkouts and themselves.
const FOLDERS: [&str; 4] = ["Users", "home", "root", "work"];

/// Allowed in tests, where it is a path like any other.
const TEMPORARY: &str = "tmp";

/// Held by every text file.
pub(super) fn problems(tree: &Tree) -> Vec<String> {
    tree.files.iter().flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    let tests_from = if source::is_tests(&file.path) { 0 } else { source::before_tests(&file.text).lines().count() };
    for (index, line) in file.text.lines().enumerate() {
        let refused = FOLDERS.iter().chain((index < tests_from).then_some(&TEMPORARY));
        for folder in refused.filter(|folder| names(line, folder)) {
            problems.push(format!(
                "{}:{}: names /{folder}/ of some machine: write a relative path",
                file.path,
                index + 1
            ));
        }
    }
    problems
}

/// Whether an absolute path begins with this folder.
fn names(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    let is_inside = |letter: char| letter.is_alphanumeric() || "._-/}*>~:)".contains(letter);
    line.match_indices(&path).any(|(at, _)| !line[..at].ends_with(is_inside) || line[..at].ends_with("file://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        let path = |folder: &str| format!("let x = \"{}\";\n", ["", folder, "me"].join("/"));
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", path("tmp"));
        let tree = Tree::of(&[
            ("a.md", &path("home")),
            ("b.rs", &path("tmp")),
            ("crates/a/tests/it/c.rs", &path("tmp")),
            ("crates/a/src/d.rs", &tests),
            ("e.sh", &path("work")),
            ("f.md", "https://x.y/home/z and docs/tmp/a"),
        ]);
        let found = problems(&tree);
        let files: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(files, ["a.md", "b.rs", "e.sh"], "{found:?}");
    }
}
