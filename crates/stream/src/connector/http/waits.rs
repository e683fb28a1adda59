//! How long to wait before the next connection: pure, by the cause of the last one's end.

use std::time::Duration;

use chrono::DateTime;
use stdx::{Backoff, Timestamp};

/// Each further loss of the connection waits this much longer.
const LOST_STEP: Duration = Duration::from_millis(250);
/// The longest wait after a loss of the connection.
const LOST_LONGEST: Duration = Duration::from_secs(16);
/// The first and the longest wait after a 5xx.
const SERVER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(320));
/// The first wait after a 429 that doesn't say how long, and the longest.
const LIMITED: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));
/// The longest wait that a server may ask for.
const ASKED_LONGEST: Duration = Duration::from_hours(24);

/// What a refusal said about when to come back.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// `Retry-After`: seconds, or an HTTP date.
    pub(super) retry_after: Option<String>,
    /// `x-rate-limit-reset`: seconds since 1970.
    pub(super) rate_limit_reset: Option<String>,
}

/// What follows from a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again after this time.
    Wait(Duration),
    /// Trying again can't help; what to do.
    Stop(&'static str),
}

/// Counts failures by cause.
#[derive(Debug)]
pub(super) struct Waits {
    losses: u32,
    server: Backoff,
    limited: Backoff,
}

impl Waits {
    /// No failures yet.
    pub(super) const fn new() -> Self {
        Self {
            losses: 0,
            server: Backoff::exponential(SERVER.0, SERVER.1),
            limited: Backoff::exponential(LIMITED.0, LIMITED.1),
        }
    }

    /// A connection proved good: all counts start over.
    pub(super) const fn settle(&mut self) {
        self.losses = 0;
        self.server.succeed();
        self.limited.succeed();
    }

    /// The connection was lost, went silent, ended or could not be made.
    pub(super) fn lost(&mut self) -> Duration {
        let wait = LOST_STEP.saturating_mul(self.losses).min(LOST_LONGEST);
        self.losses = self.losses.saturating_add(1);
        wait
    }

    /// The server answered with a status that is no success.
    pub(super) fn answered(&mut self, status: u16, said: &Said, now: Timestamp) -> Verdict {
        match status {
            429 => {
                let by_count = self.limited.fail();
                Verdict::Wait(said.asked(now).unwrap_or(by_count))
            }
            500..=599 => Verdict::Wait(self.server.fail().max(said.after(now).unwrap_or_default())),
            401 => Verdict::Stop("the token was not accepted: set a valid one in the secret that `token` names"),
            403 => Verdict::Stop("the token is valid but may not read this: ask the server's owner for access"),
            404 => Verdict::Stop("there is no such stream: correct `url`"),
            300..=399 => Verdict::Stop("the redirect can't be followed: put the stream's final address in `url`"),
            _ => Verdict::Stop("the request is not accepted: check `url`, `query` and `headers`"),
        }
    }
}

impl Said {
    /// The wait that was asked for. A time that is over says nothing.
    fn asked(&self, now: Timestamp) -> Option<Duration> {
        self.after(now).or_else(|| until(self.rate_limit_reset.as_ref()?.trim().parse().ok()?, now))
    }

    fn after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.retry_after.as_ref()?.trim();
        match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds).min(ASKED_LONGEST)).filter(|wait| !wait.is_zero()),
            Err(_) => until(DateTime::parse_from_rfc2822(text).ok()?.timestamp(), now),
        }
    }
}

fn until(seconds: i64, now: Timestamp) -> Option<Duration> {
    let micros = seconds.saturating_mul(1_000_000).saturating_sub(now.micros());
    let wait = Duration::from_micros(u64::try_from(micros).ok()?);
    Some(wait.min(ASKED_LONGEST)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-10-21T07:28:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_445_412_480_000);

    fn seconds(verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Wait(wait) => wait.as_secs(),
            Verdict::Stop(reason) => panic!("stopped: {reason}"),
        }
    }

    fn retry_after(text: &str) -> Said {
        Said { retry_after: Some(text.to_owned()), ..Said::default() }
    }

    fn reset(text: &str) -> Said {
        Said { rate_limit_reset: Some(text.to_owned()), ..Said::default() }
    }

    #[test]
    fn a_loss_waits_nothing_then_grows_in_a_line_to_16_seconds() {
        let mut waits = Waits::new();
        let all: Vec<u128> = (0..100).map(|_| waits.lost().as_millis()).collect();
        assert_eq!(all[..5], [0, 250, 500, 750, 1000]);
        assert_eq!((all[63], all[64], all[99]), (15_750, 16_000, 16_000));
        waits.settle();
        assert_eq!(waits.lost(), Duration::ZERO);
    }

    #[test]
    fn a_server_error_doubles_from_5_to_320_seconds() {
        let mut waits = Waits::new();
        let all: Vec<u64> = (0..9).map(|_| seconds(waits.answered(503, &Said::default(), NOW))).collect();
        assert_eq!(all, [5, 10, 20, 40, 80, 160, 320, 320, 320]);
        assert_eq!(seconds(waits.answered(503, &retry_after("400"), NOW)), 400);
        assert_eq!(seconds(waits.answered(503, &retry_after("1"), NOW)), 320);
        waits.settle();
        assert_eq!(seconds(waits.answered(500, &Said::default(), NOW)), 5);
    }

    #[test]
    fn a_rate_limit_doubles_from_60_seconds() {
        let mut waits = Waits::new();
        let all: Vec<u64> = (0..8).map(|_| seconds(waits.answered(429, &Said::default(), NOW))).collect();
        assert_eq!(all, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn a_rate_limit_may_say_how_long() {
        let wait = |said: Said| seconds(Waits::new().answered(429, &said, NOW));
        assert_eq!(wait(retry_after("17")), 17);
        assert_eq!(wait(retry_after("Wed, 21 Oct 2015 07:28:30 GMT")), 30);
        assert_eq!(wait(reset("1445412525")), 45);
        assert_eq!(wait(Said { retry_after: Some("7".into()), ..reset("1445412525") }), 7);
        assert_eq!(wait(retry_after("999999999")), 86_400);
    }

    #[test]
    fn what_can_not_be_used_counts_as_not_said() {
        let wait = |said: Said| seconds(Waits::new().answered(429, &said, NOW));
        for said in ["0", "-5", "soon", "", "Wed, 21 Oct 2015 07:27:59 GMT"] {
            assert_eq!(wait(retry_after(said)), 60, "{said}");
        }
        for said in ["0", "1445412480", "never", "-9223372036854775808"] {
            assert_eq!(wait(reset(said)), 60, "{said}");
        }
    }

    #[test]
    fn other_statuses_stop_with_what_to_do() {
        for (status, word) in [(401, "secret"), (403, "access"), (404, "`url`"), (400, "`query`"), (302, "redirect")] {
            match Waits::new().answered(status, &Said::default(), NOW) {
                Verdict::Stop(reason) => assert!(reason.contains(word), "{status}: {reason}"),
                Verdict::Wait(wait) => panic!("{status} waits {wait:?}"),
            }
        }
    }

    #[test]
    fn causes_are_counted_apart() {
        let mut waits = Waits::new();
        waits.lost();
        assert_eq!(seconds(waits.answered(500, &Said::default(), NOW)), 5);
        assert_eq!(seconds(waits.answered(429, &Said::default(), NOW)), 60);
        assert_eq!(waits.lost(), Duration::from_millis(250));
    }
}
