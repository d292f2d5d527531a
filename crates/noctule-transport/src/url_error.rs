//! What can be wrong with a URL, and what to write instead.

use thiserror::Error;

/// Why a text is no URL of a server or a proxy. It never repeats what may be part of a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// What could be meant as a scheme has no `://` behind it.
    #[error(
        "the URL's scheme is cut off: write mqtt://HOST (or HOST alone), mqtts://HOST, ws://HOST, \
         wss://HOST or unix:///PATH"
    )]
    NoScheme,
    /// The scheme is none that a server is reached by.
    #[error(
        "{scheme:?} is no scheme of an MQTT server: write mqtt (or tcp), mqtts (or ssl, tls, \
         tcps), ws, wss or unix{}", scheme_hint(.scheme)
    )]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// A proxy has no `://`.
    #[error(
        "the proxy has no scheme: write http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT \
         or socks5h://HOST:PORT"
    )]
    ProxyNoScheme,
    /// The scheme is none that a proxy is reached by.
    #[error("{scheme:?} is no scheme of a proxy: write http, https, socks5 or socks5h")]
    ProxyScheme {
        /// The scheme.
        scheme: String,
    },
    /// The URL of a proxy has something behind its port.
    #[error("the URL of a proxy ends behind its port: write SCHEME://HOST:PORT")]
    ProxyPath,
    /// A space or a control character.
    #[error("the URL contains a space or a control character: write %20 for a space")]
    Space,
    /// The host is missing.
    #[error("the URL has no host: write SCHEME://HOST or SCHEME://USER:PASSWORD@HOST")]
    NoHost,
    /// The host has a character that no host has.
    #[error("the host has a character that no host name or address has")]
    Host,
    /// The host has letters beyond ASCII.
    #[error("the host is not ASCII: write an international name in its xn-- form")]
    HostNotAscii,
    /// The port is no port.
    #[error(
        "the port is no number from 1 to 65535; if it is meant to be part of a password, write \
         its / as %2F, its @ as %40 and its : as %3A"
    )]
    Port,
    /// An IPv6 address without its brackets, or something between them and the port.
    #[error("an IPv6 address is written in brackets: [2001:db8::1] or [2001:db8::1]:1883")]
    Brackets,
    /// A `%` without two hexadecimal digits behind it.
    #[error("a % in the URL is not followed by two hexadecimal digits: write %25 for a % itself")]
    Escape,
    /// The user name is not UTF-8.
    #[error("the user name is not UTF-8, which MQTT demands")]
    UserText,
    /// A `#` in a WebSocket URL.
    #[error("a WebSocket URL has no fragment: write %23 for a # in its path")]
    Fragment,
    /// A path with letters beyond ASCII.
    #[error("the path of a WebSocket URL is not ASCII: write other letters percent-encoded")]
    PathNotAscii,
    /// A query or a fragment where there is no use for it.
    #[error("{scheme}:// has no query and no fragment: give options to the program instead")]
    Query {
        /// The scheme.
        scheme: &'static str,
    },
    /// A Unix socket with a host or a port.
    #[error("a Unix socket has no host and no port: write unix:///PATH")]
    UnixHost,
    /// A Unix socket whose path is missing or not absolute.
    #[error("a Unix socket needs an absolute path: write unix:///PATH, with three slashes")]
    UnixPath,
    /// A port where SRV records are to say it.
    #[error(
        "{scheme}+srv:// and a port exclude each other, since the SRV records name ports: leave \
         one of them out"
    )]
    SrvPort {
        /// The scheme without `+srv`.
        scheme: &'static str,
    },
    /// A scheme for whose servers there are no SRV records.
    #[error(
        "{scheme}:// and SRV exclude each other: write mqtt+srv://DOMAIN or mqtts+srv://DOMAIN"
    )]
    SrvScheme {
        /// The scheme without `+srv`.
        scheme: &'static str,
    },
    /// An address where SRV needs a domain.
    #[error("an address has no SRV records: write a domain, or leave +srv out")]
    SrvAddress,
}

fn scheme_hint(scheme: &str) -> &'static str {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => " (here: ws)",
        "https" => " (here: wss)",
        "mqtt+tcp" => " (here: mqtt)",
        "mqtt+ssl" | "mqtt+tls" | "tcp+tls" => " (here: mqtts)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Url;

    #[track_caller]
    fn check(text: &str, expected: &UrlError) {
        assert_eq!(text.parse::<Url>().as_ref(), Err(expected), "{text}");
    }

    #[test]
    fn every_mistake_has_its_own_error() {
        check("mqtts:/localhost", &UrlError::NoScheme);
        check("//localhost", &UrlError::NoScheme);
        check("/run/noctule.sock", &UrlError::UnixPath);
        check("", &UrlError::NoHost);
        check("host:port", &UrlError::Port);
        check("://host", &UrlError::Scheme { scheme: String::new() });
        check("http://host", &UrlError::Scheme { scheme: "http".into() });
        check("mqtt://", &UrlError::NoHost);
        check("mqtt://user@", &UrlError::NoHost);
        check("mqtt://:1883", &UrlError::NoHost);
        check("mqtt://host:", &UrlError::Port);
        check("mqtt://host:0", &UrlError::Port);
        check("mqtt://host:65536", &UrlError::Port);
        check("mqtt://host:+1", &UrlError::Port);
        check("mqtt://user:pass/word@host", &UrlError::Port);
        check("mqtt://::1", &UrlError::Brackets);
        check("mqtt://[::1", &UrlError::Brackets);
        check("mqtt://[::1]1883", &UrlError::Brackets);
        check("mqtt://host/a b", &UrlError::Space);
        check("mqtt://ho\tst", &UrlError::Space);
        check("mqtt://ho_st,other", &UrlError::Host);
        check("mqtt://bücher.example", &UrlError::HostNotAscii);
        check("mqtt://us%er@host", &UrlError::Escape);
        check("mqtt://%ff@host", &UrlError::UserText);
        check("mqtt://host?clientId=me", &UrlError::Query { scheme: "mqtt" });
        check("ws://host/mqtt#top", &UrlError::Fragment);
        check("ws://host/müll", &UrlError::PathNotAscii);
        check("unix://run/noctule.sock", &UrlError::UnixPath);
        check("unix://", &UrlError::UnixPath);
        check("unix:///run/%00", &UrlError::UnixPath);
        check("mqtts+srv://host:8883", &UrlError::SrvPort { scheme: "mqtts" });
        check("unix+srv:///run/s", &UrlError::SrvScheme { scheme: "unix" });
        check("wss+srv://host/mqtt", &UrlError::SrvScheme { scheme: "wss" });
        check("mqtt+srv://127.0.0.1", &UrlError::SrvAddress);
        check("mqtt+srv://[::1]", &UrlError::SrvAddress);
        check("http+srv://host", &UrlError::Scheme { scheme: "http".into() });
        assert_eq!(Url::new(crate::Scheme::Unix, "host", Some(1)), Err(UrlError::UnixHost));
    }

    #[test]
    fn a_scheme_from_elsewhere_is_answered_with_ours() {
        let error = "https://host".parse::<Url>().unwrap_err();
        assert!(error.to_string().ends_with("(here: wss)"), "{error}");
    }

    #[test]
    fn no_error_repeats_a_password() {
        for text in [
            "mqtt://user:sesame/x@host",
            "mqtt://user:sesame%@host",
            "http://user:sesame@host",
            "mqtt://user:ses ame@host",
            "mqtt://user:sesame@",
            "mqtt://user:sesame@[::1",
            "user:sesame://more@host",
            "user:sesame/more@host",
            "user:/sesame@host",
        ] {
            let error = text.parse::<Url>().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("ses"), "{shown}");
        }
    }
}
