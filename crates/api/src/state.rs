use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use queue::{Artifacts, Store, Swept, View};
use stdx::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::access::Access;
use crate::body::BODY_UNIT_BYTES;
use crate::limit::Limits;
use crate::meter::Meter;
use crate::problem::Problem;
use crate::unsent::Names;

/// All that requests share. Clones are the same.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// What is behind an [`Api`].
pub struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) view: Arc<dyn View>,
    pub(crate) artifacts: Option<Arc<dyn Artifacts>>,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) meter: Meter,
    pub(crate) names: Names,
    pub(crate) bodies: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Api {
    /// An API over a store, a view of the same jobs, and where the files are kept that jobs leave: with none, they
    /// leave none.
    pub fn new(
        store: Arc<dyn Store>,
        view: Arc<dyn View>,
        artifacts: Option<Arc<dyn Artifacts>>,
        access: Access,
        limits: Limits,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            view,
            artifacts,
            access,
            limits,
            clock: Clock::system(),
            meter: Meter::default(),
            names: Names::default(),
            bodies: Arc::new(Semaphore::new(limits.bodies_bytes.div_ceil(BODY_UNIT_BYTES))),
            waits: Arc::new(Semaphore::new(limits.waits)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Counts what a sweep did, for `/metrics`. For whoever sweeps the store.
    pub fn note_sweep(&self, swept: &Swept) {
        self.meter.swept(swept);
    }

    /// Notes how many transactions a store has made, and how many requests they held, for `/metrics`.
    pub fn note_groups(&self, transactions: u64, requests: u64) {
        self.meter.groups(transactions, requests);
    }

    /// Ends what waits, with what there is. [`serve`](crate::serve) does so when it is stopped.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Until told to stop.
    pub(crate) async fn stopped(&self) {
        // The sender is ours, so it can't be gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// A place among those who wait.
    pub(crate) fn seat(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let seat = Arc::clone(&self.waits).try_acquire_owned();
        seat.map_err(|_| Problem::busy("as many requests wait as may"))
    }

    /// A place among those who stream.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let stream = Arc::clone(&self.streams).try_acquire_owned();
        stream.map_err(|_| Problem::busy("as many events are streamed as may be"))
    }

    pub(crate) fn waiting(&self) -> usize {
        self.limits.waits.saturating_sub(self.waits.available_permits())
    }
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
