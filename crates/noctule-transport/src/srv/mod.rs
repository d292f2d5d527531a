//! Which servers a domain has for MQTT, as its SRV records say (RFC 2782).
//!
//! Everything here blocks, on plain sockets and within a time, and is called on a thread of its
//! own. So it serves both kinds of dialers alike.

mod error;
mod exchange;
mod message;
mod order;
mod servers;

use std::net::SocketAddr;
use std::time::Instant;

pub use error::SrvError;

use crate::error::TransportError;
use crate::url::{Url, authority};
use message::Record;
use servers::NameServers;

/// The most servers of one domain that are tried in one attempt.
const TARGETS_MAX: usize = 64;

/// The MQTT service of a domain.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    domain: String,
    /// The owner of the SRV records.
    name: String,
    default_port: u16,
    /// None, if the system's are asked.
    name_servers: Option<Vec<SocketAddr>>,
}

/// A server that a domain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Service {
    /// The service that a URL asks for, if it does.
    pub(crate) fn of(url: &Url, name_servers: Option<&[SocketAddr]>) -> Option<Self> {
        let domain = url.host().filter(|_| url.is_srv())?.to_owned();
        let label = if url.scheme().is_tls() { "_secure-mqtt" } else { "_mqtt" };
        Some(Self {
            name: format!("{label}._tcp.{domain}"),
            domain,
            default_port: url.scheme().default_port()?,
            name_servers: name_servers.map(<[SocketAddr]>::to_vec),
        })
    }

    /// The servers in the order in which they are to be tried; never none. Looks the records up,
    /// which blocks, at most until the deadline.
    pub(crate) fn targets(&self, deadline: Option<Instant>) -> Result<Vec<Target>, SrvError> {
        let servers = match &self.name_servers {
            Some(given) => NameServers::given(given),
            None => NameServers::of_system(),
        };
        let records = exchange::ask(&self.name, &servers, deadline)?;
        self.choose(records, &mut |most| rand::random_range(0..=most))
    }

    fn choose(
        &self,
        mut records: Vec<Record>,
        pick: &mut dyn FnMut(u32) -> u32,
    ) -> Result<Vec<Target>, SrvError> {
        if records.is_empty() {
            let host = self.domain.clone();
            return Ok(vec![Target { host, port: self.default_port }]);
        }
        if records.iter().all(|record| record.target.is_empty()) {
            let (domain, name) = (self.domain.clone(), self.name.clone());
            return Err(SrvError::NoService { domain, name });
        }
        records.retain(Record::is_usable);
        if records.is_empty() {
            return Err(SrvError::Unusable { name: self.name.clone() });
        }
        let ordered = order::order(records, pick).into_iter().take(TARGETS_MAX);
        Ok(ordered.map(|record| Target { host: record.target, port: record.port }).collect())
    }

    /// What is told when no server was reached; one alone has its own error.
    pub(crate) fn unreached(&self, mut failures: Vec<(Target, TransportError)>) -> TransportError {
        match failures.pop() {
            Some((_, error)) if failures.is_empty() => error,
            last => {
                failures.extend(last);
                let shown = |(target, error): (Target, _)| (target.authority(), error);
                let failures = failures.into_iter().map(shown).collect();
                SrvError::Unreached { domain: self.domain.clone(), failures }.into()
            }
        }
    }
}

impl Target {
    fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(url: &str) -> Service {
        Service::of(&url.parse().unwrap(), None).unwrap()
    }

    fn record(target: &str, port: u16) -> Record {
        Record { priority: 0, weight: 0, port, target: target.to_owned() }
    }

    fn choose(records: Vec<Record>) -> Result<Vec<(String, u16)>, SrvError> {
        let chosen = service("mqtts+srv://plant.example").choose(records, &mut |_| 0)?;
        Ok(chosen.into_iter().map(|target| (target.host, target.port)).collect())
    }

    #[test]
    fn a_service_is_named_by_what_protects_it() {
        assert_eq!(service("mqtt+srv://plant.example").name, "_mqtt._tcp.plant.example");
        assert_eq!(service("mqtts+srv://plant.example").name, "_secure-mqtt._tcp.plant.example");
        assert!(Service::of(&"mqtt://plant.example".parse().unwrap(), None).is_none());
    }

    #[test]
    fn without_records_the_domain_is_the_server() {
        assert_eq!(choose(vec![]).unwrap(), [("plant.example".to_owned(), 8883)]);
    }

    #[test]
    fn a_root_alone_says_that_there_is_no_service() {
        let error = choose(vec![record("", 0)]).unwrap_err();
        assert!(matches!(error, SrvError::NoService { .. }), "{error:?}");
        assert_eq!(choose(vec![record("", 1), record("b", 2)]).unwrap(), [("b".to_owned(), 2)]);
    }

    #[test]
    fn what_is_no_host_is_no_target() {
        let odd = ["a b", "a/b", "[::1]", "::1", "caf\u{e9}", "a\\000"];
        let mut records: Vec<_> = odd.iter().map(|target| record(target, 1)).collect();
        records.push(record("port.zero", 0));
        let error = choose(records.clone()).unwrap_err();
        assert!(matches!(error, SrvError::Unusable { .. }), "{error:?}");
        records.push(record("a_b-c.example", 7));
        assert_eq!(choose(records).unwrap(), [("a_b-c.example".to_owned(), 7)]);
    }

    #[test]
    fn the_servers_of_one_attempt_are_limited() {
        let records = (1..1000).map(|port| record("h", port)).collect();
        assert_eq!(choose(records).unwrap().len(), TARGETS_MAX);
    }
}
