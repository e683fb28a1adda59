//! An enum of kinds is matched in one file, so that a new kind is one new file and a few lines in that one.
//!
//! An enum of kinds is told by its form: a variant carries a type of a module that the same file lists, as in
//! `mod kafka;` and `Kafka(kafka::SourceSpec)`. Others are named in `KINDS`. Tests may name variants anywhere.

use super::source;
use super::tree::{File, Tree};

/// Held by the Rust files of code. `named` adds enums that can't be told from their form: home file and name.
pub(super) fn problems(tree: &Tree, named: &[(&str, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    let sources: Vec<(&File, String)> =
        tree.ending(".rs").filter(|file| !source::is_tests(&file.path)).map(read).collect();
    for (home, name) in named {
        if !sources.iter().any(|(file, code)| file.path == *home && enums(code).any(|(found, _)| found == *name)) {
            problems
                .push(format!("{home}:1: no enum `{name}` here, as `KINDS` in xtask/src/tidy.rs says: mend the list"));
        }
    }
    for (home, code) in &sources {
        for (name, body) in enums(code) {
            if named.contains(&(home.path.as_str(), name)) || lists_modules(code, body) {
                problems.extend(sources.iter().filter_map(|other| used(other, home, name, &variants(body))));
            }
        }
    }
    problems
}

fn read(file: &File) -> (&File, String) {
    (file, source::code(source::before_tests(&file.text)))
}

/// The first place outside its home where a variant is named.
fn used((file, code): &(&File, String), home: &File, name: &str, variants: &[&str]) -> Option<String> {
    if file.path == home.path || enums(code).any(|(own, _)| own == name) {
        return None;
    }
    let is_variant = |after: &str| {
        after
            .strip_prefix("::")
            .is_some_and(|rest| rest.starts_with(['*', '{']) || variants.contains(&source::name_at(rest)))
            || after.trim_start().starts_with("as ")
    };
    let (line, _) = source::places(code, name).find(|(_, after)| is_variant(after))?;
    let path = &home.path;
    Some(format!("{}:{line}: the kinds of `{name}` are matched in {path} only: add a function there", file.path))
}

/// Name and body of each enum.
fn enums(code: &str) -> impl Iterator<Item = (&str, &str)> {
    source::places(code, "enum").map(|(_, after)| (source::name_at(after.trim_start()), source::braced(after)))
}

fn lists_modules(code: &str, body: &str) -> bool {
    let payloads = body.match_indices('(').map(|(at, _)| body[at + 1..].trim_start().trim_start_matches("Box<"));
    payloads.filter(|payload| payload[source::name_at(payload).len()..].starts_with("::")).any(|payload| {
        let module = source::name_at(payload);
        !module.is_empty() && source::names_module(code, module)
    })
}

/// The names at the top of an enum's body, without payloads and attributes.
fn variants(body: &str) -> Vec<&str> {
    let (mut depth, mut fresh, mut found) = (0_usize, true, Vec::new());
    for (at, letter) in body.char_indices() {
        match letter {
            '(' | '{' | '[' | '<' => depth += 1,
            ')' | '}' | ']' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => fresh = true,
            letter if depth == 0 && fresh && letter.is_alphabetic() => {
                found.push(source::name_at(&body[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "mod kafka;\npub enum SourceSpec {\n    /// Topics.\n    #[serde(rename = \"k\")]\n    Kafka(kafka::SourceSpec),\n    Plain,\n}\nfn f() { SourceSpec::Kafka(s) }\n";

    fn lines(other: &str) -> Vec<String> {
        problems(&Tree::of(&[("crates/a/src/connector.rs", HOME), ("crates/a/src/run.rs", other)]), &[])
    }

    #[test]
    fn a_match_elsewhere_is_found() {
        let found = lines("fn f() {\n    match s { connector::SourceSpec::Plain => 1 }\n}\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/run.rs:2: the kinds of `SourceSpec`"));
        assert_eq!(lines("use connector::SourceSpec::*;").len(), 1);
        assert_eq!(lines("use connector::SourceSpec as S;").len(), 1);
    }

    #[test]
    fn what_is_no_match_is_left_alone() {
        assert!(
            lines("// SourceSpec::Kafka\nfn f(s: &SourceSpec) { SourceSpec::default(); kafka::SourceSpec { a } }")
                .is_empty()
        );
        assert!(lines("enum SourceSpec { Kafka }\nfn f() { SourceSpec::Kafka }").is_empty());
        assert!(lines("#[cfg(test)]\nmod tests {\n fn f() { SourceSpec::Plain }\n}\n").is_empty());
    }

    #[test]
    fn a_named_enum_is_held_and_a_stale_name_is_told() {
        let tree = Tree::of(&[("a.rs", "enum Format { Json, Csv }"), ("b.rs", "fn f() { Format::Csv }")]);
        assert!(problems(&tree, &[]).is_empty());
        assert_eq!(problems(&tree, &[("a.rs", "Format")]).len(), 1);
        assert!(problems(&tree, &[("a.rs", "Gone")])[0].contains("mend the list"));
    }
}
