//! A queue at work: its store, the HTTP server in front of it, and the workers that speak to that server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use queue::{Meter, Opened, Swept, WorkError, Worked};
use stdx::Level;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::job::{QueueWork, Served};
use crate::queues;
use crate::screen::Screen;

/// How long no job may be there that has not ended, until a queue counts as idle.
const IDLE: u32 = 5;

/// The pools of workers, each with its name.
type Pools = JoinSet<(String, Result<Worked, WorkError>)>;

/// Serves a queue until it is asked to stop, and then until its workers have ended. Blocks.
pub(super) fn serve(work: &QueueWork, until_idle: bool, screen: &Screen, runtime: &Handle) -> anyhow::Result<Served> {
    // Each client that waits has a connection, and most systems give a process few.
    launch::raise_open_files();
    let plan = &work.plan;
    let (access, own_token) = queues::access(plan, work.tokens.clone())?;
    let opened = queue::open(plan, &work.world)?;
    let listener = TcpListener::bind(plan.listen).with_context(|| format!("listen on {}", plan.listen))?;
    listener.set_nonblocking(true).context("listen without blocking")?;
    let bound = listener.local_addr().context("find the address that is listened on")?;
    screen.note(&format!("queue {} listens on http://{bound}", plan.name));
    let served = runtime.block_on(async {
        work.meter.look(opened.view.as_ref()).await?;
        let listener = tokio::net::TcpListener::from_std(listener).context("listen on the runtime")?;
        let pools = start(work, bound, own_token.as_deref())?;
        let api = queues::serving(opened.clone(), access);
        until_stopped(work, &opened, listener, api, pools, until_idle).await
    });
    work.is_ready.send_replace(false);
    served
}

/// Starts the workers. They wait until the server answers.
fn start(work: &QueueWork, bound: SocketAddr, token: Option<&str>) -> anyhow::Result<Pools> {
    let mut pools = Pools::new();
    if work.plan.pools.is_empty() {
        return Ok(pools);
    }
    let launcher: Arc<dyn launch::Launcher> = Arc::new(launch::Local::new().context("start the launcher")?);
    let server = format!("http://{}", reachable(bound));
    for pool in &work.plan.pools {
        let worker = queue::worker(&work.plan, pool, &server, token.map(str::to_owned), &work.world);
        let (launcher, asked, name) = (Arc::clone(&launcher), work.level.subscribe(), pool.name.clone());
        pools.spawn(async move { (name, worker.work(launcher, asked).await) });
    }
    Ok(pools)
}

async fn until_stopped(
    work: &QueueWork,
    opened: &Opened,
    listener: tokio::net::TcpListener,
    api: api::Api,
    mut pools: Pools,
    until_idle: bool,
) -> anyhow::Result<Served> {
    let (end, ended) = oneshot::channel::<()>();
    let stopped = async move { drop(ended.await) };
    // In a set of its own, since that ends it when it is dropped.
    let mut server = JoinSet::new();
    server.spawn(api::serve(listener, api.clone(), stopped));
    work.is_ready.send_replace(true);
    let worked = tokio::select! {
        error = queue::sweep(opened.store.as_ref(), |swept| note(&api, opened, swept)) => return Err(error.into()),
        never = work.meter.watch(opened.view.as_ref()) => match never {},
        never = idle(&work.meter, &work.level), if until_idle => match never {},
        Some(early) = server.join_next() => {
            early.context("run the server")??;
            anyhow::bail!("the server ended, and nobody had asked it to");
        }
        worked = until_worked(&mut pools, work) => worked?,
    };
    // Only now, since the workers had their results to tell.
    drop(end);
    while let Some(ended) = server.join_next().await {
        ended.context("run the server")??;
    }
    work.meter.look(opened.view.as_ref()).await?;
    Ok(Served { worked })
}

/// What a sweep did and the store has done, for those who watch it.
fn note(api: &api::Api, opened: &Opened, swept: &Swept) {
    api.note_sweep(swept);
    let (transactions, requests) = opened.store.groups();
    api.note_groups(transactions, requests);
}

/// Until it was asked to stop and all workers have ended.
async fn until_worked(pools: &mut Pools, work: &QueueWork) -> anyhow::Result<BTreeMap<String, Worked>> {
    let mut level = work.level.subscribe();
    let (mut worked, mut is_draining) = (BTreeMap::new(), false);
    while !is_draining || !pools.is_empty() {
        tokio::select! {
            Some(ended) = pools.join_next() => {
                let (name, result) = ended.context("run a pool of workers")?;
                let result = result.with_context(|| format!("run the workers {name}"))?;
                worked.insert(name, result);
            }
            asked = level.wait_for(|level| *level > Level::Run), if !is_draining => {
                // The sender is the job's own, so it can't be gone.
                drop(asked);
                is_draining = true;
                work.is_ready.send_replace(false);
            }
        }
    }
    Ok(worked)
}

/// Asks to drain once no job was open for a while.
async fn idle(meter: &Meter, level: &watch::Sender<Level>) -> std::convert::Infallible {
    let mut quiet = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let is_open = meter.snapshot().values().any(|tally| tally.open() > 0);
        quiet = if is_open { 0 } else { quiet + 1 };
        if quiet == IDLE {
            level.send_if_modified(|level| std::mem::replace(level, Level::Drain.max(*level)) == Level::Run);
        }
    }
}

/// Where this machine reaches what it listens on.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, bound.port())
}
