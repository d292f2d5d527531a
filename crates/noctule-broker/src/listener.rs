//! One way in: its settings, the socket it listens on, and the loop that accepts connections.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use noctule_broker_core::{Authentication, Durability, ListenerId, ListenerSettings, Peer};
use noctule_packet::Version;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tracing::{debug, error, warn};

use crate::address::LocalAddress;
use crate::error::StartError;
use crate::shard::SharedDriver;
use crate::stream::Stream;
use crate::transit::Arrival;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who may connect to a Unix socket, unless the listener says otherwise: its user and group.
const UNIX_MODE: u32 = 0o660;

/// The settings of one way in. A plain text is an address with the defaults.
///
/// ```
/// use noctule_broker::{Listener, Version};
///
/// let listener = Listener::new("127.0.0.1:1883").versions([Version::V3_1_1, Version::V5_0]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Listener {
    address: String,
    versions: Option<Vec<Version>>,
    allow_anonymous: Option<bool>,
    optional: bool,
    unix_mode: u32,
    durability: Option<Durability>,
    tell_durability: bool,
}

impl Listener {
    /// Listens on `ADDRESS:PORT`, where port 0 is any free one, or on a Unix socket, `unix:PATH`.
    /// An IPv6 address takes no IPv4 connections.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            versions: None,
            allow_anonymous: None,
            optional: false,
            unix_mode: UNIX_MODE,
            durability: None,
            tell_durability: false,
        }
    }

    /// The protocol versions that are spoken here, at least one; all by default. A client with
    /// another one gets CONNACK "unsupported protocol version".
    pub fn versions(mut self, versions: impl IntoIterator<Item = Version>) -> Self {
        self.versions = Some(versions.into_iter().collect());
        self
    }

    /// Whether clients may connect without proving who they are. By default they may on loopback
    /// addresses and Unix sockets; a wider listener does not start without a decision.
    pub fn allow_anonymous(mut self, allow: bool) -> Self {
        self.allow_anonymous = Some(allow);
        self
    }

    /// Whether the broker starts without this listener, and says so in the log, if the machine does
    /// not have the address; by default it does not start.
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// The permissions of a Unix socket's file; 0660 by default. Of no effect for TCP.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = mode;
        self
    }

    /// What an acknowledgement means to clients that come in here: by default what it means for the
    /// broker. With [`Durability::Memory`] they are acknowledged at once, and their sessions, what
    /// waits for them, what they publish with RETAIN and their wills are never on disk, and gone
    /// with the process. What they publish for sessions of other listeners is kept for those.
    ///
    /// A listener cannot promise more than its broker: [`start`](crate::Builder::start) refuses
    /// whatever is neither that nor [`Durability::Memory`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Whether CONNACK tells 5.0 clients what an acknowledgement means, in a User Property
    /// `durability` with the value `local`, `interval` or `memory`. By default it does not.
    pub fn tell_durability(mut self, tell: bool) -> Self {
        self.tell_durability = tell;
        self
    }

    /// Refuses to promise more than the broker.
    pub(crate) fn check_durability(&self, of_broker: Durability) -> Result<(), StartError> {
        match self.durability.filter(|it| ![of_broker, Durability::Memory].contains(it)) {
            None => Ok(()),
            Some(wanted) => {
                let address = self.address.clone();
                let (wanted, of_broker) = (wanted.name(), of_broker.name());
                Err(StartError::Durability { address, wanted, of_broker })
            }
        }
    }

    pub(crate) fn allow_anonymous_unless_set(&mut self, allow: bool) {
        self.allow_anonymous.get_or_insert(allow);
    }

    /// Opens the sockets; a host name with several addresses gets one each.
    pub(crate) fn open(&self) -> Result<Vec<OpenListener>, StartError> {
        if self.versions.as_ref().is_some_and(Vec::is_empty) {
            return Err(StartError::NoVersion { address: self.address.clone() });
        }
        let addresses = LocalAddress::resolve(&self.address)
            .map_err(|source| StartError::Address { address: self.address.clone(), source })?;
        let mut opened = Vec::with_capacity(addresses.len());
        for address in addresses {
            let settings = self.settings_for(&address)?;
            match Acceptor::open(&address, self.unix_mode) {
                Ok((acceptor, address)) => {
                    opened.push(OpenListener { acceptor, address, settings })
                }
                Err(source) if self.optional && is_missing_address(&source) => {
                    warn!(target: "noctule", %address, error = %source,
                        "this machine does not have the address; not listening there");
                }
                Err(source) => {
                    return Err(StartError::Listen { address: address.to_string(), source });
                }
            }
        }
        Ok(opened)
    }

    fn settings_for(&self, address: &LocalAddress) -> Result<ListenerSettings, StartError> {
        let anonymous = match self.allow_anonymous {
            Some(allow) => allow,
            None if address.is_local() => true,
            None => return Err(StartError::AnonymousNotAllowed { address: address.to_string() }),
        };
        if anonymous && !address.is_local() {
            warn!(target: "noctule", %address,
                "everybody who reaches this address may connect: allow_anonymous is set");
        }
        if !anonymous {
            warn!(target: "noctule", %address,
                "nobody can connect here: allow_anonymous is false, and there are no users");
        }
        let mut settings = ListenerSettings::default();
        if let Some(versions) = &self.versions {
            settings.versions.clone_from(versions);
        }
        settings.durability = self.durability;
        settings.tell_durability = self.tell_durability;
        settings.authentication =
            if anonymous { Authentication::Open } else { Authentication::Ask };
        Ok(settings)
    }
}

impl From<&str> for Listener {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

impl From<String> for Listener {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

fn is_missing_address(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// A listener whose socket is open, before it reaches the broker's thread.
#[derive(Debug)]
pub(crate) struct OpenListener {
    pub(crate) acceptor: Acceptor,
    pub(crate) address: LocalAddress,
    pub(crate) settings: ListenerSettings,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, UnixFile),
}

impl Acceptor {
    fn open(address: &LocalAddress, unix_mode: u32) -> io::Result<(Self, LocalAddress)> {
        match address {
            LocalAddress::Tcp(address) => {
                let socket =
                    Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                if address.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.bind(&SockAddr::from(*address))?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                let listener = std::net::TcpListener::from(socket);
                let address = LocalAddress::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(listener), address))
            }
            LocalAddress::Unix(path) => {
                remove_stale_socket(path)?;
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                let file = UnixFile::new(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(unix_mode))?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                Ok((Self::Unix(socket.into(), file), address.clone()))
            }
        }
    }
}

/// Removes the file that a broker left which did not end cleanly. A socket on which somebody still
/// listens, or a file of another kind, stays, and binding to it fails.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The file of a Unix socket, removed when the listener ends.
#[derive(Debug)]
pub(crate) struct UnixFile {
    path: PathBuf,
    inode: u64,
}

impl UnixFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), inode: fs::symlink_metadata(path)?.ino() })
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        // Another broker may have put its own socket there in the meantime.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A listening socket that belongs to the thread's runtime.
#[derive(Debug)]
pub(crate) enum AsyncAcceptor {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Held so that the file goes with the listener.
        _file: UnixFile,
    },
}

impl TryFrom<Acceptor> for AsyncAcceptor {
    type Error = io::Error;

    fn try_from(acceptor: Acceptor) -> io::Result<Self> {
        match acceptor {
            Acceptor::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            Acceptor::Unix(listener, file) => {
                Ok(Self::Unix { listener: UnixListener::from_std(listener)?, _file: file })
            }
        }
    }
}

impl AsyncAcceptor {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A connection that ended already cannot be set up; reading will tell.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), address.into()))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), "unix".into()))
            }
        }
    }
}

/// Accepts connections until the task is aborted: streams of bytes both ways, in order and without
/// loss, on which nothing but MQTT is spoken.
// [MQTT5-4.2.0-1] [MQTT311-7.1.1-1] [MQTT311-7.0.0-2]
pub(crate) async fn accept_loop(driver: SharedDriver, acceptor: AsyncAcceptor, id: ListenerId) {
    let mut is_short_of_descriptors = false;
    loop {
        match acceptor.accept().await {
            Ok((stream, peer)) => {
                is_short_of_descriptors = false;
                driver.borrow_mut().hand_out(Arrival::new(stream, peer, id));
            }
            Err(error) if concerns_one_connection(&error) => {
                debug!(target: "noctule", %error, "a connection ended before it was accepted");
            }
            Err(error) => {
                if !is_short_of_descriptors {
                    error!(target: "noctule", %error,
                        "cannot accept connections; trying again until it works");
                }
                is_short_of_descriptors = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdTcpStream;
    use std::time::Duration;

    use super::*;

    fn open_listener() -> OpenListener {
        Listener::new("127.0.0.1:0").open().unwrap().remove(0)
    }

    #[test]
    fn small_packets_leave_without_delay() {
        let OpenListener { acceptor, address, .. } = open_listener();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let accepted = runtime.block_on(async {
            let acceptor = AsyncAcceptor::try_from(acceptor).unwrap();
            let client = StdTcpStream::connect(address.tcp().unwrap()).unwrap();
            let accepted = acceptor.accept().await.unwrap();
            drop(client);
            accepted
        });
        let (Stream::Tcp(stream), _) = accepted else { panic!("a TCP stream") };
        assert!(stream.nodelay().unwrap());
    }

    /// More than the 128 that wait by default; the system may allow fewer than we ask for.
    #[test]
    fn many_connections_may_wait_to_be_accepted() {
        let allowed = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let count = allowed.trim().parse::<usize>().unwrap().min(400);
        let listener = open_listener();
        let address = listener.address.tcp().unwrap();
        let waiting: Vec<_> = (0..count)
            .map_while(|_| StdTcpStream::connect_timeout(&address, Duration::from_secs(2)).ok())
            .collect();
        assert_eq!(waiting.len(), count);
    }
}
