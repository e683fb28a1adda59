//! Files that jobs leave: in a folder beside the store, one folder a job, and a row for each that is whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, params};

use super::book::{Book, Done};
use super::row::{self, Code, Row};
use super::{Inner, Sqlite, nothing, read};
use crate::artifact::{Artifact, Artifacts, Download, Part, Upload, check_name};
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::limit;
use crate::store::{Pending, promise};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// The folder of the files of a store.
pub(super) fn folder(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".artifacts");
    PathBuf::from(name)
}

fn job_folder(folder: &Path, serial: i64) -> PathBuf {
    folder.join(format!("{serial:016x}"))
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::StoreDown { why: format!("{verb} {}: {error}", path.display()) }
}

impl Artifacts for Sqlite {
    fn upload(&self, id: JobId, token: Token, name: String) -> Pending<Box<dyn Upload>> {
        let inner = Arc::clone(&self.0);
        let (promise, pending) = promise();
        self.0.files(Box::new(move || {
            promise.keep(Staged::begin(inner, id, token, name).map(|staged| Box::new(staged) as Box<dyn Upload>));
        }));
        pending
    }

    fn artifacts(&self, id: JobId) -> Pending<Vec<Artifact>> {
        self.read(move |connection| {
            Ok(read::artifacts(connection, id)?.into_iter().map(|(artifact, _)| artifact).collect())
        })
    }

    fn download(&self, id: JobId, name: String) -> Pending<Box<dyn Download>> {
        let folder = job_folder(&folder(&self.0.path), row::serial(id));
        let inner = Arc::clone(&self.0);
        self.read(move |connection| {
            let found = read::artifacts(connection, id)?.into_iter().find(|(artifact, _)| artifact.name == name);
            let (artifact, file) = found.ok_or(Error::NotFound { what: "artifact", name })?;
            let path = folder.join(file);
            let file = File::open(&path).map_err(|error| failed("open", &path, &error))?;
            Ok(Box::new(Opened { inner, artifact, path, file }) as Box<dyn Download>)
        })
    }
}

/// A file that is being written.
struct Staged {
    inner: Arc<Inner>,
    id: JobId,
    token: Token,
    name: String,
    path: PathBuf,
    file: File,
    bytes: u64,
    hash: Context,
    is_sealed: bool,
}

impl Staged {
    fn begin(inner: Arc<Inner>, id: JobId, token: Token, name: String) -> Result<Self, Error> {
        check_name(&name)?;
        let lost = Error::LeaseLost { id };
        let (number, _) = token.parts().ok_or_else(|| lost.clone())?;
        let asked = token.clone();
        let store = Sqlite(Arc::clone(&inner));
        let is_held = move |book: &mut Book| Ok(book.held_with(id, &asked).map(drop).ok_or(lost)?);
        store.write(is_held, nothing).wait()?;
        let folder = job_folder(&folder(&inner.path), row::serial(id));
        fs::create_dir_all(&folder).map_err(|error| failed("create", &folder, &error))?;
        let path = folder.join(format!("{number:x}-{:016x}", fastrand::u64(..)));
        let file = File::create_new(&path).map_err(|error| failed("create", &path, &error))?;
        let hash = Context::new(&SHA256);
        Ok(Self { inner, id, token, name, path, file, bytes: 0, hash, is_sealed: false })
    }

    fn append(mut self: Box<Self>, bytes: &[u8]) -> Result<Box<dyn Upload>, Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > limit::ARTIFACT_BYTES_MAX {
            let found = usize::try_from(self.bytes).unwrap_or(usize::MAX);
            let max = usize::try_from(limit::ARTIFACT_BYTES_MAX).unwrap_or(usize::MAX);
            return Err(Error::TooLarge { field: "artifact".to_owned(), found, max });
        }
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, &error))?;
        self.hash.update(bytes);
        Ok(self)
    }

    /// Its bytes and its name are durable before its row is.
    fn finish(mut self: Box<Self>) -> Result<Artifact, Error> {
        self.file.sync_all().map_err(|error| failed("sync", &self.path, &error))?;
        let folders = self.path.ancestors().skip(1).take(3);
        for folder in folders.filter(|folder| !folder.as_os_str().is_empty()) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| failed("sync", folder, &error))?;
        }
        let digest = self.hash.clone().finish();
        let sha256 = digest.as_ref().iter().flat_map(|byte| hex(*byte)).collect();
        let artifact = Artifact { name: self.name.clone(), bytes: self.bytes, sha256 };
        let file = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (id, token, stored) = (self.id, self.token.clone(), artifact.clone());
        let store = Sqlite(Arc::clone(&self.inner));
        store.write(move |book| book.store_artifact(id, &token, &stored, &file), nothing).wait()?;
        self.is_sealed = true;
        Ok(artifact)
    }
}

fn hex(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|half| char::from_digit(u32::from(half), 16).unwrap_or('0'))
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_sealed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Upload for Staged {
    fn write(self: Box<Self>, bytes: Bytes) -> Pending<Box<dyn Upload>> {
        let (promise, pending) = promise();
        let inner = Arc::clone(&self.inner);
        inner.files(Box::new(move || drop(promise.keep(self.append(&bytes)))));
        pending
    }

    fn seal(self: Box<Self>) -> Pending<Artifact> {
        let (promise, pending) = promise();
        let inner = Arc::clone(&self.inner);
        inner.files(Box::new(move || drop(promise.keep(self.finish()))));
        pending
    }
}

/// A file that is being read.
struct Opened {
    inner: Arc<Inner>,
    artifact: Artifact,
    path: PathBuf,
    file: File,
}

impl Opened {
    fn next(mut self: Box<Self>) -> Result<Part, Error> {
        let mut part = Vec::with_capacity(READ_BYTES);
        let read = (&mut self.file).take(READ_BYTES as u64).read_to_end(&mut part);
        read.map_err(|error| failed("read", &self.path, &error))?;
        Ok((!part.is_empty()).then(|| (Bytes::from(part), self as Box<dyn Download>)))
    }
}

impl Download for Opened {
    fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    fn read(self: Box<Self>) -> Pending<Part> {
        let (promise, pending) = promise();
        let inner = Arc::clone(&self.inner);
        inner.files(Box::new(move || drop(promise.keep(self.next()))));
        pending
    }
}

impl Book {
    fn store_artifact(&mut self, id: JobId, token: &Token, artifact: &Artifact, file: &str) -> Done<()> {
        let number = self.held_with(id, token).ok_or(Error::LeaseLost { id })?.number;
        let serial = row::serial(id);
        let sql = "SELECT count(*) FROM artifact WHERE serial = ?1 AND lease = ?2";
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([serial, number], |row| row.get(0))?;
        if count >= limit::ARTIFACTS_MAX {
            return Err(Error::invalid("name", format!("is of one file more than {}", limit::ARTIFACTS_MAX)).into());
        }
        let sql = "SELECT file FROM artifact WHERE serial = ?1 AND lease = ?2 AND name = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let before = statement.query_row(params![serial, number, artifact.name], |row| row.get::<_, String>(0));
        let before = before.optional()?;
        drop(statement);
        self.removals.extend(before.map(|file| Removal::File(serial, file)));
        let sql = "INSERT OR REPLACE INTO artifact VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Artifact { name, bytes, sha256 } = artifact;
        self.connection.prepare_cached(sql)?.execute(params![serial, number, name, bytes, sha256, file])?;
        Ok(())
    }

    /// What an attempt left that did not succeed goes.
    pub(super) fn drop_artifacts(&mut self, row: &Row) -> Done<()> {
        if row.code == Code::Succeeded {
            return Ok(());
        }
        let sql = "DELETE FROM artifact WHERE serial = ?1 RETURNING file";
        let mut statement = self.connection.prepare_cached(sql)?;
        let files = statement.query_map([row.serial], |sql| sql.get(0))?.collect::<Result<Vec<String>, _>>()?;
        drop(statement);
        self.removals.extend(files.into_iter().map(|file| Removal::File(row.serial, file)));
        Ok(())
    }
}

/// A file that no row names any more, once the transaction is durable.
#[derive(Debug)]
pub(super) enum Removal {
    File(i64, String),
    Job(i64),
}

/// Removes them. One that is missed is found at the next start.
pub(super) fn remove(folder: &Path, removals: Vec<Removal>) {
    for removal in removals {
        let _ = match removal {
            Removal::File(serial, file) => fs::remove_file(job_folder(folder, serial).join(file)),
            Removal::Job(serial) => fs::remove_dir_all(job_folder(folder, serial)),
        };
    }
}

/// At a start: removes what a crash left behind. Nobody has a file open yet that no row names.
pub(super) fn remove_strays(folder: &Path, connection: &Connection) -> Done<()> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let sql = "SELECT EXISTS (SELECT 1 FROM artifact WHERE serial = ?1 AND file = ?2)";
    let mut statement = connection.prepare(sql)?;
    for job in entries(folder) {
        let name = job.file_name();
        let serial = name.to_str().and_then(|name| i64::from_str_radix(name, 16).ok()).unwrap_or(-1);
        for file in entries(&job.path()) {
            let name = file.file_name();
            let is_known: bool = statement.query_row(params![serial, name.to_str()], |row| row.get(0))?;
            let _ = (!is_known).then(|| fs::remove_file(file.path()));
        }
        // Only an empty one goes.
        let _ = fs::remove_dir(job.path());
    }
    Ok(())
}
