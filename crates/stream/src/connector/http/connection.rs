//! Keeps a connection: connects, reads, waits, connects again.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use stdx::{Clock, Timestamp};

use super::buffer::{Buffer, Status};
use super::client::{Client, Failure, lost, wait_until, without_query};
use super::lines::Lines;
use super::waits::{Verdict, Waits};
use super::{Backfill, Rules, SourceSpec, rules};
use crate::Error;

/// Compressed bytes that are decoded at once: bounds what a highly compressed stream can expand to between two looks
/// at the buffer (a thousandfold, 4 MiB).
const COMPRESSED_BYTES: usize = 4096;

/// The task that keeps the connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) source: Arc<str>,
    pub(super) client: Client,
    pub(super) buffer: Arc<Buffer>,
    pub(super) clock: Clock,
    pub(super) lines: Lines,
    heartbeat: Duration,
    backfill: Option<Backfill>,
    rules: Option<Rules>,
    waits: Waits,
    /// Until when nothing is missing. Lags behind while a backfill may still be under way.
    complete_until: Option<Timestamp>,
}

/// How the body is decoded.
enum Decoder {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Connection {
    /// A connection that isn't open yet.
    pub(super) fn new(
        spec: &SourceSpec,
        source: Arc<str>,
        client: Client,
        buffer: Arc<Buffer>,
        clock: Clock,
        lines: Lines,
    ) -> Self {
        Self {
            source,
            client,
            complete_until: buffer.standing().1,
            buffer,
            clock,
            lines,
            heartbeat: spec.heartbeat.get(),
            backfill: spec.backfill.clone(),
            rules: spec.rules.clone(),
            waits: Waits::new(),
        }
    }

    /// Runs until the server ends it for good, or the source is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.buffer.set_status(Status::Connecting);
            let failure = match self.attempt().await {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            self.lines.cut();
            let (cause, wait) = match self.judge(failure) {
                Ok(judged) => judged,
                Err(error) => {
                    self.buffer.stop(error);
                    return;
                }
            };
            let until = self.clock.elapsed() + wait;
            let url = without_query(self.client.url().as_str());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            if wait.is_zero() {
                tracing::info!(source = %self.source, url, cause, "the connection ended; connecting again at once");
            } else {
                tracing::warn!(source = %self.source, url, cause, wait_ms, "the connection failed; waiting");
            }
            self.buffer.set_status(Status::Waiting(until));
            wait_until(&self.clock, until).await;
        }
    }

    fn judge(&mut self, failure: Failure) -> Result<(String, Duration), Error> {
        match failure {
            Failure::Lost(how) => Ok((how, self.waits.lost())),
            Failure::Stop(error) => Err(error),
            Failure::Answered { url, status, said, body } => match self.waits.answered(status, &said, self.clock.now())
            {
                Verdict::Wait(wait) => Ok((format!("status {status}: {body}"), wait)),
                Verdict::Stop(advice) if body.is_empty() => {
                    Err(Error::Refused { what: url, status, reason: advice.to_owned() })
                }
                Verdict::Stop(advice) => {
                    Err(Error::Refused { what: url, status, reason: format!("{advice}; it said: {body}") })
                }
            },
        }
    }

    async fn attempt(&mut self) -> Result<std::convert::Infallible, Failure> {
        if let Some(wanted) = &self.rules {
            rules::synchronise(&self.client, wanted, &self.source).await?;
            self.rules = None;
        }
        let mut url = self.client.url().clone();
        let backfilling = match (&self.backfill, self.complete_until) {
            (Some(backfill), Some(complete_until)) => {
                let minutes = minutes_missed(complete_until, self.clock.now(), backfill.max.get());
                url.query_pairs_mut().append_pair(&backfill.parameter, &minutes.to_string());
                true
            }
            _ => false,
        };
        let response = self.client.open(&url).await?;
        let decoder = self.decoder(&response)?;
        self.buffer.set_status(Status::Open);
        tracing::info!(source = %self.source, url = without_query(url.as_str()), "connected");
        self.follow(response, decoder, backfilling).await
    }

    fn decoder(&self, response: &Response) -> Result<Decoder, Failure> {
        match response.headers().get(CONTENT_ENCODING).map(reqwest::header::HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Ok(Decoder::Plain),
            Some(b"gzip" | b"x-gzip") => Ok(Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            Some(other) => {
                let reason = format!("the encoding `{}` was not asked for", String::from_utf8_lossy(other));
                Err(self.client.refused(response.url(), response.status().as_u16(), &reason))
            }
        }
    }

    async fn follow(
        &mut self,
        mut response: Response,
        mut decoder: Decoder,
        backfilling: bool,
    ) -> Result<std::convert::Infallible, Failure> {
        let opened = self.clock.elapsed();
        loop {
            // The watchdog starts over here: time that we were slow in is not the server's silence.
            self.buffer.room().await;
            let until = self.clock.elapsed() + self.heartbeat;
            let bytes = tokio::select! {
                biased;
                bytes = response.chunk() => bytes.map_err(|error| lost(&error.without_url()))?,
                () = wait_until(&self.clock, until) => {
                    return Err(Failure::Lost(format!("nothing came within heartbeat ({:?})", self.heartbeat)));
                }
            };
            let Some(bytes) = bytes else { return Err(Failure::Lost("the server ended the stream".to_owned())) };
            // A connection has proved itself when it still brings something after a whole heartbeat.
            let settled = self.clock.elapsed().saturating_sub(opened) >= self.heartbeat;
            if settled {
                self.waits.settle();
            }
            self.decode(&mut decoder, &bytes, settled || !backfilling).await?;
        }
    }

    async fn decode(&mut self, decoder: &mut Decoder, bytes: &[u8], complete: bool) -> Result<(), Failure> {
        let Decoder::Gzip(gzip) = decoder else {
            self.take(bytes, complete);
            return Ok(());
        };
        for part in bytes.chunks(COMPRESSED_BYTES) {
            self.buffer.room().await;
            let done = gzip.write_all(part).and_then(|()| gzip.flush());
            let text = std::mem::take(gzip.get_mut());
            self.take(&text, complete);
            done.map_err(|error| Failure::Lost(format!("the gzip stream is broken: {error}")))?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], complete: bool) {
        let framed = self.lines.push(bytes);
        let complete = complete && framed.ended;
        if complete {
            self.complete_until = Some(self.clock.now());
        }
        self.buffer.push(framed.runs, self.lines.held_bytes(), complete);
    }
}

/// Minutes to ask for again, rounded up, at least one, at most `max`.
fn minutes_missed(complete_until: Timestamp, now: Timestamp, max: Duration) -> u64 {
    let missed_micros = u64::try_from(now.micros().saturating_sub(complete_until.micros())).unwrap_or(0);
    missed_micros.div_ceil(60_000_000).clamp(1, (max.as_secs() / 60).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_missed_are_rounded_up_and_capped() {
        let minutes = |millis| {
            let (from, max) = (Timestamp::from_millis(0), Duration::from_mins(5));
            minutes_missed(from, Timestamp::from_millis(millis), max)
        };
        assert_eq!([-5, 0, 1, 60_000, 60_001, 240_000, 10_000_000].map(minutes), [1, 1, 1, 1, 2, 4, 5]);
    }
}
