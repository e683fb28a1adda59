use anyhow::Result;
use serde_json::{Value, json};
use stdx::Clock;

use crate::figures::Times;
use crate::http::Connection;

/// What one client waits for, step by step: a page of the list, a lease, another lease while the first is held (which
/// is of nothing, where all jobs are of one concurrency key), and the finish.
pub(crate) async fn steps(address: &str, queue: &str, rounds: usize) -> Result<Value> {
    let (mut connection, clock) = (Connection::open(address).await?, Clock::system());
    let list_path = format!("/v1/jobs?queue={queue}&limit=100");
    let request = format!(r#"{{"queues":["{queue}"],"worker":"load"}}"#);
    let mut times: [Times; 4] = Default::default();
    for _ in 0..rounds {
        let begun = clock.elapsed();
        connection.get(&list_path).await?;
        let listed = clock.elapsed();
        let mut leases = connection.lease(&request).await?;
        let leased = clock.elapsed();
        leases.extend(connection.lease(&request).await?);
        let again = clock.elapsed();
        connection.finish(&leases, "").await?.succeeded()?;
        let marks = [begun, listed, leased, again, clock.elapsed()];
        for (step, two) in times.iter_mut().zip(marks.windows(2)) {
            step.add(two[1].saturating_sub(two[0]));
        }
    }
    let [list, lease, lease_again, finish] = times.map(|step| step.quantiles());
    Ok(json!({ "list": list, "lease": lease, "leaseAgain": lease_again, "finish": finish }))
}
