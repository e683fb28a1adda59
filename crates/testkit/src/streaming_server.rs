//! An HTTP/1.1 server on loopback that streams lines and misbehaves on purpose.
//!
//! A [`Scenario`] says how each request to the stream is answered, in order; when its replies are used up, the server
//! accepts, says nothing and holds the connection. `/rules` keeps the rules of a filtered stream, as the
//! filtered streams of social networks do. Every request is logged with the moment on the clock that the test owns.

mod scenario;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use stdx::{Bell, Clock};

pub use scenario::{Act, Body, Reply, Rule, Scenario, gzip_flushes};

/// The longest request this server reads, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line, such as `GET /stream?backfill_minutes=2 HTTP/1.1`.
    pub line: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// When it came, on the test's clock.
    pub at: Duration,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The path with its query.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, as it was written.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.target().split_once('?')?.1;
        pairs.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The server. It ends, and cuts all connections, when it is dropped.
#[derive(Debug)]
pub struct StreamingServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    scenario: Scenario,
    log: Mutex<Vec<Request>>,
    rules: Mutex<Vec<Rule>>,
    rules_made: AtomicU64,
    streams_opened: AtomicU64,
    bytes_sent: AtomicU64,
    stopping: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl StreamingServer {
    /// A server on a free port of 127.0.0.1.
    pub fn start(scenario: Scenario, clock: &Clock) -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), scenario, clock)
    }

    /// A server on the given address.
    pub fn start_at(address: SocketAddr, scenario: Scenario, clock: &Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            rules: Mutex::new(scenario.rules.clone()),
            rules_made: AtomicU64::new(1000),
            scenario,
            log: Mutex::default(),
            streams_opened: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// An address on which nobody listens now.
    pub fn free_address() -> std::io::Result<SocketAddr> {
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// The requests so far to one path.
    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path() == path).collect()
    }

    /// Bytes of bodies that the sockets took.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes_sent.load(Ordering::SeqCst)
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Vec<Rule> {
        lock(&self.shared.rules).clone()
    }
}

impl Drop for StreamingServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which then sees that it shall stop.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        if let Ok(copy) = connection.try_clone() {
            lock(&shared.connections).push(copy);
        }
        let shared = Arc::clone(shared);
        spawn(move || {
            // A client that goes away while it is served is what many scenarios are about.
            let _ = serve(connection, &shared);
        });
    }
}

fn serve(mut connection: TcpStream, shared: &Shared) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let Some(request) = read_request(&mut connection, &shared.clock)? else { return Ok(()) };
    lock(&shared.log).push(request.clone());
    let served = if request.path() == "/rules" && !shared.scenario.rules_refused {
        let (status, body) = answer_rules(&request, shared);
        let reply = Reply::status(status).header("content-type", "application/json").send(body.to_string());
        play(&mut connection, &reply.end(), request.at, shared)
    } else {
        let number = shared.streams_opened.fetch_add(1, Ordering::SeqCst);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let silent = Reply::ok().hold();
        play(&mut connection, shared.scenario.replies.get(number).unwrap_or(&silent), request.at, shared)
    };
    // The other handle, kept for the server's drop, must not keep the connection open.
    let _ = connection.shutdown(Shutdown::Both);
    served
}

fn read_request(connection: &mut TcpStream, clock: &Clock) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if !read_more(connection, &mut bytes)? {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if !read_more(connection, &mut bytes)? {
            return Ok(None);
        }
    }
    let body = String::from_utf8_lossy(&bytes[head + 4..]).into_owned();
    Ok(Some(Request { line, headers, body, at: clock.elapsed() }))
}

fn read_more(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut some = [0; 4096];
    let count = connection.read(&mut some)?;
    bytes.extend_from_slice(&some[..count]);
    Ok(count > 0 && bytes.len() <= REQUEST_BYTES_MAX)
}

fn play(connection: &mut TcpStream, reply: &Reply, asked_at: Duration, shared: &Shared) -> std::io::Result<()> {
    let headers: Vec<String> = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut head = format!("HTTP/1.1 {} Said so\r\nconnection: close\r\n{}", reply.status, headers.concat());
    if reply.body == Body::Chunked {
        head.push_str("transfer-encoding: chunked\r\n");
    }
    connection.write_all(format!("{head}\r\n").as_bytes())?;
    // Waits add up from the request on, so that it doesn't matter when this thread gets to look at the clock.
    let mut until = asked_at;
    for act in &reply.acts {
        match act {
            Act::Send(bytes) => send(connection, bytes, reply.body, shared)?,
            Act::Repeat { bytes, times } => {
                (0..*times).try_for_each(|_| send(connection, bytes, reply.body, shared))?;
            }
            Act::Wait(time) => {
                until += *time;
                wait(until, shared);
            }
            Act::Hold => while connection.read(&mut [0; 64])? > 0 {},
            Act::End if reply.body == Body::Chunked => connection.write_all(b"0\r\n\r\n")?,
            Act::End => {}
        }
    }
    Ok(())
}

fn send(connection: &mut TcpStream, bytes: &[u8], body: Body, shared: &Shared) -> std::io::Result<()> {
    let mut framed = Vec::with_capacity(bytes.len() + 16);
    if body == Body::Chunked {
        framed.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
    } else {
        framed.extend_from_slice(bytes);
    }
    connection.write_all(&framed)?;
    shared.bytes_sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    Ok(())
}

/// Waits on the test's clock, looking each millisecond, also whether the server shall end.
fn wait(until: Duration, shared: &Shared) {
    let real = Clock::system();
    while shared.clock.elapsed() < until && !shared.stopping.load(Ordering::SeqCst) {
        Bell::default().wait(&real, Some(real.elapsed() + Duration::from_millis(1)));
    }
}

/// Pages of two rules each, so that a client that reads only the first page is found out.
fn answer_rules(request: &Request, shared: &Shared) -> (u16, Value) {
    const PAGE: usize = 2;
    let mut rules = lock(&shared.rules);
    if request.method() == "GET" {
        let from: usize = request.parameter("pagination_token").and_then(|token| token.parse().ok()).unwrap_or(0);
        let page: Vec<&Rule> = rules.iter().skip(from).take(PAGE).collect();
        let page: Vec<Value> =
            page.iter().map(|rule| json!({"id": rule.id, "value": rule.value, "tag": rule.tag})).collect();
        let more = rules.len() > from + PAGE;
        let meta = if more { json!({"next_token": (from + PAGE).to_string()}) } else { json!({}) };
        return (200, json!({"data": page, "meta": meta}));
    }
    let Ok(asked) = serde_json::from_str::<Value>(&request.body) else {
        return (400, json!({"title": "not JSON"}));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let gone: Vec<String> = list(&asked["delete"]["ids"]).iter().map(text).collect();
    rules.retain(|rule| !gone.contains(&rule.id));
    let mut errors = Vec::new();
    for added in list(&asked["add"]) {
        let (value, tag) = (text(&added["value"]), text(&added["tag"]));
        if rules.iter().any(|rule| rule.value == value) {
            errors.push(json!({"title": "DuplicateRule", "value": value}));
            continue;
        }
        let id = shared.rules_made.fetch_add(1, Ordering::SeqCst).to_string();
        rules.push(Rule { id, value, tag });
    }
    if errors.is_empty() { (201, json!({"meta": {}})) } else { (201, json!({"errors": errors})) }
}
