//! How many rows are due by the clock.

use std::time::Duration;

/// Rows are handed over at most this often, so that a high rate comes in batches.
const EVERY: Duration = Duration::from_millis(10);

/// Hands out rows evenly over time. The first is due at once.
#[derive(Debug)]
pub(super) struct Pace {
    rows_per_second: f64,
    start: Duration,
    /// Rows handed out, or forgiven, since `start`.
    taken: u64,
    not_before: Duration,
}

impl Pace {
    pub(super) const fn new(rows_per_second: f64, now: Duration) -> Self {
        Self { rows_per_second, start: now, taken: 0, not_before: now }
    }

    /// The rows that are due, at least one, or when to ask again.
    ///
    /// Who was held up for long gets at most a second's rows at once: what was missed beyond that is left out of the
    /// reckoning, not made up for in a burst.
    pub(super) fn due(&mut self, now: Duration) -> Result<u64, Duration> {
        if now < self.not_before {
            return Err(self.time_of_next());
        }
        let due = self.rows_by(now).saturating_sub(self.taken);
        if due == 0 {
            return Err(self.time_of_next());
        }
        let most = whole(self.rows_per_second).max(1);
        self.taken += due.saturating_sub(most);
        Ok(due.min(most))
    }

    /// Says that `rows` of the `due` were handed out at `now`.
    pub(super) fn took(&mut self, rows: u64, due: u64, now: Duration) {
        self.taken += rows;
        if rows >= due {
            self.not_before = now + EVERY;
        }
    }

    fn rows_by(&self, now: Duration) -> u64 {
        let seconds = now.saturating_sub(self.start).as_secs_f64();
        whole(seconds * self.rows_per_second).saturating_add(1)
    }

    #[expect(clippy::cast_precision_loss, reason = "rows are counted exactly up to 2^53, for years at any real rate")]
    fn time_of_next(&self) -> Duration {
        let after = Duration::try_from_secs_f64(self.taken as f64 / self.rows_per_second).unwrap_or(Duration::MAX);
        // Rounding must not land before the moment, or the asking would spin.
        self.start.saturating_add(after).saturating_add(Duration::from_nanos(1)).max(self.not_before)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative; `as` stops at the largest"
)]
const fn whole(real: f64) -> u64 {
    real as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn slow_rows_come_one_by_one_at_their_times() {
        let mut pace = Pace::new(2.0, at(100));
        assert_eq!(pace.due(at(100)), Ok(1));
        pace.took(1, 1, at(100));
        let next = pace.due(at(110)).unwrap_err();
        assert_eq!(next.as_millis(), 600);
        assert_eq!(pace.due(next), Ok(1));
    }

    #[test]
    fn fast_rows_come_in_batches() {
        let mut pace = Pace::new(1_000_000.0, at(0));
        assert_eq!(pace.due(at(5)), Ok(5001));
        pace.took(5001, 5001, at(5));
        assert_eq!(pace.due(at(6)), Err(at(15)));
        assert_eq!(pace.due(at(15)), Ok(10_000));
        pace.took(4000, 10_000, at(15));
        assert_eq!(pace.due(at(15)), Ok(6000), "what a limit left over is due at once");
    }

    #[test]
    fn a_long_wait_is_not_made_up_for() {
        let mut pace = Pace::new(100.0, at(0));
        assert_eq!(pace.due(at(60_000)), Ok(100));
        pace.took(100, 100, at(60_000));
        assert_eq!(pace.due(at(60_500)), Ok(50));
    }
}
