//! What SQLite writes, truncates and syncs, as a trace: its own VFS with four functions exchanged.

#![expect(unsafe_code, reason = "the VFS seam of SQLite is one of C")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{
    SQLITE_IOERR_FSYNC, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register,
};

/// Only files beneath folders whose names begin like this are watched.
pub(super) const WATCHED: &str = "power-cut-";

/// Something that was done to a file.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Write { path: PathBuf, at: usize, bytes: Vec<u8> },
    Truncate { path: PathBuf, size: usize },
    Sync { path: PathBuf },
    Delete { path: PathBuf },
}

impl Entry {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Write { path, .. } | Self::Truncate { path, .. } | Self::Sync { path } | Self::Delete { path } => {
                path
            }
        }
    }
}

#[derive(Clone)]
struct Open {
    path: PathBuf,
    real: &'static sqlite3_io_methods,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    open: HashMap<usize, Open>,
    failing: Option<PathBuf>,
    /// The VFS that does the work.
    real: usize,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

struct Locked(MutexGuard<'static, Option<State>>);

impl Locked {
    fn get(&mut self) -> &mut State {
        self.0.get_or_insert_with(State::default)
    }
}

fn state() -> Locked {
    Locked(STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// From now on, in this process. What is not watched goes its usual way.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default VFS lives as long as the process, and so does the copy, which SQLite keeps.
        unsafe {
            let real = sqlite3_vfs_find(std::ptr::null());
            state().get().real = real as usize;
            let mut own = *real;
            own.zName = c"traced".as_ptr();
            own.pNext = std::ptr::null_mut();
            own.xOpen = Some(open);
            own.xDelete = Some(delete);
            assert_eq!(sqlite3_vfs_register(Box::leak(Box::new(own)), 1), SQLITE_OK);
        }
    });
}

/// What was done so far beneath a folder.
pub(super) fn entries(folder: &Path) -> Vec<Entry> {
    state().get().entries.iter().filter(|entry| entry.path().starts_with(folder)).cloned().collect()
}

/// How much was done so far beneath a folder.
pub(super) fn length(folder: &Path) -> usize {
    state().get().entries.iter().filter(|entry| entry.path().starts_with(folder)).count()
}

/// Syncs beneath this folder fail from now on, without having been done.
pub(super) fn fail_syncs(folder: &Path) {
    state().get().failing = Some(folder.to_owned());
}

fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite gives a name that ends with zero.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().ok()?);
    path.to_str()?.contains(WATCHED).then_some(path)
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let real = state().get().real as *mut sqlite3_vfs;
    // SAFETY: the arguments are passed on as they came; `file` is as large as the real VFS asks for.
    unsafe {
        let Some(open) = (*real).xOpen else { return SQLITE_IOERR_FSYNC };
        let code = open(real, name, file, flags, out);
        let Some(path) = path_of(name).filter(|_| code == SQLITE_OK) else { return code };
        let real: &'static sqlite3_io_methods = &*(*file).pMethods;
        let mut own = *real;
        // Without memory maps, so that every write is seen.
        own.iVersion = 2;
        own.xClose = Some(close);
        own.xWrite = Some(write);
        own.xTruncate = Some(truncate);
        own.xSync = Some(sync);
        (*file).pMethods = Box::leak(Box::new(own));
        state().get().open.insert(file as usize, Open { path, real });
        code
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let real = state().get().real as *mut sqlite3_vfs;
    if let Some(path) = path_of(name) {
        state().get().entries.push(Entry::Delete { path });
    }
    // SAFETY: passed on as it came.
    unsafe { (*real).xDelete.map_or(SQLITE_OK, |delete| delete(real, name, sync)) }
}

fn open_file(file: *mut sqlite3_file) -> Open {
    state().get().open.get(&(file as usize)).cloned().expect("the file is open")
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let open = state().get().open.remove(&(file as usize)).expect("the file is open");
    // SAFETY: the file is the real VFS's own, with its own methods again.
    unsafe {
        (*file).pMethods = open.real;
        open.real.xClose.map_or(SQLITE_OK, |close| close(file))
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, amount: c_int, at: i64) -> c_int {
    let Open { path, real } = open_file(file);
    let (amount_bytes, at_bytes) = (usize::try_from(amount).unwrap_or(0), usize::try_from(at).unwrap_or(0));
    // SAFETY: SQLite gives so many bytes, and the file is the real VFS's own.
    unsafe {
        let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), amount_bytes).to_vec();
        let code = real.xWrite.map_or(SQLITE_OK, |write| write(file, bytes, amount, at));
        if code == SQLITE_OK {
            state().get().entries.push(Entry::Write { path, at: at_bytes, bytes: copy });
        }
        code
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    let Open { path, real } = open_file(file);
    state().get().entries.push(Entry::Truncate { path, size: usize::try_from(size).unwrap_or(0) });
    // SAFETY: the file is the real VFS's own.
    unsafe { real.xTruncate.map_or(SQLITE_OK, |truncate| truncate(file, size)) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let Open { path, real } = open_file(file);
    if state().get().failing.as_ref().is_some_and(|folder| path.starts_with(folder)) {
        return SQLITE_IOERR_FSYNC;
    }
    // SAFETY: the file is the real VFS's own.
    let code = unsafe { real.xSync.map_or(SQLITE_OK, |sync| sync(file, flags)) };
    if code == SQLITE_OK {
        state().get().entries.push(Entry::Sync { path });
    }
    code
}
