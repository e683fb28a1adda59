//! Files that jobs leave: in parts, in tables of their own, since replicas share no disk.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use super::book::Book;
use super::db::Done;
use super::row::{self, Code, Row};
use super::{Inner, Postgres, nothing, read};
use crate::artifact::{Artifact, Artifacts, Download, Part, Upload, check_name};
use crate::error::Error;
use crate::id::{JobId, Token};
use crate::limit;
use crate::store::Pending;

/// Bytes of one file that a job leaves in PostgreSQL.
const BYTES_MAX: usize = 64 << 20;

/// Bytes of one row.
const PART_BYTES: usize = 1 << 20;

fn gone<T>() -> Pending<T> {
    Pending::ready(Err(Error::StoreDown { why: "it has stopped".to_owned() }))
}

impl Artifacts for Postgres {
    fn upload(&self, id: JobId, token: Token, name: String) -> Pending<Box<dyn Upload>> {
        if let Err(error) = check_name(&name) {
            return Pending::ready(Err(error));
        }
        let store = Arc::downgrade(&self.0);
        let begin = move |book: &mut Book| {
            let lease = book.held_with(id, &token)?.ok_or(Error::LeaseLost { id })?.number;
            let file = book.db()?.first("SELECT nextval('files')", &[])?.map_or(0, |row| row.get(0));
            let (store, token, name) = (store.clone(), token.clone(), name.clone());
            let hash = Context::new(&SHA256);
            Ok(Box::new(Staged { store, id, token, name, lease, file, parts: 0, bytes: 0, hash }) as Box<dyn Upload>)
        };
        self.write(begin, nothing)
    }

    fn artifacts(&self, id: JobId) -> Pending<Vec<Artifact>> {
        self.read(move |db| Ok(read::artifacts(db, id)?.into_iter().map(|(artifact, _)| artifact).collect()))
    }

    fn download(&self, id: JobId, name: String) -> Pending<Box<dyn Download>> {
        let store = Arc::downgrade(&self.0);
        self.read(move |db| {
            let found = read::artifacts(db, id)?.into_iter().find(|(artifact, _)| artifact.name == name);
            let (artifact, file) = found.ok_or(Error::NotFound { what: "artifact", name })?;
            Ok(Box::new(Opened { store, artifact, file, part: 0 }) as Box<dyn Download>)
        })
    }
}

/// A file that is being written.
#[derive(Clone)]
struct Staged {
    store: Weak<Inner>,
    id: JobId,
    token: Token,
    name: String,
    lease: i64,
    file: i64,
    parts: i64,
    bytes: usize,
    hash: Context,
}

impl Staged {
    fn append(&mut self, book: &mut Book, bytes: &[u8]) -> Done<()> {
        book.held_with(self.id, &self.token)?.ok_or(Error::LeaseLost { id: self.id })?;
        self.bytes += bytes.len();
        if self.bytes > BYTES_MAX {
            return Err(Error::TooLarge { field: "artifact".to_owned(), found: self.bytes, max: BYTES_MAX }.into());
        }
        for part in bytes.chunks(PART_BYTES) {
            let serial = row::serial(self.id);
            let sql = "INSERT INTO artifact_part (file, part, serial, lease, bytes) VALUES ($1, $2, $3, $4, $5)";
            book.db()?.execute(sql, &[&self.file, &self.parts, &serial, &self.lease, &part])?;
            self.parts += 1;
        }
        self.hash.update(bytes);
        Ok(())
    }

    fn finish(&self, book: &mut Book) -> Done<Artifact> {
        book.held_with(self.id, &self.token)?.ok_or(Error::LeaseLost { id: self.id })?;
        let serial = row::serial(self.id);
        let sql = "SELECT count(*) FROM artifact WHERE serial = $1 AND lease = $2 AND name <> $3";
        let count: i64 = book.db()?.first(sql, &[&serial, &self.lease, &self.name])?.map_or(0, |row| row.get(0));
        if count >= limit::ARTIFACTS_MAX {
            return Err(Error::invalid("name", format!("is of one file more than {}", limit::ARTIFACTS_MAX)).into());
        }
        let digest = self.hash.clone().finish();
        let sha256 = digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let sql = "INSERT INTO artifact VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (serial, lease, name) DO UPDATE \
                   SET bytes = excluded.bytes, sha256 = excluded.sha256, file = excluded.file";
        book.db()?.execute(sql, &[&serial, &self.lease, &self.name, &bytes, &sha256, &self.file])?;
        Ok(Artifact { name: self.name.clone(), bytes: self.bytes as u64, sha256 })
    }
}

impl Upload for Staged {
    fn write(self: Box<Self>, bytes: Bytes) -> Pending<Box<dyn Upload>> {
        let Some(inner) = self.store.upgrade() else { return gone() };
        let append = move |book: &mut Book| {
            let mut next = self.clone();
            next.append(book, &bytes)?;
            Ok(next as Box<dyn Upload>)
        };
        Postgres(inner).write(append, nothing)
    }

    fn seal(self: Box<Self>) -> Pending<Artifact> {
        let Some(inner) = self.store.upgrade() else { return gone() };
        Postgres(inner).write(move |book| self.finish(book), nothing)
    }
}

/// A file that is being read.
struct Opened {
    store: Weak<Inner>,
    artifact: Artifact,
    file: i64,
    part: i64,
}

impl Download for Opened {
    fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    fn read(mut self: Box<Self>) -> Pending<Part> {
        let Some(inner) = self.store.upgrade() else { return gone() };
        Postgres(inner).read(move |db| {
            let sql = "SELECT bytes FROM artifact_part WHERE file = $1 AND part = $2";
            let found = db.first(sql, &[&self.file, &self.part])?;
            self.part += 1;
            Ok(found.map(|row| (Bytes::from(row.get::<_, Vec<u8>>(0)), self as Box<dyn Download>)))
        })
    }
}

impl Book {
    /// What an attempt left that did not succeed goes, and what was not sealed.
    pub(super) fn drop_artifacts(&mut self, row: &Row) -> Done<()> {
        let kept = row.lease.filter(|_| row.code == Code::Succeeded);
        let sql = "DELETE FROM artifact WHERE serial = $1 AND lease IS DISTINCT FROM $2";
        self.db()?.execute(sql, &[&row.serial, &kept])?;
        let sql = "DELETE FROM artifact_part WHERE serial = $1 AND NOT EXISTS \
                   (SELECT 1 FROM artifact a WHERE a.serial = $1 AND a.file = artifact_part.file)";
        self.db()?.execute(sql, &[&row.serial])?;
        Ok(())
    }
}
