//! How single values of flags are read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use noctule_client::{QoS, Version};

/// A version of the protocol, by Mosquitto's names and by its own.
pub(crate) fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1" | "mqttv31" | "31" => Ok(Version::V3_1),
        "3.1.1" | "mqttv311" | "311" => Ok(Version::V3_1_1),
        "5" | "5.0" | "mqttv5" => Ok(Version::V5_0),
        _ => Err("expected 5, 3.1.1, 3.1, mqttv5, mqttv311 or mqttv31".to_owned()),
    }
}

pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err("expected 0, 1 or 2".to_owned()),
    }
}

/// A number of seconds, which may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds, such as 2 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}

/// Seconds above zero: nothing happens within none.
pub(crate) fn time_limit(text: &str) -> Result<Duration, String> {
    seconds(text)
        .ok()
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| "expected a number of seconds above 0, such as 2 or 0.5".to_owned())
}

/// The lifetime of a session: seconds, or for ever.
pub(crate) fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        _ => {
            text.parse().map_err(|_| "expected 0 to 4294967295 seconds, or -1 for ever".to_owned())
        }
    }
}

/// A password, which may be any bytes.
pub(crate) fn bytes(text: OsString) -> Vec<u8> {
    text.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for text in ["5", "5.0", "mqttv5"] {
            assert_eq!(version(text), Ok(Version::V5_0));
        }
        for text in ["3.1.1", "mqttv311"] {
            assert_eq!(version(text), Ok(Version::V3_1_1));
        }
        for text in ["3.1", "mqttv31"] {
            assert_eq!(version(text), Ok(Version::V3_1));
        }
        assert!(version("4").is_err());
        assert_eq!(qos("2"), Ok(QoS::ExactlyOnce));
        assert!(qos("3").is_err());
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["-1", "x", "", "NaN", "inf", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(time_limit("0").is_err());
        assert_eq!(session_expiry("-1"), Ok(u32::MAX));
        assert_eq!(session_expiry("∞"), Ok(u32::MAX));
        assert_eq!(session_expiry("60"), Ok(60));
        assert!(session_expiry("-2").is_err());
    }
}
