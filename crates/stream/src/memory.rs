//! One number of bytes for the container, leased from one pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory of a container (`memory:` in the document), shared by all of its tasks.
///
/// Whoever keeps bytes for longer than a batch leases them here: open writers, buffers between I/O and a task. Who is
/// refused gives something back first (closes a writer, waits for its reader).
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    leased_bytes: AtomicUsize,
}

impl Pool {
    /// A pool of `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Shared { limit_bytes, leased_bytes: AtomicUsize::new(0) }))
    }

    /// An empty lease, to be grown.
    pub fn lease(&self) -> Lease {
        Lease { pool: self.clone(), bytes: 0 }
    }

    /// What is leased now, in bytes.
    pub fn leased_bytes(&self) -> usize {
        self.0.leased_bytes.load(Ordering::Relaxed)
    }

    /// The whole pool, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }
}

/// Bytes held from a [`Pool`]; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Pool,
    bytes: usize,
}

impl Lease {
    /// Holds `bytes` in all, and tells whether the pool still keeps its limit. What is already in memory is counted
    /// even when the answer is no: then something must be given back.
    pub fn set(&mut self, bytes: usize) -> bool {
        let leased = &self.pool.0.leased_bytes;
        let now = if bytes >= self.bytes {
            leased.fetch_add(bytes - self.bytes, Ordering::Relaxed) + (bytes - self.bytes)
        } else {
            leased.fetch_sub(self.bytes - bytes, Ordering::Relaxed) - (self.bytes - bytes)
        };
        self.bytes = bytes;
        now <= self.pool.0.limit_bytes
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.0.leased_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_share_the_limit_and_give_back() {
        let pool = Pool::new(100);
        let (mut a, mut b) = (pool.lease(), pool.lease());
        assert!(a.set(60));
        assert!(!b.set(50));
        assert!(a.set(10));
        drop(b);
        assert_eq!(pool.leased_bytes(), 10);
    }
}
