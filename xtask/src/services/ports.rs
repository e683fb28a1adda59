//! Ports that nobody listens on.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};

/// Where ports are looked for: beneath those that systems give to outgoing connections, so that a port is still free
/// when a process that was stopped comes back to it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Distinct ports of the loopback address, free at this moment. `seed` says where the search begins, so that two who
/// search at the same time seldom meet.
pub(crate) fn free(count: usize, seed: u32) -> Result<Vec<u16>> {
    let width = u32::from(PORTS.end - PORTS.start);
    // A large odd step, so that neighbouring seeds begin far apart.
    let first = seed.wrapping_mul(7_919) % width;
    let ports = (0..width).filter_map(|step| u16::try_from((first + step) % width).ok()).map(|at| PORTS.start + at);
    let found: Vec<u16> = ports.filter(|port| is_free(*port)).take(count).collect();
    (found.len() == count).then_some(found).context("find free ports on 127.0.0.1")
}

/// Whether nobody listens there.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_taken_are_passed_over() {
        let first = free(3, 5).expect("three ports");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first[1]));
        let second = free(3, 5).expect("three ports");
        assert!(taken.is_err() || !second.contains(&first[1]), "{first:?} {second:?}");
        assert!(second[0] < second[1] && second[1] < second[2], "{second:?}");
    }
}
