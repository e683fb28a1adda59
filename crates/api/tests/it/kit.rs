//! A server of this process, and a client that writes what it is told.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use api::{Access, Api, Limits};
use queue::{Put, Store as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::store::Memory;

/// A bound on what takes no time, so wide that only what hangs reaches it.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server over jobs in a map.
pub(crate) struct Server {
    pub(crate) store: Arc<Memory>,
    pub(crate) api: Api,
    running: Running,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Access::open(), Limits::default()).await
    }

    pub(crate) async fn with(access: Access, limits: Limits) -> Self {
        let store = Arc::new(Memory::default());
        let api = Api::new(Arc::clone(&store) as _, Arc::clone(&store) as _, None, access, limits);
        Self { store, api: api.clone(), running: Running::start(api).await }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn ask(&mut self) {
        drop(self.running.stop.take());
    }

    pub(crate) async fn put(&self, payload: &str) -> String {
        let job = queue::NewJob::new(crate::store::json(payload));
        self.store.put(Put::one("default", job)).await.unwrap()[0].as_ref().unwrap().id.to_string()
    }
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A server.
pub(crate) struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), api::Error>>,
}

impl Running {
    pub(crate) async fn start(api: Api) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let wait = async { drop(stopped.await) };
        let task = tokio::spawn(api::serve(listener, api, wait));
        Self { address, stop: Some(stop), task }
    }

    /// Stops it, and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.begin(method, path, headers, body).await;
        Answer::read(&mut stream).await
    }

    /// Writes a request, and leaves the reply to come.
    pub(crate) async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        // As curl has it.
        head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.write(text.as_bytes()).await
    }

    /// Writes bytes.
    pub(crate) async fn write(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads until the server closes.
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("a reply").unwrap();
        Self::of(&String::from_utf8(bytes).unwrap())
    }

    pub(crate) fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Holds that it is a problem, and hands out its code.
    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        assert!(json["title"].is_string() && json["detail"].is_string(), "{self:?}");
        json["code"].as_str().unwrap().to_owned()
    }
}

/// Until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, look).await.unwrap_or_else(|_| panic!("never: {what}"));
}
