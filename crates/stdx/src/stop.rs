use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Bell;

/// How urgently to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Go on.
    Run,
    /// Read no more; flush, commit, end.
    Drain,
    /// End now; what isn't committed is read again later.
    Halt,
}

/// A request to stop, shared by everyone who must hear it. It only grows more urgent.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(AtomicU8, Mutex<Vec<Bell>>)>);

impl Stop {
    /// Asks everyone to stop and rings their bells.
    pub fn ask(&self, level: Level) {
        self.0.0.fetch_max(level as u8, Ordering::SeqCst);
        for bell in self.0.1.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            bell.ring();
        }
    }

    /// What is asked now.
    pub fn level(&self) -> Level {
        match self.0.0.load(Ordering::SeqCst) {
            0 => Level::Run,
            1 => Level::Drain,
            _ => Level::Halt,
        }
    }

    /// Rings `bell` at every later request.
    pub fn tell(&self, bell: &Bell) {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).push(bell.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_only_more_urgent_and_rings() {
        let (stop, bell) = (Stop::default(), Bell::default());
        stop.tell(&bell);
        stop.ask(Level::Halt);
        stop.ask(Level::Drain);
        assert_eq!(stop.level(), Level::Halt);
        assert!(bell.wait(&crate::Clock::system(), None));
    }
}
