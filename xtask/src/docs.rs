//! Generated files: the reference pages and the JSON Schemas that the program writes about itself.

mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::context::Context;
use crate::process::{cargo, program, run};
use crate::report::{Report, say};

/// The committed folders that nobody writes by hand.
const GENERATED: [&str; 2] = ["docs/reference", "schema"];

/// Files by their path beneath the folder they were read from.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Writes the generated files, or with `--check` compares them with the committed ones.
pub(crate) fn stage(context: &Context, _: &mut Report) -> Result<()> {
    let headwater = headwater(context)?;
    let fresh = context.built.join("xtask-reference");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("empty {}", fresh.display()))?;
    }
    run(program(context, headwater).args(["reference", "--out"]).arg(&fresh))?;
    let mut wanted = read(&fresh)?;
    ensure!(!wanted.is_empty(), "`headwater reference` wrote nothing into {}", GENERATED.join(" or "));
    wanted.extend(
        limits::page(&context.root)?.map(|page| (PathBuf::from("docs/reference/limits.md"), page.into_bytes())),
    );
    let differences = differences(&wanted, &read(&context.root)?);
    if context.check && !differences.is_empty() {
        bail!("generated files are not fresh; run `cargo xtask docs` and commit:\n  {}", differences.join("\n  "));
    }
    differences.iter().for_each(say);
    write(&context.root, &wanted, &differences)
}

/// Builds the program, with the packages, features and profile of the tests, so that nothing is built twice.
pub(crate) fn headwater(context: &Context) -> Result<PathBuf> {
    // `--examples` makes cargo count the features that dev-dependencies ask for, as `cargo test` does. Without it
    // `getrandom` has fewer, and with it DataFusion's and Avro's crates would be built a second time.
    run(&mut cargo(context, &["build", "--workspace", "--bins", "--examples"]))?;
    let program = context.built.join("headwater");
    ensure!(program.exists(), "cargo built no {}: start xtask in the dev profile, as `cargo xtask`", program.display());
    Ok(program)
}

/// `stale`, `missing` and `extra` files, one a line.
fn differences(wanted: &Files, found: &Files) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, bytes) in wanted {
        match found.get(path) {
            None => lines.push(format!("missing: {}", path.display())),
            Some(old) if old != bytes => lines.push(format!("stale: {}", path.display())),
            Some(_) => {}
        }
    }
    let extra = found.keys().filter(|path| !wanted.contains_key(*path));
    lines.extend(extra.map(|path| format!("extra: {}", path.display())));
    lines
}

fn write(root: &Path, wanted: &Files, differences: &[String]) -> Result<()> {
    for difference in differences {
        let Some((kind, path)) = difference.split_once(": ") else { continue };
        let target = root.join(path);
        if kind == "extra" {
            fs::remove_file(&target).with_context(|| format!("remove {}", target.display()))?;
        } else if let (Some(bytes), Some(folder)) = (wanted.get(Path::new(path)), target.parent()) {
            fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
            fs::write(&target, bytes).with_context(|| format!("write {}", target.display()))?;
        }
    }
    Ok(())
}

/// All files of the generated folders beneath `root`.
fn read(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut folders: Vec<PathBuf> =
        GENERATED.iter().map(|folder| root.join(folder)).filter(|path| path.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            files.insert(path.strip_prefix(root)?.to_path_buf(), bytes);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        folder
    }

    #[test]
    fn stale_missing_and_extra_files_are_named_and_mended() {
        let fresh = tree(&[("schema/a.json", "1"), ("docs/reference/b/c.md", "2"), ("docs/reference/d.md", "3")]);
        let old = tree(&[
            ("schema/a.json", "0"),
            ("docs/reference/d.md", "3"),
            ("docs/reference/old.md", "4"),
            ("docs/guide.md", "5"),
        ]);
        let wanted = read(fresh.path()).expect("read");
        let found = differences(&wanted, &read(old.path()).expect("read"));
        assert_eq!(found, ["missing: docs/reference/b/c.md", "stale: schema/a.json", "extra: docs/reference/old.md"]);
        write(old.path(), &wanted, &found).expect("written");
        assert_eq!(read(old.path()).expect("read"), wanted);
        assert!(old.path().join("docs/guide.md").exists());
    }
}
