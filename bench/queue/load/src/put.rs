use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::Clock;
use tokio::task::LocalSet;

use crate::figures::{Times, per_second};
use crate::http::Connection;

/// Jobs in one bulk request.
pub(crate) const BULK: usize = 10_000;

/// Each client puts one job after the other.
pub(crate) async fn enqueue(address: &str, queue: &str, clients: usize, seconds: u64) -> Result<Value> {
    let clock = Clock::system();
    let set = LocalSet::new();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let connection = Connection::open(address).await?;
        let path = format!("/v1/queues/{queue}/jobs");
        let until = Duration::from_secs(seconds);
        tasks.push(set.spawn_local(put_until(connection, path, client, clock.clone(), until)));
    }
    let before = clock.elapsed();
    let mut times = Times::default();
    set.run_until(async {
        for task in tasks {
            times.join(task.await??);
        }
        anyhow::Ok(())
    })
    .await?;
    Ok(times.rate(clock.elapsed().saturating_sub(before)))
}

async fn put_until(
    mut connection: Connection,
    path: String,
    client: usize,
    clock: Clock,
    lasts: Duration,
) -> Result<Times> {
    let (mut times, begun) = (Times::default(), clock.elapsed());
    loop {
        let before = clock.elapsed();
        if before.saturating_sub(begun) >= lasts {
            return Ok(times);
        }
        let body = format!(r#"{{"payload":{{"client":{client},"n":{}}}}}"#, times.len());
        connection.post(&path, &body).await?;
        times.add(clock.elapsed().saturating_sub(before));
    }
}

/// Clients put jobs, 10,000 in each request.
pub(crate) async fn bulk(address: &str, queue: &str, clients: usize, jobs: usize, key: Option<&str>) -> Result<Value> {
    let clock = Clock::system();
    let left = Rc::new(Cell::new(jobs));
    let set = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let connection = Connection::open(address).await?;
        let path = format!("/v1/queues/{queue}/jobs/bulk");
        tasks.push(set.spawn_local(put_rest(connection, path, Rc::clone(&left), key.map(str::to_owned))));
    }
    let before = clock.elapsed();
    set.run_until(async {
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })
    .await?;
    let taken = clock.elapsed().saturating_sub(before);
    Ok(json!({ "operations": jobs, "perSecond": per_second(jobs, taken) }))
}

async fn put_rest(mut connection: Connection, path: String, left: Rc<Cell<usize>>, key: Option<String>) -> Result<()> {
    while left.get() > 0 {
        let some = left.get().min(BULK);
        left.set(left.get() - some);
        put_many(&mut connection, &path, some, key.as_deref()).await?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Placed {
    state: Option<String>,
}

/// Puts jobs in one request, and looks whether each was taken.
pub(crate) async fn put_many(connection: &mut Connection, path: &str, jobs: usize, key: Option<&str>) -> Result<()> {
    let key = key.map(|key| format!(r#","concurrency":{{"key":"{key}","max":1}}"#)).unwrap_or_default();
    let mut body = String::from("[");
    for n in 0..jobs {
        let comma = if n == 0 { "" } else { "," };
        write!(body, r#"{comma}{{"payload":{{"client":0,"n":{n}}}{key}}}"#)?;
    }
    body.push(']');
    let placed: Vec<Placed> = serde_json::from_slice(connection.post(path, &body).await?)?;
    let taken = placed.iter().filter(|placed| placed.state.is_some()).count();
    ensure!(taken == jobs, "{taken} jobs of {jobs} were taken");
    Ok(())
}
