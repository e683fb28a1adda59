//! A server in a folder of its own, and requests written by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Place as Folder, Process, until};

/// A folder with `queue.yaml`.
pub(super) struct Place(Folder);

impl Place {
    pub(super) fn new(spec: &str) -> Self {
        let place = Self(Folder::new());
        place.write("queue.yaml", &Self::document(spec));
        place
    }

    /// A document around a spec.
    pub(super) fn document(spec: &str) -> String {
        let spec: String = spec.lines().flat_map(|line| ["  ", line, "\n"]).collect();
        format!("apiVersion: headwater.dev/v1alpha1\nkind: Queue\nmetadata: {{name: q}}\nspec:\n{spec}")
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        self.0.write(name, text);
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path(name)
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Process {
        self.0.start(arguments)
    }

    pub(super) fn started(&self, command: &mut Command) -> Process {
        self.0.started(command)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        self.0.command(arguments)
    }

    /// Runs `queue.yaml` until it answers.
    pub(super) fn serve(&self) -> (Process, Http) {
        self.serve_with(&[])
    }

    pub(super) fn serve_with(&self, more: &[&str]) -> (Process, Http) {
        self.served(&mut self.command(&[&["run", "queue.yaml"], more].concat()))
    }

    pub(super) fn served(&self, command: &mut Command) -> (Process, Http) {
        let process = self.0.started(command);
        let mut address = None;
        until("it listens", || {
            assert!(!process.has_ended(), "{}", process.err());
            let err = process.err();
            let found = err.lines().find_map(|line| line.split_once(" listens on http://"));
            address = found.map(|(_, address)| address.to_owned());
            address.is_some()
        });
        (process, Http { address: address.unwrap(), token: None })
    }
}

/// Where requests go.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) address: String,
    pub(super) token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Reply {
    /// The body, which must be one of success.
    pub(super) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header, by its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Http {
    pub(super) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, b"").unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string())
    }

    pub(super) fn post_text(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, body.as_bytes()).unwrap()
    }

    /// The reply, unless the server was killed before it was whole.
    pub(super) fn try_post(&self, path: &str, body: &Value) -> Option<Reply> {
        self.ask("POST", path, body.to_string().as_bytes()).ok()
    }

    /// A request with any body.
    pub(super) fn send(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.ask(method, path, body).unwrap()
    }

    /// Puts a job into the queue `default`, and gives its id.
    pub(super) fn put(&self, payload: &Value) -> String {
        let reply = self.post("/v1/queues/default/jobs", &serde_json::json!({ "payload": payload })).ok();
        reply["id"].as_str().unwrap().to_owned()
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        let token = self.token.as_ref().map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        // As curl has it: no JSON is promised.
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(body).ok_or_else(broken)? } else { body.to_owned() };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| length != body.len()) {
            return Err(broken());
        }
        Ok(Reply { status, head: head.to_owned(), body })
    }
}

fn unchunked(mut text: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, rest) = text.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..length)?);
        text = rest.get(length + 2..)?;
    }
}
