use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use stdx::Clock;
use tokio::task::LocalSet;

use crate::figures::{Times, per_second};
use crate::http::Connection;

/// Workers that do nothing: each finishes a job and leases the next in one request, until there is none.
pub(crate) async fn work(address: &str, queue: &str, in_flight: usize) -> Result<Value> {
    let clock = Clock::system();
    let set = LocalSet::new();
    let mut tasks = Vec::new();
    for worker in 0..in_flight {
        let connection = Connection::open(address).await?;
        let next = format!(r#"{{"queues":["{queue}"],"worker":"load-{worker}"}}"#);
        tasks.push(set.spawn_local(finish_and_lease(connection, next, clock.clone())));
    }
    let before = clock.elapsed();
    let (mut done, mut times) = (0, Times::default());
    set.run_until(async {
        for task in tasks {
            let (some, taken) = task.await??;
            done += some;
            times.join(taken);
        }
        anyhow::Ok(())
    })
    .await?;
    let taken = clock.elapsed().saturating_sub(before);
    Ok(json!({ "operations": done, "perSecond": per_second(done, taken), "millis": times.quantiles() }))
}

async fn finish_and_lease(mut connection: Connection, next: String, clock: Clock) -> Result<(usize, Times)> {
    let (mut done, mut times, mut leases): (_, _, Vec<_>) = (0, Times::default(), Vec::new());
    loop {
        let before: Duration = clock.elapsed();
        let reply = connection.finish(&leases, &next).await?;
        times.add(clock.elapsed().saturating_sub(before));
        done += reply.succeeded()?;
        leases = reply.leases;
        if leases.is_empty() {
            return Ok((done, times));
        }
    }
}
