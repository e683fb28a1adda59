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
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    level: AtomicU8,
    bells: Mutex<Vec<Bell>>,
    parent: Option<Stop>,
}

impl Stop {
    /// A request that is also made when this one is, and may be made alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Shared { parent: Some(self.clone()), ..Shared::default() }))
    }

    /// Asks everyone to stop and rings their bells.
    pub fn ask(&self, level: Level) {
        self.0.level.fetch_max(level as u8, Ordering::SeqCst);
        for bell in self.0.bells.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            bell.ring();
        }
    }

    /// What is asked now.
    pub fn level(&self) -> Level {
        let own = match self.0.level.load(Ordering::SeqCst) {
            0 => Level::Run,
            1 => Level::Drain,
            _ => Level::Halt,
        };
        self.0.parent.as_ref().map_or(own, |parent| parent.level().max(own))
    }

    /// Rings `bell` at every later request, for as long as anybody else holds it.
    pub fn tell(&self, bell: &Bell) {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(Bell::is_shared);
        bells.push(bell.clone());
        if let Some(parent) = &self.0.parent {
            parent.tell(bell);
        }
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

    #[test]
    fn a_child_hears_its_parent_and_not_the_other_way() {
        let (parent, bell) = (Stop::default(), Bell::default());
        let (child, sibling) = (parent.child(), parent.child());
        child.tell(&bell);
        sibling.ask(Level::Drain);
        assert_eq!((parent.level(), child.level(), sibling.level()), (Level::Run, Level::Run, Level::Drain));
        parent.ask(Level::Drain);
        assert_eq!(child.level(), Level::Drain);
        assert!(bell.wait(&crate::Clock::system(), None));
    }
}
