//! Going where a server sends us: never by default, never in circles, never with credentials that
//! were meant for another.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::Target;

/// Whether to go where a server sends us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to.
    pub allowed: Redirects,
    /// How many redirections in a row.
    pub hops_max: u32,
    /// Which hosts may see the credentials: `host`, or `*.domain` for all hosts below.
    pub credentials: Vec<Box<str>>,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { allowed: Redirects::Off, hops_max: 3, credentials: Vec::new() }
    }
}

/// Which redirections are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// None.
    #[default]
    Off,
    /// Those to these hosts: `host`, or `*.domain` for all hosts below.
    To(Vec<Box<str>>),
    /// All.
    Anywhere,
}

/// Why a redirection is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectRefused {
    /// None are.
    Off,
    /// The server named no other one.
    NoReference,
    /// Not to this host.
    NotAllowed {
        /// What was named.
        reference: Box<str>,
    },
    /// We were there already.
    Loop {
        /// What was named.
        reference: Box<str>,
    },
    /// Too many in a row.
    TooManyHops {
        /// The setting's value.
        maximum: u32,
    },
}

impl fmt::Display for RedirectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("redirections are off"),
            Self::NoReference => f.write_str("the server names no other server"),
            Self::NotAllowed { reference } => write!(f, "no redirection to {reference} is allowed"),
            Self::Loop { reference } => {
                write!(f, "the redirections run in a circle at {reference}")
            }
            Self::TooManyHops { maximum } => write!(f, "more than {maximum} redirections in a row"),
        }
    }
}

impl core::error::Error for RedirectRefused {}

/// Where redirections have led.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    /// Where we are, and whether that is for good.
    at: Option<(Box<str>, bool)>,
    visited: Vec<Box<str>>,
    hops: u32,
}

impl Trail {
    pub(super) const fn new() -> Self {
        Self { at: None, visited: Vec::new(), hops: 0 }
    }

    /// Goes to one of the servers that are named.
    pub(super) fn follow(
        &mut self,
        settings: &Redirect,
        references: Option<&str>,
        is_permanent: bool,
    ) -> Result<(), RedirectRefused> {
        if settings.allowed == Redirects::Off {
            return Err(RedirectRefused::Off);
        }
        if self.hops >= settings.hops_max {
            return Err(RedirectRefused::TooManyHops { maximum: settings.hops_max });
        }
        let mut refused = RedirectRefused::NoReference;
        for reference in references.unwrap_or_default().split_ascii_whitespace() {
            if !settings.allows(reference) {
                refused = RedirectRefused::NotAllowed { reference: reference.into() };
            } else if self.visited.iter().any(|known| known.eq_ignore_ascii_case(reference)) {
                refused = RedirectRefused::Loop { reference: reference.into() };
            } else {
                self.visited.push(reference.into());
                self.hops += 1;
                self.at = Some((reference.into(), is_permanent));
                return Ok(());
            }
        }
        Err(refused)
    }

    /// Where a redirection has led to.
    pub(super) fn target(&self, settings: &Redirect) -> Option<Target> {
        let (reference, _) = self.at.as_ref()?;
        let with_credentials = matches_any(&settings.credentials, reference);
        Some(Target::Redirected { reference: reference.clone(), with_credentials })
    }

    /// The connection has failed. Back home, unless the server has moved for good. Whether we were
    /// elsewhere.
    pub(super) fn leave(&mut self) -> bool {
        match &self.at {
            Some((_, true)) => true,
            Some((_, false)) => {
                self.at = None;
                true
            }
            None => false,
        }
    }

    /// A connection has lasted: whatever redirections come now are new ones.
    pub(super) fn forget(&mut self) {
        self.hops = 0;
        self.visited.clear();
    }
}

impl Redirect {
    fn allows(&self, reference: &str) -> bool {
        match &self.allowed {
            Redirects::Off => false,
            Redirects::To(hosts) => matches_any(hosts, reference),
            Redirects::Anywhere => true,
        }
    }
}

fn matches_any(patterns: &[Box<str>], reference: &str) -> bool {
    let Some(host) = host_of(reference) else { return false };
    patterns.iter().any(|pattern| matches(pattern, host))
}

fn matches(pattern: &str, host: &str) -> bool {
    let Some(domain) = pattern.strip_prefix("*.") else {
        return pattern.eq_ignore_ascii_case(host);
    };
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let (before, behind) = match (host.get(..at), host.get(at..)) {
        (Some(before), Some(behind)) => (before, behind),
        _ => return false,
    };
    // `*.b` is for `a.b`, neither for `b` nor for `ab`.
    before.len() > 1 && before.ends_with('.') && behind.eq_ignore_ascii_case(domain)
}

/// The host of `host`, `host:port`, `[address]:port` or a URL of one of them. Nothing else has one:
/// what cannot be read is not trusted.
fn host_of(reference: &str) -> Option<&str> {
    let authority = match reference.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or(rest, |(authority, _)| authority),
        None => reference,
    };
    let is_plain = |host: &str| {
        !host.is_empty() && !host.contains(['@', '/', '\\', '?', '#', ':', '[', ']', ' '])
    };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let is_address = host.chars().all(|it| it.is_ascii_hexdigit() || it == ':' || it == '.');
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
        return (is_address && !host.is_empty() && is_port).then_some(host);
    }
    let host = match authority.split_once(':') {
        Some((host, port)) if is_number(port) => host,
        Some(_) => return None,
        None => authority,
    };
    is_plain(host).then_some(host)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_or_not_trusted() {
        for (reference, host) in [
            ("a.b", Some("a.b")),
            ("a.b:1883", Some("a.b")),
            ("mqtts://a.b:1883/path", Some("a.b")),
            ("[::1]:1883", Some("::1")),
            ("[::1]", Some("::1")),
            ("good@evil", None),
            ("mqtt://good:x@evil", None),
            ("good:1883@evil", None),
            ("a.b:", None),
            ("[::1]x", None),
            ("", None),
        ] {
            assert_eq!(host_of(reference), host, "{reference}");
        }
    }

    #[test]
    fn a_star_stands_for_one_or_more_labels() {
        for (pattern, host, expected) in [
            ("a.b", "A.B", true),
            ("*.b", "a.b", true),
            ("*.b", "x.a.b", true),
            ("*.b", "b", false),
            ("*.b", ".b", false),
            ("*.a.b", "ea.b", false),
            ("*.b", "a.b.evil", false),
            ("a.b", "x.a.b", false),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
