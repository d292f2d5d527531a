//! Why TLS was refused, in one line that says what to do.

use std::fmt;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use thiserror::Error as ThisError;

const SECONDS_PER_DAY: u64 = 86_400;

/// Why a TLS handshake failed, or why a peer ended a TLS connection.
#[derive(Clone, Debug, PartialEq, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate is not acceptable.
    #[error("the certificate of {server} {}", CertificateProblem(.problem))]
    Certificate {
        /// The server's name or address.
        server: String,
        /// What is wrong with it.
        problem: CertificateError,
    },
    /// The server broke the handshake off with an alert.
    #[error("{server} broke TLS off with the alert {alert:?}{}", alert_advice(*.alert))]
    Alert {
        /// The server's name or address.
        server: String,
        /// The alert.
        alert: AlertDescription,
    },
    /// The server answers with something else than TLS.
    #[error("{server} does not speak TLS: check the port, or use the scheme without TLS")]
    NotTls {
        /// The server's name or address.
        server: String,
    },
    /// The server closed the connection in the middle of the handshake.
    #[error("{server} closed the connection in the TLS handshake: check that this port speaks TLS")]
    Closed {
        /// The server's name or address.
        server: String,
    },
    /// The two sides have no version, cipher or protocol in common, or the server broke a rule.
    #[error("TLS with {server} failed: {reason}")]
    Failed {
        /// The server's name or address.
        server: String,
        /// Why.
        reason: String,
    },
}

impl TlsError {
    /// The reason that TLS gave for an error of input or output, if it was TLS that failed.
    ///
    /// With TLS 1.3 a server judges a client's certificate when the handshake is over for the
    /// client, so its refusal is an error of the first read.
    #[must_use]
    pub fn from_io(error: &io::Error, server: &str) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref::<Error>()?;
        Some(Self::from_rustls(inner, server))
    }

    /// Why a handshake failed.
    pub(crate) fn from_handshake(error: &io::Error, server: &str) -> Option<Self> {
        let is_end = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        );
        let closed = || is_end.then(|| Self::Closed { server: server.to_owned() });
        Self::from_io(error, server).or_else(closed)
    }

    fn from_rustls(error: &Error, server: &str) -> Self {
        let server = server.to_owned();
        match error {
            Error::InvalidCertificate(problem) => {
                Self::Certificate { server, problem: problem.clone() }
            }
            Error::AlertReceived(alert) => Self::Alert { server, alert: *alert },
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls { server },
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                let reason = "it only has versions before TLS 1.2: update the server".to_owned();
                Self::Failed { server, reason }
            }
            other => Self::Failed { server, reason: other.to_string() },
        }
    }
}

/// Continues "the certificate of SERVER".
struct CertificateProblem<'a>(&'a CertificateError);

impl fmt::Display for CertificateProblem<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RENEW: &str = "renew it on the server, or set this machine's clock";
        const UNKNOWN: &str = "is signed by no authority that is trusted here: give the \
            certificate of its authority as a trusted root (a CA file)";
        match self.0 {
            CertificateError::Expired => write!(formatter, "has expired: {RENEW}"),
            CertificateError::ExpiredContext { time, not_after } => {
                let (date, days) = (Date(*not_after), days_between(*not_after, *time));
                write!(formatter, "expired on {date} ({days} days ago): {RENEW}")
            }
            CertificateError::NotValidYet => {
                formatter.write_str("is not valid yet: set this machine's clock")
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let (date, today) = (Date(*not_before), Date(*time));
                write!(
                    formatter,
                    "is not valid before {date}, and here it is {today}: set this machine's clock"
                )
            }
            CertificateError::UnknownIssuer => formatter.write_str(UNKNOWN),
            CertificateError::NotValidForName => {
                formatter.write_str("is for another name: connect by that name, or set server_name")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let expected = expected.to_str();
                let names = Names(presented);
                write!(
                    formatter,
                    "is not for {expected} but for {names}: connect by one of its names, or set \
                     server_name"
                )
            }
            CertificateError::BadSignature => formatter.write_str(
                "is signed with another key than that of the authority of this name that is \
                 trusted here: give the authority's present certificate as a trusted root",
            ),
            CertificateError::Revoked => formatter.write_str("has been revoked: get a new one"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                formatter.write_str("is not made for servers (its extended key usage)")
            }
            CertificateError::Other(error) if is_authority(error) => formatter.write_str(
                "is that of an authority (CA:TRUE), which no server may use: make one for the \
                 server, or pin this one",
            ),
            CertificateError::Other(error) => write!(formatter, "was refused: {error}"),
            other => write!(formatter, "is not acceptable: {other}"),
        }
    }
}

fn is_authority(error: &rustls::OtherError) -> bool {
    error.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// The names in a certificate, as rustls describes them, without their kinds.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 8;
        if self.0.is_empty() {
            return formatter.write_str("no name at all");
        }
        for (index, name) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let kinds = ["DnsName(\"", "IpAddress("];
            let bare = kinds.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
            let bare = crate::http::printable(bare.trim_end_matches(['"', ')']));
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{bare}")?;
        }
        let more = self.0.len().saturating_sub(SHOWN_MAX);
        if more > 0 { write!(formatter, " and {more} more") } else { Ok(()) }
    }
}

fn alert_advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => ": it wants a client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => ": it does not accept our client certificate",
        AlertDescription::CertificateExpired => ": our client certificate has expired",
        AlertDescription::UnknownCA => {
            ": it does not trust the authority that signed our client certificate"
        }
        AlertDescription::NoApplicationProtocol => ": it has none of the offered ALPN protocols",
        AlertDescription::UnrecognisedName => ": it knows no server of this name",
        AlertDescription::HandshakeFailure => {
            ": no cipher in common, or it wants a client certificate"
        }
        AlertDescription::ProtocolVersion => ": no TLS version in common",
        _ => "",
    }
}

fn days_between(from: UnixTime, to: UnixTime) -> u64 {
    to.as_secs().saturating_sub(from.as_secs()) / SECONDS_PER_DAY
}

/// The day of a time, in UTC.
struct Date(UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are counted from 1 March of year 0, so that leap days come last in their year.
        const DAYS_TO_EPOCH: u64 = 719_468;
        const DAYS_PER_ERA: u64 = 146_097;
        let days = self.0.as_secs() / SECONDS_PER_DAY + DAYS_TO_EPOCH;
        let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
        let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        write!(formatter, "{year:04}-{month:02}-{day_of_month:02}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            assert_eq!(Date(time).to_string(), expected);
        }
    }

    #[test]
    fn a_certificate_with_many_names_is_shown_in_one_line() {
        let names: Vec<String> = (0..11).map(|n| format!("DnsName(\"h{n}\")")).collect();
        assert_eq!(Names(&names).to_string(), "h0, h1, h2, h3, h4, h5, h6, h7 and 3 more");
        assert_eq!(Names(&[]).to_string(), "no name at all");
    }
}
