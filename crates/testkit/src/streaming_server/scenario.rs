use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

/// What the server does, request by request.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// The answers to requests of the stream, in order.
    pub replies: Vec<Reply>,
    /// The rules that are there at the start.
    pub rules: Vec<Rule>,
    /// Whether requests to `/rules` are answered by `replies` too.
    pub rules_refused: bool,
}

/// A rule of a filtered stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The server's name for it.
    pub id: String,
    /// What it matches.
    pub value: String,
    /// What its maker wrote on it.
    pub tag: String,
}

/// An answer. After the last act the connection is closed, mid-body unless that act is [`Act::End`].
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beyond those that frame the body.
    pub headers: Vec<(String, String)>,
    /// How the body is framed.
    pub body: Body,
    /// What is done after the head.
    pub acts: Vec<Act>,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In chunks, one for each send: a cut is seen as one.
    Chunked,
    /// By the end of the connection: a cut looks like an end.
    UntilClose,
}

/// A step of an answer.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends the same bytes many times, as fast as they are taken.
    Repeat {
        /// What.
        bytes: Vec<u8>,
        /// How often.
        times: u32,
    },
    /// Waits on the test's clock, which is looked at from the moment of the request on: waits add up.
    Wait(Duration),
    /// Says nothing more until the client goes away.
    Hold,
    /// Ends the body properly.
    End,
}

impl Reply {
    /// An empty 200 in chunks.
    pub const fn ok() -> Self {
        Self::status(200)
    }

    /// An empty answer in chunks.
    pub const fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Chunked, acts: Vec::new() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same, then bytes.
    #[must_use]
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.act(Act::Send(bytes.into()))
    }

    /// The same, then a wait on the test's clock.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.act(Act::Wait(time))
    }

    /// The same, then silence on an open connection.
    #[must_use]
    pub fn hold(self) -> Self {
        self.act(Act::Hold)
    }

    /// The same, with a proper end.
    #[must_use]
    pub fn end(self) -> Self {
        self.act(Act::End)
    }

    /// The same, then `act`.
    #[must_use]
    pub fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }
}

/// The named scenarios.
impl Scenario {
    fn of(replies: impl Into<Vec<Reply>>) -> Self {
        Self { replies: replies.into(), ..Self::default() }
    }

    /// A stream that brings `body` and stays open.
    pub fn steady(body: impl Into<Vec<u8>>) -> Self {
        Self::of([Reply::ok().send(body).hold()])
    }

    /// One line, then only blank lines, one each `every`, `times` times, then a second line.
    pub fn keep_alives(every: Duration, times: u32) -> Self {
        let mut reply = Reply::ok().send("{\"n\":1}\r\n");
        for _ in 0..times {
            reply = reply.wait(every).send("\r\n");
        }
        Self::of([reply.send("{\"n\":2}\r\n").hold()])
    }

    /// One line, then nothing, on a connection that stays open; the next connection brings a second line.
    pub fn silence() -> Self {
        Self::of([Reply::ok().send("{\"n\":1}\n").hold(), Reply::ok().send("{\"n\":2}\n").hold()])
    }

    /// A record is cut in its middle by the end of the connection, once in chunks and once where the cut looks like an
    /// end; then it comes whole.
    pub fn cut_mid_record() -> Self {
        let close = Reply { body: Body::UntilClose, ..Reply::ok() };
        Self::of([
            Reply::ok().send("{\"n\":1}\n{\"n\":2,\"cu"),
            close.send("{\"n\":2}\n{\"n\":33"),
            Reply::ok().send("{\"n\":3}\n").hold(),
        ])
    }

    /// The server ends the body properly, its last line without a line feed; then it goes on.
    pub fn ended() -> Self {
        Self::of([Reply::ok().send("{\"n\":1}\n{\"n\":2").end(), Reply::ok().send("{\"n\":2}\n").hold()])
    }

    /// A gzip stream, flushed after each line, cut in the middle of its second line; then the rest, plain.
    pub fn cut_mid_gzip() -> Self {
        let flushes = gzip_flushes(&["{\"n\":1,\"text\":\"first\"}\n", "{\"n\":2,\"text\":\"second\"}\n"]);
        let (whole, cut) = (flushes[0].clone(), flushes[1][..flushes[1].len() / 2].to_vec());
        let gzip = Reply::ok().header("content-encoding", "gzip");
        Self::of([gzip.send(whole).send(cut), Reply::ok().send("{\"n\":2}\n").hold()])
    }

    /// A gzip stream that stays open, flushed after each of `lines`.
    pub fn gzip(lines: &[&str]) -> Self {
        let mut reply = Reply::ok().header("content-encoding", "gzip");
        for flush in gzip_flushes(lines) {
            reply = reply.send(flush);
        }
        Self::of([reply.hold()])
    }

    /// `times` answers of `status`, each with `headers`, then a stream of one line.
    pub fn status_then_ok(status: u16, times: usize, headers: &[(&str, &str)]) -> Self {
        let refusal = headers.iter().fold(Reply::status(status), |reply, (name, value)| reply.header(name, *value));
        let mut replies = vec![refusal.send("no\n").end(); times];
        replies.push(Reply::ok().send("{\"n\":1}\n").hold());
        Self::of(replies)
    }

    /// The connection is lost `times` times before its first byte, then a stream of one line.
    pub fn lost_then_ok(times: usize) -> Self {
        let mut replies = vec![Reply::ok(); times];
        replies.push(Reply::ok().send("{\"n\":1}\n").hold());
        Self::of(replies)
    }

    /// Rows 1 to 3 are sent, the connection is lost, and the next one repeats rows 2 and 3 before row 4.
    pub fn reconnect_overlap() -> Self {
        let row = |n: u32| format!("{{\"data\":{{\"text\":\"row\",\"id\":\"{n}\"}}}}\n");
        let first: String = (1..=3).map(row).collect();
        let second: String = (2..=4).map(row).collect();
        Self::of([Reply::ok().send(first), Reply::ok().send(second).hold()])
    }

    /// Sends `times` lines of `line_bytes` as fast as they are taken, then stays open.
    pub fn flood(line_bytes: usize, times: u32) -> Self {
        let mut bytes = vec![b'x'; line_bytes.saturating_sub(1)];
        bytes.push(b'\n');
        Self::of([Reply::ok().act(Act::Repeat { bytes, times }).hold()])
    }

    /// Sends the client to `url`.
    pub fn redirect(status: u16, url: &str) -> Self {
        Self::of([Reply::status(status).header("location", url).end()])
    }

    /// A filtered stream with `rules`, and no rows.
    pub fn with_rules(rules: Vec<Rule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// A line of `length` bytes between two short ones.
    pub fn long_line(length: usize) -> Self {
        let body = format!("{{\"n\":1}}\n{}\n{{\"n\":2}}\n", "y".repeat(length));
        Self::steady(body)
    }

    /// A line that is not UTF-8 between two that are.
    pub fn not_utf8() -> Self {
        Self::steady(b"{\"n\":1}\n\xff\xfe\x00\n{\"n\":2}\n".to_vec())
    }
}

/// One gzip stream over all texts, cut where the compressor was flushed after each of them.
pub fn gzip_flushes(texts: &[&str]) -> Vec<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut flushes = Vec::new();
    for text in texts {
        // Writing to memory can't fail.
        let _ = encoder.write_all(text.as_bytes()).and_then(|()| encoder.flush());
        flushes.push(std::mem::take(encoder.get_mut()));
    }
    flushes
}
