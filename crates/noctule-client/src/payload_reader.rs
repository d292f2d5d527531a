//! Payloads taken apart, as [`Payload`](crate::Payload) puts them together.

use crate::payload::PayloadError;

/// Takes a payload apart, from its beginning: numbers in network byte order, texts of a known
/// length. What fails takes nothing. See [`Payload`](crate::Payload).
#[derive(Clone, Copy, Debug)]
pub struct PayloadReader<'a>(&'a [u8]);

/// Numbers, and how they are taken.
macro_rules! numbers {
    ($($take:ident, $number:ty, $what:literal;)+) => {
        $(
            #[doc = concat!("Takes ", $what, ".")]
            ///
            /// # Errors
            ///
            /// If not so many bytes are left.
            pub fn $take(&mut self) -> Result<$number, PayloadError> {
                self.take_array().map(<$number>::from_be_bytes)
            }
        )+
    };
}

impl<'a> PayloadReader<'a> {
    /// Begins with the first of these bytes.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    fn take_array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], PayloadError> {
        let too_short = PayloadError::Short { wanted: LENGTH, left: self.remaining() };
        let (taken, rest) = self.0.split_first_chunk().ok_or(too_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    ///
    /// If not so many are left.
    pub fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], PayloadError> {
        let too_short = PayloadError::Short { wanted: length, left: self.remaining() };
        let (taken, rest) = self.0.split_at_checked(length).ok_or(too_short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes a truth value: a byte that is 0 or 1.
    ///
    /// # Errors
    ///
    /// If it is another one, or none is left.
    pub fn take_bool(&mut self) -> Result<bool, PayloadError> {
        self.whole(|reader| match reader.take_u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(PayloadError::Bool(other)),
        })
    }

    numbers! {
        take_u8, u8, "a byte";
        take_i8, i8, "a signed byte";
        take_u16, u16, "two bytes";
        take_i16, i16, "two signed bytes";
        take_u32, u32, "four bytes";
        take_i32, i32, "four signed bytes";
        take_u64, u64, "eight bytes";
        take_i64, i64, "eight signed bytes";
        take_f32, f32, "a float of four bytes";
        take_f64, f64, "a float of eight bytes";
    }

    /// Takes so many bytes of text in UTF-8.
    ///
    /// # Errors
    ///
    /// If they are not that, or not so many are left.
    pub fn take_utf8(&mut self, length: usize) -> Result<&'a str, PayloadError> {
        self.whole(|reader| Ok(std::str::from_utf8(reader.take_bytes(length)?)?))
    }

    /// Takes so many bytes of text in UTF-16, the higher byte of each unit first. A byte order mark
    /// is a character like any other.
    ///
    /// # Errors
    ///
    /// If they are not that, or not so many are left.
    pub fn take_utf16(&mut self, length: usize) -> Result<String, PayloadError> {
        self.whole(|reader| {
            let (units, odd) = reader.take_bytes(length)?.as_chunks();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            let text = char::decode_utf16(units).collect::<Result<String, _>>().ok();
            text.filter(|_| odd.is_empty()).ok_or(PayloadError::Encoding("UTF-16"))
        })
    }

    /// Takes so many bytes of text in ASCII.
    ///
    /// # Errors
    ///
    /// If they are not that, or not so many are left.
    pub fn take_ascii(&mut self, length: usize) -> Result<&'a str, PayloadError> {
        self.whole(|reader| {
            let text = std::str::from_utf8(reader.take_bytes(length)?).ok();
            text.filter(|text| text.is_ascii()).ok_or(PayloadError::Encoding("ASCII"))
        })
    }

    /// Takes so many bytes of text in eight bits a character, ISO 8859-1: every byte is one.
    ///
    /// # Errors
    ///
    /// If not so many are left.
    pub fn take_latin1(&mut self, length: usize) -> Result<String, PayloadError> {
        Ok(self.take_bytes(length)?.iter().copied().map(char::from).collect())
    }

    /// Takes something, or nothing at all.
    fn whole<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, PayloadError>,
    ) -> Result<T, PayloadError> {
        let before = *self;
        let taken = take(self);
        if taken.is_err() {
            *self = before;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn what_was_put_is_taken_in_the_same_order() {
        let mut payload = Payload::new();
        payload.put_bytes(b"ab").put_u8(1).put_bool(true).put_i8(-2).put_i16(-3).put_u16(0x0102);
        payload.put_u32(5).put_i32(-6).put_u64(u64::MAX).put_i64(i64::MIN).put_f32(0.5);
        payload.put_f64(-1.25).put_utf8("\u{e4}").put_utf16("x\u{1d11e}");
        payload.put_ascii("ok").unwrap().put_latin1("\u{ff}").unwrap();
        let mut reader = payload.reader();
        assert_eq!(reader.take_bytes(2).unwrap(), b"ab");
        assert_eq!((reader.take_u8().unwrap(), reader.take_bool().unwrap()), (1, true));
        assert_eq!((reader.take_i8().unwrap(), reader.take_i16().unwrap()), (-2, -3));
        let mut copy = reader;
        assert_eq!(copy.take_bytes(2).unwrap(), [1, 2], "network byte order");
        assert_eq!((reader.take_u16().unwrap(), reader.take_u32().unwrap()), (0x0102, 5));
        assert_eq!((reader.take_i32().unwrap(), reader.take_u64().unwrap()), (-6, u64::MAX));
        assert_eq!((reader.take_i64().unwrap(), reader.take_f32().unwrap()), (i64::MIN, 0.5));
        assert_eq!(reader.take_f64().unwrap(), -1.25);
        assert_eq!(reader.take_utf8(2).unwrap(), "\u{e4}");
        assert_eq!(reader.take_utf16(6).unwrap(), "x\u{1d11e}");
        assert_eq!(reader.take_ascii(2).unwrap(), "ok");
        assert_eq!(reader.take_latin1(1).unwrap(), "\u{ff}");
        assert_eq!(reader.remaining(), 0);
        assert!(matches!(reader.take_u8(), Err(PayloadError::Short { wanted: 1, left: 0 })));
        payload.clear();
        assert!(payload.is_empty());
    }

    #[test]
    fn what_cannot_be_taken_is_still_there() {
        let lone = [0xD8, 0x00, 0x00, 0x61];
        let mut reader = PayloadReader::new(&lone);
        for failed in [
            reader.take_bytes(5).map(drop),
            reader.take_u64().map(drop),
            reader.take_bool().map(drop),
            reader.take_utf8(1).map(drop),
            reader.take_ascii(1).map(drop),
            reader.take_utf16(4).map(drop),
            reader.take_utf16(3).map(drop),
            reader.take_latin1(5).map(drop),
        ] {
            assert!(failed.is_err());
        }
        assert_eq!(reader.remaining(), 4);
        let mut payload = Payload::new();
        assert!(payload.put_ascii("\u{e4}").is_err());
        assert!(payload.put_latin1("\u{e4}\u{100}").is_err());
        assert!(payload.is_empty());
    }
}
