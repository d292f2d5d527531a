//! TCP sockets with the options that the user wants, not yet connected.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::build_error::BuildError;
use crate::raw_option::RawOption;

/// Options of a TCP socket. The default is no delay (Nagle's algorithm off), all else as the
/// operating system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    nodelay: bool,
    keepalive: Option<Keepalive>,
    user_timeout: Option<Duration>,
    bind_address: Option<IpAddr>,
    interface: Option<String>,
    send_buffer_bytes: Option<usize>,
    receive_buffer_bytes: Option<usize>,
    raw: Vec<RawOption>,
}

/// When TCP itself asks a silent peer whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence before the first question.
    pub idle: Duration,
    /// The time between two questions.
    pub interval: Duration,
    /// How many questions stay unanswered before the connection is given up. Some systems have no
    /// such setting and use their own.
    pub retries: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            bind_address: None,
            interface: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            raw: Vec::new(),
        }
    }
}

impl SocketOptions {
    /// Whether small writes leave at once instead of waiting for an acknowledgement of earlier
    /// ones.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Lets TCP itself ask a silent peer, below MQTT's own keep alive.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// How long sent bytes may stay unacknowledged before the connection breaks (Linux, Android,
    /// Fuchsia, Cygwin).
    #[must_use]
    pub fn user_timeout(mut self, user_timeout: Duration) -> Self {
        self.user_timeout = Some(user_timeout);
        self
    }

    /// The local address to connect from. Addresses of the other family are not tried then.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> Self {
        self.bind_address = Some(address);
        self
    }

    /// The network interface to connect through, for example `eth0` (Linux, Android, Fuchsia).
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// The size of the kernel's buffer for bytes to send.
    #[must_use]
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer_bytes = Some(bytes);
        self
    }

    /// The size of the kernel's buffer for received bytes.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Any other option that is a number or a yes and no, by the numbers that this system has for
    /// it, as its `setsockopt` takes them (Unix). It is set on every socket before that connects,
    /// after the options above and in the order of these calls; if the system refuses it, the
    /// socket is not connected, and the error names it.
    ///
    /// ```
    /// # use noctule_transport::SocketOptions;
    /// // Linux: IPPROTO_IP, IP_TOS, "expedited forwarding"; SOL_SOCKET, SO_REUSEADDR.
    /// let options = SocketOptions::default().raw(0, 1, 0xb8).raw(1, 2, true);
    /// ```
    #[must_use]
    pub fn raw(mut self, level: i32, name: i32, value: impl Into<i32>) -> Self {
        self.raw.push(RawOption { level, name, value: value.into() });
        self
    }

    /// Whether an address can be reached from the address that the socket is bound to.
    pub(crate) fn allows(&self, address: &SocketAddr) -> bool {
        self.bind_address.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    }

    /// Refuses what this system's sockets cannot do, so that no option is silently ignored.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let unsupported = |option| Err(BuildError::SocketOption { option });
        let has_interfaces = cfg!(any(target_os = "linux", target_os = "android"));
        if self.interface.is_some() && !has_interfaces {
            return unsupported("interface");
        }
        let has_user_timeout = cfg!(any(target_os = "linux", target_os = "android"));
        if self.user_timeout.is_some() && !has_user_timeout {
            return unsupported("user_timeout");
        }
        if !self.raw.is_empty() && !RawOption::EXISTS {
            return unsupported("raw");
        }
        Ok(())
    }

    /// A socket that does not block, for an address of this family.
    pub(crate) fn open(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(keepalive) = &self.keepalive {
            let wanted =
                TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval);
            #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
            let wanted = wanted.with_retries(keepalive.retries);
            socket.set_tcp_keepalive(&wanted)?;
        }
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        self.set_linux_options(&socket)?;
        self.raw.iter().try_for_each(|option| option.apply(&socket))?;
        if let Some(local) = self.bind_address {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        Ok(socket)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_linux_options(&self, socket: &Socket) -> io::Result<()> {
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "check() refused these")]
    fn set_linux_options(&self, _socket: &Socket) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn every_option_reaches_the_socket() {
        let keepalive = Keepalive {
            idle: Duration::from_secs(11),
            interval: Duration::from_secs(7),
            retries: 3,
        };
        let options = SocketOptions::default()
            .nodelay(false)
            .keepalive(keepalive)
            .bind_address(Ipv4Addr::LOCALHOST.into())
            .send_buffer_bytes(40_000)
            .receive_buffer_bytes(50_000);
        let socket = options.open(ADDRESS).unwrap();
        assert!(!socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.retries);
        assert!(socket.send_buffer_size().unwrap() >= 40_000);
        assert!(socket.recv_buffer_size().unwrap() >= 50_000);
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(local.ip(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn small_writes_leave_at_once_unless_told_otherwise() {
        let socket = SocketOptions::default().open(ADDRESS).unwrap();
        assert!(socket.tcp_nodelay().unwrap());
        assert!(!socket.keepalive().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_has_a_user_timeout_and_interfaces() {
        let options = SocketOptions::default().user_timeout(Duration::from_secs(9));
        assert!(options.check().is_ok());
        let socket = options.open(ADDRESS).unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(9)));
        let options = SocketOptions::default().interface("no-such-device");
        assert!(options.open(ADDRESS).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn any_option_can_be_set_by_its_numbers() {
        let options = SocketOptions::default()
            .raw(libc::IPPROTO_TCP, libc::TCP_MAXSEG, 700)
            .raw(libc::SOL_SOCKET, libc::SO_KEEPALIVE, true)
            .raw(libc::IPPROTO_TCP, libc::TCP_NODELAY, false);
        assert!(options.check().is_ok());
        let socket = options.open(ADDRESS).unwrap();
        assert_eq!(socket.tcp_mss().unwrap(), 700);
        assert!(socket.keepalive().unwrap());
        assert!(!socket.tcp_nodelay().unwrap(), "it comes after what is set by name");
        let error = SocketOptions::default().raw(libc::SOL_SOCKET, -1, 7).open(ADDRESS);
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("the socket option -1 of level 1 is not 7: "), "{text}");
    }

    #[test]
    fn a_bound_socket_only_tries_addresses_of_its_family() {
        let options = SocketOptions::default().bind_address(Ipv6Addr::LOCALHOST.into());
        assert!(!options.allows(&ADDRESS));
        assert!(options.allows(&SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 1)));
        assert!(SocketOptions::default().allows(&ADDRESS));
    }
}
