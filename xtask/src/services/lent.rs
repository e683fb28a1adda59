//! Services for the time of a run, and what tests leave behind.

use std::fs;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::{SERVICES, Service, down, process, remove, up};
use crate::context::Context;
use crate::report::say;

/// What a test's own services are named after: `own-PROCESS-NUMBER`, with the services in it.
const OWN: &str = "own-";

/// Services that are up as long as this lives. Those that were up before stay.
#[derive(Debug)]
pub(crate) struct Lent {
    inner: Arc<Inner>,
    handle: Handle,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    fresh: Vec<&'static str>,
}

impl Lent {
    /// Starts all services that aren't up.
    pub(crate) fn all(context: &Context) -> Result<Lent> {
        let services: Vec<&'static Service> = SERVICES.iter().collect();
        let before: Vec<&str> = services.iter().filter(|service| is_up(context, service)).map(|one| one.name).collect();
        let fresh = services.iter().map(|service| service.name).filter(|name| !before.contains(name)).collect();
        // First the way down, then up: whoever interrupts a start leaves nothing behind either.
        let inner = Arc::new(Inner { context: context.clone(), fresh });
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen for signals")?;
        let lent = Lent { inner: Arc::clone(&inner), handle: signals.handle() };
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                inner.down();
                drop(signal_hook::low_level::emulate_default_handler(signal));
            }
        });
        up(context, &services)?;
        Ok(lent)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.handle.close();
        self.inner.down();
    }
}

impl Inner {
    fn down(&self) {
        for service in SERVICES.iter().filter(|service| self.fresh.contains(&service.name)) {
            if let Err(error) = down(&self.context, service) {
                say(format_args!("error: end {}: {error:#}", service.name));
            }
        }
        sweep(&self.context);
    }
}

fn is_up(context: &Context, service: &Service) -> bool {
    let state = super::State::read(&super::folder(context, service));
    state.is_ok_and(|state| state.is_some_and(|state| state.is_up()))
}

/// Ends services that tests had for themselves and, killed, could not end.
pub(super) fn sweep(context: &Context) {
    let Ok(entries) = fs::read_dir(&context.services) else { return };
    for entry in entries.filter_map(Result::ok) {
        let Some(owner) = owner(&entry.file_name().to_string_lossy()) else { continue };
        if process::Process::of(owner).is_some() {
            continue;
        }
        for service in &SERVICES {
            drop(remove(&entry.path().join(service.name)));
        }
        drop(fs::remove_dir_all(entry.path()));
    }
}

/// The process that a folder such as `own-123-0` belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(OWN)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stands_in_the_name() {
        assert_eq!(owner("own-123-0"), Some(123));
        assert_eq!(owner("kafka"), None);
        assert_eq!(owner("own-x-0"), None);
    }
}
