//! Killed at any moment, a server under load loses no job that it acknowledged, and ends each once.
//!
//! `HEADWATER_QUEUE_KILLS` says how often (30 by default), `HEADWATER_SEED` repeats a run.

mod count;
mod load;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use testkit::postgres;

use self::count::{Counted, count};
use self::load::Load;
use super::server::{Http, Place};
use crate::process::{Process, draw, given, pause, until};

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
    /// The folder of another server of the same jobs, which is not killed.
    beside: Option<Place>,
    postgres: Option<postgres::Private>,
}

impl Stage {
    fn sqlite() -> Self {
        let place = Place::new(&format!("store: {{sqlite: {{path: jobs.db}}}}{DOCUMENT}"));
        Self { place, beside: None, postgres: None }
    }

    /// With one server, or with two. `None`, and the test counts as skipped, where there is no PostgreSQL.
    fn postgres(test: &str, servers: usize) -> Option<Self> {
        let postgres = postgres::Private::start(test)?;
        let spec = format!("store: {{postgres: {{url: \"{}\"}}}}{DOCUMENT}", postgres.url());
        let beside = (servers > 1).then(|| Place::new(&spec));
        Some(Self { place: Place::new(&spec), beside, postgres: Some(postgres) })
    }
}

/// Kills the server of a store under load, and counts what became of the jobs.
fn killed(stage: &Stage) -> Counted {
    let mut draw = draw();
    let place = &stage.place;
    let kills = given("HEADWATER_QUEUE_KILLS").unwrap_or(30);
    let load = Load::default();
    let mut beside = stage.beside.as_ref().map(Place::serve);
    if let Some((_, http)) = &beside {
        load.is_also_at(http);
    }
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
        for client in clients {
            client.join().unwrap();
        }
        until_ended(&http);
        load.is_over.store(true, Ordering::Relaxed);
        // The last of them may still be hearing of its last job's end.
        for worker in workers {
            worker.join().unwrap();
        }
        let counted = count(&http, &load);
        for server in [Some(&mut server), beside.as_mut().map(|(server, _)| server)].into_iter().flatten() {
            server.signal("TERM");
            server.succeed();
        }
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
            store_goes_away(&server, &http, postgres, *away);
        }
        (Kill::AtStart(after) | Kill::AtWork(after) | Kill::OfStore(after), _) => pause(*after),
    }
    assert!(!server.has_ended(), "{}", server.err());
    server.kill();
}

/// While its store is away the server says so, and once it is back the server goes on.
fn store_goes_away(server: &Process, http: &Http, postgres: &postgres::Private, away: Duration) {
    postgres.kill();
    // Its processes may do for a moment what they were doing. Beats of nobody go the way of a job, and put none.
    let asked =
        [("POST", "/v1/leases/heartbeat"), ("POST", "/v1/queues/own/jobs"), ("GET", "/v1/jobs"), ("GET", "/readyz")];
    for (method, path) in asked {
        let body = if path.ends_with("heartbeat") { "[]" } else { "{}" };
        until("the server misses its store", || {
            let asked = http.ask(method, path, body.as_bytes());
            let reply = asked.unwrap_or_else(|error| panic!("{error}: {}", server.err()));
            assert!(reply.status < 300 || reply.header("retry-after") == Some("1"), "{reply:?}");
            reply.status == 503
        });
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
fn tell(stage: &Stage) {
    println!("{:?}", killed(stage));
}

#[test]
fn killed_under_load_a_server_on_sqlite_ends_every_acknowledged_job_exactly_once() {
    tell(&Stage::sqlite());
}

#[test]
fn killed_under_load_a_server_on_postgres_ends_every_acknowledged_job_exactly_once() {
    let Some(stage) = Stage::postgres("queue kills on PostgreSQL", 1) else { return };
    tell(&stage);
}

#[test]
fn killed_under_load_beside_another_a_server_on_postgres_ends_every_acknowledged_job_exactly_once() {
    let Some(stage) = Stage::postgres("queue kills of one of two", 2) else { return };
    tell(&stage);
}
