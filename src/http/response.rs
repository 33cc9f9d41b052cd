//! Answers as a client reads them: status, fields, and how the content is delimited.

use std::mem::MaybeUninit;

use super::head::{Framing, trim};
use super::{FIELDS_MAX, HEAD_BYTES_MAX};

/// The head of an answer, with the few fields that our clients act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code; 100 to 199 are interim, another head follows.
    pub status: u16,
    /// How the content is delimited. Meaningless for answers to HEAD, which carry none.
    pub(crate) framing: Framing,
    /// Whether the connection may be used again once the content is read.
    pub(crate) keep_alive: bool,
    /// `Location`, as sent.
    pub(crate) location: Option<String>,
    /// `ETag`, with its quotes.
    pub(crate) etag: Option<String>,
    /// `Retry-After` in seconds.
    pub(crate) retry_after_seconds: Option<u64>,
}

/// Names in lower case, and values.
pub(crate) type AnswerFields = Vec<(String, String)>;

/// The bytes are not the head of an HTTP/1.x answer that can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub(crate) &'static str);

/// Reads a head from the beginning of `bytes`. `Ok(None)` asks for more bytes; otherwise the head and how many
/// bytes it took.
pub fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, Error> {
    let mut raw = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut raw)
        .map_err(|_| Error("not the head of an HTTP answer"))?;
    let httparse::Status::Complete(length) = status else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Error("the head of the answer is too long"));
        }
        return Ok(None);
    };
    let find = |name: &str| {
        let field = parsed
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(trim(field.value)).ok()
    };
    let code = parsed.code.unwrap_or_default();
    let framing = match (find("transfer-encoding"), find("content-length")) {
        _ if code < 200 || code == 204 || code == 304 => Framing::None,
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (None, Some(length)) => Framing::Length(
            length
                .parse()
                .map_err(|_| Error("Content-Length is not a number"))?,
        ),
        _ => return Err(Error("the answer does not say how long it is")),
    };
    let response = Response {
        status: code,
        framing,
        keep_alive: parsed.version == Some(1)
            && !find("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")),
        location: find("location").map(str::to_owned),
        etag: find("etag").map(str::to_owned),
        retry_after_seconds: find("retry-after").and_then(|value| value.parse().ok()),
    };
    Ok(Some((response, length)))
}

/// The fields of a head that [`parse`] has read from `bytes`, their names in lower case, in the order they came. Those that
/// are not text are left out.
pub(crate) fn fields(bytes: &[u8]) -> AnswerFields {
    let mut raw = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut raw);
    if parsed.parse(bytes).is_err() {
        return Vec::new();
    }
    let text = |field: &httparse::Header<'_>| {
        let value = std::str::from_utf8(trim(field.value)).ok()?;
        Some((field.name.to_ascii_lowercase(), value.to_owned()))
    };
    parsed.headers.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_the_fields_that_matter() {
        let bytes = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://h:1/x?hop=1\r\nRetry-After: 2\r\n\
                      Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";
        let (response, length) = parse(bytes).unwrap().unwrap();
        assert_eq!(&bytes[length..], b"hello");
        assert_eq!((response.status, response.framing), (307, Framing::Length(5)));
        assert_eq!(response.location.as_deref(), Some("http://h:1/x?hop=1"));
        assert_eq!(response.retry_after_seconds, Some(2));
        assert!(response.keep_alive);
        for end in 0..length {
            assert_eq!(parse(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn all_fields_can_be_had_too() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nETag:  \"x\" \r\nX-Odd: \xff\r\nContent-Length: 0\r\n\r\nrest: x\r\n";
        let expected = [("etag", "\"x\""), ("content-length", "0")];
        let found = fields(bytes);
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn interim_answers_have_no_content() {
        let (response, _) = parse(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().unwrap();
        assert_eq!((response.status, response.framing), (100, Framing::None));
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n",
        ] {
            assert!(parse(bytes).is_err());
        }
    }
}
