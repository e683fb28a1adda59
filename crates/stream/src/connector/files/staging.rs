//! Files that are written where nobody looks, and renamed to their place when a record names them.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::is_gone;
use crate::Error;

/// Everything of ours in a folder of outputs is beneath this name.
const OURS: &str = "_headwater";

/// How many files are made durable at the same time.
const SYNC_THREADS: usize = 16;

/// How often a folder is made again that another task's sweep took away.
const FOLDER_TRIES: usize = 8;

/// A file that is staged, and where it goes. Both are relative to the folder of outputs, with `/` between names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedFile {
    /// Where it is until it is published.
    pub(crate) staged: String,
    /// Where it is from then on.
    pub(crate) path: String,
}

/// The staging folder of one writer in one task:
/// `_headwater/staging/<uid>/<owner>/<task>/<claim>-<number>` beneath the folder of outputs.
#[derive(Debug)]
pub(crate) struct Staging {
    root: PathBuf,
    folder: String,
    claim: u64,
    next: u64,
    /// The folders that may have new entries since files were last made durable.
    changed: BTreeSet<PathBuf>,
}

/// A file being written. Dropped before it is kept, it is removed.
///
/// It is not held open: each [`Staged::append`] opens it, so that their number is not bounded by file descriptors.
#[derive(Debug)]
pub(crate) struct Staged {
    real: PathBuf,
    name: String,
    bytes: u64,
    kept: bool,
}

impl Staging {
    /// The staging folder of `owner` (a sink's name, or `quarantine`) in the task that holds `claim`.
    pub(crate) fn open(root: &Path, uid: &str, owner: &str, task: &str, claim: u64) -> Self {
        let folder = format!("{OURS}/staging/{uid}/{owner}/{task}");
        Self { root: root.to_owned(), folder, claim, next: 0, changed: BTreeSet::new() }
    }

    /// The folder of outputs.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A new, empty file.
    pub(crate) fn create(&mut self) -> Result<Staged, Error> {
        let folder = self.root.join(&self.folder);
        for _ in 0..FOLDER_TRIES {
            let name = format!("{}/{}-{}", self.folder, self.claim, self.next);
            let real = self.root.join(&name);
            match OpenOptions::new().write(true).create_new(true).open(&real) {
                Ok(_) => {
                    self.next += 1;
                    return Ok(Staged { real, name, bytes: 0, kept: false });
                }
                // Staged under this claim before a failure, and perhaps named by a record.
                Err(fault) if fault.kind() == ErrorKind::AlreadyExists => self.next = self.free(&folder)?,
                Err(fault) if fault.kind() == ErrorKind::NotFound => {
                    make(&folder, &mut self.changed)?;
                    // Another task may have made some of them, and not be as far as we are.
                    let ours = folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
                    self.changed.extend(ours.map(Path::to_owned));
                }
                Err(fault) => return Err(Error::file("create", real)(fault)),
            }
        }
        Err(Error::World(format!("the folder {} goes away as soon as it is made", folder.display())))
    }

    /// The first number that no file of our claim has.
    fn free(&self, folder: &Path) -> Result<u64, Error> {
        let numbers = staged(folder)?.into_iter().filter(|(claim, ..)| *claim == self.claim);
        Ok(numbers.map(|(_, number, _)| number + 1).max().unwrap_or(0))
    }

    /// Makes files durable, and with them their names. They are kept from now on.
    pub(crate) fn seal(&mut self, files: &mut [Staged]) -> Result<(), Error> {
        let written: Vec<&Path> = files.iter().map(|file| file.real.as_path()).collect();
        side_by_side(&written, |path| {
            let file = OpenOptions::new().write(true).open(path).map_err(Error::file("open", path))?;
            file.sync_data().map_err(Error::file("make durable", path))
        })?;
        if !files.is_empty() {
            self.changed.iter().try_for_each(|folder| sync(folder))?;
            self.changed.clear();
            sync(&self.root.join(&self.folder))?;
        }
        for file in files {
            file.kept = true;
        }
        Ok(())
    }

    /// Renames files to their places. What is there already stays as it is: the same name is the same content.
    pub(crate) fn publish(&self, files: &[StagedFile]) -> Result<(), Error> {
        let mut changed = BTreeSet::new();
        for file in files {
            let (staged, path) = (self.root.join(&file.staged), self.root.join(&file.path));
            if path.symlink_metadata().is_ok() {
                remove(&staged)?;
            } else {
                move_to(&staged, &path, &mut changed)?;
            }
            changed.extend(path.parent().map(Path::to_owned));
        }
        let changed: Vec<&Path> = changed.iter().map(PathBuf::as_path).collect();
        side_by_side(&changed, sync)
    }

    /// Removes what lower claims staged, except what `keep` names, and empty folders.
    pub(crate) fn sweep(&self, keep: &[StagedFile]) -> Result<(), Error> {
        let folder = self.root.join(&self.folder);
        for (claim, _, real) in staged(&folder)? {
            let is_kept = keep.iter().any(|file| self.root.join(&file.staged) == real);
            if claim < self.claim && !is_kept {
                remove(&real)?;
            }
        }
        self.tidy();
        Ok(())
    }

    /// Removes our folder and those above it as long as they are empty.
    fn tidy(&self) {
        let ours = self.root.join(&self.folder);
        for folder in ours.ancestors().take_while(|folder| *folder != self.root) {
            if std::fs::remove_dir(folder).is_err_and(|fault| fault.kind() != ErrorKind::NotFound) {
                return;
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.tidy();
    }
}

impl Staged {
    /// Writes bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut file = OpenOptions::new().append(true).open(&self.real).map_err(Error::file("open", &self.real))?;
        file.write_all(bytes).map_err(Error::file("write", &self.real))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// So many bytes were written at the end by others.
    pub(crate) const fn grew(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Where it is now.
    pub(crate) fn path(&self) -> &Path {
        &self.real
    }

    /// The bytes so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its name, relative to the folder of outputs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What can't be removed now is swept by the next claim.
            drop(std::fs::remove_file(&self.real));
        }
    }
}

/// Claim, number and path of what is staged.
fn staged(folder: &Path) -> Result<Vec<(u64, u64, PathBuf)>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(fault) if is_gone(&fault) => return Ok(Vec::new()),
        Err(fault) => return Err(Error::file("list", folder)(fault)),
    };
    let mut staged = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", folder))?;
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.split_once('-'));
        let numbers = numbers.map(|(claim, number)| (claim.parse(), number.parse()));
        if let Some((Ok(claim), Ok(number))) = numbers {
            staged.push((claim, number, entry.path()));
        }
    }
    Ok(staged)
}

fn move_to(staged: &Path, path: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let gone = match std::fs::rename(staged, path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => fault,
        done => return done.map_err(Error::file("publish", path)),
    };
    if staged.symlink_metadata().is_err() {
        return Err(Error::Lost { staged: staged.to_owned(), path: path.to_owned() });
    }
    let Some(folder) = path.parent() else { return Err(Error::file("publish", path)(gone)) };
    make(folder, changed)?;
    std::fs::rename(staged, path).map_err(Error::file("publish", path))
}

/// Makes a folder and those above it; `changed` learns which folders have a new entry.
fn make(folder: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), Error> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.is_dir()).collect();
    std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        changed.insert(above.unwrap_or(Path::new(".")).to_owned());
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(fault) if !is_gone(&fault) => Err(Error::file("remove", path)(fault)),
        _ => Ok(()),
    }
}

/// Makes many things durable: file systems do so together for those who wait at the same time.
fn side_by_side(paths: &[&Path], durable: impl Fn(&Path) -> Result<(), Error> + Sync) -> Result<(), Error> {
    if paths.len() < SYNC_THREADS {
        return paths.iter().try_for_each(|path| durable(path));
    }
    let durable = &durable;
    std::thread::scope(|scope| {
        let part = |paths: &'_ [&Path]| paths.iter().try_for_each(|path| durable(path));
        let parts = paths.chunks(paths.len().div_ceil(SYNC_THREADS));
        let threads: Vec<_> = parts.map(|paths| scope.spawn(move || part(paths))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), Error>>| {
            thread.join().unwrap_or_else(|_| Err(Error::House("a thread that makes files durable failed".to_owned())))
        };
        threads.into_iter().map(join).collect::<Vec<_>>().into_iter().collect()
    })
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("make durable", folder))
}
