//! Real processes, started, watched and stopped.

// Under `cfg(test)`, so that helpers may unwrap as tests do.
#[cfg(test)]
mod launch;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod orphans;
#[cfg(test)]
mod place;
