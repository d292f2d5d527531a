//! The bytes of an Application Message as the broker keeps them.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

/// Up to this length a payload lies in its message: a measured value takes no memory of its own.
const INLINE_BYTES: usize = 24;

/// An Application Message's bytes, immutable, in memory of about their size.
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
    /// The bytes that its memory has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Puts others in place of these bytes, into the same memory if that fits: it is not to be
    /// more than twice as large.
    #[inline]
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        let (length, capacity) = (bytes.len(), self.0.capacity());
        if length > INLINE_BYTES && length <= capacity && capacity / 2 <= length {
            self.0.clear();
            self.0.extend_from_slice(bytes);
        } else {
            *self = bytes.into();
        }
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

    #[test]
    fn memory_is_used_again_where_it_is_of_about_the_right_size() {
        for (before, after, capacity) in [
            (0, INLINE_BYTES, INLINE_BYTES),
            (INLINE_BYTES, 0, INLINE_BYTES),
            (100, 100, 100),
            (100, 50, 100),
            (101, 49, 49),
            (100, 101, 101),
            (100, 7, INLINE_BYTES),
        ] {
            let mut payload = Payload::from(&*vec![1; before]);
            let bytes = vec![2; after];
            payload.replace(&bytes);
            assert_eq!((&*payload, payload.capacity()), (&*bytes, capacity), "{before}, {after}");
        }
    }
}
