//! A copy of a store that may be in use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::writer::down;
use crate::error::Error;

/// Copies a store to a new file, which is whole and on disk once it is there. The store may be in use by this process or
/// another; what is put meanwhile may or may not be in the copy. Nothing is overwritten.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if to.exists() {
        return Err(Error::StoreDown { why: format!("{} is there already; give another name", to.display()) });
    }
    let failed = |what: &str, error: std::io::Error| Error::StoreDown { why: format!("{what}: {error}") };
    // Without the flag that makes a file: where there is no store, an empty copy would please nobody.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(|error| down(&error))?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(|error| down(&error))?;
    let staged = staged(to);
    // What an earlier copy that was killed left behind.
    let _ = fs::remove_file(&staged);
    let copied = connection.execute("VACUUM INTO ?1", [staged.to_string_lossy()]).map_err(|error| down(&error));
    let published = copied.and_then(|_| {
        let synced = File::open(&staged).and_then(|file| file.sync_all());
        synced.map_err(|error| failed(&format!("sync {}", staged.display()), error))?;
        // A link, since a rename would overwrite what came meanwhile.
        fs::hard_link(&staged, to).map_err(|error| failed(&format!("make {}", to.display()), error))
    });
    let _ = fs::remove_file(&staged);
    published?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("sync the copy's folder", error))
}

fn staged(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
