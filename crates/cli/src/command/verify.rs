//! `headwater verify`: kills a stream again and again, and counts what its sinks then hold.

mod kill;
mod life;
mod report;

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use stream::verify::{Asked, Feed, StandIn};
use stream::{Facts, LedgerFacts};

use self::kill::Kills;
use self::life::Lives;
use crate::documents::{self, Loaded};
use crate::exit::Exit;
use crate::screen::Output;
use crate::session::Session;

/// Rows for each kill, unless `--rows` says how many there are.
const ROWS_PER_KILL: u64 = 2000;

/// Kills a stream again and again, and counts the rows that its sinks then lack or hold twice
///
/// Runs the document in a temporary world: sources are given made-up rows, sinks write to a temporary folder and to
/// temporary topics of the document's own brokers, the ledger is temporary too. Nothing of yours is read anew, written
/// or moved on. The stream is killed (`kill -9`) at random moments while rows come, started again each time, and at the
/// end its sinks are compared with those of the same stream left in peace.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater verify alerts.yaml --kills 20\n  \
    headwater verify alerts.yaml --kills 20 --seed 7       the same rows, and kills after the same times\n  \
    headwater verify alerts.yaml --kills 5 --every 2s..10s --keep\n\n\
    Exit codes: 0 every sink keeps its promise, 1 one doesn't, or no row reached it; 2 the document can't be verified; \
    130 interrupted, and cleaned up.")]
pub(crate) struct Verify {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How often the stream is killed
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// What the rows and the moments of the kills depend on; by default drawn anew and printed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Rows that each source is given; by default 2000 for each kill
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
    /// The shortest and the longest time from a source's first row to the kill
    #[arg(long, value_name = "FROM..TO", default_value = "200ms..2s", value_parser = between)]
    every: Between,
    /// Leaves the temporary folder and topics, and says where they are
    #[arg(long)]
    keep: bool,
    /// How the outcome is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// The shortest and the longest time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Between {
    from: Duration,
    to: Duration,
}

/// Reads `200ms..2s`.
fn between(text: &str) -> Result<Between, String> {
    let expected = || "expected two times such as `200ms..2s`, the shorter one first".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(expected)?;
    let read = |text: &str| text.parse::<document::Duration>().map(document::Duration::get);
    let (from, to) = (read(from).map_err(|_| expected())?, read(to).map_err(|_| expected())?);
    if from > to || to.is_zero() { Err(expected()) } else { Ok(Between { from, to }) }
}

impl Between {
    fn middle(self) -> Duration {
        (self.from + self.to) / 2
    }
}

/// Somebody pressed Ctrl-C.
#[derive(Debug)]
struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

pub(crate) fn act(arguments: &Verify, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = arguments.output;
    let stop = listen()?;
    let loaded = documents::load_one(&arguments.file, session)?;
    let facts = Facts { ledger: LedgerFacts::default(), ..loaded.facts(&[], session)? };
    let plan = loaded.plan(&facts)?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 53));
    let world = session.world(&loaded.stream);
    let asked = asked(arguments, &loaded, seed);
    let mut stand_in =
        StandIn::new(&loaded.stream, &plan, asked, &world).map_err(|problems| loaded.locate(problems))?;
    session.screen.note(&format!("{}: verifying with --seed {seed}", loaded.label()));
    stand_in.notes().iter().for_each(|note| session.screen.note(&format!("  {note}")));
    let root = stand_in.root();
    // What documents hold after their variables are filled in is nobody else's matter.
    fs::DirBuilder::new().mode(0o700).create(root).with_context(|| format!("make {}", root.display()))?;
    let feed = stand_in.open(&loaded.stream, &facts, &world);
    let verified = feed.map_err(Into::into).and_then(|feed| verify(arguments, seed, &stand_in, feed, &stop, session));
    let removed = put_away(arguments.keep, stand_in, session);
    match verified {
        Err(error) if error.is::<Interrupted>() => removed.map(|()| Exit::Interrupted),
        Err(error) => Err(error),
        Ok(outcome) => {
            removed?;
            outcome.print(&loaded.label(), &session.screen)?;
            Ok(if outcome.is_kept() { Exit::Done } else { Exit::World })
        }
    }
}

/// A flag that the first SIGINT or SIGTERM raises; the second ends the process.
fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("listen to signals")?;
    }
    Ok(stop)
}

fn asked(arguments: &Verify, loaded: &Loaded, seed: u64) -> Asked {
    let token = format!("{:08x}", fastrand::u32(..));
    let kills = arguments.kills;
    Asked {
        spec: loaded.document.spec_json(),
        folder: std::env::temp_dir().join(format!("headwater-verify-{token}")),
        token,
        seed,
        rows: arguments.rows.unwrap_or(ROWS_PER_KILL * (u64::from(kills) + 1)),
        // A life is its start, which is of the order of a second on a busy machine, and the time to the kill.
        over: (arguments.every.middle() + Duration::from_secs(1)) * (kills + 1),
        commit_every_max: (arguments.every.middle() / 8).max(Duration::from_millis(1)),
    }
}

fn verify(
    arguments: &Verify,
    seed: u64,
    stand_in: &StandIn,
    mut feed: Feed,
    stop: &AtomicBool,
    session: &Session,
) -> anyhow::Result<report::Outcome> {
    let lives = Lives::new(stand_in, stop, session)?;
    let mut kills = Kills::new(arguments.kills, arguments.every, seed);
    kills.run(&lives, &mut feed)?;
    for run in [StandIn::ONCE, StandIn::AGAIN] {
        lives.in_peace(run)?;
    }
    let mut sinks = Vec::new();
    for checked in stand_in.checked() {
        anyhow::ensure!(!stop.load(Ordering::Relaxed), Interrupted);
        sinks.push(report::sink(checked, stand_in)?);
    }
    Ok(report::Outcome { seed, rows: feed.rows(), kills_asked: arguments.kills, kills: kills.done(), sinks })
}

fn put_away(is_kept: bool, stand_in: StandIn, session: &Session) -> anyhow::Result<()> {
    if is_kept {
        session.screen.note("left in place:");
        stand_in.places().iter().for_each(|place| session.screen.note(&format!("  {place}")));
        return Ok(());
    }
    let places = stand_in.places().join(", ");
    stand_in.remove().with_context(|| format!("take away what was made in {places}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_times_the_shorter_one_first() {
        let millis = Duration::from_millis;
        assert_eq!(between("200ms..2s"), Ok(Between { from: millis(200), to: millis(2000) }));
        assert_eq!(between("0s..1s").map(Between::middle), Ok(millis(500)));
        assert!(["2s..1s", "1s", "..", "0s..0s", "a..b"].iter().all(|text| between(text).is_err()));
    }
}
