//! What `bench/queue.py` puts on a queue's server, and the bare stores beside it. Each call measures one thing and
//! prints it as a line of JSON. Workers are in one thread and do nothing, so that the server is what is measured.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

mod churn;
mod figures;
mod http;
mod idle;
mod put;
mod raw;
mod steps;
mod work;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const USAGE: &str = "usage: load enqueue ADDRESS QUEUE CLIENTS SECONDS
       load bulk ADDRESS QUEUE CLIENTS JOBS [CONCURRENCY_KEY]
       load work ADDRESS QUEUE IN_FLIGHT
       load idle ADDRESS QUEUE ROUNDS
       load steps ADDRESS QUEUE ROUNDS
       load churn ADDRESS QUEUE JOBS
       load sqlite FILE SECONDS
       load postgres URL CLIENTS SECONDS";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let found = match *words {
        ["enqueue", address, queue, clients, seconds] => {
            runtime.block_on(put::enqueue(address, queue, clients.parse()?, seconds.parse()?))
        }
        ["bulk", address, queue, clients, jobs] => {
            runtime.block_on(put::bulk(address, queue, clients.parse()?, jobs.parse()?, None))
        }
        ["bulk", address, queue, clients, jobs, key] => {
            runtime.block_on(put::bulk(address, queue, clients.parse()?, jobs.parse()?, Some(key)))
        }
        ["work", address, queue, in_flight] => runtime.block_on(work::work(address, queue, in_flight.parse()?)),
        ["idle", address, queue, rounds] => runtime.block_on(idle::idle(address, queue, rounds.parse()?)),
        ["steps", address, queue, rounds] => runtime.block_on(steps::steps(address, queue, rounds.parse()?)),
        ["churn", address, queue, jobs] => runtime.block_on(churn::churn(address, queue, jobs.parse()?)),
        ["sqlite", file, seconds] => raw::sqlite(file.as_ref(), seconds.parse()?),
        ["postgres", url, clients, seconds] => raw::postgres(url, clients.parse()?, seconds.parse()?),
        _ => bail!(USAGE),
    };
    print(&found?);
    Ok(())
}

fn print(found: &Value) {
    println!("{found}");
}
