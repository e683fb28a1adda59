//! The run that is killed: rows come slowly enough that every kill hits work.

use std::time::Duration;

use stream::verify::{Feed, StandIn};

use super::Between;
use super::life::{Life, Lives};
use crate::figures::{count, duration};

/// Rows that are there before the first start, so that schemas can be inferred from them.
const FIRST_ROWS: u64 = 100;
/// Pieces in which the rows of one life come.
const PIECES: u32 = 12;

/// How often the stream is killed, and when.
pub(super) struct Kills {
    asked: u32,
    done: u32,
    every: Between,
    draw: fastrand::Rng,
}

impl Kills {
    pub(super) fn new(asked: u32, every: Between, seed: u64) -> Self {
        Kills { asked, done: 0, every, draw: fastrand::Rng::with_seed(seed) }
    }

    /// How often it was killed.
    pub(super) const fn done(&self) -> u32 {
        self.done
    }

    /// Kills the stream while rows come, then lets it come to its end.
    pub(super) fn run(&mut self, lives: &Lives<'_>, feed: &mut Feed) -> anyhow::Result<()> {
        feed.release(FIRST_ROWS)?;
        while self.done < self.asked {
            // Something to read from the start, so that the first row comes.
            feed.release(self.target(feed, 1))?;
            let mut life = lives.start(StandIn::KILLED, false)?;
            if !life.has_begun()? || !self.live(life, lives, feed)? {
                let words = format!("the input came to its end after {} of {} kills", self.done, self.asked);
                lives.session.screen.note(&words);
                break;
            }
        }
        feed.release(feed.rows())?;
        let began = lives.clock().elapsed();
        lives.start(StandIn::KILLED, true)?.end()?;
        let took = duration(lives.clock().elapsed().saturating_sub(began));
        lives.session.screen.note(&format!("not killed any more: done in {took}"));
        Ok(())
    }

    /// Feeds a child for a random time and kills it; false where it came to its end before.
    fn live(&mut self, mut life: Life<'_>, lives: &Lives<'_>, feed: &mut Feed) -> anyhow::Result<bool> {
        let long = self.draw_time();
        let began = lives.clock().elapsed();
        for piece in 1..=PIECES {
            feed.release(self.target(feed, piece))?;
            if !life.lasts_until(began + long * piece / PIECES)? {
                return Ok(false);
            }
        }
        life.kill()?;
        self.done += 1;
        let fed = if feed.is_fed() { format!(", {} rows given", count(feed.released())) } else { String::new() };
        let words = format!("kill {} of {} after {}{fed}", self.done, self.asked, duration(long));
        lives.session.screen.note(&words);
        Ok(true)
    }

    /// The number of rows that are there after so many pieces of the life that follows `done` kills.
    fn target(&self, feed: &Feed, piece: u32) -> u64 {
        let first = FIRST_ROWS.min(feed.rows());
        let pieces = u64::from(self.done * PIECES + piece);
        first + (feed.rows() - first) * pieces / u64::from((self.asked + 1) * PIECES)
    }

    fn draw_time(&mut self) -> Duration {
        let (from, to) = (self.every.from.as_micros(), self.every.to.as_micros());
        let micros = |micros: u128| u64::try_from(micros).unwrap_or(u64::MAX);
        Duration::from_micros(self.draw.u64(micros(from)..=micros(to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_the_moments() {
        let every = Between { from: Duration::from_millis(200), to: Duration::from_secs(2) };
        let times = |seed| {
            let mut kills = Kills::new(5, every, seed);
            (0..5).map(|_| kills.draw_time()).collect::<Vec<_>>()
        };
        assert_eq!(times(4), times(4));
        assert_ne!(times(4), times(5));
        assert!(times(4).iter().all(|time| *time >= every.from && *time <= every.to));
    }
}
