//! What a running stream counts: read by the progress display, scraped as Prometheus metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use crate::ReasonCode;

/// The labels of a part's counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    stream: String,
    part: String,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    stream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LagLabels {
    stream: String,
    part: String,
    task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    stream: String,
    reason: &'static str,
}

/// The metrics of a process: every stream that runs in it.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    rows: Family<PartLabels, Counter>,
    bytes: Family<PartLabels, Counter>,
    quarantined: Family<ReasonLabels, Counter>,
    commit_seconds: Family<StreamLabels, Histogram, fn() -> Histogram>,
    batch_seconds: Family<StreamLabels, Histogram, fn() -> Histogram>,
    lag: Family<LagLabels, Gauge>,
    memory_bytes: Gauge,
}

/// From a tenth of a millisecond to a minute and a half.
fn seconds() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.0001, 4.0, 11))
}

impl Default for Meters {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headwater");
        let (rows, bytes, quarantined, lag) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        let commit_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let batch_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let memory_bytes = Gauge::default();
        registry.register("rows", "Rows into and out of each part", rows.clone());
        registry.register("bytes", "Bytes into sources and out of sinks", bytes.clone());
        registry.register("quarantined", "Rows put aside, by reason", quarantined.clone());
        registry.register_with_unit("commit", "Time of a commit", Unit::Seconds, commit_seconds.clone());
        registry.register_with_unit(
            "batch",
            "Time from a batch's read to the last sink's write",
            Unit::Seconds,
            batch_seconds.clone(),
        );
        registry.register("lag", "What remains to be read: messages, or files", lag.clone());
        registry.register_with_unit("memory", "Resident memory of the process", Unit::Bytes, memory_bytes.clone());
        Self { registry, rows, bytes, quarantined, commit_seconds, batch_seconds, lag, memory_bytes }
    }
}

impl Meters {
    /// The metrics in Prometheus' text format (`OpenMetrics`).
    pub fn text(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.memory_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing into a string can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// The counters of one stream.
    pub fn stream(&self, stream: &str) -> StreamMeter {
        let labels = StreamLabels { stream: stream.into() };
        StreamMeter {
            commit_seconds: self.commit_seconds.get_or_create_owned(&labels),
            batch_seconds: self.batch_seconds.get_or_create_owned(&labels),
            parts: Mutex::default(),
            reasons: Mutex::default(),
            committed_at: AtomicI64::new(0),
            commits: AtomicU64::new(0),
            rows: self.rows.clone(),
            bytes: self.bytes.clone(),
            quarantined: self.quarantined.clone(),
            lag: self.lag.clone(),
            stream: stream.into(),
        }
    }
}

/// Resident memory of this process in bytes, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The counters of one part; clones share them.
#[derive(Clone, Debug)]
pub struct PartMeter {
    /// Rows that came in (a source: messages or rows read).
    pub rows_in: Counter,
    /// Rows that went out (a sink: rows written).
    pub rows_out: Counter,
    /// Bytes that came in.
    pub bytes_in: Counter,
    /// Bytes that went out.
    pub bytes_out: Counter,
    lags: Lags,
}

/// What remains to be read of a source, by task.
type Lags = Arc<Mutex<BTreeMap<String, Gauge>>>;

/// What remains to be read of one source by one task: messages, or files. The task is forgotten when this is dropped.
#[derive(Debug)]
pub struct Lag {
    gauge: Gauge,
    family: Family<LagLabels, Gauge>,
    labels: LagLabels,
    lags: Lags,
}

impl Lag {
    /// So much remains.
    pub fn set(&self, lag: u64) {
        self.gauge.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.family.remove(&self.labels);
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.labels.task);
    }
}

/// The counters of one stream, shared by its tasks.
#[derive(Debug)]
pub struct StreamMeter {
    stream: String,
    commit_seconds: Histogram,
    batch_seconds: Histogram,
    parts: Mutex<BTreeMap<String, PartMeter>>,
    reasons: Mutex<BTreeMap<ReasonCode, Counter>>,
    committed_at: AtomicI64,
    commits: AtomicU64,
    rows: Family<PartLabels, Counter>,
    bytes: Family<PartLabels, Counter>,
    quarantined: Family<ReasonLabels, Counter>,
    lag: Family<LagLabels, Gauge>,
}

impl StreamMeter {
    /// The counters of a part.
    pub fn part(&self, part: &str) -> PartMeter {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.entry(part.into()).or_insert_with(|| self.new_part(part)).clone()
    }

    fn new_part(&self, part: &str) -> PartMeter {
        let labels = |direction| PartLabels { stream: self.stream.clone(), part: part.into(), direction };
        PartMeter {
            rows_in: self.rows.get_or_create_owned(&labels("in")),
            rows_out: self.rows.get_or_create_owned(&labels("out")),
            bytes_in: self.bytes.get_or_create_owned(&labels("in")),
            bytes_out: self.bytes.get_or_create_owned(&labels("out")),
            lags: Lags::default(),
        }
    }

    /// What remains to be read of the source `part` by `task`.
    pub fn lag(&self, part: &str, task: &str) -> Lag {
        let labels = LagLabels { stream: self.stream.clone(), part: part.into(), task: task.into() };
        let (gauge, lags) = (self.lag.get_or_create_owned(&labels), self.part(part).lags);
        lags.lock().unwrap_or_else(PoisonError::into_inner).insert(task.into(), gauge.clone());
        Lag { gauge, family: self.lag.clone(), labels, lags }
    }

    /// A row was put aside.
    pub fn quarantined(&self, reason: ReasonCode) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = ReasonLabels { stream: self.stream.clone(), reason: reason.as_str() };
        reasons.entry(reason).or_insert_with(|| self.quarantined.get_or_create_owned(&labels)).inc();
    }

    /// Rows put aside since the process started.
    pub fn quarantined_total(&self) -> u64 {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).values().map(Counter::get).sum()
    }

    /// A commit is done.
    pub fn committed(&self, at_millis: i64, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.committed_at.store(at_millis, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch went through.
    pub fn batch(&self, took: Duration) {
        self.batch_seconds.observe(took.as_secs_f64());
    }

    /// What stands on the counters now.
    pub fn snapshot(&self) -> Snapshot {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = parts.iter().map(|(name, part)| (name.clone(), PartSnapshot::of(part))).collect();
        let committed_at = self.committed_at.load(Ordering::Relaxed);
        Snapshot {
            parts,
            quarantined: self.quarantined_total(),
            commits: self.commits.load(Ordering::Relaxed),
            committed_at_millis: (committed_at != 0).then_some(committed_at),
        }
    }
}

/// The counters of a stream at one moment, since the process started.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// By the part's name.
    pub parts: BTreeMap<String, PartSnapshot>,
    /// Rows put aside.
    pub quarantined: u64,
    /// Commits of all tasks.
    pub commits: u64,
    /// When the last commit was done, milliseconds since 1970.
    pub committed_at_millis: Option<i64>,
}

/// The counters of a part at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartSnapshot {
    /// Rows in.
    pub rows_in: u64,
    /// Rows out.
    pub rows_out: u64,
    /// Bytes in.
    pub bytes_in: u64,
    /// Bytes out.
    pub bytes_out: u64,
    /// What remains to be read.
    pub lag: i64,
}

impl PartSnapshot {
    fn of(part: &PartMeter) -> Self {
        Self {
            rows_in: part.rows_in.get(),
            rows_out: part.rows_out.get(),
            bytes_in: part.bytes_in.get(),
            bytes_out: part.bytes_out.get(),
            lag: part.lags.lock().unwrap_or_else(PoisonError::into_inner).values().map(Gauge::get).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_labels_are_the_contract() {
        let meters = Meters::default();
        let stream = meters.stream("ztf");
        stream.part("raw").rows_out.inc_by(3);
        let lags = [stream.lag("alerts", "alerts-0"), stream.lag("alerts", "alerts-1")];
        lags[0].set(7);
        lags[1].set(5);
        stream.quarantined(ReasonCode::Malformed);
        stream.committed(1, Duration::from_millis(3));
        stream.batch(Duration::from_millis(1));
        let text = meters.text();
        for line in [
            "headwater_rows_total{stream=\"ztf\",part=\"raw\",direction=\"out\"} 3",
            "headwater_lag{stream=\"ztf\",part=\"alerts\",task=\"alerts-0\"} 7",
            "headwater_quarantined_total{stream=\"ztf\",reason=\"malformed\"} 1",
            "headwater_commit_seconds_count{stream=\"ztf\"} 1",
            "headwater_batch_seconds_count{stream=\"ztf\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.contains("headwater_memory_bytes "), "{text}");
        assert_eq!((stream.snapshot().quarantined, stream.snapshot().parts["alerts"].lag), (1, 12));
        drop(lags);
        assert!(!meters.text().contains("alerts-0"), "a task that is gone has no lag");
    }
}
