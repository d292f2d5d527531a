//! Where a server's word leads that another one is to be used: never to where it would be less well
//! protected, nor to something on this machine.

use noctule_transport::{Scheme, TransportError, Url};

use crate::course::unusable;

/// The server that a reference means, which the server at `home` has given.
pub(crate) fn referred(home: &Url, reference: &str) -> Result<Url, TransportError> {
    // A host alone is reached the way that its referrer was.
    let text = if reference.contains("://") {
        reference.to_owned()
    } else {
        let path = if home.scheme().is_websocket() { home.path() } else { "" };
        format!("{}://{reference}{path}", home.scheme().name())
    };
    let url: Url = text.parse().map_err(unusable)?;
    let refusal = if url.scheme() == Scheme::Unix && home.scheme() != Scheme::Unix {
        Some("which is no server's to choose")
    } else if home.scheme().is_tls() && !url.scheme().is_tls() {
        Some("which has no TLS")
    } else {
        None
    };
    match refusal {
        Some(why) => {
            let scheme = url.scheme().name();
            Err(unusable(format!("the server refers to one by {scheme}://, {why}")))
        }
        None => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_is_reached_as_its_referrer() {
        for (home, reference, expected) in [
            ("mqtt://home:1999", "other", "mqtt://other"),
            ("mqtt://home", "other:1999", "mqtt://other:1999"),
            ("mqtts://home", "[::1]:1999", "mqtts://[::1]:1999"),
            ("wss://home/deep/path", "other", "wss://other/deep/path"),
            ("mqtt://home", "mqtts://other", "mqtts://other"),
            ("wss://home/path", "mqtts://other", "mqtts://other"),
        ] {
            let url = referred(&home.parse().unwrap(), reference).unwrap();
            assert_eq!(url.to_string(), expected.parse::<Url>().unwrap().to_string());
        }
    }

    #[test]
    fn no_reference_leads_to_less_protection_or_into_this_machine() {
        for (home, reference) in [
            ("mqtts://home", "mqtt://other"),
            ("mqtts://home", "ws://other"),
            ("wss://home", "mqtt://other"),
            ("mqtt://home", "unix:///run/mqtt"),
        ] {
            let error = referred(&home.parse().unwrap(), reference).unwrap_err();
            assert!(error.to_string().contains("://"), "{error}");
        }
        assert!(referred(&"mqtt://home".parse().unwrap(), "gopher://other").is_err());
    }
}
