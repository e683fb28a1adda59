//! The queue's stores, held to one suite.

// Under `cfg(test)`, so that helpers may unwrap as tests do.
#[cfg(test)]
mod power;
#[cfg(test)]
mod store;
