//! What only the SQLite store promises.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::{Connection, StatementStatus};
use stdx::{Clock, Timestamp};
use tempfile::TempDir;

use super::{Sqlite, SqliteOptions, connect, read};
use crate::{
    Artifacts, Beat, Change, Error, Finish, JobId, JobQuery, Json, Lease, LeaseRequest, NewJob, Outcome, Put,
    QueueSettings, State, Store, Token, View,
};

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_772_323_200_000))
}

fn open(folder: &Path, clock: &Clock) -> Sqlite {
    let store = Sqlite::open(&SqliteOptions::new(folder.join("q.sqlite"), clock.clone())).unwrap();
    store.change(Change::PutQueue("q".to_owned(), QueueSettings::default())).wait().unwrap();
    store
}

fn put(store: &Sqlite, text: &str) -> Result<JobId, Error> {
    let job: NewJob = serde_json::from_str(text).unwrap();
    store.put(Put::one("q", job)).wait()?.remove(0).map(|placed| placed.id)
}

#[test]
fn a_file_is_held_by_one_process() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), &clock());
    let options = SqliteOptions::new(folder.path().join("q.sqlite"), clock());
    assert!(matches!(Sqlite::open(&options), Err(Error::Held { .. })));
    drop(store);
    Sqlite::open(&options).unwrap();
}

#[test]
fn tables_of_another_version_are_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &clock()));
    let path = folder.path().join("q.sqlite");
    Connection::open(&path).unwrap().execute("UPDATE meta SET value = 9 WHERE name = 'version'", []).unwrap();
    let refused = Sqlite::open(&SqliteOptions::new(path, clock())).unwrap_err();
    assert!(refused.to_string().contains("version 9"), "{refused}");
}

#[test]
fn a_statement_is_read_once_whatever_it_is_given() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &clock()));
    let connection = connect(&folder.path().join("q.sqlite"), 1024).unwrap();
    let of_lane = "SELECT serial FROM job WHERE lane = ?1 AND state = 3 ORDER BY due, serial LIMIT ?2";
    let of_key = "SELECT serial FROM job WHERE slot = ?1 AND state = ?2 ORDER BY due, serial LIMIT 1";
    for sql in [of_lane, of_key] {
        let mut statement = connection.prepare(sql).unwrap();
        for given in 1..5 {
            assert!(!statement.exists([given, given]).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
    }
}

#[test]
fn jobs_are_forgotten_as_quickly_as_they_end() {
    let (folder, clock) = (TempDir::new().unwrap(), clock());
    let store = open(folder.path(), &clock);
    let settings = serde_json::from_str(r#"{"retention": "30s"}"#).unwrap();
    store.change(Change::PutQueue("q".to_owned(), settings)).wait().unwrap();
    let (mut kept, mut most) = (0, 0);
    for _ in 0..40 {
        let jobs = vec![NewJob::default(); 1000];
        store.put(Put { queue: "q".to_owned(), jobs, atomic: false }).wait().unwrap();
        let leases = store.lease(LeaseRequest { n: 1000, ..LeaseRequest::new("q", "w") }).wait().unwrap();
        let ack = |lease: Lease| Outcome::ack(lease.id, lease.token, Json::null());
        store.finish(Finish { outcomes: leases.into_iter().map(ack).collect(), lease: None }).wait().unwrap();
        kept += 1000;
        clock.advance(Duration::from_secs(3));
        kept -= store.sweep().wait().unwrap().expired;
        most = most.max(kept);
    }
    assert!(most <= 12_000, "ten thousand end in half a minute, and {most} were kept");
}

#[test]
fn requests_that_wait_share_a_transaction() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), &clock());
    let (groups, _) = store.groups();
    let pending: Vec<_> = (0..2000).map(|_| store.put(Put::one("q", NewJob::default()))).collect();
    for reply in pending {
        reply.wait().unwrap().remove(0).unwrap();
    }
    let shared = store.groups().0 - groups;
    assert!(shared < 1000, "{shared} transactions for 2000 requests");
}

#[test]
fn a_refused_request_leaves_those_beside_it_alone() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), &clock());
    put(&store, r#"{"key": "k", "payload": 1}"#).unwrap();
    let bad: NewJob = serde_json::from_str(r#"{"key": "k", "payload": 2}"#).unwrap();
    let bad = Put { queue: "q".to_owned(), jobs: vec![NewJob::default(), bad], atomic: true };
    let replies: Vec<_> = (0..200)
        .map(|at| if at % 2 == 0 { store.put(Put::one("q", NewJob::default())) } else { store.put(bad.clone()) })
        .collect();
    let taken: Vec<bool> = replies.into_iter().map(|reply| reply.wait().unwrap()[0].is_ok()).collect();
    assert!(taken.iter().enumerate().all(|(at, taken)| *taken == (at % 2 == 0)), "{taken:?}");
    assert_eq!(store.list(JobQuery { limit: 1000, ..JobQuery::default() }).wait().unwrap().items.len(), 101);
}

/// The file can't grow any more: as on a full disk, SQLite says so in the middle of a transaction.
#[test]
fn a_full_disk_fails_all_who_wait_and_loses_nothing_acknowledged() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), &clock());
    let pages = |connection: &Connection| connection.pragma_query_value(None, "page_count", |row| row.get(0));
    store
        .write(
            move |book| {
                let most: i64 = pages(&book.connection)?;
                book.connection.pragma_update_and_check(None, "max_page_count", most + 50, |_| Ok(()))?;
                Ok(())
            },
            super::nothing,
        )
        .wait()
        .unwrap();
    let payload = format!(r#"{{"payload": "{}"}}"#, "x".repeat(3000));
    let mut acknowledged = Vec::new();
    let failure = loop {
        match put(&store, &payload) {
            Ok(id) => acknowledged.push(id),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1000, "the disk is never full");
    };
    assert!(matches!(failure, Error::StoreDown { .. }), "{failure}");
    assert_eq!(store.failure(), Some(failure));
    assert!(matches!(store.sweep().wait(), Err(Error::StoreDown { .. })), "and all who come");
    drop(store);
    let store = open(folder.path(), &clock());
    assert!(acknowledged.len() > 10);
    assert!(acknowledged.into_iter().all(|id| store.get(id).wait().unwrap().state == State::Ready));
}

#[test]
fn a_backup_is_taken_while_jobs_come_in() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), &clock());
    let id = put(&store, "{}").unwrap();
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let backup = store.backup(&copy.join("q.sqlite"));
    put(&store, "{}").unwrap();
    backup.wait().unwrap();
    let copied = open(&copy, &clock());
    assert_eq!(copied.get(id).wait().unwrap().state, State::Ready);
}

/// What grows with a million jobs is looked up, never walked through.
#[test]
fn hot_queries_walk_no_table() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path(), &clock()));
    let connection = connect(&folder.path().join("q.sqlite"), 1024).unwrap();
    let queries = [
        "SELECT due, serial, alone, slot FROM job WHERE lane = ?1 AND state = 3 ORDER BY due, serial LIMIT ?2",
        "SELECT due, serial FROM job WHERE slot = ?1 AND state = ?2 AND lane = ?3 ORDER BY due, serial LIMIT ?4",
        "SELECT min(lane) FROM job WHERE slot = ?1 AND state = ?2 AND lane > ?3",
        "SELECT count(*) FROM job WHERE slot = ?1 AND state = 4",
        "SELECT serial FROM job WHERE state = 0 AND due <= ?1 ORDER BY due LIMIT ?2",
        "SELECT serial FROM job WHERE state >= 5 AND due <= ?1 ORDER BY due LIMIT ?2",
        "SELECT min(due) FROM job WHERE state = 0",
        "SELECT min(serial) FROM job WHERE lane = ?1 AND state = ?2",
        "SELECT serial FROM job INDEXED BY job_list WHERE lane = ?1 AND state = ?2 AND serial < ?3 \
         ORDER BY serial DESC LIMIT ?4",
        "SELECT j.serial FROM job j WHERE j.queue = ?1 AND j.key = ?2 AND j.key IS NOT NULL",
        "SELECT child FROM edge WHERE parent = ?1 AND told = 0 ORDER BY child",
        "DELETE FROM edge WHERE child = ?1",
    ];
    for sql in queries {
        let plan = read::plan(&connection, sql);
        assert!(plan.contains("SEARCH") || sql.contains("state = 0"), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN job\n"), "{sql}\n{plan}");
    }
}

/// Something that a client, a worker or time does.
#[derive(Clone, Debug)]
enum Step {
    Put { key: Option<u8>, after: Option<usize>, slot: bool, delay: bool },
    Lease(u32),
    Ack(usize),
    Nack(usize, bool),
    Release(usize),
    Beat(usize),
    Cancel(usize),
    Retry(usize),
    Pass(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..40_usize;
    prop_oneof![
        4 => (proptest::option::weighted(0.2, 0..3_u8), proptest::option::weighted(0.2, at.clone()), any::<bool>(),
            proptest::bool::weighted(0.2)).prop_map(|(key, after, slot, delay)| Step::Put { key, after, slot, delay }),
        4 => (1..4_u32).prop_map(Step::Lease),
        3 => at.clone().prop_map(Step::Ack),
        2 => (at.clone(), any::<bool>()).prop_map(|(at, retry)| Step::Nack(at, retry)),
        1 => at.clone().prop_map(Step::Release),
        1 => at.clone().prop_map(Step::Beat),
        1 => at.clone().prop_map(Step::Cancel),
        1 => at.prop_map(Step::Retry),
        2 => (1..70_u64).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

/// A small world of what must hold, whatever is done in whatever order.
struct World {
    folder: TempDir,
    clock: Clock,
    store: Option<Sqlite>,
    jobs: Vec<JobId>,
    leases: Vec<Lease>,
    ended: HashMap<JobId, State>,
    tokens: HashMap<String, JobId>,
}

impl World {
    fn new() -> Self {
        let (folder, clock) = (TempDir::new().unwrap(), clock());
        let store = Some(open(folder.path(), &clock));
        let (jobs, leases) = (Vec::new(), Vec::new());
        Self { folder, clock, store, jobs, leases, ended: HashMap::new(), tokens: HashMap::new() }
    }

    fn store(&self) -> &Sqlite {
        self.store.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Put { key, after, slot, delay } => self.put(*key, *after, *slot, *delay),
            Step::Lease(n) => {
                let request = LeaseRequest { n: *n, ..LeaseRequest::new("q", "w") };
                let leases = self.store().lease(request).wait().unwrap();
                for lease in &leases {
                    let is_new = self.tokens.insert(lease.token.as_str().to_owned(), lease.id).is_none();
                    assert!(is_new, "a token is never used twice");
                }
                self.leases.extend(leases);
            }
            Step::Ack(at) => self.finish(*at, |id, token| Outcome::ack(id, token, Json::null())),
            Step::Nack(at, retry) => {
                let text = format!(r#"{{"retry": {retry}, "error": {{"message": "no"}}}}"#);
                let nack = serde_json::from_str(&text).unwrap();
                self.finish(*at, |id, token| Outcome { id, token, ending: crate::Ending::Nack(nack) });
            }
            Step::Release(at) => self.finish(*at, Outcome::release),
            Step::Beat(at) => {
                if let Some(Lease { id, token, .. }) = self.leases.get(*at).cloned() {
                    let _ = self.store().heartbeat(vec![Beat { id, token, progress: None }]).wait().unwrap();
                }
            }
            Step::Cancel(at) => {
                if let Some(id) = self.jobs.get(*at) {
                    let _ = self.store().change(Change::Cancel(*id)).wait();
                }
            }
            Step::Retry(at) => {
                if let Some(id) = self.jobs.get(*at).copied()
                    && self.store().change(Change::Retry(id)).wait().is_ok()
                {
                    self.ended.remove(&id);
                }
            }
            Step::Pass(seconds) => {
                for _ in 0..*seconds {
                    self.clock.advance(Duration::from_secs(1));
                    self.store().sweep().wait().unwrap();
                }
            }
            Step::Crash => {
                self.store = None;
                self.store = Some(open(self.folder.path(), &self.clock));
            }
        }
    }

    fn put(&mut self, key: Option<u8>, after: Option<usize>, slot: bool, delay: bool) {
        let job = serde_json::json!({
            "key": key.map(|key| format!("k{key}")),
            "after": after.and_then(|at| self.jobs.get(at)).map(|id| vec![id]).unwrap_or_default(),
            "concurrency": slot.then(|| serde_json::json!({"key": "c", "max": 2})),
            "delay": delay.then_some("40s"),
            "attempts": 3,
        });
        if let Ok(id) = put(self.store(), &job.to_string())
            && !self.jobs.contains(&id)
        {
            self.jobs.push(id);
        }
    }

    fn finish(&mut self, at: usize, outcome: impl FnOnce(JobId, Token) -> Outcome) {
        if let Some(lease) = self.leases.get(at).cloned() {
            let outcomes = vec![outcome(lease.id, lease.token)];
            self.store().finish(Finish { outcomes, lease: None }).wait().unwrap();
        }
    }

    fn check(&mut self) {
        let all = self.store().list(JobQuery { limit: 1000, ..JobQuery::default() }).wait().unwrap().items;
        assert_eq!(all.len(), self.jobs.len(), "no job is lost");
        let mut counts: HashMap<State, u64> = HashMap::new();
        for job in &all {
            *counts.entry(job.state).or_default() += 1;
            assert!(job.attempt <= job.attempts, "{job:?}");
            if let Some(before) = self.ended.get(&job.id) {
                assert_eq!(*before, job.state, "a job ends once");
            }
            if job.state.has_ended() {
                self.ended.insert(job.id, job.state);
            }
        }
        for stats in self.store().stats(None).wait().unwrap() {
            let counted = counts.remove(&stats.state).unwrap_or(0);
            assert_eq!(stats.jobs, counted, "kept counts of {}", stats.state.as_str());
        }
        assert!(counts.is_empty(), "{counts:?}");
        let connection = Connection::open(self.folder.path().join("q.sqlite")).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let running = count("SELECT count(*) FROM job WHERE slot IS NOT NULL AND state = 4");
        let ready = count("SELECT count(*) FROM job WHERE slot IS NOT NULL AND state = 3");
        let parked = count("SELECT count(*) FROM job WHERE slot IS NOT NULL AND state = 2");
        assert!(running <= 2, "{running} of a key of 2 run");
        assert_eq!(ready, (2 - running).min(ready + parked), "who could run is ready");
        let unheld = "SELECT count(*) FROM job j WHERE state = 4 AND NOT EXISTS \
                      (SELECT 1 FROM lease WHERE serial = j.serial AND number = j.lease AND outcome IS NULL)";
        assert_eq!(count(unheld), 0, "who runs is held");
        let held =
            "SELECT count(*) FROM lease l JOIN job j ON j.serial = l.serial WHERE outcome IS NULL AND state != 4";
        assert_eq!(count(held), 0, "who is held runs");
        let stuck = "SELECT count(*) FROM job j WHERE state = 1 AND pending != \
                     (SELECT count(*) FROM edge e WHERE e.child = j.serial AND told = 0)";
        assert_eq!(count(stuck), 0, "who waits, waits for somebody");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_no_job_is_lost_and_each_ends_once(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}

/// The files beside the store, however deep.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn files_that_no_row_names_are_removed() {
    let folder = TempDir::new().unwrap();
    let beside = folder.path().join("q.sqlite.artifacts");
    let store = open(folder.path(), &clock());
    let id = put(&store, "{}").unwrap();
    let lease = store.lease(LeaseRequest::new("q", "w")).wait().unwrap().remove(0);
    let begin = || store.upload(id, lease.token.clone(), "f".to_owned()).wait().unwrap();
    begin().seal().wait().unwrap();
    drop(begin());
    assert_eq!(files(&beside), 1);
    let outcomes = vec![Outcome::nack(id, lease.token.clone(), "no")];
    store.finish(Finish { outcomes, lease: None }).wait().unwrap().outcomes.remove(0).unwrap();
    drop(store);
    assert_eq!(files(&beside), 0, "what a failed attempt left is gone");
    std::fs::create_dir_all(beside.join("00000001")).unwrap();
    std::fs::write(beside.join("00000001/1-2"), "stray").unwrap();
    drop(open(folder.path(), &clock()));
    assert_eq!(files(&beside), 0, "what a crash left is gone");
}
