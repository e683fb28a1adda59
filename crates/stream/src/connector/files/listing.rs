//! Which files there are: globs walked folder by folder, so that hidden folders are never entered.

use std::collections::HashSet;
use std::fs::{DirEntry, FileType, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stdx::Timestamp;

use super::{Order, SourceSpec};
use crate::Error;

/// One file as it was listed.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The path, relative where the glob is.
    pub(super) path: Arc<str>,
    /// When it was last modified.
    pub(super) time: Timestamp,
    /// Its length, packed as it is.
    pub(super) bytes: u64,
    /// The path to open.
    pub(super) real: PathBuf,
}

/// Paths that need not be looked at again.
pub(super) type Known = HashSet<Arc<str>>;

/// A glob, split at its slashes.
#[derive(Debug)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// `/` at the front.
    Root,
    /// A name that is spelled out.
    Literal(String),
    /// Names that match.
    Name(glob::Pattern),
    /// `**`: any number of folders.
    Deep,
}

impl Glob {
    /// Reads a glob; on failure what was expected, and a hint.
    pub(super) fn parse(text: &str) -> Result<Self, (String, String)> {
        let path = match text.split_once("://") {
            Some(("file", path)) => path,
            Some(_) => {
                let hint = "mount the store, or copy its files into a folder";
                return Err(("a local path: other stores can't be read yet".to_owned(), hint.to_owned()));
            }
            None => text,
        };
        if path.is_empty() {
            return Err(("a path".to_owned(), "\"input/*.jsonl\"".to_owned()));
        }
        let mut parts = Vec::new();
        if path.starts_with('/') {
            parts.push(Part::Root);
        }
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            parts.push(match part {
                "**" if matches!(parts.last(), Some(Part::Deep)) => continue,
                "**" => Part::Deep,
                name if name.contains(['*', '?', '[']) => {
                    Part::Name(glob::Pattern::new(name).map_err(|fault| pattern_fault(&fault))?)
                }
                name => Part::Literal(name.to_owned()),
            });
        }
        if matches!(parts.last(), Some(Part::Deep)) {
            parts.push(Part::Name(glob::Pattern::default()));
        }
        Ok(Self(parts))
    }
}

fn pattern_fault(fault: &glob::PatternError) -> (String, String) {
    let hint = "write `[[]` for a bracket, and `**` only between two slashes";
    (format!("a glob ({})", fault.msg), hint.to_owned())
}

/// The globs of a source.
pub(super) fn globs(spec: &SourceSpec) -> Result<Vec<Glob>, Error> {
    let parse = |glob: &String| {
        Glob::parse(glob).map_err(|(expected, _)| Error::World(format!("expected {expected}, found `{glob}`")))
    };
    spec.path.as_slice().iter().map(parse).collect()
}

/// The files that are not in `known`, in reading order, and the paths of all that are there.
///
/// A known path costs no look at the file itself.
pub(super) fn list(globs: &[Glob], folder: &Path, order: Order, known: &Known) -> Result<(Vec<Entry>, Known), Error> {
    let mut walk = Walk { known, there: Known::new(), found: Vec::new() };
    for glob in globs {
        walk.descend(folder, &mut String::new(), &glob.0)?;
    }
    let Walk { there, mut found, .. } = walk;
    match order {
        Order::Name => found.sort_unstable_by(|a, b| a.path.cmp(&b.path)),
        Order::Time => found.sort_unstable_by(|a, b| (a.time, &a.path).cmp(&(b.time, &b.path))),
    }
    Ok((found, there))
}

/// Something that is there.
struct Found<'a> {
    at: At<'a>,
    kind: FileType,
}

enum At<'a> {
    Path(&'a Path),
    Entry(&'a DirEntry),
}

impl Found<'_> {
    fn path(&self) -> PathBuf {
        match self.at {
            At::Path(path) => path.to_owned(),
            At::Entry(entry) => entry.path(),
        }
    }

    /// What is known of it, or of what a link leads to. In a folder that is open, that costs no walk along the path.
    fn look(&self, real: &Path) -> std::io::Result<Metadata> {
        match self.at {
            At::Entry(entry) if !self.kind.is_symlink() => entry.metadata(),
            _ => std::fs::metadata(real),
        }
    }
}

struct Walk<'a> {
    known: &'a Known,
    there: Known,
    found: Vec<Entry>,
}

impl Walk<'_> {
    /// `shown` is what `real` is called; it is put back before returning.
    fn descend(&mut self, real: &Path, shown: &mut String, parts: &[Part]) -> Result<(), Error> {
        let length = shown.len();
        match parts {
            [] => self.named(real, shown)?,
            [Part::Root, rest @ ..] => {
                shown.push('/');
                self.descend(Path::new("/"), shown, rest)?;
            }
            [Part::Literal(name), rest @ ..] => {
                push(shown, name);
                self.descend(&real.join(name), shown, rest)?;
            }
            [Part::Deep, rest @ ..] => {
                self.descend(real, shown, rest)?;
                self.each(real, shown, |walk, found, shown| walk.deeper(found, shown, parts))?;
            }
            [Part::Name(pattern), rest @ ..] => {
                let any = pattern.as_str().is_empty();
                self.each(real, shown, |walk, found, shown| {
                    let name = shown.rsplit('/').next().unwrap_or_default();
                    match any || pattern.matches(name) {
                        true if rest.is_empty() => walk.file(found, shown),
                        true if !found.kind.is_file() => walk.descend(&found.path(), shown, rest),
                        _ => Ok(()),
                    }
                })?;
            }
        }
        shown.truncate(length);
        Ok(())
    }

    /// Goes into a folder, but not through a link, which might lead back up.
    fn deeper(&mut self, found: &Found<'_>, shown: &mut String, parts: &[Part]) -> Result<(), Error> {
        if found.kind.is_dir() { self.descend(&found.path(), shown, parts) } else { Ok(()) }
    }

    /// Calls `visit` for everything in a folder that isn't hidden. A folder that isn't there is empty.
    fn each(
        &mut self,
        folder: &Path,
        shown: &mut String,
        visit: impl Fn(&mut Self, &Found<'_>, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(fault) if is_gone(&fault) => return Ok(()),
            Err(fault) => return Err(Error::file("list", folder)(fault)),
        };
        let length = shown.len();
        for entry in entries {
            let entry: DirEntry = entry.map_err(Error::file("list", folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(['_', '.']) {
                continue;
            }
            let kind = entry.file_type().map_err(Error::file("look at", folder))?;
            push(shown, &name);
            visit(self, &Found { at: At::Entry(&entry), kind }, shown)?;
            shown.truncate(length);
        }
        Ok(())
    }

    /// What a path without a wildcard at its end names: a file, or all files beneath a folder.
    fn named(&mut self, real: &Path, shown: &mut String) -> Result<(), Error> {
        match std::fs::metadata(real) {
            Ok(found) if found.is_dir() => {
                self.descend(real, shown, &[Part::Deep, Part::Name(glob::Pattern::default())])
            }
            Ok(found) => self.file(&Found { at: At::Path(real), kind: found.file_type() }, shown),
            Err(fault) if is_gone(&fault) => Ok(()),
            Err(fault) => Err(Error::file("look at", real)(fault)),
        }
    }

    fn file(&mut self, found: &Found<'_>, shown: &str) -> Result<(), Error> {
        if found.kind.is_dir() || self.there.contains(shown) {
            return Ok(());
        }
        if let Some(known) = self.known.get(shown) {
            self.there.insert(Arc::clone(known));
            return Ok(());
        }
        let real = found.path();
        let found = match found.look(&real) {
            Ok(found) => found,
            Err(fault) if is_gone(&fault) => return Ok(()),
            Err(fault) => return Err(Error::file("look at", real)(fault)),
        };
        if found.is_file() {
            let path: Arc<str> = Arc::from(shown);
            let time = found.modified().map(Timestamp::from_system).map_err(Error::file("look at", &real))?;
            self.there.insert(Arc::clone(&path));
            self.found.push(Entry { path, time, bytes: found.len(), real });
        }
        Ok(())
    }
}

fn push(shown: &mut String, name: &str) {
    if !shown.is_empty() && !shown.ends_with('/') {
        shown.push('/');
    }
    shown.push_str(name);
}

/// Whether a path is no more, or leads through something that is no folder.
pub(super) fn is_gone(fault: &std::io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
