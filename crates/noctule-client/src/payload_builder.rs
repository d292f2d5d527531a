//! Payloads put together from parts, for programs whose messages have a form of their own.

use std::fmt;

use crate::payload::PayloadError;
use crate::payload_reader::PayloadReader;

/// A payload that is put together from parts: numbers in network byte order, texts without length
/// or end. It is published as it is, or made the payload of a will;
/// [`Incoming::reader`](crate::Incoming::reader) takes one apart.
///
/// ```
/// use noctule_client::{Payload, WillOptions};
///
/// let mut payload = Payload::new();
/// payload.put_u16(7).put_bool(true).put_f32(21.5).put_utf8("\u{b0}C");
/// let mut reader = payload.reader();
/// assert_eq!(reader.take_u16().unwrap(), 7);
/// assert!(reader.take_bool().unwrap());
/// assert_eq!(reader.take_f32().unwrap(), 21.5);
/// assert_eq!(reader.take_utf8(reader.remaining()).unwrap(), "\u{b0}C");
///
/// let topic = "sensor/7".into();
/// let will = WillOptions { topic, payload: payload.into(), ..WillOptions::default() };
/// assert_eq!(will.payload.len(), 10);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

/// Numbers, and how they are put.
macro_rules! numbers {
    ($($put:ident, $number:ty, $what:literal;)+) => {
        $(
            #[doc = concat!("Puts ", $what, ".")]
            pub fn $put(&mut self, value: $number) -> &mut Self {
                self.put_bytes(&value.to_be_bytes())
            }
        )+
    };
}

impl Payload {
    /// Nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Puts bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Puts a truth value: a byte that is 0 or 1.
    pub fn put_bool(&mut self, value: bool) -> &mut Self {
        self.put_u8(value.into())
    }

    numbers! {
        put_u8, u8, "a byte";
        put_i8, i8, "a signed byte";
        put_u16, u16, "two bytes";
        put_i16, i16, "two signed bytes";
        put_u32, u32, "four bytes";
        put_i32, i32, "four signed bytes";
        put_u64, u64, "eight bytes";
        put_i64, i64, "eight signed bytes";
        put_f32, f32, "a float of four bytes";
        put_f64, f64, "a float of eight bytes";
    }

    /// Puts text in UTF-8.
    pub fn put_utf8(&mut self, text: &str) -> &mut Self {
        self.put_bytes(text.as_bytes())
    }

    /// Puts text in UTF-16, the higher byte of each unit first, without a byte order mark.
    pub fn put_utf16(&mut self, text: &str) -> &mut Self {
        for unit in text.encode_utf16() {
            self.put_u16(unit);
        }
        self
    }

    /// Puts text in ASCII.
    ///
    /// # Errors
    ///
    /// If a character is none of ASCII's. Nothing is put then.
    pub fn put_ascii(&mut self, text: &str) -> Result<&mut Self, PayloadError> {
        if text.is_ascii() { Ok(self.put_utf8(text)) } else { Err(PayloadError::Encoding("ASCII")) }
    }

    /// Puts text in eight bits a character: ISO 8859-1.
    ///
    /// # Errors
    ///
    /// If a character lies beyond U+00FF. Nothing is put then.
    pub fn put_latin1(&mut self, text: &str) -> Result<&mut Self, PayloadError> {
        let bytes = text.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        let bytes = bytes.map_err(|_| PayloadError::Encoding("ISO 8859-1"))?;
        Ok(self.put_bytes(&bytes))
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes it apart, from the beginning.
    pub fn reader(&self) -> PayloadReader<'_> {
        PayloadReader::new(&self.0)
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Payload> for Vec<u8> {
    fn from(payload: Payload) -> Self {
        payload.0
    }
}

impl From<Payload> for Box<[u8]> {
    fn from(payload: Payload) -> Self {
        payload.0.into()
    }
}

// It may be long, and nobody else's business.
impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Payload({} bytes)", self.len())
    }
}
