//! A minimal Loki client of the tests' own, to try the fake Loki with: right requests and deliberately wrong ones.

use super::wire;
use prost::Message;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// A stream of the wire with these labels and (time, line) entries.
pub fn stream(labels: &str, entries: &[(i64, &str)]) -> wire::Stream {
    let entries = entries
        .iter()
        .map(|(at, line)| wire::Entry {
            timestamp: Some(wire::Timestamp::from_ns(*at)),
            line: line.as_bytes().to_vec(),
            ..Default::default()
        })
        .collect();
    wire::Stream { labels: labels.as_bytes().to_vec(), entries, hash: 0 }
}

/// The body of a push of these streams.
pub fn body(streams: Vec<wire::Stream>) -> Vec<u8> {
    let raw = wire::PushRequest { streams }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&raw).expect("snappy takes any bytes")
}

/// Pushes streams as a well-behaved client does.
pub fn push(to: SocketAddr, streams: Vec<wire::Stream>) -> io::Result<Answer> {
    request(to, "POST", "/loki/api/v1/push", &[("Content-Type", "application/x-protobuf")], &body(streams))
}

/// Any request on a connection of its own.
pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let mut connection = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    connection.set_write_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: test/1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    let mut text = Vec::new();
    connection.read_to_end(&mut text)?;
    answer(&String::from_utf8_lossy(&text))
}

/// `GET path`; the body if the status is 200.
pub fn get(from: SocketAddr, path: &str) -> io::Result<Answer> {
    request(from, "GET", path, &[], b"")
}

fn answer(text: &str) -> io::Result<Answer> {
    let bad = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("no whole answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body).ok_or_else(bad)? } else { body.to_owned() };
    Ok(Answer { status, head: head.to_owned(), body })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut out = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        out.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}
