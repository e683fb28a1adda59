//! What a person sees while something runs: a line for each sink of a stream and each queue, redrawn on a terminal,
//! appended where output is piped.

mod jobs;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stdx::Clock;
use stream::{Plan, Snapshot, StreamMeter};

use self::jobs::Jobs;
use crate::figures::{bytes, count, duration, short, size};
use crate::screen::Screen;

/// Between two looks on a terminal: quick enough to look alive, slow enough to cost nothing.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Between two lines of a sink where output is piped.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// What a rate is measured over.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Shows how far the sinks are.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Screen,
    clock: Clock,
    every: Option<Duration>,
    next: Duration,
    lines: Vec<Line>,
    queues: Vec<Jobs>,
    /// An empty line above the others. The terminal's `^C` pushes the lines down by one, so that the uppermost isn't
    /// found again when they are cleared: let it be this one.
    spare: Option<ProgressBar>,
}

/// One sink.
#[derive(Debug)]
struct Line {
    stream: String,
    sink: String,
    sources: BTreeSet<String>,
    meter: Arc<StreamMeter>,
    /// When, rows and bytes until then: the newest last.
    samples: VecDeque<(Duration, u64, u64)>,
    bar: Option<ProgressBar>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Not at all.
    Hidden,
    /// As lines that are redrawn.
    Bars,
    /// As lines that follow each other.
    Lines,
}

impl Progress {
    /// Shows nothing yet.
    pub(crate) fn new(shown: Shown, screen: &Screen, clock: &Clock) -> Progress {
        let every = match shown {
            Shown::Hidden => None,
            Shown::Bars => Some(REDRAW_EVERY),
            Shown::Lines => Some(LINE_EVERY),
        };
        let spare = (shown == Shown::Bars).then(|| {
            screen.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            screen.bars.add(ProgressBar::new_spinner().with_style(style(" ")))
        });
        let next = clock.elapsed() + every.unwrap_or_default();
        Progress {
            screen: screen.clone(),
            clock: clock.clone(),
            every,
            next,
            lines: Vec::new(),
            queues: Vec::new(),
            spare,
        }
    }

    /// Adds the sinks of a stream.
    pub(crate) fn add(&mut self, stream: &str, plan: &Plan, meter: &Arc<StreamMeter>) {
        let is_drawn = self.every == Some(REDRAW_EVERY);
        for sink in &plan.sinks {
            let bar = is_drawn
                .then(|| self.screen.bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}"))));
            self.lines.push(Line {
                stream: stream.to_owned(),
                sink: sink.name.clone(),
                sources: sources_of(plan, &sink.from),
                meter: Arc::clone(meter),
                samples: VecDeque::from([(self.clock.elapsed(), 0, 0)]),
                bar,
            });
        }
    }

    /// Adds the queues of a document.
    pub(crate) fn add_queue(&mut self, label: &str, plan: &queue::Plan, meter: &Arc<queue::Meter>) {
        for name in plan.queues.keys() {
            let bar = (self.every == Some(REDRAW_EVERY))
                .then(|| self.screen.bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}"))));
            self.queues.push(Jobs::new(label, name, meter, self.clock.elapsed(), bar));
        }
    }

    /// When there is something to show again; never where nothing is shown.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.every.map(|_| self.next)
    }

    /// Shows what is due.
    pub(crate) fn look(&mut self) {
        let now = self.clock.elapsed();
        let Some(every) = self.every.filter(|_| now >= self.next) else { return };
        self.next = now + every;
        let names = self.lines.iter().map(Line::name).chain(self.queues.iter().map(Jobs::name));
        let widest = names.map(|name| name.chars().count()).max().unwrap_or(0);
        if let Some(spare) = &self.spare {
            spare.tick();
        }
        for line in &mut self.lines {
            let figures = line.figures(now, self.clock.now().millis());
            match &line.bar {
                Some(bar) => {
                    let name = self.screen.paint("1", &format!("{:<widest$}", line.name()));
                    bar.set_message(format!("{name}  {}", figures.aligned(&self.screen)));
                    bar.tick();
                }
                None => self.screen.note(&format!("{} {} {}", line.stream, line.sink, figures.plain())),
            }
        }
        for queue in &mut self.queues {
            queue.show(now, widest, &self.screen);
        }
    }

    /// Takes the lines away, so that the summary can stand in their place.
    pub(crate) fn end(&mut self) {
        let queues = self.queues.drain(..).filter_map(Jobs::into_bar);
        for bar in self.lines.drain(..).filter_map(|line| line.bar).chain(queues).chain(self.spare.take()) {
            bar.finish_and_clear();
        }
        self.every = None;
    }
}

impl Line {
    fn name(&self) -> String {
        format!("{} > {}", self.stream, self.sink)
    }

    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn figures(&mut self, now: Duration, now_millis: i64) -> Figures {
        let snapshot = self.meter.snapshot();
        let part = snapshot.parts.get(&self.sink).copied().unwrap_or_default();
        self.samples.push_back((now, part.rows_out, part.bytes_out));
        while self.samples.len() > 2 && self.samples[1].0 + RATE_OVER <= now {
            self.samples.pop_front();
        }
        let (since, rows, bytes) = self.samples.front().copied().unwrap_or_default();
        let seconds = (now.saturating_sub(since)).as_secs_f64().max(0.001);
        Figures {
            rows: part.rows_out,
            bytes: part.bytes_out,
            rows_per_second: part.rows_out.saturating_sub(rows) as f64 / seconds,
            bytes_per_second: part.bytes_out.saturating_sub(bytes) as f64 / seconds,
            lag: lag(&snapshot, &self.sources),
            quarantined: snapshot.quarantined,
            committed: snapshot.committed_at_millis.map(|at| u64::try_from(now_millis - at).unwrap_or(0)),
        }
    }
}

/// What is known of one sink at one moment.
#[derive(Debug)]
struct Figures {
    rows: u64,
    bytes: u64,
    rows_per_second: f64,
    bytes_per_second: f64,
    lag: u64,
    quarantined: u64,
    /// Milliseconds since the last commit.
    committed: Option<u64>,
}

impl Figures {
    fn aligned(&self, screen: &Screen) -> String {
        let rate = format!("{}/s", size(self.bytes_per_second));
        let lag = (self.lag > 0).then(|| format!("  {} to read", count(self.lag)));
        let committed = match self.committed {
            None => "not committed yet".to_owned(),
            Some(millis) if millis < 1000 => "committed now".to_owned(),
            Some(millis) => format!("committed {} ago", seconds(millis / 1000)),
        };
        let aside =
            (self.quarantined > 0).then(|| screen.paint("33", &format!("  {} quarantined", count(self.quarantined))));
        format!(
            "{:>13} rows  {:>7} rows/s  {:>9}  {rate:>11}{}  {committed}{}",
            count(self.rows),
            short(self.rows_per_second),
            bytes(self.bytes),
            lag.unwrap_or_default(),
            aside.unwrap_or_default(),
        )
    }

    fn plain(&self) -> String {
        let committed = self.committed.map_or_else(|| "never".to_owned(), |millis| format!("{}s_ago", millis / 1000));
        format!(
            "rows={} rows/s={:.0} bytes={} bytes/s={:.0} lag={} quarantined={} committed={committed}",
            self.rows, self.rows_per_second, self.bytes, self.bytes_per_second, self.lag, self.quarantined,
        )
    }
}

fn lag(snapshot: &Snapshot, sources: &BTreeSet<String>) -> u64 {
    let parts = snapshot.parts.iter().filter(|(name, _)| sources.contains(*name));
    parts.map(|(_, part)| u64::try_from(part.lag).unwrap_or(0)).sum()
}

/// `12 s`, `4 min 5 s`: whole seconds, since the line is looked at five times in each.
fn seconds(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { duration(Duration::from_secs(seconds)) }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The sources whose rows reach a part that reads `from`.
fn sources_of(plan: &Plan, from: &[String]) -> BTreeSet<String> {
    let (mut sources, mut open) = (BTreeSet::new(), from.to_vec());
    while let Some(name) = open.pop() {
        match plan.steps.iter().find(|step| step.name == name) {
            Some(step) => open.extend(step.from.iter().cloned()),
            None => _ = sources.insert(name),
        }
    }
    sources
}
