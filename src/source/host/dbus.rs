//! A client of systemd's manager over D-Bus, as far as its metrics need it (D-Bus specification; org.freedesktop.systemd1(5)).
//!
//! It speaks to systemd's own socket where that may be opened (root), and over the system's bus otherwise. Method calls without or with text arguments, one
//! at a time; of answers, arrays of units and single properties. A connection is for one turn: to those that stay open at its own socket systemd sends
//! every change of every unit, and keeps in its memory what is not taken.
//!
//! Promises: everything that is received is checked against its own lengths; what is asked for is waited for no longer than the time of all, however
//! slowly it comes; signals and answers that nobody asked for are passed over within that time.
//! Leaves to others: what units and properties mean.

use crate::base::limits::HOST_DBUS_BYTES_MAX;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

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
    /// When the time is over.
    until: Instant,
    /// What was asked for last.
    asked: String,
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

/// Bytes of a message for which memory is taken at once.
const PIECE: usize = 64 * 1024;

/// Whether the call was cut short, or its time is over, which is judged by the turn's.
fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {what}"))
}

impl Bus {
    /// Connects to systemd itself, or to the bus if that is not allowed; all that is asked for then takes no longer than this time.
    pub(super) fn connect(private: &Path, bus: &Path, patience: Duration) -> io::Result<Bus> {
        match UnixStream::connect(private) {
            Ok(stream) => Bus::open(stream, false, patience),
            Err(_) => Bus::open(UnixStream::connect(bus)?, true, patience),
        }
    }

    fn open(stream: UnixStream, shared: bool, patience: Duration) -> io::Result<Bus> {
        let mut bus = Bus {
            stream,
            serial: 0,
            shared,
            body: Vec::new(),
            until: Instant::now() + patience,
            asked: "the authentication".into(),
        };
        // We are who the kernel says we are; the number is given as the hexadecimal codes of its digits.
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        // BEGIN in the same piece: systemd never looks at a call that it reads together with what is before, until more comes.
        bus.send(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            bus.fill(&mut byte)?;
            answer.extend_from_slice(&byte);
            if answer.len() > 512 {
                return Err(bad("no answer to the authentication"));
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(bad("the authentication was refused"));
        }
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
        self.asked.clear();
        for word in [member].iter().chain(texts).chain(&[path]) {
            self.asked.push_str(word);
            self.asked.push(' ');
        }
        self.asked.truncate(self.asked.trim_end().len());
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
        self.send(&message.0)?;
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

    /// What is left of this turn's time.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(ErrorKind::TimedOut, format!("no answer to {} in time", self.asked))),
            left => Ok(Some(left)),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(self.left()?)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives so many bytes.
    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(self.left()?)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
                Ok(got) => bytes = std::mem::take(&mut bytes).get_mut(got..).unwrap_or_default(),
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fill_body(&mut self, len: usize) -> io::Result<()> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        // What is announced may never come: memory is taken as it does.
        while body.len() < len {
            let start = body.len();
            body.resize(len.min(start + PIECE), 0);
            self.fill(body.get_mut(start..).unwrap_or_default())?;
        }
        self.body = body;
        Ok(())
    }

    /// Receives a message: its kind, and to which call it answers.
    fn receive(&mut self) -> io::Result<(u8, Option<u32>)> {
        let mut head = [0; 16];
        self.fill(&mut head)?;
        if head[0] != b'l' {
            return Err(bad("a message in another byte order"));
        }
        let mut at = Reader { bytes: &head, at: 4 };
        let (body, _, fields) = (at.u32()? as usize, at.u32()?, at.u32()? as usize);
        if body > HOST_DBUS_BYTES_MAX || fields > HOST_DBUS_BYTES_MAX {
            return Err(bad("a message is longer than any should be"));
        }
        self.fill_body(fields.next_multiple_of(8))?;
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
        self.fill_body(body)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOON: Duration = Duration::from_secs(20);

    /// What is made of what somebody sends, who then closes.
    fn asked(sent: &[u8]) -> (io::Result<Vec<Unit>>, io::Result<Value>) {
        let ask = |property: bool| {
            let (own, mut other) = UnixStream::pair().unwrap();
            other.write_all(b"OK 1234\r\n").unwrap();
            other.write_all(sent).unwrap();
            other.shutdown(std::net::Shutdown::Write).unwrap();
            let mut bus = Bus::open(own, false, SOON).unwrap();
            if property { (Ok(Vec::new()), bus.property("/x", "x", "X")) } else { (bus.units(), Ok(Value::Number(0))) }
        };
        (ask(false).0, ask(true).1)
    }

    /// An answer to the first call.
    fn answer(body: &[u8]) -> Vec<u8> {
        let mut message = Writer::default();
        message.0.extend_from_slice(&[b'l', RETURN, 0, 1]);
        message.u32(body.len() as u32);
        message.u32(1);
        message.u32(8);
        message.0.extend_from_slice(&[REPLY_SERIAL, 1, b'u', 0]);
        message.u32(1);
        message.0.extend_from_slice(body);
        message.0
    }

    fn one_unit() -> Vec<u8> {
        let mut units = Writer::default();
        // The array begins at 8, as it is of structs.
        for word in ["a.service", "", "loaded", "active", "running", "", "/a"] {
            units.text(word);
        }
        units.u32(0);
        units.text("");
        units.text("/");
        let mut body = Writer::default();
        body.u32(units.0.len() as u32);
        body.align(8);
        body.0.extend_from_slice(&units.0);
        body.0
    }

    #[test]
    fn answers_are_read() {
        let unit = |name: &str, path: &str| Unit {
            name: name.into(),
            load_state: "loaded".into(),
            active_state: "active".into(),
            path: path.into(),
        };
        assert_eq!(asked(&answer(&one_unit())).0.unwrap(), [unit("a.service", "/a")]);
        assert_eq!(asked(&answer(&[1, b'u', 0, 0, 7, 0, 0, 0])).1.unwrap(), Value::Number(7));
        // Signals before it are passed over.
        let signal = [b'l', 4, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(asked(&[&signal[..], &answer(&one_unit())].concat()).0.unwrap().len(), 1);
        assert_eq!(asked(&answer(&[2, b'a', b's', 0])).1.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(asked(b"").0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..40), insert in any::<bool>()) {
            let whole = answer(&one_unit());
            let at = at.index(whole.len());
            let behind = if insert { at } else { (at + bytes.len()).min(whole.len()) };
            let sent = [&whole[..at], &bytes, &whole[behind..]].concat();
            let (units, _) = asked(&sent);
            // What is read is not more than what was sent.
            prop_assert!(units.map_or(0, |units| units.len()) <= sent.len() / 40);
        }
    }
}
