//! Questions to the kernel over netlink (netlink(7), rtnetlink(7), sock_diag(7)) that are answered with many messages.
//!
//! Promises: a socket is kept from one question to the next; an answer that does not come ends in an error; lengths that the kernel gives are
//! checked before anything is taken. Leaves to others: what messages mean.

use super::Fail;
use crate::base::limits::{HOST_NETLINK_BYTES, HOST_NETLINK_MS};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::Duration;

const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
/// What was asked for changed meanwhile.
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;

/// A socket to a part of the kernel.
pub(super) struct Netlink {
    protocol: Option<Protocol>,
    socket: Option<OwnedFd>,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Nothing is opened yet. Without a protocol it is rtnetlink.
    pub(super) fn new(protocol: Option<Protocol>) -> Netlink {
        Netlink { protocol, socket: None, sequence: 0, buffer: Vec::new() }
    }

    /// Asks, and gives each message of the answer, without its header. Whether the answer is of one moment; it is not when things changed meanwhile.
    pub(super) fn ask(&mut self, kind: u16, body: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, Fail> {
        let asked = self.try_ask(kind, body, each);
        if asked.is_err() {
            // What is left of the answer goes with the socket.
            self.socket = None;
        }
        asked.map_err(|error| Fail::Error(format!("netlink: {error}")))
    }

    fn try_ask(&mut self, kind: u16, body: &[u8], each: &mut dyn FnMut(&[u8])) -> std::io::Result<bool> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let flags = SocketFlags::CLOEXEC;
                let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, self.protocol)?;
                set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(HOST_NETLINK_MS)))?;
                socket
            }
        };
        self.buffer.resize(HOST_NETLINK_BYTES, 0);
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(REQUEST | DUMP).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        rustix::io::retry_on_intr(|| rustix::net::send(&socket, &message, SendFlags::empty()))?;
        let mut whole = true;
        loop {
            let buffer = self.buffer.as_mut_slice();
            let (_, got) = rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut *buffer, RecvFlags::TRUNC))?;
            let Some(mut rest) = self.buffer.get(..got) else {
                return Err(std::io::Error::other("a message is longer than any should be"));
            };
            while let Some((len, header)) = u32_at(rest, 0).map(|len| len as usize).zip(rest.get(..HEADER)) {
                let Some(body) = rest.get(HEADER..len) else {
                    return Err(std::io::Error::other("a message is cut off"));
                };
                let (kind, flags) = (u16_at(header, 4).unwrap_or(0), u16_at(header, 6).unwrap_or(0));
                if u32_at(header, 8) == Some(self.sequence) {
                    whole &= flags & INTERRUPTED == 0;
                    match kind {
                        DONE | ERROR => {
                            let error = u32_at(body, 0).unwrap_or(0).cast_signed();
                            if error < 0 {
                                return Err(std::io::Error::from_raw_os_error(error.saturating_neg()));
                            }
                            self.socket = Some(socket);
                            return Ok(whole);
                        }
                        _ => each(body),
                    }
                }
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// The attributes in a message, by number.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (len, kind) = (u16_at(rest, 0)? as usize, u16_at(rest, 2)?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits are flags.
        Some((kind & 0x3fff, value))
    })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_cut_at_what_there_is() {
        let mut bytes = Vec::new();
        for (len, kind, value) in [(7u16, 3u16, &b"lo\0\0"[..]), (8, 0x8004, &[1, 0, 0, 0]), (40, 5, b"short")] {
            bytes.extend_from_slice(&len.to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
        }
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(3, &b"lo\0"[..]), (4, &[1, 0, 0, 0])]);
        assert_eq!(attributes(&[1, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn the_kernel_answers_more_than_once() {
        let mut netlink = Netlink::new(None);
        for _ in 0..2 {
            let mut links = Vec::new();
            netlink.ask(super::super::links::GETLINK, &[0; 16], &mut |body| links.extend(u32_at(body, 4))).unwrap();
            assert!(links.contains(&1), "{links:?}");
        }
        // There is no message of this kind.
        assert!(matches!(netlink.ask(9999, &[0; 16], &mut |_| {}), Err(Fail::Error(_))));
        assert!(netlink.ask(super::super::links::GETLINK, &[0; 16], &mut |_| {}).is_ok());
    }
}
