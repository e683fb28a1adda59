use std::time::Duration;

/// How long to wait before the next try: grows from `first` by `factor` up to `longest`, and starts over on success.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    factor: u32,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// A back-off that multiplies by two.
    pub const fn exponential(first: Duration, longest: Duration) -> Self {
        Self { first, factor: 2, longest, tries: 0 }
    }

    /// The wait before the next try. Each call counts as one failure.
    pub fn fail(&mut self) -> Duration {
        let wait = self.first.saturating_mul(self.factor.saturating_pow(self.tries)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.tries
    }

    /// Says that it worked: the next failure waits `first` again.
    pub const fn succeed(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_longest_and_starts_over() {
        let mut backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_secs(30));
        let waits: Vec<u64> = (0..4).map(|_| backoff.fail().as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 30]);
        backoff.succeed();
        assert_eq!(backoff.fail(), Duration::from_secs(5));
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_mins(1));
        for _ in 0..100 {
            backoff.fail();
        }
        assert_eq!(backoff.fail(), Duration::from_mins(1));
    }
}
