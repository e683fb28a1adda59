//! How many files a process may have open.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a server has open at most: a connection of a client is one, and some connections are made for each job.
const OPEN_FILES_MAX: u64 = 65_536;

/// What this process was given.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many files open as the system allows, at most 65,536, where it was given fewer: many systems
/// give 1,024 to those who do not ask. Processes that a [`Local`](crate::Local) starts are given what this one was, since
/// some programs work badly with more.
pub fn raise_open_files() {
    let given = getrlimit(Resource::Nofile);
    let most = given.maximum.map_or(OPEN_FILES_MAX, |maximum| maximum.min(OPEN_FILES_MAX));
    let is_less = given.current.is_some_and(|current| current < most);
    if is_less && GIVEN.set(given.clone()).is_ok() {
        // Where even this is refused, clients wait until others have gone.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: given.maximum });
    }
}

/// What processes are to be given, where that is not what this one has.
pub(crate) fn given() -> Option<Rlimit> {
    GIVEN.get().cloned()
}
