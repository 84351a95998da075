//! Telling the service manager how the process is: datagrams to the socket that it names in the environment (systemd's protocol of `sd_notify`).
//!
//! The protocol is a dozen lines and the standard library knows abstract addresses, so no library is asked.
//!
//! Promises: a manager that does not read costs a bounded wait; what is sent is one datagram. Leaves to others: what is true, and when to say it.

use super::limits::NOTIFY_WAIT_MS;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Why the service manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// An address of a kind that is not known.
    #[error(
        "NOTIFY_SOCKET is {0:?}: neither an absolute path nor an abstract address (@name), so the service manager is told nothing"
    )]
    Address(String),
    /// The socket.
    #[error("the service manager's socket {address}: {error}; it is told nothing")]
    Socket {
        /// What `NOTIFY_SOCKET` says.
        address: String,
        /// Why it cannot be used.
        error: io::Error,
    },
}

/// A connected socket of the service manager.
#[derive(Debug)]
pub struct Notifier(UnixDatagram);

impl Notifier {
    /// The socket that `NOTIFY_SOCKET` names; `None` where there is no such manager.
    pub fn new(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, NotifyError> {
        let Some(address) = lookup("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return Ok(None) };
        let place = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if address.starts_with('/') => SocketAddr::from_pathname(&address),
            None => return Err(NotifyError::Address(address)),
        };
        let connect = |place: &SocketAddr| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(place)?;
            // The manager's queue is short, and it may be busy.
            socket.set_write_timeout(Some(Duration::from_millis(NOTIFY_WAIT_MS)))?;
            Ok(socket)
        };
        match place.and_then(|place| connect(&place)) {
            Ok(socket) => Ok(Some(Notifier(socket))),
            Err(error) => Err(NotifyError::Socket { address, error }),
        }
    }

    /// Sends assignments, one a line. Waits for the manager, not for long: an error says that it has not taken them.
    pub fn send(&self, assignments: &str) -> io::Result<()> {
        loop {
            match self.0.send(assignments.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(|_| ()),
            }
        }
    }
}

/// Within which time the service manager wants a sign of life; `None`: it does not, or means another process.
pub fn watchdog(lookup: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| lookup(name).and_then(|text| text.trim().parse::<u64>().ok());
    let is_other = lookup("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(std::process::id().into());
    let interval = number("WATCHDOG_USEC").filter(|interval| *interval > 0 && !is_other)?;
    Some(Duration::from_micros(interval))
}

/// Now, by the clock that the service manager compares reloads by, microseconds.
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0u8; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("lugger-test-{}", path.display());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (address, socket) in [(path.display().to_string(), by_path), (format!("@{name}"), by_name)] {
            let notifier = Notifier::new(environment(&[("NOTIFY_SOCKET", &address)])).unwrap().unwrap();
            notifier.send("READY=1\n").unwrap();
            assert_eq!(received(&socket), "READY=1\n");
            // Nobody reads: the wait is bounded.
            while notifier.send("WATCHDOG=1\n").is_ok() {}
        }
    }

    #[test]
    fn without_a_manager_and_with_one_that_is_not_there() {
        assert!(Notifier::new(|_| None).unwrap().is_none());
        assert!(Notifier::new(environment(&[("NOTIFY_SOCKET", "")])).unwrap().is_none());
        for (address, wanted) in [("vsock:2:1", "neither an absolute path"), ("/no/such/socket", "No such file")] {
            let error = Notifier::new(environment(&[("NOTIFY_SOCKET", address)])).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains(address), "{error}");
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_is_meant() {
        let own = std::process::id().to_string();
        for (pairs, wanted) in [
            (&[("WATCHDOG_USEC", "3000000")][..], Some(Duration::from_secs(3))),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", &own)], Some(Duration::from_secs(3))),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")], None),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "x")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(watchdog(environment(pairs)), wanted, "{pairs:?}");
        }
        assert!(monotonic_us() > 0);
    }
}
