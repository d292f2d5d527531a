//! Which hash function an exchange uses, and the name it has on the wire.

use core::fmt;

/// A SCRAM mechanism without channel binding.
///
/// ```
/// use noctule_auth::ScramMechanism;
///
/// assert_eq!(ScramMechanism::Sha256.name(), "SCRAM-SHA-256");
/// assert_eq!(ScramMechanism::Sha256.to_string(), "SCRAM-SHA-256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramMechanism {
    /// `SCRAM-SHA-1` of RFC 5802. For peers that have nothing better.
    Sha1,
    /// `SCRAM-SHA-256` of RFC 7677.
    Sha256,
    /// `SCRAM-SHA-512`: as RFC 7677, with the longer hash.
    Sha512,
}

impl ScramMechanism {
    /// All of them, the strongest first.
    ///
    /// ```
    /// use noctule_auth::ScramMechanism;
    ///
    /// assert_eq!(ScramMechanism::ALL[0], ScramMechanism::Sha512);
    /// ```
    pub const ALL: [Self; 3] = [Self::Sha512, Self::Sha256, Self::Sha1];

    /// The registered name, which is MQTT's Authentication Method.
    ///
    /// ```
    /// assert_eq!(noctule_auth::ScramMechanism::Sha1.name(), "SCRAM-SHA-1");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of that name, which is compared exactly; none for the `-PLUS` variants.
    ///
    /// ```
    /// use noctule_auth::ScramMechanism;
    ///
    /// assert_eq!(ScramMechanism::from_name("SCRAM-SHA-512"), Some(ScramMechanism::Sha512));
    /// assert_eq!(ScramMechanism::from_name("SCRAM-SHA-512-PLUS"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// How many bytes the hash, and so every key and proof, has.
    ///
    /// ```
    /// assert_eq!(noctule_auth::ScramMechanism::Sha1.hash_len(), 20);
    /// ```
    #[must_use]
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for ScramMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
