//! The bytes of an Application Message as the broker keeps them.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

/// Up to this length a payload lies in its message: a measured value takes no memory of its own.
const INLINE_BYTES: usize = 24;

/// An Application Message's bytes, immutable and of their exact size.
///
/// ```
/// use noctule_broker_core::Payload;
///
/// let payload = Payload::from(&b"21.5"[..]);
/// assert_eq!(*payload, *b"21.5");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(SmallVec<[u8; INLINE_BYTES]>);

impl Payload {
    /// Whether it takes no memory of its own.
    pub(crate) fn is_inline(&self) -> bool {
        !self.0.spilled()
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn every_length_is_kept_whole_and_without_spare_capacity() {
        for length in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 70_000] {
            let bytes = vec![7; length];
            let payload = Payload::from(&*bytes);
            assert_eq!(*payload, *bytes);
            assert_eq!(payload.0.capacity(), length.max(INLINE_BYTES));
        }
        assert_eq!(size_of::<Payload>(), INLINE_BYTES + 8);
    }
}
