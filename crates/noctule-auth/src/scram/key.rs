//! Keys and the functions that make them: H, HMAC and Hi of RFC 5802.

use core::fmt;

use alloc::boxed::Box;

use hmac::digest::Key as Block;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::mechanism::ScramMechanism;

/// A secret as long as the mechanism's hash. Compared in constant time, wiped, never shown.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<Box<[u8]>>);

/// Runs the same expression with the hash function of a mechanism.
macro_rules! with_hash {
    ($mechanism:expr, $Hash:ident => $body:expr) => {
        match $mechanism {
            ScramMechanism::Sha1 => {
                type $Hash = Sha1;
                $body
            }
            ScramMechanism::Sha256 => {
                type $Hash = Sha256;
                $body
            }
            ScramMechanism::Sha512 => {
                type $Hash = Sha512;
                $body
            }
        }
    };
}

impl Key {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// H.
    pub(crate) fn hash(mechanism: ScramMechanism, text: &[u8]) -> Self {
        with_hash!(mechanism, Hash => Self::from_bytes(&Hash::digest(text)))
    }

    /// HMAC of the parts one behind the other.
    pub(crate) fn hmac(mechanism: ScramMechanism, key: &[u8], parts: &[&[u8]]) -> Self {
        with_hash!(mechanism, Hash => {
            // A key is filled up with zeros to the hash's block, and a longer one hashed before.
            // Done here it cannot fail, which a key of any length otherwise seems to.
            let mut block = Block::<Hmac<Hash>>::default();
            let hashed;
            let key = match key.len() > block.len() {
                true => {
                    hashed = Self::hash(mechanism, key);
                    hashed.as_bytes()
                }
                false => key,
            };
            block.iter_mut().zip(key).for_each(|(slot, byte)| *slot = *byte);
            let mut mac = Hmac::<Hash>::new(&block);
            block.as_mut_slice().zeroize();
            parts.iter().for_each(|part| mac.update(part));
            Self::from_bytes(&mac.finalize().into_bytes())
        })
    }

    /// Hi, which is PBKDF2 with one block of output: a salted password.
    pub(crate) fn salted_password(
        mechanism: ScramMechanism,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Self {
        let mut salted = Zeroizing::new([0; 64]);
        let salted = salted.get_mut(..mechanism.hash_len()).unwrap_or_default();
        with_hash!(mechanism, Hash => {
            pbkdf2::pbkdf2_hmac::<Hash>(password.as_bytes(), salt, iterations, salted);
        });
        Self::from_bytes(salted)
    }

    /// What a client proves to know.
    pub(crate) fn client_key(mechanism: ScramMechanism, salted_password: &Self) -> Self {
        Self::hmac(mechanism, salted_password.as_bytes(), &[b"Client Key"])
    }

    /// What a server proves to know.
    pub(crate) fn server_key(mechanism: ScramMechanism, salted_password: &Self) -> Self {
        Self::hmac(mechanism, salted_password.as_bytes(), &[b"Server Key"])
    }

    /// What a server keeps to recognise the client key.
    pub(crate) fn stored_key(mechanism: ScramMechanism, client_key: &Self) -> Self {
        Self::hash(mechanism, client_key.as_bytes())
    }

    /// Each byte of two values of one length combined: a key hidden by a signature, or found again.
    pub(crate) fn xor(&self, other: &[u8]) -> Self {
        Self(Zeroizing::new(self.as_bytes().iter().zip(other).map(|(a, b)| a ^ b).collect()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether two values are equal, in a time that depends on their length only.
    pub(crate) fn is(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn hex(key: &Key) -> String {
        key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231's key of 131 bytes, which is longer than the block of each hash. The value for
    /// SHA-1 is computed with Python's hmac.
    #[test]
    fn a_key_longer_than_the_block_is_hashed_before() {
        let mac = |mechanism| {
            let (key, text) = ([0xaa; 131], b"Test Using Larger Than Block-Size Key - ");
            hex(&Key::hmac(mechanism, &key, &[text, b"Hash Key First"]))
        };
        assert_eq!(mac(ScramMechanism::Sha1), "90d0dace1c1bdc957339307803160335bde6df2b");
        assert_eq!(
            mac(ScramMechanism::Sha256),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(
            mac(ScramMechanism::Sha512),
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
        );
    }

    /// Computed with Python's hashlib.
    #[test]
    fn a_password_longer_than_the_block_is_salted_whole() {
        let salted =
            |mechanism| hex(&Key::salted_password(mechanism, &"x".repeat(200), b"saltsalt", 7));
        assert_eq!(salted(ScramMechanism::Sha1), "149e780a1ef66af4bc2af42905654a7543c95c1a");
        assert_eq!(
            salted(ScramMechanism::Sha256),
            "4914068d2ca024b060049abe27ba4b7a5669ec11faf1072a6565a9df79e2e1f5"
        );
        assert_eq!(
            salted(ScramMechanism::Sha512),
            "e16eec973ad869a5d2ecf7af449a72fdadda9d89a0aa0c772ccd2e8e3c0fddcb\
             918b7802f2ff044b84ff2ed9611c831cbc534a62dc19fd664d94d92a6742f7ae"
        );
    }

    #[test]
    fn keys_are_equal_as_a_whole_only() {
        let key = Key::from_bytes(b"abc");
        assert!(key.is(b"abc"));
        for other in ["", "ab", "abcd", "abd", "xbc"] {
            assert!(!key.is(other.as_bytes()), "{other}");
        }
    }
}
