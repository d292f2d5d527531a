//! Why the SRV records of a domain led to no server.

use std::fmt;

use thiserror::Error;

use crate::error::{Attempts, TransportError};

/// Why the SRV records of a domain led to no server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SrvError {
    /// The domain is too long for DNS, or one of its parts is.
    #[error("{name:?} is no name that DNS can be asked for; check the domain")]
    Name {
        /// The name that was to be asked for.
        name: String,
    },
    /// No name server gave an answer.
    #[error("cannot look up the SRV records of {name}: {attempts}; check the network")]
    Lookup {
        /// The name that was asked for.
        name: String,
        /// Every name server that was asked and its reason.
        attempts: Attempts,
    },
    /// The domain says that it has no such service.
    #[error("{domain} says that it has no MQTT server: the only target of {name} is \".\"")]
    NoService {
        /// The domain.
        domain: String,
        /// The name of its records.
        name: String,
    },
    /// There are records, but none of them names a host and a port.
    #[error("no SRV record of {name} names a host and a port that can be used")]
    Unusable {
        /// The name of the records.
        name: String,
    },
    /// None of several servers was reached.
    #[error("no server of {domain} can be reached: {}", Shown(.failures))]
    Unreached {
        /// The domain.
        domain: String,
        /// Every server that was tried, as host and port, and its reason.
        failures: Vec<(String, TransportError)>,
    },
}

struct Shown<'a>(&'a [(String, TransportError)]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (authority, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{authority}: {error}")?;
        }
        Ok(())
    }
}
