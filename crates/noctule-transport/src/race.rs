//! The order in which a host's addresses are tried (Happy Eyeballs, RFC 8305): families in turn,
//! and the next one starts while the last may still answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an address has before the next one is tried beside it (RFC 8305, section 5).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Puts the families in turn, starting with the one that the resolver prefers. Within a family the
/// resolver's order stays, and no address comes twice.
pub(crate) fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut preferred = VecDeque::new();
    let mut other = VecDeque::new();
    for address in addresses {
        let is_preferred =
            preferred.front().is_none_or(|first: &SocketAddr| first.is_ipv6() == address.is_ipv6());
        let family = if is_preferred { &mut preferred } else { &mut other };
        if !family.contains(&address) {
            family.push_back(address);
        }
    }
    let mut order = VecDeque::with_capacity(preferred.len() + other.len());
    while !preferred.is_empty() || !other.is_empty() {
        order.extend(preferred.pop_front());
        order.extend(other.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: &[&str]) {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(Vec::from(interleave(parse(addresses))), parse(expected));
    }

    #[test]
    fn families_take_turns_and_the_first_stays_first() {
        check(&[], &[]);
        check(&["[::1]:1", "[::2]:1", "[::3]:1"], &["[::1]:1", "[::2]:1", "[::3]:1"]);
        check(
            &["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"],
            &["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"],
        );
        check(&["10.0.0.1:1", "[::1]:1", "10.0.0.1:1"], &["10.0.0.1:1", "[::1]:1"]);
    }
}
