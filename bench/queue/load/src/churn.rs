use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use stdx::Clock;
use tokio::task::LocalSet;

use crate::figures::per_second;
use crate::http::Connection;
use crate::put::{BULK, put_many};

/// Jobs that wait at most: more are put once there are fewer.
const WAITING_MAX: usize = 50_000;

/// Workers, each with this many jobs at one time.
const WORKERS: usize = 8;
const BATCH: usize = 100;

/// How often a line is printed.
const LINE_JOBS: usize = 250_000;

#[derive(Default)]
struct Counts {
    put: Cell<usize>,
    done: Cell<usize>,
}

/// Jobs are put, leased and finished all the while, a batch at a time. Prints a line now and then.
pub(crate) async fn churn(address: &str, queue: &str, jobs: usize) -> Result<Value> {
    let (clock, counts) = (Clock::system(), Rc::new(Counts::default()));
    let set = LocalSet::new();
    let putter = put(Connection::open(address).await?, queue.to_owned(), jobs, Rc::clone(&counts));
    let mut tasks = vec![set.spawn_local(putter)];
    for worker in 0..WORKERS {
        let next = format!(r#"{{"queues":["{queue}"],"worker":"load-{worker}","n":{BATCH},"wait":"1s"}}"#);
        tasks.push(set.spawn_local(work(Connection::open(address).await?, next, jobs, Rc::clone(&counts))));
    }
    tasks.push(set.spawn_local(tell(clock.clone(), jobs, Rc::clone(&counts))));
    let before = clock.elapsed();
    set.run_until(async {
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })
    .await?;
    let taken = clock.elapsed().saturating_sub(before);
    Ok(json!({ "done": counts.done.get(), "seconds": taken.as_secs(), "perSecond": per_second(jobs, taken) }))
}

async fn put(mut connection: Connection, queue: String, jobs: usize, counts: Rc<Counts>) -> Result<()> {
    let path = format!("/v1/queues/{queue}/jobs/bulk");
    while counts.put.get() < jobs {
        if counts.put.get() - counts.done.get() > WAITING_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let some = BULK.min(jobs - counts.put.get());
        put_many(&mut connection, &path, some, None).await?;
        counts.put.set(counts.put.get() + some);
    }
    Ok(())
}

async fn work(mut connection: Connection, next: String, jobs: usize, counts: Rc<Counts>) -> Result<()> {
    let mut leases = Vec::new();
    while counts.done.get() < jobs {
        let reply = connection.finish(&leases, &next).await?;
        counts.done.set(counts.done.get() + reply.succeeded()?);
        leases = reply.leases;
    }
    Ok(())
}

async fn tell(clock: Clock, jobs: usize, counts: Rc<Counts>) -> Result<()> {
    let (mut told, mut at) = (0, clock.elapsed());
    while told < jobs {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (done, now) = (counts.done.get(), clock.elapsed());
        if done - told >= LINE_JOBS || done >= jobs {
            crate::print(&json!({ "done": done, "perSecond": per_second(done - told, now.saturating_sub(at)) }));
            (told, at) = (done, now);
        }
    }
    Ok(())
}
