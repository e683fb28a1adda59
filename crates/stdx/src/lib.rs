//! What the standard library lacks: a clock that tests can own, a bell to wait on, a way to stop, a back-off,
//! an error chain in one line, a hash that never changes. No word of the domain.

mod backoff;
mod bell;
mod blame;
mod chain;
mod clock;
mod hash;
mod stop;

pub use backoff::Backoff;
pub use bell::Bell;
pub use blame::Blame;
pub use chain::Chain;
pub use clock::{Clock, Timestamp};
pub use hash::hash;
pub use stop::{Level, Stop};
