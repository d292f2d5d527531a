//! The few parts of HTTP/1.1 that a WebSocket handshake and a CONNECT proxy need, read strictly.

use data_encoding::BASE64;

/// No head of a request or a response may be longer.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// No head may have more header lines.
const HEADERS_MAX: usize = 64;
/// What is shown of a text that the peer chose.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// Why bytes are no head of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    NotHttp,
    TooLong,
}

/// Collects bytes up to the empty line that ends a head.
#[derive(Debug)]
pub(crate) struct HeadReader {
    /// How every head of this kind begins.
    start: &'static [u8],
    buffer: Vec<u8>,
}

/// A head, and the bytes that came behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

impl HeadReader {
    pub(crate) fn response() -> Self {
        Self { start: b"HTTP/1.", buffer: Vec::new() }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn request() -> Self {
        Self { start: b"GET ", buffer: Vec::new() }
    }

    /// Takes what has arrived; a head once it is complete.
    pub(crate) fn on_bytes(&mut self, input: &[u8]) -> Result<Option<Head>, HeadError> {
        const END: &[u8] = b"\r\n\r\n";
        // The end may have begun with the last bytes of the previous read.
        let searched = self.buffer.len().saturating_sub(END.len() - 1);
        self.buffer.extend_from_slice(input);
        let compared = self.buffer.len().min(self.start.len());
        if self.buffer[..compared] != self.start[..compared] {
            return Err(HeadError::NotHttp);
        }
        let unsearched = &self.buffer[searched..];
        let found = unsearched.windows(END.len()).position(|window| window == END);
        let Some(position) = found else {
            return if self.buffer.len() >= HEAD_BYTES_MAX {
                Err(HeadError::TooLong)
            } else {
                Ok(None)
            };
        };
        let mut bytes = std::mem::take(&mut self.buffer);
        let rest = bytes.split_off(searched + position + END.len());
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(HeadError::TooLong);
        }
        Ok(Some(Head { bytes, rest }))
    }
}

/// The header lines of a head, values that are no text left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    fn from_parsed(parsed: &[httparse::Header<'_>]) -> Self {
        let text = |header: &httparse::Header<'_>| {
            let value = std::str::from_utf8(header.value).ok()?;
            Some((header.name.to_owned(), value.to_owned()))
        };
        Self(parsed.iter().filter_map(text).collect())
    }

    /// The values of all lines of this name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter().filter(move |(line, _)| line.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.trim())
    }

    /// The value of the only line of this name.
    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The comma-separated elements of all lines of this name.
    pub(crate) fn elements<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let elements = self.all(name).flat_map(|value| value.split(','));
        elements.map(str::trim).filter(|element| !element.is_empty())
    }

    pub(crate) fn has_element(&self, name: &str, element: &str) -> bool {
        self.elements(name).any(|there| there.eq_ignore_ascii_case(element))
    }
}

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Headers,
}

impl Response {
    pub(crate) fn parse(head: &[u8]) -> Result<Self, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(HeadError::NotHttp),
        }
        let status = parsed.code.ok_or(HeadError::NotHttp)?;
        let reason = printable(parsed.reason.unwrap_or_default());
        Ok(Self { status, reason, headers: Headers::from_parsed(parsed.headers) })
    }
}

/// The value of a header line for basic authentication.
pub(crate) fn basic_authorization(user: &str, password: &[u8]) -> String {
    let mut credentials = user.as_bytes().to_vec();
    credentials.push(b':');
    credentials.extend_from_slice(password);
    format!("Basic {}", BASE64.encode(&credentials))
}

/// A text of the peer, made fit for one line of a log: short, and without control characters.
pub(crate) fn printable(text: &str) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(SHOWN_CHARACTERS_MAX).map(clean).collect()
}

/// Whether a header line can have this name.
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// Whether a header line can have this value.
pub(crate) fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 Fine\r\nA: 1, 2\r\na:3\r\n\r\n";

    #[test]
    fn a_head_is_found_wherever_the_reads_cut_it() {
        for cut in 0..=HEAD.len() {
            let mut reader = HeadReader::response();
            let early = reader.on_bytes(&HEAD[..cut]).unwrap();
            let mut rest = HEAD[cut..].to_vec();
            rest.extend_from_slice(b"more");
            let head = match early {
                Some(head) => head,
                None => reader.on_bytes(&rest).unwrap().unwrap(),
            };
            assert_eq!(head.bytes, HEAD, "cut at {cut}");
            assert_eq!(head.rest.is_empty(), cut == HEAD.len());
        }
    }

    #[test]
    fn what_is_no_http_is_refused_at_the_first_wrong_byte() {
        assert_eq!(HeadReader::response().on_bytes(b"\x20\x02"), Err(HeadError::NotHttp));
        assert_eq!(HeadReader::response().on_bytes(b"HTTP/2"), Err(HeadError::NotHttp));
        assert_eq!(HeadReader::request().on_bytes(b"POST"), Err(HeadError::NotHttp));
    }

    #[test]
    fn a_head_has_a_limit_however_it_arrives() {
        let mut reader = HeadReader::response();
        reader.on_bytes(b"HTTP/1.1 200 OK\r\nA: ").unwrap();
        let ended = (0..HEAD_BYTES_MAX).find_map(|_| reader.on_bytes(b"a").err());
        assert_eq!(ended, Some(HeadError::TooLong));
        let mut long = HEAD[..HEAD.len() - 2].to_vec();
        long.extend_from_slice(b"B: ");
        long.resize(HEAD_BYTES_MAX, b'b');
        long.extend_from_slice(b"\r\n\r\n");
        assert_eq!(HeadReader::response().on_bytes(&long), Err(HeadError::TooLong));
    }

    #[test]
    fn header_lines_are_found_by_name() {
        let response = Response::parse(HEAD).unwrap();
        assert_eq!((response.status, response.reason.as_str()), (200, "Fine"));
        assert_eq!(response.headers.elements("a").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(response.headers.single("a"), None);
        assert!(response.headers.has_element("A", "2"));
        assert!(!response.headers.has_element("b", "2"));
    }

    #[test]
    fn a_head_with_too_many_or_broken_lines_is_refused() {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for _ in 0..=HEADERS_MAX {
            head.extend_from_slice(b"A: b\r\n");
        }
        head.extend_from_slice(b"\r\n");
        assert_eq!(Response::parse(&head), Err(HeadError::NotHttp));
        assert_eq!(Response::parse(b"HTTP/1.1 2x0 OK\r\n\r\n"), Err(HeadError::NotHttp));
        assert_eq!(Response::parse(b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n"), Err(HeadError::NotHttp));
    }

    #[test]
    fn a_text_of_the_peer_stays_on_one_line() {
        assert_eq!(printable("a\r\nb\x1b"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(printable(&"a".repeat(1000)).len(), SHOWN_CHARACTERS_MAX);
    }

    #[test]
    fn basic_authorization_is_base64() {
        assert_eq!(
            basic_authorization("Aladdin", b"open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }
}
