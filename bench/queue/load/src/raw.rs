//! The stores by themselves: one table, one index, no rules.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::NoTls;
use rusqlite::Connection;
use serde_json::{Value, json};
use stdx::Clock;

use crate::figures::{Times, per_second};

/// What a group of 64 clients could share at best.
const GROUP: usize = 64;

/// Rows in one transaction of the bulk.
const BULK: usize = 10_000;

/// Transactions of the bulk.
const BULKS: usize = 20;

const PAYLOAD: &str = r#"{"client":0,"n":1}"#;

/// A loop in one thread on a SQLite file, with the settings of Headwater's own store.
pub(crate) fn sqlite(file: &Path, seconds: u64) -> Result<Value> {
    let connection = Connection::open(file).with_context(|| format!("open {}", file.display()))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, payload TEXT NOT NULL);
         CREATE INDEX job_ready ON job (id) WHERE state = 0;",
    )?;
    let lasts = Duration::from_secs(seconds);
    let one = timed(lasts, || insert(&connection, 1))?;
    let group = timed(lasts, || insert(&connection, GROUP))?;
    let clock = Clock::system();
    (0..BULKS).try_for_each(|_| insert(&connection, BULK))?;
    let bulk = per_second(BULKS * BULK, clock.elapsed());
    let mut held = 0_i64;
    let work = timed(lasts, || {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        connection.prepare_cached("UPDATE job SET state = 2 WHERE id = ?1")?.execute([held])?;
        let next =
            "UPDATE job SET state = 1 WHERE id = (SELECT min(id) FROM job WHERE state = 0) RETURNING id, payload";
        held = connection.prepare_cached(next)?.query_row([], |row| row.get(0))?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    })?;
    let group = group.len() * GROUP;
    Ok(json!({
        "enqueue": one.rate(lasts), "groupPerSecond": per_second(group, lasts), "bulkPerSecond": bulk,
        "work": work.rate(lasts),
    }))
}

fn insert(connection: &Connection, rows: usize) -> Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for _ in 0..rows {
        connection.prepare_cached("INSERT INTO job (state, payload) VALUES (0, ?1)")?.execute([PAYLOAD])?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

fn timed(lasts: Duration, mut operation: impl FnMut() -> Result<()>) -> Result<Times> {
    let (clock, mut times) = (Clock::system(), Times::default());
    let mut before = clock.elapsed();
    while before < lasts {
        operation()?;
        let after = clock.elapsed();
        times.add(after.saturating_sub(before));
        before = after;
    }
    Ok(times)
}

/// Clients with a connection each, on a PostgreSQL table.
pub(crate) fn postgres(url: &str, clients: usize, seconds: u64) -> Result<Value> {
    let mut connection = postgres::Client::connect(url, NoTls).context("connect to PostgreSQL")?;
    connection.batch_execute(
        "DROP TABLE IF EXISTS load_job;
         CREATE TABLE load_job (id bigserial PRIMARY KEY, state int NOT NULL, payload text NOT NULL);
         CREATE INDEX load_job_ready ON load_job (id) WHERE state = 0;",
    )?;
    let lasts = Duration::from_secs(seconds);
    let put = "INSERT INTO load_job (state, payload) VALUES (0, $1)";
    let one = each(url, 1, |connection| {
        let put = connection.prepare(put)?;
        timed(lasts, || Ok(connection.execute(&put, &[&PAYLOAD]).map(drop)?))
    })?;
    let many = each(url, clients, |connection| {
        let put = connection.prepare(put)?;
        timed(lasts, || Ok(connection.execute(&put, &[&PAYLOAD]).map(drop)?))
    })?;
    let bulk = copy(&mut connection)?;
    let work = each(url, clients, |connection| take(connection, lasts))?;
    connection.batch_execute("DROP TABLE load_job")?;
    Ok(json!({
        "enqueue": one.rate(lasts), "enqueueMany": many.rate(lasts), "bulkPerSecond": bulk, "work": work.rate(lasts),
    }))
}

fn each(url: &str, clients: usize, run: impl Fn(&mut postgres::Client) -> Result<Times> + Sync) -> Result<Times> {
    std::thread::scope(|scope| {
        let run = &run;
        let client = || run(&mut postgres::Client::connect(url, NoTls)?);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let mut times = Times::default();
        for thread in threads {
            times.join(thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(times)
    })
}

fn copy(connection: &mut postgres::Client) -> Result<f64> {
    let clock = Clock::system();
    for _ in 0..BULKS {
        let mut rows = connection.copy_in("COPY load_job (state, payload) FROM STDIN")?;
        for _ in 0..BULK {
            std::io::Write::write_all(&mut rows, format!("0\t{PAYLOAD}\n").as_bytes())?;
        }
        rows.finish()?;
    }
    Ok(per_second(BULKS * BULK, clock.elapsed()))
}

/// Finishes a row and takes the next, in one transaction.
fn take(connection: &mut postgres::Client, lasts: Duration) -> Result<Times> {
    let end = connection.prepare("UPDATE load_job SET state = 2 WHERE id = $1")?;
    let first = "SELECT id, payload FROM load_job WHERE state = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    let first = connection.prepare(first)?;
    let begin = connection.prepare("UPDATE load_job SET state = 1 WHERE id = $1")?;
    let mut held = 0_i64;
    timed(lasts, || {
        let mut transaction = connection.transaction()?;
        transaction.execute(&end, &[&held])?;
        held = transaction.query_one(&first, &[]).context("a row is left")?.get(0);
        transaction.execute(&begin, &[&held])?;
        Ok(transaction.commit()?)
    })
}
