//! Several streams and queues at once, each on a thread of its own, and the signals that stop them.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stdx::{Chain, Clock, Level};
use stream::{Control, Error, Ordinal, Plan, Report, World};

use super::job::{Ended, Job, Outcome, Work};
use super::serve;
use crate::exit::{self, Exit};
use crate::figures;
use crate::progress::{Progress, Shown};
use crate::session::Session;

/// How long a stream that was told to stop at once may take to hear it, before the process ends without it.
const HALT_GRACE: Duration = Duration::from_secs(2);

enum Event {
    Signal,
    Ended(usize, anyhow::Result<Outcome>),
}

/// How a run is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether it ends when the input is drained.
    pub(super) until_idle: bool,
    /// Which of several containers this process is.
    pub(super) container: Option<Ordinal>,
}

/// Runs all jobs until they end or signals stop them.
pub(super) fn drive(
    jobs: Vec<Job>,
    manner: Manner,
    shown: Shown,
    session: &Session,
) -> anyhow::Result<(Vec<Ended>, Exit)> {
    let (sender, events) = mpsc::channel();
    let signals = watch_signals(sender.clone())?;
    let mut progress = Progress::new(shown, &session.screen, &session.clock);
    let mut running = Vec::new();
    for (number, mut job) in jobs.into_iter().enumerate() {
        match &job.work {
            Work::Stream(stream) => progress.add(&job.label, &stream.plan, &stream.meter),
            Work::Queue(queue) => progress.add_queue(&job.label, &queue.plan, &queue.meter),
        }
        start(number, &mut job, manner, session, sender.clone())?;
        running.push(Running { job, result: None, took: Duration::ZERO, is_late: false });
    }
    let mut drive = Drive {
        session,
        clock: &session.clock,
        progress,
        running,
        started: session.clock.elapsed(),
        asked: Asked::None,
    };
    drive.until_all_ended(&events);
    signals.close();
    drive.progress.end();
    let exit = drive.exit();
    let ended = drive.running.into_iter().map(Running::ended).collect();
    Ok((ended, exit))
}

/// Turns each SIGINT and SIGTERM into an event.
fn watch_signals(sender: Sender<Event>) -> anyhow::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listen to signals")?;
    let handle = signals.handle();
    let listen = move || {
        for _ in signals.forever() {
            if sender.send(Event::Signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).context("start the thread of signals")?;
    Ok(handle)
}

fn start(number: usize, job: &mut Job, manner: Manner, session: &Session, sender: Sender<Event>) -> anyhow::Result<()> {
    let (screen, runtime) = (session.screen.clone(), session.handle());
    let body: Box<dyn FnOnce() -> anyhow::Result<Outcome> + Send> = match &mut job.work {
        Work::Stream(stream) => {
            let (plans, world) = (std::mem::take(&mut stream.plans), stream.world.clone());
            let control = Control {
                stop: job.stop.clone(),
                meter: Arc::clone(&stream.meter),
                until_idle: manner.until_idle,
                holder: session.holder(),
                container: manner.container,
            };
            Box::new(move || Ok(Outcome::Stream(run_all(plans, &world, &control)?)))
        }
        Work::Queue(queue) => {
            let queue = queue.clone();
            Box::new(move || serve::serve(&queue, manner.until_idle, &screen, &runtime).map(Outcome::Queue))
        }
    };
    let body = move || {
        let ran = panic::catch_unwind(AssertUnwindSafe(body));
        let result = ran.unwrap_or_else(|_| Err(Error::House("its thread panicked".into()).into()));
        // Nobody listens any more when the process ends without waiting.
        let _ = sender.send(Event::Ended(number, result));
    };
    thread::Builder::new().name(job.label.clone()).spawn(body).context("start a thread")?;
    Ok(())
}

fn run_all(plans: Vec<Plan>, world: &World, control: &Control) -> Result<Report, Error> {
    let mut last = None;
    for plan in plans {
        let report = stream::run(plan, world, control)?;
        let is_stopped = report.stopped;
        last = Some(report);
        if is_stopped {
            break;
        }
    }
    last.ok_or_else(|| Error::House("a stream without a plan was started".into()))
}

struct Running {
    job: Job,
    result: Option<anyhow::Result<Outcome>>,
    took: Duration,
    /// Whether its drain took longer than the document allows.
    is_late: bool,
}

impl Running {
    fn ended(self) -> Ended {
        let Job { label, file, work, .. } = self.job;
        Ended { label, file, work, result: self.result, took: self.took }
    }

    /// Stops a drain that takes longer than the document allows; tells whether it was given up.
    fn is_over(&mut self, drained: Duration, session: &Session) -> bool {
        let limit = self.job.drain_timeout();
        if drained >= limit && !self.is_late {
            self.is_late = true;
            session.screen.error(&format!(
                "{}: not drained within {} (spec.drainTimeout); stopping at once, what isn't done is taken up again at the \
                 next start",
                self.job.label,
                figures::duration(limit)
            ));
            self.job.ask(Level::Halt);
        }
        drained >= limit + HALT_GRACE
    }
}

/// What the signals asked for, and when.
#[derive(Clone, Copy)]
enum Asked {
    None,
    Drain(Duration),
    Halt(Duration),
}

struct Drive<'a> {
    session: &'a Session,
    clock: &'a Clock,
    progress: Progress,
    running: Vec<Running>,
    started: Duration,
    asked: Asked,
}

impl Drive<'_> {
    fn until_all_ended(&mut self, events: &Receiver<Event>) {
        while self.running.iter().any(|running| running.result.is_none()) {
            let now = self.clock.elapsed();
            let until = [self.progress.next(), self.deadline()].into_iter().flatten().min();
            let event = match until {
                Some(until) => events.recv_timeout(until.saturating_sub(now)),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Signal) => self.signal(),
                Ok(Event::Ended(number, result)) => self.ended(number, result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.progress.look();
            if self.is_over() {
                return;
            }
        }
    }

    fn signal(&mut self) {
        let now = self.clock.elapsed();
        let level = match self.asked {
            Asked::None => {
                self.asked = Asked::Drain(now);
                self.session.screen.note("draining; press Ctrl-C again to stop at once");
                Level::Drain
            }
            Asked::Drain(_) | Asked::Halt(_) => {
                self.asked = Asked::Halt(now);
                self.session.screen.note("stopping at once; what isn't done is taken up again at the next start");
                Level::Halt
            }
        };
        self.running.iter().for_each(|running| running.job.ask(level));
    }

    fn ended(&mut self, number: usize, result: anyhow::Result<Outcome>) {
        let running = &mut self.running[number];
        running.took = self.clock.elapsed().saturating_sub(self.started);
        if let Err(error) = &result
            && !exit::is_closed_pipe(error.as_ref())
        {
            self.session.screen.error(&format!("{}: {}", running.job.label, Chain(error.as_ref())));
        }
        running.result = Some(result);
    }

    /// When a drain or a halt has taken too long.
    fn deadline(&self) -> Option<Duration> {
        match self.asked {
            Asked::None => None,
            Asked::Halt(at) => Some(at + HALT_GRACE),
            Asked::Drain(at) => {
                let open = self.running.iter().filter(|running| running.result.is_none());
                let grace = |running: &Running| if running.is_late { HALT_GRACE } else { Duration::ZERO };
                open.map(|running| at + running.job.drain_timeout() + grace(running)).min()
            }
        }
    }

    /// Stops what drains for too long; tells whether there is nobody left to wait for.
    fn is_over(&mut self) -> bool {
        let now = self.clock.elapsed();
        match self.asked {
            Asked::None => false,
            Asked::Halt(at) => now >= at + HALT_GRACE,
            Asked::Drain(at) => {
                let open = self.running.iter_mut().filter(|running| running.result.is_none());
                let over: Vec<bool> =
                    open.map(|running| running.is_over(now.saturating_sub(at), self.session)).collect();
                over.into_iter().all(|over| over)
            }
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self.asked, Asked::Halt(_)) {
            return Exit::Interrupted;
        }
        let exit = |running: &Running| match &running.result {
            Some(Err(error)) if !exit::is_closed_pipe(error.as_ref()) => exit::of(error),
            _ if running.is_late => Exit::World,
            _ => Exit::Done,
        };
        self.running.iter().map(exit).max().unwrap_or(Exit::Done)
    }
}
