//! The rules of the house that lints can't hold.
//!
//! Each rule is a file beneath this one: a function from the [`Tree`] to problems, with a bad tree in its tests.

mod kinds;
mod layers;
mod links;
mod machine;
mod modules;
mod size;
mod source;
mod tree;

use std::path::Path;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::report::Report;
use crate::tidy::tree::Tree;

/// Enums of kinds that can't be told from their form (see [`kinds`]): the file that may match them, and their name.
const KINDS: &[(&str, &str)] = &[];

/// Fails with all problems of the checkout.
pub(crate) fn stage(context: &Context, _: &mut Report) -> Result<()> {
    let problems = problems(&context.root)?;
    if !problems.is_empty() {
        bail!("{} problems:\n  {}", problems.len(), problems.join("\n  "));
    }
    Ok(())
}

/// Each problem as `path:line: what is wrong and what to do`.
fn problems(root: &Path) -> Result<Vec<String>> {
    let tree = Tree::read(root)?;
    let mut problems = Vec::new();
    problems.extend(layers::problems(&tree));
    problems.extend(size::problems(&tree));
    problems.extend(modules::problems(&tree));
    problems.extend(kinds::problems(&tree, KINDS));
    problems.extend(links::problems(&tree));
    problems.extend(machine::problems(&tree));
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let root = crate::context::root().expect("the checkout");
        let problems = problems(&root).expect("the checkout is read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn every_rule_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = "fn f() {}\n".repeat(601);
        let files = [
            ("crates/stdx/Cargo.toml", "[dependencies]\nstream.workspace = true\n"),
            ("crates/stdx/src/lib.rs", "mod a;\n"),
            ("crates/stdx/src/a.rs", &long),
            ("crates/stdx/src/lost.rs", ""),
            ("crates/stdx/src/kind.rs", "mod x;\npub enum Kind { A(x::Spec) }\n"),
            ("crates/stdx/src/kind/x.rs", "fn f() { Kind::A(s) }\n"),
            ("README.md", "[gone](gone.md)\n"),
            (".ci/run", &format!("cd {}\n", ["", "root", "x"].join("/"))),
        ];
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let problems = problems(folder.path()).expect("read").join("\n");
        for word in ["beneath", "600 lines", "lost.rs", "kind.rs", "gone.md", ".ci/run:1"] {
            assert!(problems.contains(word), "nothing about {word}:\n{problems}");
        }
    }
}
