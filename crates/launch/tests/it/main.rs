//! Real processes, started, watched and stopped.

mod launch;
mod limits;
mod orphans;
mod place;
