//! A crate names only crates beneath it; siblings meet in a door; tests have a kit that nothing else may name.

use super::tree::Tree;

/// From the ground up. Crates of one row never name each other.
const LAYERS: [&[&str]; 6] =
    [&["stdx"], &["document"], &["launch"], &["stream", "queue", "kernel", "image"], &["cluster", "api"], &["cli"]];

/// Held by every crate's `Cargo.toml`.
pub(super) fn problems(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for file in tree.ending("Cargo.toml") {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        let own = folder.rsplit('/').next().unwrap_or(folder);
        if folder.starts_with("crates/") && own != "testkit" && layer(own).is_none() {
            problems
                .push(format!("{}:1: crate `{own}` has no layer: give it one in xtask/src/tidy/layers.rs", file.path));
            continue;
        }
        for (line, name, section) in dependencies(&file.text) {
            if let Some(rule) = refused(own, &name, section) {
                problems.push(format!("{}:{line}: `{own}` may not name `{name}`: {rule}", file.path));
            }
        }
    }
    problems
}

/// The section of a manifest that a line stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Tests,
    Code,
    Other,
}

/// Why `own` may not name `name`.
fn refused(own: &str, name: &str, section: Section) -> Option<&'static str> {
    if name == "testkit" {
        let allowed = section == Section::Tests && own != "xtask";
        return (!allowed).then_some("the kit is for dev-dependencies");
    }
    let theirs = layer(name)?;
    match own {
        "xtask" => Some("xtask names no crate of the workspace, so that it compiles in seconds"),
        "testkit" => (name != "stdx").then_some("the kit names only `stdx`"),
        _ => (theirs >= layer(own)?).then_some("a crate names only crates beneath it; siblings meet in a door"),
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}

/// Line number, name and section of each dependency of a manifest.
fn dependencies(manifest: &str) -> Vec<(usize, String, Section)> {
    let mut found = Vec::new();
    let mut section = Section::Other;
    for (number, line) in (1..).zip(manifest.lines().map(str::trim)) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let (head, name) = match header.rsplit_once("dependencies.") {
                Some((head, name)) => (format!("{head}dependencies"), Some(name)),
                None => (header.to_owned(), None),
            };
            section = if head.ends_with("dev-dependencies") {
                Section::Tests
            } else if head.ends_with("dependencies") && !head.starts_with("workspace") {
                Section::Code
            } else {
                Section::Other
            };
            if let (Some(name), true) = (name, section != Section::Other) {
                found.push((number, name.to_owned(), section));
                section = Section::Other;
            }
            continue;
        }
        if section == Section::Other || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
        let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
        found.push((number, renamed.unwrap_or(key).to_owned(), section));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(own: &str, manifest: &str) -> usize {
        problems(&Tree::of(&[(&format!("{own}/Cargo.toml"), manifest)])).len()
    }

    #[test]
    fn only_crates_beneath_are_named() {
        assert_eq!(problems_of("crates/stream", "[dependencies]\nstdx.workspace = true\narrow = \"59\"\n"), 0);
        assert_eq!(problems_of("crates/document", "[dependencies]\nstream.workspace = true\n"), 1);
        assert_eq!(problems_of("crates/stream", "[dependencies]\nqueue = { path = \"../queue\" }\n"), 1);
        assert_eq!(problems_of("crates/stream", "[target.'cfg(unix)'.dependencies]\nx = { package = \"cli\" }\n"), 1);
        assert_eq!(problems_of("crates/stream", "[dependencies.cli]\npath = \"../cli\"\n"), 1);
        assert_eq!(problems_of("crates/stream", "[dev-dependencies]\ncli.workspace = true\n"), 1);
        assert_eq!(problems_of("crates/novel", "[dependencies]\n"), 1);
        assert_eq!(
            problems(&Tree::of(&[("Cargo.toml", "[workspace.dependencies]\ncli = { path = \"c\" }\n")])).len(),
            0
        );
    }

    #[test]
    fn the_kit_is_for_tests() {
        assert_eq!(problems_of("crates/cli", "[dev-dependencies]\ntestkit.workspace = true\n"), 0);
        assert_eq!(problems_of("crates/cli", "[dependencies]\ntestkit.workspace = true\n"), 1);
        assert_eq!(problems_of("crates/testkit", "[dependencies]\nstdx.workspace = true\n"), 0);
        assert_eq!(problems_of("crates/testkit", "[dependencies]\ndocument.workspace = true\n"), 1);
        assert_eq!(problems_of("xtask", "[dependencies]\nstdx.workspace = true\n"), 1);
    }
}
