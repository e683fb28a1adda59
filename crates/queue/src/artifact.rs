//! Files that jobs leave.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{JobId, Token};
use crate::store::Pending;

/// Where files that jobs leave are kept, beside a [`Store`](crate::Store).
///
/// A file is staged under the token of its attempt, and seen once that attempt is acked: one that comes late, or that
/// fails, can't overwrite what another left. It goes with its job.
pub trait Artifacts: Send + Sync {
    /// Begins a file. The same name again in one attempt replaces the file when it is sealed.
    fn upload(&self, id: JobId, token: Token, name: String) -> Pending<Box<dyn Upload>>;

    /// The files of a job that has succeeded, by name.
    fn artifacts(&self, id: JobId) -> Pending<Vec<Artifact>>;

    /// Opens a file of a job that has succeeded.
    fn download(&self, id: JobId, name: String) -> Pending<Box<dyn Download>>;
}

/// A file that is being written. Dropped before it is sealed, it is gone.
pub trait Upload: Send {
    /// Appends to it, and gives it back.
    fn write(self: Box<Self>, bytes: Bytes) -> Pending<Box<dyn Upload>>;

    /// Ends it. The reply comes when it is durable, if the token still holds the job then.
    fn seal(self: Box<Self>) -> Pending<Artifact>;
}

/// A file that is being read.
pub trait Download: Send {
    /// What it is.
    fn artifact(&self) -> &Artifact;

    /// The next part of it, nothing at its end.
    fn read(self: Box<Self>) -> Pending<Part>;
}

/// A part of a file, and what reads on; nothing at its end.
pub type Part = Option<(Bytes, Box<dyn Download>)>;

/// A file that a job left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is called.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// Whether a name can stand at the end of an address, and in a folder of whoever downloads it.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_bad = |letter: char| letter.is_control() || matches!(letter, '/' | '\\');
    if name.is_empty() || name.len() > crate::limit::ARTIFACT_NAME_BYTES_MAX {
        let expected = format!("must have from 1 to {} bytes", crate::limit::ARTIFACT_NAME_BYTES_MAX);
        return Err(Error::invalid("name", expected));
    }
    if name.starts_with('.') || name.contains(is_bad) {
        return Err(Error::invalid("name", "must not begin with `.`, nor hold `/`, `\\` or control characters"));
    }
    Ok(())
}
