//! The binary itself as a child: started, watched, killed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use stdx::{Bell, Clock};
use stream::verify::StandIn;

use super::Interrupted;
use crate::figures::{count, duration};
use crate::session::Session;

/// Between two looks at a child.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The longest time in which nobody looks at a child or at signals.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The longest wait for a child's answer to a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The longest wait for a child's first row.
const FIRST_ROW_WITHIN: Duration = Duration::from_mins(2);
/// The last lines of a child's standard error that are told when it fails.
const LINES_TOLD: usize = 20;

/// Where children live.
pub(super) struct Lives<'a> {
    program: PathBuf,
    stand_in: &'a StandIn,
    stop: &'a AtomicBool,
    pub(super) session: &'a Session,
}

/// Rows so far, over all parts of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) rows_in: u64,
    pub(super) rows_out: u64,
}

/// A child. Dropped, it is killed.
pub(super) struct Life<'a> {
    child: Child,
    err: PathBuf,
    address: Option<SocketAddr>,
    lives: &'a Lives<'a>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(stand_in: &'a StandIn, stop: &'a AtomicBool, session: &'a Session) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find the program itself")?;
        Ok(Lives { program, stand_in, stop, session })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.session.clock
    }

    /// Starts the stream of a run: one that waits for more rows, or one that ends with them.
    pub(super) fn start(&'a self, run: &str, until_idle: bool) -> anyhow::Result<Life<'a>> {
        let folder = self.stand_in.folder(run);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let (document, err) = (folder.join("stream.json"), folder.join("err"));
        let text = self.stand_in.document(run, !until_idle).to_string();
        fs::write(&document, text).with_context(|| format!("write {}", document.display()))?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg(&document).args(["--quiet", "--listen", "127.0.0.1:0", "--log-level", "error"]);
        command.args(until_idle.then_some("--until-idle"));
        if let Some(secrets) = &self.session.secrets_file {
            command.arg("--secrets").arg(secrets);
        }
        let errors = File::create(&err).with_context(|| format!("make {}", err.display()))?;
        command.current_dir(&self.session.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        Ok(Life { child, err, address: None, lives: self })
    }

    /// Runs the stream once from beginning to end, and tells how many rows it wrote.
    pub(super) fn in_peace(&'a self, run: &str) -> anyhow::Result<()> {
        let began = self.clock().elapsed();
        let mut life = self.start(run, true)?;
        let wrote = life.end()?.map_or_else(String::new, |counts| format!(", {} rows out", count(counts.rows_out)));
        let took = duration(self.clock().elapsed().saturating_sub(began));
        self.session.screen.note(&format!("left in peace ({run}): done in {took}{wrote}"));
        Ok(())
    }

    /// Lets time pass, unless somebody wants to stop.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted);
        }
        Bell::default().wait(self.clock(), Some(self.clock().elapsed() + time));
        Ok(())
    }
}

impl Life<'_> {
    /// Waits for the first row; false where the child came to its end before one was seen.
    pub(super) fn has_begun(&mut self) -> anyhow::Result<bool> {
        let until = self.lives.clock().elapsed() + FIRST_ROW_WITHIN;
        loop {
            if self.counts().is_some_and(|counts| counts.rows_in > 0) {
                return Ok(true);
            }
            if self.has_ended()? {
                return Ok(false);
            }
            let waits = self.lives.clock().elapsed() < until;
            anyhow::ensure!(waits, "no row was read within {}{}", duration(FIRST_ROW_WITHIN), self.last_words());
            self.lives.pause(LOOK_EVERY)?;
        }
    }

    /// Whether the child came to its end in peace; one that failed is an error.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        match self.child.try_wait().context("look at a child")? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(self.failed(status)),
        }
    }

    /// Waits until a moment; false where the child came to its end before.
    pub(super) fn lasts_until(&mut self, until: Duration) -> anyhow::Result<bool> {
        loop {
            let rest = until.saturating_sub(self.lives.clock().elapsed());
            if self.has_ended()? {
                return Ok(false);
            }
            if rest.is_zero() {
                return Ok(true);
            }
            self.lives.pause(rest.min(PAUSE_MAX))?;
        }
    }

    /// Waits for the child's end, and tells what it counted when it was last seen.
    pub(super) fn end(&mut self) -> anyhow::Result<Option<Counts>> {
        let mut last = None;
        while !self.has_ended()? {
            last = self.counts().or(last);
            self.lives.pause(LOOK_EVERY)?;
        }
        Ok(last)
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill a child")?;
        self.child.wait().context("wait for a child that was killed").map(drop)
    }

    /// What the child counts, if it answers.
    pub(super) fn counts(&mut self) -> Option<Counts> {
        if self.address.is_none() {
            let told = fs::read_to_string(&self.err).ok()?;
            let (_, rest) = told.split_once("listening on http://")?;
            self.address = rest.lines().next().filter(|_| rest.contains('\n'))?.parse().ok();
        }
        let mut connection = TcpStream::connect_timeout(&self.address?, ANSWER_WITHIN).ok()?;
        connection.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(counts(&answer))
    }

    fn failed(&self, status: ExitStatus) -> anyhow::Error {
        if self.lives.stop.load(Ordering::Relaxed) {
            return Interrupted.into();
        }
        anyhow::anyhow!("the stream failed by itself ({status}){}", self.last_words())
    }

    fn last_words(&self) -> String {
        last_words(&self.err)
    }
}

fn last_words(err: &Path) -> String {
    let told = fs::read_to_string(err).unwrap_or_default();
    let lines: Vec<&str> = told.lines().filter(|line| !line.contains("listening on http://")).collect();
    let last = lines.get(lines.len().saturating_sub(LINES_TOLD)..).unwrap_or_default();
    if last.is_empty() { String::new() } else { format!("; it said:\n{}", last.join("\n")) }
}

/// The rows in `/metrics`.
fn counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines().filter(|line| line.starts_with("headwater_rows_total{")) {
        let rows = line.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0);
        if line.contains("direction=\"in\"") {
            counts.rows_in += rows;
        } else {
            counts.rows_out += rows;
        }
    }
    counts
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        // It has ended already where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_over_parts() {
        let text = "HTTP/1.0 200 OK\r\n\r\n# HELP headwater_rows x\n\
                    headwater_rows_total{stream=\"s\",part=\"a\",direction=\"in\"} 3\n\
                    headwater_rows_total{stream=\"s\",part=\"b\",direction=\"out\"} 2\n\
                    headwater_rows_total{stream=\"s\",part=\"c\",direction=\"out\"} 5\n";
        assert_eq!(counts(text), Counts { rows_in: 3, rows_out: 7 });
    }
}
