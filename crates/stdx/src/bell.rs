use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Clock;

/// Something to wait on: whoever has news rings it, whoever waits wakes up.
///
/// A ring that comes while nobody waits is kept, so that news between a look and a wait isn't lost.
/// Waiting costs no processor time.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    /// Wakes whoever waits, or the next to wait.
    pub fn ring(&self) {
        let (rung, condition) = &*self.0;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_all();
    }

    /// Whether anybody else holds this bell.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Waits until the bell rings or `clock.elapsed()` reaches `until`. Tells whether it rang.
    ///
    /// On a clock that a test moves by hand, the clock is looked at each millisecond.
    pub fn wait(&self, clock: &Clock, until: Option<Duration>) -> bool {
        let (rung, condition) = &*self.0;
        let mut rang = rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rang {
            let left = until.map(|until| until.saturating_sub(clock.elapsed()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            let left = if clock.is_manual() { Some(Duration::from_millis(1)) } else { left };
            rang = match left {
                Some(left) => {
                    condition.wait_timeout(rang, left).map_or_else(|poison| poison.into_inner().0, |woken| woken.0)
                }
                None => condition.wait(rang).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *rang = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_kept() {
        let bell = Bell::default();
        bell.ring();
        assert!(bell.wait(&Clock::system(), None));
        let clock = Clock::system();
        assert!(!bell.wait(&clock, Some(clock.elapsed())));
    }

    #[test]
    fn a_ring_from_another_thread_wakes() {
        let bell = Bell::default();
        let other = bell.clone();
        let thread = std::thread::spawn(move || other.ring());
        assert!(bell.wait(&Clock::system(), None));
        thread.join().unwrap();
    }

    #[test]
    fn a_manual_clock_ends_the_wait() {
        let (bell, clock) = (Bell::default(), Clock::manual(crate::Timestamp::from_millis(0)));
        let mover = clock.clone();
        let thread = std::thread::spawn(move || mover.advance(Duration::from_mins(1)));
        assert!(!bell.wait(&clock, Some(Duration::from_mins(1))));
        thread.join().unwrap();
    }
}
