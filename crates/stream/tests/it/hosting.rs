//! A sink that hosts the stream's ledger, its rows and its record in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use stream::program::Program;
use stream::{BadRow, Batch, Claimed, Error, Ledger, Nature, Position, Record, Sink, Sort, Token, exercise};

use crate::programs::{Count, schema};
use crate::support::Place;

/// A server in memory that keeps rows and records in one transaction.
#[derive(Debug, Default)]
struct Server {
    claim: u64,
    records: Vec<Record>,
    rows: Vec<String>,
    appends_to_fail: u32,
}

struct Hosting {
    server: Arc<Mutex<Server>>,
    claim: u64,
    transaction: Vec<String>,
    /// A fault on purpose: appends without looking at the newest claim.
    careless: bool,
}

impl Hosting {
    fn open(server: &Arc<Mutex<Server>>, careless: bool) -> Self {
        Self { server: Arc::clone(server), claim: 0, transaction: Vec::new(), careless }
    }
}

impl Sink for Hosting {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        self.transaction.extend(exercise::row_texts(&batch.columns));
        Ok(Vec::new())
    }

    fn prepare(&mut self, _: u64) -> Result<Option<Token>, Error> {
        Ok(None)
    }

    fn publish(&mut self, _: &Token) -> Result<(), Error> {
        Ok(())
    }

    fn sweep(&mut self, _: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }

    fn ledger(&mut self) -> Option<&mut dyn Ledger> {
        Some(self)
    }
}

impl Ledger for Hosting {
    fn claim(&mut self) -> Result<Claimed, Error> {
        let mut server = self.server.lock().unwrap();
        server.claim += 1;
        self.claim = server.claim;
        Ok(Claimed { claim: self.claim, last: server.records.last().cloned() })
    }

    fn append(&mut self, record: &Record) -> Result<(), Error> {
        let mut server = self.server.lock().unwrap();
        if server.claim != self.claim && !self.careless {
            return Err(Error::Fenced { task: "count-0".into(), ours: self.claim, theirs: server.claim });
        }
        if server.appends_to_fail > 0 {
            server.appends_to_fail -= 1;
            return Err(Error::World("the server is restarting".into()));
        }
        server.records.push(record.clone());
        server.rows.append(&mut self.transaction);
        Ok(())
    }
}

#[test]
fn a_sink_hosts_the_ledger_of_the_whole_stream() {
    let (place, server) = (Place::new(), Arc::new(Mutex::new(Server::default())));
    let run = |end: i64| {
        let server = Arc::clone(&server);
        let mut plan = Program::new("hosted", place.folder.path())
            .source("count", schema(), Nature::Replayable, move |open| Ok(Count::open(&open, end)))
            .own_sink("out", &["count"], Sort::Hosting, move |_| Ok(Hosting::open(&server, false)))
            .plan()
            .unwrap();
        assert_eq!(plan.promises[0].delivery, stream::Delivery::ExactlyOnce);
        plan.commit_every = std::time::Duration::ZERO;
        place.run_plan(plan).unwrap()
    };
    let check = |claims: u64, rows: i64| {
        let server = server.lock().unwrap();
        assert_eq!(server.claim, claims);
        assert_eq!(server.rows, (0..rows).map(|n| format!("n={n}")).collect::<Vec<_>>());
        let last = server.records.last().unwrap();
        assert_eq!((last.positions["count"].clone(), last.claim), (Position(rows.into()), claims));
        let sequences: Vec<u64> = server.records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
        assert!(server.records.iter().all(|record| record.tokens.is_empty()));
    };
    assert_eq!(run(25).counts.parts["out"].rows_out, 25);
    check(1, 25);
    // Another run goes on from the record that is in the sink; no other ledger says where that is.
    let again = run(40);
    assert_eq!((again.counts.parts["count"].rows_in, again.earlier_commit_at_millis.is_some()), (15, true));
    check(2, 40);
    assert!(!place.path(".headwater/default/hosted/tasks").exists());
    // A failure between rows and record: the task opens again under a new claim, and what wasn't appended comes again.
    server.lock().unwrap().appends_to_fail = 1;
    run(60);
    check(4, 60);
}

/// Whether the exercise found a broken promise.
fn fails(exercise: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(exercise)).is_err()
}

#[test]
fn the_hosting_sink_keeps_its_promises_and_one_that_does_not_fence_is_found_out() {
    let run = |careless| {
        let server = Arc::new(Mutex::new(Server::default()));
        let texts = || {
            let rows = server.lock().unwrap().rows.clone();
            rows.iter().map(|row| row.split_once("text=").unwrap().1.to_owned()).collect()
        };
        exercise::hosting_sink(|| Box::new(Hosting::open(&server, careless)), texts);
    };
    run(false);
    assert!(fails(|| run(true)));
}

#[test]
fn a_hosted_ledger_passes_and_a_careless_one_is_found_out() {
    let run = |careless| {
        let server = Arc::new(Mutex::new(Server::default()));
        exercise::ledger(|| Box::new(Hosting::open(&server, careless)));
    };
    run(false);
    assert!(fails(|| run(true)));
}
