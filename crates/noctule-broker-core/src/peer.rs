//! The other end of a connection, as events and lists name it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::{SocketAddr, SocketAddrV4};

/// The other end of a connection, as events and lists name it. There is one for each connection, so
/// it is as small as can be: an IPv4 address lies in it, everything else is a text of its own.
///
/// An IPv4 address that a listener for IPv6 has seen is shown as one.
///
/// ```
/// use noctule_broker_core::Peer;
///
/// let mapped: std::net::SocketAddr = "[::ffff:198.51.100.7]:4711".parse().unwrap();
/// assert_eq!(Peer::from(mapped).to_string(), "198.51.100.7:4711");
/// assert_eq!(Peer::from("unix").to_string(), "unix");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Peer(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    V4(SocketAddrV4),
    Text(Box<str>),
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let mapped = match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(address) => {
                address.ip().to_ipv4_mapped().map(|ip| SocketAddrV4::new(ip, address.port()))
            }
        };
        match mapped {
            Some(address) => Self(Kind::V4(address)),
            None => Self(Kind::Text(alloc::format!("{address}").into())),
        }
    }
}

impl From<&str> for Peer {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.into()))
    }
}

impl From<String> for Peer {
    fn from(text: String) -> Self {
        Self(Kind::Text(text.into()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::V4(address) => address.fmt(formatter),
            Kind::Text(text) => text.fmt(formatter),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", alloc::format!("{self}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_address_is_shown_as_it_is() {
        for text in ["198.51.100.7:4711", "0.0.0.0:0", "[2001:db8::7]:1883", "[::1]:65535"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Peer::from(address).to_string(), text);
        }
        assert_eq!(size_of::<Peer>(), size_of::<Box<str>>(), "it costs no more than a text");
    }
}
