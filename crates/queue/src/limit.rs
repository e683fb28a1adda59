//! How large and how many things may be. Each limit is a promise: more is refused, not cut.

/// Jobs in one bulk request.
pub const BULK_JOBS_MAX: usize = 10_000;
/// Bytes of a job's payload.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a job's result.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a job's `meta`.
pub const META_BYTES_MAX: usize = 16 << 10;
/// Bytes of a worker's progress report.
pub const PROGRESS_BYTES_MAX: usize = 4 << 10;
/// Bytes of an error's message and trace together.
pub const FAILURE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 256;
/// Bytes of a job's type, a worker's name, a request's name, a concurrency key.
pub const NAME_BYTES_MAX: usize = 128;
/// Types that one queue may know.
pub const TYPES_MAX: usize = 1000;
/// Parents of one job.
pub const PARENTS_MAX: usize = 1000;
/// Children of one ack.
pub const CHILDREN_MAX: usize = 1000;
/// Jobs in one lease.
pub const LEASE_JOBS_MAX: usize = 1000;
/// Queues in one lease.
pub const LEASE_QUEUES_MAX: usize = 100;
/// Beats, or outcomes, in one request.
pub const BATCH_MAX: usize = 1000;
/// The largest `attempts`.
pub const ATTEMPTS_MAX: u32 = 1000;
/// The largest `concurrency.max`.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// The largest priority, and, negated, the smallest.
pub const PRIORITY_MAX: i32 = 1000;
/// Jobs on one page of a list.
pub const PAGE_JOBS_MAX: usize = 1000;
/// Lines in one append to a log, or in one page of it.
pub const LOG_LINES_MAX: usize = 1000;
/// Bytes of one line of a log.
pub const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Leases that a job remembers: older ones answer a repeated finish with `lease_lost`.
pub const LEASES_REMEMBERED: u32 = 20;
/// The longest of all durations: ten years.
pub const DURATION_MAX: std::time::Duration = std::time::Duration::from_hours(87_600);
/// The shortest lease.
pub const LEASE_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest lease.
pub const LEASE_MAX: std::time::Duration = std::time::Duration::from_hours(24);
/// The time between the end of a job's `timeout`, when its worker is told to stop, and the moment at which the server
/// takes the job back: the worker's own account of what happened is better than none.
pub const TIMEOUT_MARGIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Files that one attempt leaves.
pub const ARTIFACTS_MAX: i64 = 100;
/// Bytes of the name of a file that a job leaves.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 255;
/// Bytes of one file that a job leaves, in a store that keeps files.
pub const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
