//! Reading a URL: strict, so that a mistyped one is refused and never misunderstood.

use std::path::PathBuf;
use std::str::FromStr;

use crate::percent;
use crate::url::{SRV_SUFFIX, Scheme, Url};
use crate::url_error::UrlError;

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = split_scheme(text.trim())?;
        let (scheme, is_srv) = split_srv(scheme);
        let scheme = Scheme::parse(scheme)?;
        if rest.chars().any(|character| character.is_control() || character == ' ') {
            return Err(UrlError::Space);
        }
        if scheme == Scheme::Unix && !is_srv {
            return parse_unix(rest);
        }
        if is_srv && !matches!(scheme, Scheme::Mqtt | Scheme::Mqtts) {
            return Err(UrlError::SrvScheme { scheme: scheme.name() });
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        check_path(scheme, path)?;
        let parts = Authority::parse(authority)?;
        let url = match parts.port {
            Some(_) if is_srv => return Err(UrlError::SrvPort { scheme: scheme.name() }),
            None if is_srv => Self::srv(scheme, parts.host)?,
            port => Self::new(scheme, parts.host, port)?,
        };
        let url = url.with_path(path);
        Ok(url.with_credentials(parts.user.as_deref(), parts.password.as_deref()))
    }
}

/// The scheme, and what is behind its `://`. A host alone, which many other clients take, is
/// reached as by `mqtt://`; but not what a slip has left of a scheme, for that may have been one
/// with TLS.
fn split_scheme(text: &str) -> Result<(&str, &str), UrlError> {
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    // Else it is part of a password, which no error may repeat.
    if let Some((scheme, rest)) = text.split_once("://")
        && scheme.bytes().all(is_scheme)
    {
        return Ok((scheme, rest));
    }
    match text.find('/').map(|slash| text.split_at(slash)) {
        Some((before, _)) if before.ends_with(':') => Err(UrlError::NoScheme),
        Some(("", path)) if path.starts_with("//") => Err(UrlError::NoScheme),
        Some(("", _)) => Err(UrlError::UnixPath),
        _ => Ok((Scheme::Mqtt.name(), text)),
    }
}

/// The scheme without what asks for SRV records, and whether that was there.
fn split_srv(scheme: &str) -> (&str, bool) {
    let suffix = scheme.len().checked_sub(SRV_SUFFIX.len());
    match suffix.and_then(|start| scheme.split_at_checked(start)) {
        Some((scheme, suffix)) if suffix.eq_ignore_ascii_case(SRV_SUFFIX) => (scheme, true),
        _ => (scheme, false),
    }
}

impl TryFrom<&str> for Url {
    type Error = UrlError;

    fn try_from(text: &str) -> Result<Self, UrlError> {
        text.parse()
    }
}

/// `user:password@host:port`, which proxies have as well.
pub(crate) struct Authority<'a> {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, UrlError> {
        let (credentials, place) = match text.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, text),
        };
        let (user, password) = match credentials {
            Some(credentials) => parse_credentials(credentials)?,
            None => (None, None),
        };
        let (host, port) = split_port(place)?;
        let port = port.map(parse_port).transpose()?;
        check_host(host)?;
        Ok(Self { user, password, host, port })
    }
}

type Credentials = (Option<String>, Option<Vec<u8>>);

fn parse_credentials(text: &str) -> Result<Credentials, UrlError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let decode = |text: &str| percent::decode(text).map_err(|_| UrlError::Escape);
    let password = password.map(decode).transpose()?;
    let user = String::from_utf8(decode(user)?).map_err(|_| UrlError::UserText)?;
    // `:secret@` has a password alone, which MQTT 5.0 allows.
    let user = (!user.is_empty() || password.is_none()).then_some(user);
    Ok((user, password))
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UrlError::Brackets)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(UrlError::Brackets),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlError::Brackets),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    // `parse` would take a plus sign as well.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten();
    port.filter(|port| *port != 0).ok_or(UrlError::Port)
}

pub(crate) fn check_host(host: &str) -> Result<(), UrlError> {
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    if !host.is_ascii() {
        return Err(UrlError::HostNotAscii);
    }
    // Colons and the percent sign are for IPv6 addresses and their zones.
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
    if !host.bytes().all(is_host) {
        return Err(UrlError::Host);
    }
    Ok(())
}

fn check_path(scheme: Scheme, path: &str) -> Result<(), UrlError> {
    if scheme.is_websocket() {
        if path.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !path.is_ascii() {
            return Err(UrlError::PathNotAscii);
        }
    } else if path.starts_with(['?', '#']) {
        return Err(UrlError::Query { scheme: scheme.name() });
    }
    Ok(())
}

fn parse_unix(rest: &str) -> Result<Url, UrlError> {
    let (credentials, path) = match rest.find('/').map(|start| rest.split_at(start)) {
        Some(("", path)) => ((None, None), path),
        Some((before, path)) => {
            let text = before.strip_suffix('@').ok_or(UrlError::UnixPath)?;
            (parse_credentials(text)?, path)
        }
        None => return Err(UrlError::UnixPath),
    };
    let bytes = percent::decode(path).map_err(|_| UrlError::Escape)?;
    if bytes.contains(&0) {
        return Err(UrlError::UnixPath);
    }
    let (user, password) = credentials;
    Ok(Url::unix(file_path(bytes)?).with_credentials(user.as_deref(), password.as_deref()))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have paths that are no bytes")]
fn file_path(bytes: Vec<u8>) -> Result<PathBuf, UrlError> {
    use std::os::unix::ffi::OsStringExt;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn file_path(bytes: Vec<u8>) -> Result<PathBuf, UrlError> {
    String::from_utf8(bytes).map(PathBuf::from).map_err(|_| UrlError::UnixPath)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn parse(text: &str) -> Url {
        text.parse().unwrap()
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_the_same(
            text in r"(mqtts?(\+srv)?|wss|unix)://[a-z0-9:@%/?\[\].]{0,20}",
        ) {
            let Ok(url) = text.parse::<Url>() else { return Ok(()) };
            let shown = url.to_string();
            if !shown.contains("***") {
                proptest::prop_assert_eq!(parse(&shown), url);
            }
        }
    }

    #[test]
    fn schemes_have_their_other_names_and_ports() {
        for (text, scheme, port) in [
            ("mqtt://h", Scheme::Mqtt, 1883),
            ("TCP://h", Scheme::Mqtt, 1883),
            ("mqtts://h", Scheme::Mqtts, 8883),
            ("ssl://h", Scheme::Mqtts, 8883),
            ("tls://h:8884", Scheme::Mqtts, 8884),
            ("tcps://h", Scheme::Mqtts, 8883),
            ("ws://h", Scheme::Ws, 80),
            ("wss://h", Scheme::Wss, 443),
        ] {
            let url = parse(text);
            assert_eq!((url.scheme(), url.port()), (scheme, Some(port)), "{text}");
        }
    }

    #[test]
    fn a_host_alone_is_reached_as_by_mqtt() {
        for (text, same) in [
            ("h", "mqtt://h"),
            ("h:1884", "mqtt://h:1884"),
            // There are machines of that name.
            ("mqtts:1883", "mqtt://mqtts:1883"),
            ("[::1]", "mqtt://[::1]"),
            ("127.0.0.1:1", "mqtt://127.0.0.1:1"),
            ("me:x%2Fy@h", "mqtt://me:x%2Fy@h"),
            ("me:x@h:1", "mqtt://me:x@h:1"),
            ("h/plant", "mqtt://h/plant"),
        ] {
            assert_eq!(parse(text), parse(same), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let credentials = |text: &str| {
            let url = parse(text);
            (url.user().map(str::to_owned), url.password().map(<[u8]>::to_vec))
        };
        assert_eq!(credentials("mqtt://h"), (None, None));
        assert_eq!(credentials("mqtt://me@h"), (Some("me".into()), None));
        assert_eq!(credentials("mqtt://me:@h"), (Some("me".into()), Some(Vec::new())));
        assert_eq!(credentials("mqtt://:p@h"), (None, Some(b"p".to_vec())));
        assert_eq!(
            credentials("mqtt://a%40b:x%3ay:z@h"),
            (Some("a@b".into()), Some(b"x:y:z".to_vec()))
        );
        assert_eq!(credentials("mqtt://me:%ff%00@h"), (Some("me".into()), Some(vec![0xff, 0])));
        assert_eq!(credentials("unix://me:p@/run/s"), (Some("me".into()), Some(b"p".to_vec())));
    }

    #[test]
    fn addresses_of_both_families_are_hosts() {
        for (text, host, port) in [
            ("mqtt://127.0.0.1", "127.0.0.1", 1883),
            ("mqtt://[::1]", "::1", 1883),
            ("mqtts://me@[2001:db8::7]:1", "2001:db8::7", 1),
            ("mqtt://[fe80::1%eth0]:1884", "fe80::1%eth0", 1884),
            ("mqtt://a-b_c.example:5", "a-b_c.example", 5),
        ] {
            let url = parse(text);
            assert_eq!((url.host(), url.port()), (Some(host), Some(port)), "{text}");
            assert_eq!(parse(&url.to_string()), url.clone().with_credentials(url.user(), None));
        }
    }

    #[test]
    fn srv_records_stand_in_for_the_port() {
        for (text, scheme, shown) in [
            ("mqtt+srv://plant.example", Scheme::Mqtt, "mqtt+srv://plant.example"),
            ("MQTTS+SRV://me:x@plant.example/", Scheme::Mqtts, "mqtts+srv://me:***@plant.example/"),
            ("ssl+srv://h", Scheme::Mqtts, "mqtts+srv://h"),
        ] {
            let url = parse(text);
            assert!(url.is_srv());
            assert_eq!((url.scheme(), url.port(), url.to_string().as_str()), (scheme, None, shown));
        }
        assert_eq!(parse("mqtt+srv://plant.example").authority(), "plant.example");
        assert!(!parse("mqtt://plant.example").is_srv() && !parse("unix:///s").is_srv());
    }

    #[test]
    fn a_websocket_asks_for_path_and_query() {
        for (text, target) in [
            ("ws://h", "/mqtt"),
            ("ws://h/", "/"),
            ("wss://h:1/a%20b?c=/d", "/a%20b?c=/d"),
            ("wss://h?token=1", "/mqtt?token=1"),
        ] {
            assert_eq!(parse(text).request_target(), target, "{text}");
        }
    }

    #[test]
    fn what_is_behind_the_port_can_be_taken_off() {
        let url = parse("mqtt://h/plant/#");
        assert_eq!(url.path(), "/plant/#");
        assert_eq!(url.without_path(), parse("mqtt://h:1883"));
    }

    #[test]
    fn a_unix_socket_is_a_path() {
        assert_eq!(parse("unix:///run/my%20s").socket_path(), Some(Path::new("/run/my s")));
        assert_eq!(parse("unix:///run/s").host(), None);
        assert_eq!(Url::unix("/run/a b").to_string(), "unix:///run/a%20b");
        #[cfg(unix)]
        assert_eq!(parse("unix:///no%80text").to_string(), "unix:///no%80text");
    }

    #[test]
    fn neither_form_of_text_shows_a_secret() {
        let url = parse("wss://me:sesame@h/mqtt?X-Signature=sesame");
        assert_eq!(url.to_string(), "wss://me:***@h:443/mqtt?***");
        assert_eq!(format!("{url:?}"), "Url(wss://me:***@h:443/mqtt?***)");
        assert_eq!(format!("{:?}", parse("mqtt://:sesame@h")), "Url(mqtt://:***@h:1883)");
    }
}
