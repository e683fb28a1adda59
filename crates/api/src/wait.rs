//! Requests that wait: for a job to end, for a job to lease. Neither costs more than its place while it does.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use queue::{FinishReply, Job, JobId, LeaseRequest, Pending, Waiter};
use tokio::time::{Sleep, sleep};

use crate::limit;
use crate::problem::Problem;
use crate::state::Api;
use crate::unsent::{Named, Unsent};

/// The job once it has ended, or as it is when the wait is over. `may` is asked each time, and refuses by itself.
pub(crate) async fn job(
    api: &Api,
    id: JobId,
    wait: Duration,
    may: impl Fn(&Job) -> Result<(), Problem>,
) -> Result<Job, Problem> {
    let mut over = pin!(sleep(wait));
    let mut seat = None;
    loop {
        let waiter = (!wait.is_zero()).then(|| api.store.hub().job(id));
        let job = api.view.get(id).await?;
        may(&job)?;
        let Some(waiter) = waiter.filter(|_| !job.state.has_ended()) else { return Ok(job) };
        if seat.is_none() {
            seat = Some(api.seat()?);
        }
        if !news(api, waiter, over.as_mut()).await {
            return Ok(job);
        }
    }
}

/// Waits for news; false when the wait is over.
async fn news(api: &Api, waiter: Waiter, over: std::pin::Pin<&mut Sleep>) -> bool {
    let look = async {
        match api.store.poll_every() {
            Some(every) => sleep(every).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = waiter.woken() => true,
        () = look => true,
        () = over => false,
        () = api.stopped() => false,
    }
}

/// Leases, waiting for a job while there is none for as long as the request says.
pub(crate) async fn lease(api: &Api, request: LeaseRequest) -> Result<Unsent, Problem> {
    let wait = wait_of(&request);
    let name = Named::new(api, &request.worker, request.request.as_deref());
    let mut over = pin!(sleep(wait));
    let mut seat = None;
    loop {
        let waiter = (!wait.is_zero()).then(|| api.store.hub().ready(&request.queues, &request.types));
        let ((), unsent) = kept(api, api.store.lease(request.clone()), name.clone(), |leases| ((), leases)).await?;
        let Some(waiter) = waiter.filter(|_| unsent.is_empty()) else { return Ok(unsent) };
        if seat.is_none() {
            seat = Some(api.seat()?);
        }
        if !news(api, waiter, over.as_mut()).await {
            return Ok(unsent);
        }
    }
}

/// How long a request waits.
pub(crate) fn wait_of(request: &LeaseRequest) -> Duration {
    request.wait.map_or(Duration::ZERO, |wait| wait.get().min(limit::WAIT_MAX))
}

/// Finishes, and leases in the same transaction.
pub(crate) async fn finish(
    api: &Api,
    finish: queue::Finish,
) -> Result<(Vec<Result<queue::Finished, queue::Error>>, Unsent), Problem> {
    let lease = finish.lease.as_ref();
    let name = lease.and_then(|lease| Named::new(api, &lease.worker, lease.request.as_deref()));
    let split = |reply: FinishReply| (reply.outcomes, reply.leases);
    kept(api, api.store.finish(finish), name, split).await
}

/// Awaits a reply with leases on a task of its own, so that they are given back if the client has left when it comes.
async fn kept<T: Send + 'static, R: Send + 'static>(
    api: &Api,
    pending: Pending<T>,
    name: Option<Arc<Named>>,
    split: impl FnOnce(T) -> (R, Vec<queue::Lease>) + Send + 'static,
) -> Result<(R, Unsent), Problem> {
    let api = api.clone();
    let task = tokio::spawn(async move {
        let (rest, leases) = split(pending.await?);
        Ok((rest, Unsent::new(&api, leases, name)))
    });
    match task.await {
        Ok(reply) => reply,
        Err(_) => Err(queue::Error::StoreDown { why: "the server ends".to_owned() }.into()),
    }
}
