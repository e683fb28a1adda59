use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// From what a file system says.
    pub fn from_system(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX)),
        }
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Time as a value: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System(Instant),
    Manual { start: Arc<AtomicI64>, elapsed: Arc<Mutex<Duration>> },
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Kind::System(Instant::now()))
    }

    /// A clock that stands at `start` until it is advanced. Clones share it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Kind::Manual { start: Arc::new(AtomicI64::new(start.0)), elapsed: Arc::default() })
    }

    /// The moment by the calendar. It may jump; measure with [`Clock::elapsed`].
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System(_) => Timestamp::from_system(SystemTime::now()),
            Kind::Manual { start, .. } => {
                Timestamp(start.load(Ordering::Relaxed) + i64::try_from(self.elapsed().as_micros()).unwrap_or(i64::MAX))
            }
        }
    }

    /// The time since this clock was made. It never goes back.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System(start) => start.elapsed(),
            Kind::Manual { elapsed, .. } => *elapsed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; the machine's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { elapsed, .. } = &self.0 {
            *elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// Moves a manual clock's calendar, as somebody who sets a machine's clock does: [`Clock::elapsed`] hears nothing of
    /// it. The machine's clock does not listen.
    pub fn jump(&self, micros: i64) {
        if let Kind::Manual { start, .. } = &self.0 {
            start.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// Whether a test moves this clock.
    pub const fn is_manual(&self) -> bool {
        matches!(self.0, Kind::Manual { .. })
    }
}
