//! Killed at any moment, a server under load loses no job that it acknowledged, and ends each once.
//!
//! `HEADWATER_QUEUE_KILLS` says how often (30 by default), `HEADWATER_SEED` repeats a run.

mod count;
mod load;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::postgres;

use self::count::{Counted, count};
use self::load::Load;
use super::server::{Http, Place};
use crate::process::{draw, given, pause, until};

/// Queues whose jobs are worked on by workers of the test, and by the document's own.
const DOCUMENT: &str = r"
listen: 127.0.0.1:0
queues:
  theirs: {attempts: 1000, lease: 3s, backoff: {base: 10ms, max: 10ms}}
  own: {attempts: 1000, backoff: {base: 10ms, max: 10ms}}
workers:
  echo: {queues: [own], concurrency: 2, command: [sh, -c, 'cat; sleep 0.01']}
";

/// Who puts jobs, and who works on them.
const CLIENTS: usize = 3;
const WORKERS: usize = 3;

/// How long the last server may take to end what the kills left.
const END_WITHIN: Duration = Duration::from_mins(10);

/// How the server, or what it stands on, is ended.
enum Kill {
    /// Between its start and the moment when it listens.
    AtStart(Duration),
    /// So long after it began to listen.
    AtWork(Duration),
    /// First PostgreSQL, which is away so long.
    OfStore(Duration),
}

impl Kill {
    /// Most come soon, so that there are many; some come so late that leases of dead workers have ended.
    fn drawn(draw: &mut fastrand::Rng, stage: &Stage) -> Self {
        match draw.u32(..16) {
            15 if stage.postgres.is_some() => Self::OfStore(Duration::from_millis(draw.u64(..1500))),
            0..2 => Self::AtStart(Duration::from_millis(draw.u64(..60))),
            2 => Self::AtWork(Duration::from_millis(draw.u64(4500..6000))),
            _ => Self::AtWork(Duration::from_millis(draw.u64(..300))),
        }
    }
}

/// A server's folder, and what it keeps its jobs in.
struct Stage {
    place: Place,
    postgres: Option<postgres::Private>,
}

impl Stage {
    fn new(store: &str, postgres: Option<postgres::Private>) -> Self {
        Self { place: Place::new(&format!("store: {store}{DOCUMENT}")), postgres }
    }
}

/// Kills the server of a store under load, and counts what became of the jobs.
fn killed(stage: &Stage) -> Counted {
    let mut draw = draw();
    let place = &stage.place;
    let kills = given("HEADWATER_QUEUE_KILLS").unwrap_or(30);
    let load = Load::default();
    let mut counted = thread::scope(|scope| {
        let _abandon = load.abandon();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (load, draw) = (&load, draw.fork());
                scope.spawn(move || load.put(number, draw))
            })
            .collect();
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (load, draw) = (&load, draw.fork());
                scope.spawn(move || load.work(number, draw))
            })
            .collect();
        for _ in 0..kills {
            kill(stage, &load, &Kill::drawn(&mut draw, stage));
        }
        let (mut server, http) = place.serve();
        load.is_at(&http);
        load.is_enough.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        until_ended(&http);
        load.is_over.store(true, Ordering::Relaxed);
        // The last of them may still be hearing of its last job's end.
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        let counted = count(&http, &load);
        server.signal("TERM");
        server.succeed();
        counted
    });
    counted.kills = kills;
    assert!(counted.jobs > kills * 2 && counted.children > 0 && counted.failed > 0, "too little happened: {counted:?}");
    counted
}

fn kill(stage: &Stage, load: &Load, kill: &Kill) {
    if let Kill::AtStart(after) = kill {
        let mut server = stage.place.start(&["run", "queue.yaml"]);
        pause(*after);
        return server.kill();
    }
    let (mut server, http) = stage.place.serve();
    load.is_at(&http);
    match (kill, &stage.postgres) {
        (Kill::OfStore(away), Some(postgres)) => {
            pause(Duration::from_millis(50));
            store_goes_away(&http, postgres, *away);
        }
        (Kill::AtStart(after) | Kill::AtWork(after) | Kill::OfStore(after), _) => pause(*after),
    }
    assert!(!server.has_ended(), "{}", server.err());
    server.kill();
}

/// While its store is away the server says so, and once it is back the server goes on.
fn store_goes_away(http: &Http, postgres: &postgres::Private, away: Duration) {
    postgres.kill();
    for reply in [http.post("/v1/queues/own/jobs", &json!({})), http.get("/v1/jobs"), http.get("/readyz")] {
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");
    }
    pause(away);
    postgres.start_again();
    until("the server has its store again", || http.get("/readyz").status == 200);
}

/// Waits until no job is left that has not ended.
fn until_ended(http: &Http) {
    let clock = stdx::Clock::system();
    let mut left = 0;
    let mut holds = || {
        let open = http.get("/v1/jobs?state=scheduled,waiting,ready,running&limit=1000").ok();
        left = open["items"].as_array().unwrap().len();
        left == 0
    };
    while !holds() {
        assert!(clock.elapsed() < END_WITHIN, "{left} jobs don't end");
        pause(Duration::from_millis(50));
    }
}

/// Kills a server, and shows what was counted to whoever does so by hand.
#[expect(clippy::print_stdout, reason = "libtest shows it when it is asked to")]
fn tell(stage: &Stage) -> Counted {
    let counted = killed(stage);
    println!("{counted:?}");
    counted
}

#[test]
fn killed_under_load_a_server_on_sqlite_ends_every_acknowledged_job_exactly_once() {
    tell(&Stage::new("{sqlite: {path: jobs.db}}", None));
}

#[test]
fn killed_under_load_a_server_on_postgres_ends_every_acknowledged_job_exactly_once() {
    let Some(postgres) = postgres::Private::start("queue kills on PostgreSQL") else { return };
    let store = format!("{{postgres: {{url: \"{}\"}}}}", postgres.url());
    tell(&Stage::new(&store, Some(postgres)));
}
