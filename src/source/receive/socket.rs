//! Sockets that receivers listen on: bound once, kept open while the configuration changes, and shared by whoever takes their place.
//!
//! Promises: an error names the address and what to do; a datagram that is in a socket's buffer is lost by no change of what reads it; a path that
//! another program listens at is not taken from it, nor removed if another one is there by now. Leaves to others: reading.

use super::settings::Address;
use crate::base::limits::{KEEPALIVE_S, RECEIVE_BUFFER_BYTES};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::net::sockopt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Why an address cannot be listened on; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "cannot listen on {0}: the address is in use; stop the other program (`ss -lntupx` shows it) or choose another port"
    )]
    InUse(Address),
    /// The port is below 1024, or the directory belongs to somebody else.
    #[error(
        "cannot listen on {0}: permission denied; a port below 1024 takes the capability CAP_NET_BIND_SERVICE (systemd: \
         AmbientCapabilities=CAP_NET_BIND_SERVICE), a path a directory that user {1} may write to; or choose another one"
    )]
    Denied(Address, u32),
    /// The host does not have this address.
    #[error("cannot listen on {0}: this host does not have that address")]
    NoSuchAddress(Address),
    /// Something else than a socket is there.
    #[error("cannot listen on {0}: there is a file at this path that is no socket; choose another path or remove it")]
    NotASocket(Address),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(Address, io::Error),
}

/// A bound socket. Cheap to clone; closed with the last one.
#[derive(Debug, Clone)]
pub(super) enum Socket {
    Udp(Arc<UdpSocket>),
    Tcp(Arc<TcpListener>),
    // The path is dropped first: as long as the socket lives, no other file gets its number.
    UnixStream(Arc<(OwnPath, UnixListener)>),
    UnixDatagram(Arc<(OwnPath, UnixDatagram)>),
}

/// A path that is removed with its socket, unless it is somebody else's by now.
#[derive(Debug)]
pub(super) struct OwnPath {
    path: PathBuf,
    /// Where it was bound.
    bound: PathBuf,
    /// What was bound.
    file: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

impl OwnPath {
    /// Of what was bound right now.
    fn new(path: &Path, bound: PathBuf) -> Self {
        let file = file_id(&bound);
        OwnPath { path: path.to_owned(), bound, file }
    }

    fn is_at(&self, path: &Path) -> bool {
        self.file.is_some() && file_id(path) == self.file
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        for path in [&self.path, &self.bound] {
            if self.is_at(path) {
                // Its directory may go at the same time.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Socket {
    /// Binds a socket that never blocks. One at a path of `own` is not to be found before [`Socket::show`].
    pub(super) fn bind(address: &Address, own: &[&Socket]) -> Result<Socket, BindError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
            io::ErrorKind::PermissionDenied => BindError::Denied(address.clone(), rustix::process::geteuid().as_raw()),
            io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress(address.clone()),
            _ => BindError::Other(address.clone(), error),
        };
        match address {
            Address::Udp(to) => {
                let socket = any_family(*to, UdpSocket::bind).map_err(fail)?;
                socket.set_nonblocking(true).map_err(fail)?;
                widen(&socket, address);
                Ok(Socket::Udp(Arc::new(socket)))
            }
            Address::Tcp(to) => {
                let socket = any_family(*to, TcpListener::bind).map_err(fail)?;
                socket.set_nonblocking(true).map_err(fail)?;
                Ok(Socket::Tcp(Arc::new(socket)))
            }
            Address::UnixStream(path) => {
                let bound = free(path, own)
                    .map_err(|error| error.map_or_else(|| BindError::NotASocket(address.clone()), fail))?;
                let socket = UnixListener::bind(&bound).map_err(fail)?;
                let bound = OwnPath::new(path, bound);
                socket.set_nonblocking(true).map_err(fail)?;
                open_to_all(&bound.bound).map_err(fail)?;
                Ok(Socket::UnixStream(Arc::new((bound, socket))))
            }
            Address::UnixDatagram(path) => {
                let bound = free(path, own)
                    .map_err(|error| error.map_or_else(|| BindError::NotASocket(address.clone()), fail))?;
                let socket = UnixDatagram::bind(&bound).map_err(fail)?;
                let bound = OwnPath::new(path, bound);
                socket.set_nonblocking(true).map_err(fail)?;
                open_to_all(&bound.bound).map_err(fail)?;
                Ok(Socket::UnixDatagram(Arc::new((bound, socket))))
            }
        }
    }

    fn own_path(&self) -> Option<&OwnPath> {
        match self {
            Socket::Udp(_) | Socket::Tcp(_) => None,
            Socket::UnixStream(socket) => Some(&socket.0),
            Socket::UnixDatagram(socket) => Some(&socket.0),
        }
    }

    /// Lets senders find it, in place of one that had its path.
    pub(super) fn show(&self) {
        if let Some(OwnPath { path, bound, .. }) = self.own_path()
            && path != bound
            && let Err(error) = fs::rename(bound, path)
        {
            tracing::error!(path = %path.display(), %error, "cannot put a socket in place: nothing is received here");
        }
    }

    /// Where it is bound, with the real port.
    pub(super) fn address(&self) -> String {
        match self {
            Socket::Udp(socket) => socket.local_addr().map_or_else(|_| "udp".to_owned(), |at| format!("udp://{at}")),
            Socket::Tcp(socket) => socket.local_addr().map_or_else(|_| "tcp".to_owned(), |at| format!("tcp://{at}")),
            Socket::UnixStream(socket) => Address::UnixStream(socket.0.path.clone()).to_string(),
            Socket::UnixDatagram(socket) => Address::UnixDatagram(socket.0.path.clone()).to_string(),
        }
    }
}

/// Binds to any address of the host also where that has no IPv6.
fn any_family<S>(to: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<S> {
    match bind(to) {
        Err(error) if to.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && has_no_family(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, to.port())))
        }
        bound => bound,
    }
}

fn has_no_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// A large buffer, so that a burst fits while the thread does something else.
fn widen(socket: &UdpSocket, address: &Address) {
    // Without privileges what the host allows is taken.
    if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES);
    }
    // The kernel gives twice what it was asked for.
    let bytes = sockopt::socket_recv_buffer_size(socket).unwrap_or(0) / 2;
    if bytes < RECEIVE_BUFFER_BYTES {
        tracing::info!(
            %address, bytes, wanted = RECEIVE_BUFFER_BYTES,
            "the kernel gives this socket a small buffer: a burst may be lost; raise net.core.rmem_max, or give lugger CAP_NET_ADMIN"
        );
    }
}

/// Where a socket for a path is to be bound: there, once nobody listens at it any more, or beside it while one of `own` does. `Err(None)`: what is there is
/// no socket.
fn free(path: &Path, own: &[&Socket]) -> Result<PathBuf, Option<io::Error>> {
    static BESIDE: AtomicU32 = AtomicU32::new(0);
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(_) => return Ok(path.to_owned()),
    };
    if !kind.is_socket() {
        return Err(None);
    }
    if own.iter().any(|socket| socket.own_path().is_some_and(|own| own.path == path && own.is_at(path))) {
        let number = BESIDE.fetch_add(1, Ordering::Relaxed);
        return Ok(path.with_file_name(format!(".{}.{number}", std::process::id())));
    }
    // Of all kinds of sockets this one never waits for the other side, and it is refused only where there is none.
    let found = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    let Err(error) = found else { return Err(Some(io::ErrorKind::AddrInUse.into())) };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => fs::remove_file(path).map_err(Some)?,
        Some(libc::ENOENT) => {}
        // One of another kind, or one that takes from a single other only.
        Some(libc::EPROTOTYPE | libc::EPERM) => return Err(Some(io::ErrorKind::AddrInUse.into())),
        _ => return Err(Some(error)),
    }
    Ok(path.to_owned())
}

/// Every program of the host may send, as to `/dev/log`.
fn open_to_all(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// Lets the kernel notice that the other side of a connection is gone.
pub(super) fn keep_alive(stream: &impl AsFd) {
    // What does not work costs a connection that stays too long.
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(KEEPALIVE_S));
    let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs(KEEPALIVE_S / 4));
    let _ = sockopt::set_tcp_keepcnt(stream, 4);
}

/// How many datagrams the kernel dropped of a UDP socket since it was made, from `/proc/net/udp` and `udp6`.
pub(super) fn kernel_drops(socket: &UdpSocket) -> Option<u64> {
    let inode = inode_of(socket.as_fd())?;
    let is_6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
    let text = fs::read_to_string(if is_6 { "/proc/self/net/udp6" } else { "/proc/self/net/udp" }).ok()?;
    drops_in(&text, inode)
}

fn drops_in(text: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.nth(9)? == inode).then(|| words.next_back()?.parse().ok()).flatten()
    };
    text.lines().skip(1).find_map(of_line)
}

/// What `/proc` calls a socket.
fn inode_of(socket: BorrowedFd<'_>) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_those_of_the_socket() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     1: 00000000:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 17\n\
                     2: 00000000:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0 3\n";
        assert_eq!([drops_in(text, 4711), drops_in(text, 4712), drops_in(text, 3)], [Some(17), Some(3), None]);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(kernel_drops(&socket), Some(0));
    }

    #[test]
    fn a_path_is_taken_only_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("s"), dir.path().join("f"));
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&Address::UnixStream(path.clone()), &[]).unwrap();
        assert!(matches!(Socket::bind(&Address::UnixStream(path.clone()), &[]), Err(BindError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
        fs::write(&file, "x").unwrap();
        assert!(matches!(Socket::bind(&Address::UnixDatagram(file.clone()), &[]), Err(BindError::NotASocket(_))));
        assert!(file.exists());
    }

    #[test]
    fn errors_name_the_address_and_the_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(taken.local_addr().unwrap());
        let error = Socket::bind(&address, &[]).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
        let error = Socket::bind(&Address::Udp("192.0.2.1:5".parse().unwrap()), &[]).unwrap_err().to_string();
        assert!(error.contains("udp://192.0.2.1:5") && error.contains("does not have"), "{error}");
    }
}
