//! The text files of the checkout.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One text file.
#[derive(Debug)]
pub(super) struct File {
    /// Beneath the checkout, with `/`.
    pub(super) path: String,
    /// All of it.
    pub(super) text: String,
}

/// The files that are or could be committed, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Text files.
    pub(super) files: Vec<File>,
    /// Paths of all files and folders, also of those that hold no text.
    paths: Vec<String>,
}

impl Tree {
    /// Reads all that `.gitignore` doesn't name and that is no build folder.
    ///
    /// By walking rather than by asking git, so that a copy without its history is judged the same.
    pub(super) fn read(root: &Path) -> Result<Tree> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut tree = Tree::default();
        tree.walk(root, "", &ignored)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.paths.sort();
        Ok(tree)
    }

    /// Whether there is a file or folder with this path.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.binary_search_by(|found| found.as_str().cmp(path)).is_ok()
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Files whose names end so.
    pub(super) fn ending(&self, end: &'static str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    fn walk(&mut self, folder: &Path, beneath: &str, ignored: &str) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = format!("{beneath}{}", entry.file_name().to_string_lossy());
            if name == ".git" || is_ignored(&name, ignored) || path.join("CACHEDIR.TAG").exists() {
                continue;
            }
            self.paths.push(name.clone());
            if kind.is_dir() {
                self.walk(&path, &format!("{name}/"), ignored)?;
                continue;
            }
            let bytes =
                if kind.is_file() { fs::read(&path).with_context(|| format!("read {name}"))? } else { continue };
            if let Ok(text) = String::from_utf8(bytes) {
                self.files.push(File { path: name, text });
            }
        }
        Ok(())
    }

    /// A tree that a test writes down.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.files.push(File { path: (*path).to_owned(), text: (*text).to_owned() });
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            tree.paths.extend(ends.map(|end| path[..end].to_owned()));
        }
        tree.paths.sort();
        tree
    }
}

/// Understands what our `.gitignore` uses: `/name` at the top, `*.end` anywhere.
fn is_ignored(path: &str, ignored: &str) -> bool {
    ignored.lines().any(|line| match line.trim().trim_end_matches('/') {
        "" => false,
        line => line.strip_prefix('/') == Some(path) || line.strip_prefix('*').is_some_and(|end| path.ends_with(end)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_or_built_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["a.md", "b/c.rs", "b/x.tmp", "target/d.rs", "b/built/CACHEDIR.TAG", "b/built/e.rs", ".git/f"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "text").expect("written");
        }
        fs::write(folder.path().join("b/g.bin"), [0xff, 0xfe]).expect("written");
        fs::write(folder.path().join(".gitignore"), "/target\n*.tmp\n").expect("written");
        let tree = Tree::read(folder.path()).expect("read");
        let paths: Vec<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "a.md", "b/c.rs"]);
        assert!(tree.has("b") && tree.has("b/g.bin") && !tree.has("target"));
        assert_eq!(tree.text("a.md"), Some("text"));
    }
}
