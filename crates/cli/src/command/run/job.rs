//! What a run runs, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use queue::Worked;
use stdx::{Level, Stop};
use stream::{Report, StreamMeter};
use tokio::sync::watch;

use crate::exit::{self, Exit};

/// How long workers that were told to stop wait for answers, and requests for their end, beyond what the document says.
const ANSWERS: Duration = Duration::from_secs(25);

/// Something that is to run.
pub(super) struct Job {
    pub(super) label: String,
    /// The file of its document, as the user named it.
    pub(super) file: String,
    pub(super) stop: Stop,
    pub(super) work: Work,
}

/// What is run.
pub(super) enum Work {
    Stream(Box<StreamWork>),
    Queue(Box<QueueWork>),
}

/// A stream that is to run.
pub(super) struct StreamWork {
    /// What is shown of it.
    pub(super) plan: stream::Plan,
    /// What is run, one after the other.
    pub(super) plans: Vec<stream::Plan>,
    pub(super) meter: Arc<StreamMeter>,
    pub(super) world: stream::World,
}

/// A queue that is to be served. Clones share what is asked of it and what it counts.
#[derive(Clone)]
pub(super) struct QueueWork {
    pub(super) plan: queue::Plan,
    /// Who may do what.
    pub(super) grants: Vec<api::Grant>,
    pub(super) meter: Arc<queue::Meter>,
    /// What is asked of the workers.
    pub(super) level: watch::Sender<Level>,
    /// Whether requests are answered and nobody has asked it to stop.
    pub(super) is_ready: watch::Sender<bool>,
    pub(super) world: queue::World,
}

impl QueueWork {
    pub(super) fn new(plan: queue::Plan, grants: Vec<api::Grant>, world: queue::World) -> Self {
        let meter = Arc::new(queue::Meter::default());
        Self { plan, grants, meter, level: watch::Sender::new(Level::Run), is_ready: watch::Sender::new(false), world }
    }
}

impl Job {
    pub(super) fn stream(
        label: String,
        file: String,
        plan: stream::Plan,
        world: stream::World,
        meter: Arc<StreamMeter>,
    ) -> Job {
        let plans = vec![plan.clone()];
        let work = Work::Stream(Box::new(StreamWork { plan, plans, meter, world }));
        Job { label, file, stop: Stop::default(), work }
    }

    pub(super) fn queue(label: String, file: String, work: QueueWork) -> Job {
        Job { label, file, stop: Stop::default(), work: Work::Queue(Box::new(work)) }
    }

    /// Asks it to stop.
    pub(super) fn ask(&self, level: Level) {
        self.stop.ask(level);
        if let Work::Queue(queue) = &self.work {
            queue.level.send_replace(level);
        }
    }

    /// How long it may take to stop in peace.
    pub(super) fn drain_timeout(&self) -> Duration {
        match &self.work {
            Work::Stream(stream) => stream.plan.drain_timeout,
            Work::Queue(queue) => {
                let grace = queue.plan.pools.iter().map(|pool| pool.stop_grace.get()).max().unwrap_or_default();
                queue.plan.drain_timeout + grace + ANSWERS
            }
        }
    }
}

/// What came of a job.
pub(super) enum Outcome {
    Stream(Report),
    Queue(Served),
}

/// What a queue's server did.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// What the pools of workers did.
    pub(super) worked: BTreeMap<String, Worked>,
}

/// A job that ran.
pub(super) struct Ended {
    pub(super) label: String,
    pub(super) file: String,
    pub(super) work: Work,
    /// What came of it; `None` where it didn't hear in time that it should stop.
    pub(super) result: Option<anyhow::Result<Outcome>>,
    pub(super) took: Duration,
}

impl Ended {
    pub(super) fn exit(&self) -> Exit {
        match &self.result {
            Some(Err(_)) if self.is_closed_pipe() => Exit::Done,
            Some(Err(error)) => exit::of(error),
            Some(Ok(_)) | None => Exit::Done,
        }
    }

    /// Whether it ended because nobody reads its output any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(&self.result, Some(Err(error)) if exit::is_closed_pipe(error.as_ref()))
    }
}
