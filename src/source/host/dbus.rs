//! A client of systemd's manager over D-Bus, as far as its metrics need it (D-Bus specification; org.freedesktop.systemd1(5)).
//!
//! It speaks to systemd's own socket where that may be opened (root), and over the system's bus otherwise. Method calls without or with text arguments, one
//! at a time; of answers, arrays of units and single properties.
//!
//! Promises: everything that is received is checked against its own lengths; no part of an answer is waited for longer than [`HOST_DBUS_MS`].
//! Leaves to others: what units and properties mean.

use crate::base::limits::{HOST_DBUS_BYTES_MAX, HOST_DBUS_MS};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// A connection.
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Whether a daemon is between, which has to be told whom a call is for.
    shared: bool,
    body: Vec<u8>,
}

/// A property's value, as far as metrics have them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
}

/// A unit in the manager's list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) load_state: String,
    pub(super) active_state: String,
    pub(super) path: String,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {what}"))
}

impl Bus {
    /// Connects to systemd itself, or to the bus if that is not allowed.
    pub(super) fn connect(private: &Path, bus: &Path) -> io::Result<Bus> {
        match UnixStream::connect(private) {
            Ok(stream) => Bus::open(stream, false),
            Err(_) => Bus::open(UnixStream::connect(bus)?, true),
        }
    }

    fn open(stream: UnixStream, shared: bool) -> io::Result<Bus> {
        let patience = Some(Duration::from_millis(HOST_DBUS_MS));
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        let mut bus = Bus { stream, serial: 0, shared, body: Vec::new() };
        // We are who the kernel says we are; the number is given as the hexadecimal codes of its digits.
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            bus.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
            if answer.len() > 512 {
                return Err(bad("no answer to the authentication"));
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(bad("the authentication was refused"));
        }
        bus.stream.write_all(b"BEGIN\r\n")?;
        if shared {
            bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus", "Hello", &[])?;
        }
        Ok(bus)
    }

    /// All units that systemd has loaded.
    pub(super) fn units(&mut self) -> io::Result<Vec<Unit>> {
        let manager = "org.freedesktop.systemd1.Manager";
        self.call("/org/freedesktop/systemd1", SYSTEMD, manager, "ListUnits", &[])?;
        let mut at = Reader { bytes: &self.body, at: 0 };
        let len = at.u32()? as usize;
        at.align(8)?;
        let end = at.at.checked_add(len).filter(|end| *end <= self.body.len()).ok_or_else(|| bad("cut off"))?;
        let mut units = Vec::new();
        while at.at < end {
            // (ssssssouso): name, description, states of loading, activity and below, whom it follows, path, job.
            at.align(8)?;
            let (name, _) = (at.text()?, at.text()?);
            let (load_state, active_state, _, _) = (at.text()?, at.text()?, at.text()?, at.text()?);
            let path = at.text()?;
            let _ = (at.u32()?, at.text()?, at.text()?);
            units.push(Unit { name, load_state, active_state, path });
        }
        Ok(units)
    }

    /// A property of an object. An error of the kind `Other` is systemd's answer, after which others can be asked for.
    pub(super) fn property(&mut self, path: &str, interface: &str, name: &str) -> io::Result<Value> {
        self.call(path, SYSTEMD, "org.freedesktop.DBus.Properties", "Get", &[interface, name])?;
        let mut at = Reader { bytes: &self.body, at: 0 };
        match at.signature()?.as_str() {
            "s" | "o" => at.text().map(Value::Text),
            "u" | "b" => at.u32().map(|value| Value::Number(u64::from(value))),
            "t" => at.u64().map(Value::Number),
            other => Err(bad(&format!("{name} has the type {other}"))),
        }
    }

    /// Calls a method; the answer's body is in `self.body`.
    fn call(&mut self, path: &str, whom: &str, interface: &str, member: &str, texts: &[&str]) -> io::Result<()> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let mut body = Writer::default();
        for argument in texts {
            body.text(argument);
        }
        let mut fields = Writer::default();
        fields.field(PATH, "o", path);
        fields.field(INTERFACE, "s", interface);
        fields.field(MEMBER, "s", member);
        if self.shared {
            fields.field(DESTINATION, "s", whom);
        }
        if !texts.is_empty() {
            fields.field(SIGNATURE, "g", &"s".repeat(texts.len()));
        }
        let mut message = Writer::default();
        message.0.extend_from_slice(&[b'l', CALL, 0, 1]);
        message.u32(body.0.len() as u32);
        message.u32(self.serial);
        message.u32(fields.0.len() as u32);
        message.0.extend_from_slice(&fields.0);
        message.align(8);
        message.0.extend_from_slice(&body.0);
        self.stream.write_all(&message.0)?;
        // Signals may come between.
        loop {
            let (kind, serial) = self.receive()?;
            if serial == Some(self.serial) {
                return if kind == RETURN {
                    Ok(())
                } else {
                    let text = Reader { bytes: &self.body, at: 0 }.text().unwrap_or_default();
                    Err(io::Error::other(format!("{member}: {text}")))
                };
            }
        }
    }

    /// Receives a message: its kind, and to which call it answers.
    fn receive(&mut self) -> io::Result<(u8, Option<u32>)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        if head[0] != b'l' {
            return Err(bad("a message in another byte order"));
        }
        let mut at = Reader { bytes: &head, at: 4 };
        let (body, _, fields) = (at.u32()? as usize, at.u32()?, at.u32()? as usize);
        if body > HOST_DBUS_BYTES_MAX || fields > HOST_DBUS_BYTES_MAX {
            return Err(bad("a message is longer than any should be"));
        }
        self.body.resize(fields.next_multiple_of(8), 0);
        self.stream.read_exact(&mut self.body)?;
        let mut serial = None;
        let mut at = Reader { bytes: self.body.get(..fields).unwrap_or_default(), at: 0 };
        while at.at < fields {
            at.align(8)?;
            let code = at.byte()?;
            match at.signature()?.as_str() {
                "u" if code == REPLY_SERIAL => serial = Some(at.u32()?),
                "u" => drop(at.u32()?),
                "s" | "o" => drop(at.text()?),
                "g" => drop(at.signature()?),
                _ => return Err(bad("a header field of an unknown type")),
            }
        }
        self.body.resize(body, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok((head[1], serial.filter(|_| matches!(head[1], RETURN | ERROR))))
    }
}

/// Reads values; bytes are little-endian.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or_else(|| bad("cut off"))?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| bad("cut off"))?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> io::Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.align(4)?;
        Ok(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default()))
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.align(8)?;
        Ok(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default()))
    }

    /// A string or an object's path.
    fn text(&mut self) -> io::Result<String> {
        let len = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn signature(&mut self) -> io::Result<String> {
        let len = usize::from(self.byte()?);
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}

/// Writes values.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    /// A header field: its code and a variant.
    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }
}
