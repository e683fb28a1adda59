use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that stays open. It does as little as it can, so that the machine is left to the server.
pub(crate) struct Connection {
    stream: TcpStream,
    address: String,
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// A job that was leased, as far as a worker that does nothing must know it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Lease {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// The answer to a finish.
#[derive(Debug, Deserialize)]
pub(crate) struct FinishReply {
    outcomes: Vec<Outcome>,
    pub(crate) leases: Vec<Lease>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    state: Option<String>,
}

impl FinishReply {
    /// How many have succeeded. Fails where one has not.
    pub(crate) fn succeeded(&self) -> Result<usize> {
        let has = |outcome: &Outcome| outcome.state.as_deref() == Some("succeeded");
        ensure!(self.outcomes.iter().all(has), "an outcome was refused: {:?}", self.outcomes);
        Ok(self.outcomes.len())
    }
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address: address.to_owned(), request: Vec::new(), reply: Vec::new() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<&[u8]> {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<&[u8]> {
        self.ask("POST", path, body).await
    }

    /// Leases jobs.
    pub(crate) async fn lease(&mut self, request: &str) -> Result<Vec<Lease>> {
        Ok(serde_json::from_slice(self.post("/v1/leases", request).await?)?)
    }

    /// Ends these jobs as succeeded, and leases the next.
    pub(crate) async fn finish(&mut self, leases: &[Lease], next: &str) -> Result<FinishReply> {
        let mut body = String::from(r#"{"outcomes":["#);
        for (index, Lease { id, token }) in leases.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"id":"{id}","token":"{token}","ack":{{"result":null}}}}"#)?;
        }
        let lease = if next.is_empty() { String::new() } else { format!(r#","lease":{next}"#) };
        write!(body, "]{lease}}}")?;
        Ok(serde_json::from_slice(self.post("/v1/leases/finish", &body).await?)?)
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<&[u8]> {
        let (address, bytes) = (&self.address, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {bytes}\r\n\r\n");
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        self.reply.clear();
        let (status, start, end) = loop {
            ensure!(self.stream.read_buf(&mut self.reply).await? > 0, "the server closed the connection");
            if let Some(head) = parts(&self.reply)? {
                break head;
            }
        };
        while self.reply.len() < end {
            ensure!(self.stream.read_buf(&mut self.reply).await? > 0, "the server closed the connection");
        }
        let body = &self.reply[start..end];
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(body));
        }
        Ok(body)
    }
}

/// Status, and where the body starts and ends, once the head is whole.
fn parts(reply: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = reply.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&reply[..end])?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("a reply of known length")?.parse()?;
    Ok(Some((status, end + 4, end + 4 + length)))
}
