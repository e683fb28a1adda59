//! The line of a queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use queue::{Meter, Tally};

use super::RATE_OVER;
use crate::figures::{count, short};
use crate::screen::Screen;

/// One queue.
#[derive(Debug)]
pub(super) struct Jobs {
    label: String,
    queue: String,
    meter: Arc<Meter>,
    /// When, and how many jobs had ended until then: the newest last.
    samples: VecDeque<(Duration, u64)>,
    bar: Option<ProgressBar>,
}

impl Jobs {
    pub(super) fn new(label: &str, queue: &str, meter: &Arc<Meter>, now: Duration, bar: Option<ProgressBar>) -> Self {
        let (label, queue, meter) = (label.to_owned(), queue.to_owned(), Arc::clone(meter));
        let samples = VecDeque::from([(now, ended(&meter, &queue))]);
        Self { label, queue, meter, samples, bar }
    }

    pub(super) fn name(&self) -> String {
        format!("{} > {}", self.label, self.queue)
    }

    pub(super) fn into_bar(self) -> Option<ProgressBar> {
        self.bar
    }

    pub(super) fn show(&mut self, now: Duration, widest: usize, screen: &Screen) {
        let tally = tally(&self.meter, &self.queue);
        let rate = self.rate(now, &tally);
        match &self.bar {
            Some(bar) => {
                let name = screen.paint("1", &format!("{:<widest$}", self.name()));
                bar.set_message(format!("{name}  {}", aligned(&tally, rate, screen)));
                bar.tick();
            }
            None => screen.note(&format!("{} {} {}", self.label, self.queue, plain(&tally, rate))),
        }
    }

    /// Jobs that ended in a second.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn rate(&mut self, now: Duration, tally: &Tally) -> f64 {
        // What is forgotten makes the count smaller: counted from there on.
        if self.samples.back().is_some_and(|(_, before)| *before > tally.ended()) {
            self.samples.clear();
        }
        self.samples.push_back((now, tally.ended()));
        while self.samples.len() > 2 && self.samples[1].0 + RATE_OVER <= now {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        let seconds = now.saturating_sub(since).as_secs_f64().max(0.001);
        tally.ended().saturating_sub(before) as f64 / seconds
    }
}

fn tally(meter: &Meter, queue: &str) -> Tally {
    meter.snapshot().get(queue).copied().unwrap_or_default()
}

fn ended(meter: &Meter, queue: &str) -> u64 {
    tally(meter, queue).ended()
}

fn aligned(tally: &Tally, rate: f64, screen: &Screen) -> String {
    let failed = format!("{:>5} failed", count(tally.failed));
    let failed = if tally.failed > 0 { screen.paint("33", &failed) } else { failed };
    let waiting = if tally.waiting > 0 { format!("  {} waiting", count(tally.waiting)) } else { String::new() };
    format!(
        "{:>7} ready {:>4} running {:>9} succeeded {failed} {:>6}/s{waiting}",
        count(tally.ready),
        count(tally.running),
        count(tally.succeeded),
        short(rate),
    )
}

fn plain(tally: &Tally, rate: f64) -> String {
    format!(
        "ready={} running={} waiting={} succeeded={} failed={} cancelled={} jobs/s={rate:.1}",
        tally.ready, tally.running, tally.waiting, tally.succeeded, tally.failed, tally.cancelled,
    )
}
