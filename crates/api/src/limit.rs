//! How much of each thing the server takes. Each limit has a name, a default and a reason to change it.

use std::time::Duration;

/// Bytes of a request's body, where it holds one thing.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a request's body, where it holds many things: bulk, finish, ack.
pub const BULK_BODY_BYTES_MAX: usize = 32 << 20;
/// Bytes of all bodies that are being read at one time. Requests past it are told to come again.
pub const BODIES_BYTES_MAX: usize = 256 << 20;
/// Bytes of a body that is too large which are read and thrown away, so that its sender lives to read the refusal.
pub const DISCARD_BYTES_MAX: usize = 64 << 20;
/// Bytes of a request's line and headers.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Headers of one request.
pub const HEADERS_MAX: usize = 64;
/// The time for a request's headers, and for which a connection may stand idle.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// The time for a request's body.
pub const BODY_TIME_MAX: Duration = Duration::from_mins(2);
/// The time without a byte, in a body that comes in or a reply that goes out, after which a client is cut off.
pub const STALL_TIME_MAX: Duration = Duration::from_secs(20);
/// Connections at one time. Further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Requests that wait for a job at one time. Further ones are told to come again.
pub const WAITS_MAX: usize = 8000;
/// Streams of events at one time. Further ones are told to come again.
pub const STREAMS_MAX: usize = 1000;
/// The longest `wait`. Longer ones are cut to it.
pub const WAIT_MAX: Duration = Duration::from_mins(1);
/// The time for requests to end once the server was told to stop.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// The silence after which a stream of events says that it is alive.
pub const EVENTS_SILENCE_MAX: Duration = Duration::from_secs(15);
/// Events, or lines of a log, that are read from the store at one time.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Jobs on a page of a list that doesn't say.
pub const PAGE_JOBS: usize = 100;
/// Jobs in the reply to `GET /jobs`, the newest, since it shows each with its payload.
pub const LECTURE_JOBS_MAX: usize = 100;
/// Bytes of payloads and results in the reply to `GET /jobs`, give or take one job: older jobs are left out.
pub const LECTURE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a queue's, a schedule's or a worker's name in a path.
pub const PATH_NAME_BYTES_MAX: usize = 128;
/// The time for the store to answer whether it is ready.
pub const READY_TIME_MAX: Duration = Duration::from_secs(5);

/// The limits that a server may be given others of. By default those of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`BODY_BYTES_MAX`].
    pub body_bytes: usize,
    /// See [`BULK_BODY_BYTES_MAX`].
    pub bulk_body_bytes: usize,
    /// See [`BODIES_BYTES_MAX`].
    pub bodies_bytes: usize,
    /// See [`HEAD_TIME_MAX`].
    pub head_time: Duration,
    /// See [`BODY_TIME_MAX`].
    pub body_time: Duration,
    /// See [`STALL_TIME_MAX`].
    pub stall_time: Duration,
    /// See [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// See [`WAITS_MAX`].
    pub waits: usize,
    /// See [`STREAMS_MAX`].
    pub streams: usize,
    /// See [`DRAIN_TIME_MAX`].
    pub drain_time: Duration,
    /// See [`EVENTS_SILENCE_MAX`].
    pub events_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES_MAX,
            bulk_body_bytes: BULK_BODY_BYTES_MAX,
            bodies_bytes: BODIES_BYTES_MAX,
            head_time: HEAD_TIME_MAX,
            body_time: BODY_TIME_MAX,
            stall_time: STALL_TIME_MAX,
            connections: CONNECTIONS_MAX,
            waits: WAITS_MAX,
            streams: STREAMS_MAX,
            drain_time: DRAIN_TIME_MAX,
            events_silence: EVENTS_SILENCE_MAX,
        }
    }
}
