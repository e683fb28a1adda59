//! A power cut: what was not synced is dropped, torn or kept, as the disk likes. A kill leaves the page cache and so
//! shows nothing of this.

mod trace;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use queue::{
    Change, Error, Finish, JobId, Json, LeaseRequest, NewJob, Outcome, Put, QueueSettings, Sqlite, SqliteOptions,
    State, Store, View,
};
use stdx::Clock;
use tempfile::TempDir;

use self::trace::Entry;

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// Power cuts that are tried.
const CUTS: usize = 150;

fn folder() -> TempDir {
    trace::install();
    tempfile::Builder::new().prefix(trace::WATCHED).tempdir().unwrap()
}

fn open(folder: &Path) -> Result<Sqlite, Error> {
    let store = Sqlite::open(&SqliteOptions::new(folder.join("q.sqlite"), Clock::system()))?;
    store.change(Change::PutQueue("q".to_owned(), QueueSettings::default())).wait()?;
    Ok(store)
}

/// Something that was acknowledged, and how long the trace was by then.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    by: usize,
    id: JobId,
    state: State,
}

/// Clients that put, lease and finish, beside a checkpoint now and then.
fn work(folder: &Path) -> Vec<Acknowledged> {
    let store = open(folder).unwrap();
    let start = Arc::new(Barrier::new(4));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (store, start, folder) = (store.clone(), Arc::clone(&start), folder.to_owned());
            std::thread::spawn(move || {
                start.wait();
                (0..40).flat_map(|round| one_round(&store, &folder, client, round)).collect::<Vec<_>>()
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

fn one_round(store: &Sqlite, folder: &Path, client: usize, round: usize) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let payload = format!("\"{}\"", "x".repeat(round * 50));
    let job = NewJob::new(Json::read(payload).unwrap());
    let placed = store.put(Put { queue: "q".to_owned(), jobs: vec![job; 3], atomic: true }).wait().unwrap();
    let by = trace::length(folder);
    acknowledged.extend(placed.into_iter().map(|placed| Acknowledged {
        by,
        id: placed.unwrap().id,
        state: State::Ready,
    }));
    for lease in store.lease(LeaseRequest { n: 2, ..LeaseRequest::new("q", &format!("w{client}")) }).wait().unwrap() {
        let outcomes = vec![Outcome::ack(lease.id, lease.token, Json::null())];
        store.finish(Finish { outcomes, lease: None }).wait().unwrap().outcomes.remove(0).unwrap();
        acknowledged.push(Acknowledged { by: trace::length(folder), id: lease.id, state: State::Succeeded });
    }
    if client == 0 && round % 7 == 6 {
        let connection = rusqlite::Connection::open(folder.join("q.sqlite")).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    }
    acknowledged
}

/// What a disk may hold after the power went at this point of the trace.
fn after_cut(entries: &[Entry]) -> HashMap<PathBuf, Vec<u8>> {
    let mut disk: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    let mut pending: Vec<&Entry> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Sync { path } => {
                let (synced, rest): (Vec<_>, Vec<_>) = pending.into_iter().partition(|own| own.path() == path);
                for own in synced {
                    apply(&mut disk, own, usize::MAX);
                }
                pending = rest;
            }
            Entry::Delete { path } => {
                disk.remove(path);
                pending.retain(|own| own.path() != path);
            }
            entry => pending.push(entry),
        }
    }
    // A disk keeps some, in any order, and tears some.
    fastrand::shuffle(&mut pending);
    let kept = fastrand::usize(0..=pending.len());
    for entry in &pending[..kept] {
        let sectors = if fastrand::bool() { usize::MAX } else { fastrand::usize(0..16) };
        apply(&mut disk, entry, sectors.saturating_mul(SECTOR_BYTES));
    }
    disk
}

/// Does to the disk what was done to the file, up to so many bytes of it.
fn apply(disk: &mut HashMap<PathBuf, Vec<u8>>, entry: &Entry, bytes_max: usize) {
    let file = disk.entry(entry.path().to_owned()).or_default();
    match entry {
        Entry::Write { at, bytes, .. } => {
            let bytes = &bytes[..bytes.len().min(bytes_max)];
            file.resize(file.len().max(at + bytes.len()), 0);
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Entry::Truncate { size, .. } => file.resize(*size, 0),
        Entry::Sync { .. } | Entry::Delete { .. } => {}
    }
}

/// Starts a store on what the disk holds, and looks for everything that was acknowledged by then.
fn check(disk: &HashMap<PathBuf, Vec<u8>>, acknowledged: &[Acknowledged], cut: usize) {
    let folder = TempDir::new().unwrap();
    for (path, bytes) in disk {
        std::fs::write(folder.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    let store = open(folder.path()).unwrap();
    let mut states: HashMap<JobId, State> = HashMap::new();
    for one in acknowledged.iter().filter(|one| one.by <= cut) {
        let state = states.entry(one.id).or_insert(one.state);
        *state = (*state).max(one.state);
    }
    for (id, state) in states {
        let found = store.get(id).wait();
        let found = found.unwrap_or_else(|error| panic!("cut at {cut}: job {id} was acknowledged: {error}"));
        assert!(found.state >= state, "cut at {cut}: job {id} was {state:?} and is {:?}", found.state);
    }
    drop(store);
    let connection = rusqlite::Connection::open(folder.path().join("q.sqlite")).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok", "cut at {cut}");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let folder = folder();
    let acknowledged = work(folder.path());
    let entries = trace::entries(folder.path());
    let syncs = entries.iter().filter(|entry| matches!(entry, Entry::Sync { .. })).count();
    assert!(syncs > 40 && acknowledged.len() > 600, "{syncs} syncs, {} acknowledged", acknowledged.len());
    let database = |entry: &&Entry| entry.path().ends_with("q.sqlite");
    assert!(entries.iter().filter(database).count() > 20, "checkpoints are in the trace");
    let first = acknowledged.iter().map(|one| one.by).min().unwrap();
    for _ in 0..CUTS {
        let cut = fastrand::usize(first..=entries.len());
        check(&after_cut(&entries[..cut]), &acknowledged, cut);
    }
}

/// The test above would be blind if cuts did nothing: what was never synced must be able to go.
#[test]
fn a_power_cut_takes_what_was_never_synced() {
    let path = PathBuf::from("q.sqlite");
    let write = |at, byte| Entry::Write { path: path.clone(), at, bytes: vec![byte; 4] };
    let entries = [write(0, 1), Entry::Sync { path: path.clone() }, write(0, 2), write(4, 3)];
    let disks: Vec<_> = (0..200).map(|_| after_cut(&entries).remove(&path).unwrap()).collect();
    for wanted in [[1; 4].to_vec(), [2; 4].to_vec(), [[1; 4], [3; 4]].concat()] {
        assert!(disks.contains(&wanted), "{wanted:?}");
    }
    assert!(disks.iter().all(|disk| disk[0] != 0));
}

#[test]
fn a_failing_sync_fails_all_who_wait_and_stops_the_store() {
    let folder = folder();
    let store = open(folder.path()).unwrap();
    let put = || store.put(Put::one("q", NewJob::default()));
    let before = put().wait().unwrap().remove(0).unwrap().id;
    trace::fail_syncs(folder.path());
    let waiting: Vec<_> = (0..20).map(|_| put()).collect();
    for reply in waiting {
        assert!(matches!(reply.wait(), Err(Error::StoreDown { .. })));
    }
    assert!(store.failure().is_some());
    assert!(matches!(store.sweep().wait(), Err(Error::StoreDown { .. })), "and all who come");
    drop(store);
    // The next start reads what is really there.
    let disk = after_cut(&trace::entries(folder.path()));
    check(&disk, &[Acknowledged { by: 0, id: before, state: State::Ready }], 0);
}
