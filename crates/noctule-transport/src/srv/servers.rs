//! Which name servers are asked, how long each has, and how often.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use resolv_conf::{Config, ScopedIp};

const SYSTEM_FILE: &str = "/etc/resolv.conf";
const PORT: u16 = 53;

/// What to ask, and with how much patience.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameServers {
    pub(super) addresses: Vec<SocketAddr>,
    /// How long one has for an answer.
    pub(super) patience: Duration,
    /// How often all of them are asked.
    pub(super) rounds: u32,
}

impl NameServers {
    /// Those that the program has named.
    pub(super) fn given(addresses: &[SocketAddr]) -> Self {
        Self { addresses: addresses.to_vec(), ..Self::of_text(b"") }
    }

    /// Those of the system, as they are now: a machine may move from one network to another.
    pub(super) fn of_system() -> Self {
        // Without the file there may still be one on this machine, as the C library assumes.
        Self::of_text(&std::fs::read(SYSTEM_FILE).unwrap_or_default())
    }

    fn of_text(text: &[u8]) -> Self {
        // A line that nobody understands does not hide the others.
        let (config, _) = Config::parse_with_errors(text);
        let mut addresses: Vec<_> = config.nameservers.iter().map(address).collect();
        if addresses.is_empty() {
            addresses.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        let patience = Duration::from_secs(config.timeout.clamp(1, 30).into());
        Self { addresses, patience, rounds: config.attempts.clamp(1, 5) }
    }
}

fn address(ip: &ScopedIp) -> SocketAddr {
    match ip {
        ScopedIp::V4(ip) => (*ip, PORT).into(),
        ScopedIp::V6(ip, scope) => {
            let scope = scope.as_deref().and_then(|scope| scope.parse().ok()).unwrap_or(0);
            SocketAddrV6::new(*ip, PORT, 0, scope).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_file_is_read_line_by_line() {
        let text = b"# mine\nnameserver 192.0.2.1\nnonsense here\nnameserver 2001:db8::1\n\
            nameserver fe80::1%3\noptions timeout:2 attempts:3 edns0\n";
        let servers = NameServers::of_text(text);
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"];
        let expected: Vec<SocketAddr> = expected.map(|text| text.parse().unwrap()).into();
        assert_eq!(servers.addresses, expected);
        assert_eq!((servers.patience, servers.rounds), (Duration::from_secs(2), 3));
    }

    #[test]
    fn without_a_word_this_machine_is_asked() {
        let servers = NameServers::of_text(b"options timeout:0 attempts:0\n");
        assert_eq!(servers.addresses, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((servers.patience, servers.rounds), (Duration::from_secs(1), 1));
        let given = [SocketAddr::from(([127, 0, 0, 1], 5353))];
        assert_eq!(NameServers::given(&given).addresses, given);
    }
}
