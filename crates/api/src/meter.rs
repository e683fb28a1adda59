//! What is counted, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use queue::{Finished, Stats, Swept};

use crate::state::Api;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    queue: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FinishLabels {
    state: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// A reply that waited for something: how long is no measure of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited;

/// The counters of one server.
pub(crate) struct Meter {
    /// Held while it is filled and written, so that two readers don't mix.
    registry: Mutex<Registry>,
    jobs: Family<StateLabels, Gauge>,
    oldest: Family<StateLabels, Gauge<f64, AtomicU64>>,
    waiting: Gauge,
    leases: Family<QueueLabels, Counter>,
    finishes: Family<FinishLabels, Counter>,
    lost: Counter,
    timeouts: Counter,
    fired: Counter,
    commits: Counter,
    committed: Counter,
    requests: Family<RequestLabels, Histogram>,
}

impl Default for Meter {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headwater");
        let jobs = Family::default();
        registry.register("queue_jobs", "Jobs, by queue and state", jobs.clone());
        let oldest = Family::default();
        let help = "How long ago the oldest job was put, by queue and state";
        registry.register_with_unit("queue_oldest", help, Unit::Seconds, oldest.clone());
        let waiting = Gauge::default();
        registry.register("http_waiting", "Requests that wait for a job", waiting.clone());
        let leases = Family::default();
        registry.register("queue_leases", "Leases that workers were told of", leases.clone());
        let finishes = Family::default();
        let help = "Attempts that workers finished, by the state that the job went to and why";
        registry.register("queue_finishes", help, finishes.clone());
        let lost = Counter::default();
        registry.register("queue_workers_lost", "Leases that lapsed without a beat", lost.clone());
        let timeouts = Counter::default();
        registry.register("queue_timeouts", "Attempts that took longer than they may", timeouts.clone());
        let fired = Counter::default();
        registry.register("queue_schedules_fired", "Jobs that schedules put", fired.clone());
        let commits = Counter::default();
        registry.register("queue_commits", "Transactions of the store", commits.clone());
        let committed = Counter::default();
        registry.register("queue_committed_requests", "Requests that its transactions held", committed.clone());
        let requests = Family::new_with_constructor(latency as fn() -> Histogram);
        let help = "How long replies took that did not wait for a job";
        registry.register_with_unit("http_request", help, Unit::Seconds, requests.clone());
        let registry = Mutex::new(registry);
        Self { registry, jobs, oldest, waiting, leases, finishes, lost, timeouts, fired, commits, committed, requests }
    }
}

fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

impl Meter {
    pub(crate) fn leased(&self, queue: &str) {
        self.leases.get_or_create(&QueueLabels { queue: queue.to_owned() }).inc();
    }

    pub(crate) fn finished(&self, finished: &Finished) {
        if !finished.duplicate {
            let reason = finished.reason.map_or("", queue::Reason::as_str);
            self.finishes.get_or_create(&FinishLabels { state: finished.state.as_str(), reason }).inc();
        }
    }

    pub(crate) fn swept(&self, swept: &Swept) {
        self.lost.inc_by(swept.lost as u64);
        self.timeouts.inc_by(swept.timeouts as u64);
        self.fired.inc_by(swept.fired as u64);
    }

    pub(crate) fn groups(&self, transactions: u64, requests: u64) {
        self.commits.inner().fetch_max(transactions, Ordering::Relaxed);
        self.committed.inner().fetch_max(requests, Ordering::Relaxed);
    }

    /// All of it, as `OpenMetrics` text.
    pub(crate) fn text(&self, stats: &[Stats], waiting: usize) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs.clear();
        self.oldest.clear();
        for stats in stats {
            let labels = StateLabels { queue: stats.queue.clone(), state: stats.state.as_str() };
            self.jobs.get_or_create(&labels).inc_by(i64::try_from(stats.jobs).unwrap_or(i64::MAX));
            let oldest = self.oldest.get_or_create(&labels);
            oldest.set(oldest.get().max(stats.oldest.get().as_secs_f64()));
        }
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a string can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    fn request(&self, method: &Method, route: String, status: u16, took: Duration) {
        let labels = RequestLabels { method: word(method), route, status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// A word of few, so that nobody makes up series.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Measures each request by the template of its route.
pub(crate) async fn measure(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, began) = (request.method().clone(), api.clock.elapsed());
    let response = next.run(request).await;
    if response.extensions().get::<Waited>().is_none() {
        let took = api.clock.elapsed().saturating_sub(began);
        api.meter.request(&method, route, response.status().as_u16(), took);
    }
    response
}
