//! Every file is listed by the file it belongs to, so that no code and no test is forgotten by the compiler.

use super::source;
use super::tree::Tree;

/// Held by the Rust files of `src` and `tests`.
pub(super) fn problems(tree: &Tree) -> Vec<String> {
    tree.ending(".rs").filter_map(|file| problem(tree, &file.path)).collect()
}

fn problem(tree: &Tree, path: &str) -> Option<String> {
    let (folder, name) = path.strip_suffix(".rs")?.rsplit_once('/')?;
    if name == "mod" {
        return Some(format!("{path}:1: name it {folder}.rs, beside its folder"));
    }
    if folder.ends_with("/tests") && folder.starts_with("crates/") && folder.matches('/').count() == 2 {
        return Some(format!("{path}:1: move it into {folder}/it: one integration binary a crate"));
    }
    let top = folder.ends_with("/src") || folder.ends_with("/tests/it");
    if (top && ["main", "lib"].contains(&name)) || !(top || folder.contains("/src/") || folder.contains("/tests/it/")) {
        return None;
    }
    if folder.contains("/src/bin") {
        return None;
    }
    let parents =
        if top { vec![format!("{folder}/lib.rs"), format!("{folder}/main.rs")] } else { vec![format!("{folder}.rs")] };
    let listed = parents.iter().filter_map(|parent| tree.text(parent));
    let listed = listed.map(source::code).any(|code| source::names_module(&code, name));
    (!listed).then(|| format!("{path}:1: no `mod {name};` in {}: it isn't compiled", parents.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_files_are_found() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "pub mod b;\n// mod lost;\n"),
            ("crates/a/src/b.rs", "mod c;\n"),
            ("crates/a/src/b/c.rs", ""),
            ("crates/a/src/lost.rs", ""),
            ("crates/a/src/b/lost.rs", ""),
            ("crates/a/src/d/mod.rs", ""),
            ("crates/a/tests/it/main.rs", "mod one;\n"),
            ("crates/a/tests/it/one.rs", ""),
            ("crates/a/tests/it/two.rs", ""),
            ("crates/a/tests/alone.rs", ""),
            ("crates/a/benches/b.rs", ""),
        ]);
        let found = problems(&tree);
        let paths: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
        let expected = ["src/lost.rs", "src/b/lost.rs", "src/d/mod.rs", "tests/it/two.rs", "tests/alone.rs"];
        assert_eq!(paths, expected.map(|path| format!("crates/a/{path}")), "{found:?}");
    }
}
