use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use stdx::Clock;
use tokio::task::LocalSet;

use crate::figures::Times;
use crate::http::Connection;

/// So long nothing happens between two jobs, at least.
const QUIET: Duration = Duration::from_millis(10);

/// From before a job is put to its lease at a worker that waits for it, with nothing else going on.
pub(crate) async fn idle(address: &str, queue: &str, rounds: usize) -> Result<Value> {
    let (mut client, mut worker) = (Connection::open(address).await?, Connection::open(address).await?);
    let (path, clock) = (format!("/v1/queues/{queue}/jobs"), Clock::system());
    let wait = format!(r#"{{"queues":["{queue}"],"worker":"load","wait":"30s"}}"#);
    let mut times = Times::default();
    let set = LocalSet::new();
    for round in 0..rounds {
        let (request, arrived) = (wait.clone(), clock.clone());
        let waiting = set.spawn_local(async move {
            let leases = worker.lease(&request).await;
            (worker, leases, arrived.elapsed())
        });
        let put = async {
            // Not at a beat that another part of the machine may share.
            tokio::time::sleep(QUIET + Duration::from_millis(fastrand::u64(0..10))).await;
            let before = clock.elapsed();
            client.post(&path, &format!(r#"{{"payload":{{"client":0,"n":{round}}}}}"#)).await?;
            let (connection, leases, after) = waiting.await?;
            anyhow::Ok((connection, leases?, after.saturating_sub(before)))
        };
        let (connection, leases, taken) = set.run_until(put).await?;
        worker = connection;
        ensure!(leases.len() == 1, "one job was put, and {} were leased", leases.len());
        worker.finish(&leases, "").await?.succeeded()?;
        times.add(taken);
    }
    Ok(times.quantiles())
}
