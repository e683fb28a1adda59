//! One process has a store open: another would not know of the leases that it keeps in memory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stdx::{Bell, Clock};

use crate::error::Error;

/// How long a store that is held is tried again, and how often.
const PATIENCE: Duration = Duration::from_millis(400);
const TRIES: u32 = 20;
/// Bytes of a lock file that are read: it holds who holds it.
const HOLDER_BYTES_MAX: u64 = 200;

/// Takes the lock of a store, for as long as the file lives.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let (clock, bell) = (Clock::system(), Bell::default());
    let until = clock.elapsed() + PATIENCE;
    loop {
        match lock_once(path) {
            // Whoever looks at the store, or starts a process at this moment, has the lock for an instant.
            Err(Error::Held { .. }) if clock.elapsed() < until => {
                bell.wait(&clock, Some(clock.elapsed() + PATIENCE / TRIES));
            }
            locked => return locked,
        }
    }
}

fn lock_once(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path(path));
    let locked = file.map_err(TryLockError::Error).and_then(|mut file| {
        file.try_lock()?;
        // For whoever finds it held; nothing rests on it.
        let _ = file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id()));
        Ok(file)
    });
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => Error::Held { path: path.display().to_string(), holder: named(path) },
        TryLockError::Error(error) => Error::StoreDown { why: format!("lock {}: {error}", path.display()) },
    })
}

/// Who has a store open, if anybody has. Looking takes the lock for an instant.
pub(crate) fn holder(path: &Path) -> Option<String> {
    let is_held = match File::open(lock_path(path)).ok()?.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        Ok(()) | Err(TryLockError::Error(_)) => false,
    };
    is_held.then(|| named(path))
}

/// Who the lock file says that it is.
fn named(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(lock_path(path)).and_then(|file| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    let known = Some(text.trim()).filter(|text| read.is_ok() && !text.is_empty());
    known.unwrap_or("another process").to_owned()
}

/// The file beside a store whose lock is held by whoever has the store open.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
