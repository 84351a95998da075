//! `lugger health`: asks the agent that runs here whether it is ready. For the health checks of containers, which have no other program to ask with.
//!
//! Promises: exit code 0 if `/ready` answers 200, 1 otherwise, within [`HEALTH_ANSWER_MS`]; what the agent says goes to stdout. Leaves to others: what
//! ready means (`agent::probe`).

use super::output::say;
use crate::base::limits::{HEALTH_ANSWER_BYTES, HEALTH_ANSWER_MS};
use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file, whose `http.listen` is asked
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    config: PathBuf,

    /// Ask here instead, and read no configuration
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
    address: Option<SocketAddr>,
}

/// Runs the command.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let address = match options.address {
        Some(address) => address,
        None => match crate::config::status_address(&options.config)? {
            None => bail!("`http.listen` is none: there is nobody to ask"),
            Some(address) if address.port() == 0 => {
                bail!("`http.listen` is a free port, which the agent's log names: give it by --address")
            }
            Some(address) => address,
        },
    };
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let answer = ask(address).with_context(|| format!("the agent at http://{address}/ready does not answer"))?;
    let (is_ready, words) = understand(&answer).with_context(|| format!("what answers at {address} is no agent"))?;
    say(words.trim_end());
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who listens on all addresses is asked on loopback.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// The whole answer, up to a bound of bytes and of time.
fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let start = Instant::now();
    let left = || match Duration::from_millis(HEALTH_ANSWER_MS).saturating_sub(start.elapsed()) {
        // Zero would mean no bound.
        left if left.is_zero() => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(format!("GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0u8; 4096];
    while answer.len() < HEALTH_ANSWER_BYTES {
        stream.set_read_timeout(Some(left()?))?;
        let read = match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(part.get(..read).unwrap_or(&[]));
    }
    Ok(answer)
}

/// Whether it is ready, and what it says.
fn understand(answer: &[u8]) -> anyhow::Result<(bool, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").context("this is not HTTP")?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status {
        Some("200") => Ok((true, body.to_owned())),
        Some("503") => Ok((false, body.to_owned())),
        Some(other) => bail!("/ready answers {other}"),
        None => bail!("this is not HTTP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let ready = understand(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").unwrap();
        assert_eq!(ready, (true, "ready\n".to_owned()));
        assert!(!understand(b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready").unwrap().0);
        for strange in [&b""[..], b"SSH-2.0\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 200 OK"] {
            assert!(understand(strange).is_err());
        }
    }

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        for (listen, ask) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), ask);
        }
    }
}
