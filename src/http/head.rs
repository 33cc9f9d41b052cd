//! Request heads: from bytes to a method, a target, fields, and how the body is framed.
//!
//! httparse splits the head. Before it, one pass over the bytes refuses what it would let through: bare CR or
//! LF, control characters, folded lines. After it, RFC 9112 section 6 is applied to the letter.

use std::mem::MaybeUninit;

use super::{FIELDS_MAX, HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send the content.
    Get,
    /// As GET, without the content.
    Head,
    /// Store the body.
    Put,
    /// Remove the content.
    Delete,
    /// Begin something.
    Post,
    /// A method that HTTP knows and that no resource here allows (405).
    Other,
    /// An unknown method (501).
    Unknown,
}

impl Method {
    /// As it is written; of a method that is not known here, a dash.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Post => "POST",
            Method::Other | Method::Unknown => "-",
        }
    }
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither length nor coding: no body.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
}

/// Why a head was refused. The connection cannot be used again after any of these: it is not known where the next
/// request would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// 400, with what is wrong.
    Malformed(&'static str),
    /// 414: the request line is too long.
    TargetTooLong,
    /// 417: an expectation other than 100-continue.
    Expectation,
    /// 431: too many bytes or too many fields.
    TooLarge,
    /// 501: a transfer coding other than chunked.
    Coding,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    Version,
}

/// The fields of a head, in the order they came.
pub(crate) struct Fields<'b> {
    list: Vec<httparse::Header<'b>>,
}

/// A request head that passed every rule of this file.
pub struct Head<'b> {
    /// What is asked for.
    pub method: Method,
    /// The request target as sent: visible ASCII only, not decoded.
    pub target: &'b str,
    /// The `Host` value; `None` only in HTTP/1.0.
    pub(crate) host: Option<&'b str>,
    /// Everything else.
    pub(crate) fields: Fields<'b>,
    /// How the body is delimited.
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// The client wants to use the connection again.
    pub(crate) keep_alive: bool,
    /// The client named the connection option `offer`: the body follows only after `100 Continue`, so a final
    /// answer in its place leaves the connection usable.
    pub(crate) offer: bool,
}

/// Fields that change how a request is understood and that must therefore not come twice.
const SINGLE: [&str; 15] = [
    "host",
    "authorization",
    "content-length",
    "transfer-encoding",
    "expect",
    "content-encoding",
    "content-range",
    "content-type",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "origin",
];

impl<'b> Fields<'b> {
    /// The value of the field `name` (ASCII case does not matter), if it came and is text.
    pub(crate) fn text(&self, name: &str) -> Option<&'b str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// The value of the field `name` as it came, without the space around it.
    pub(crate) fn bytes(&self, name: &str) -> Option<&'b [u8]> {
        self.iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| trim(field.value))
    }

    /// The values of all fields `name` as one list, which they are (RFC 9110 section 5.3).
    pub(crate) fn list(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| trim(field.value))
            .collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }

    fn iter(&self) -> impl Iterator<Item = &httparse::Header<'b>> {
        self.list.iter()
    }

    /// Whether the comma-separated lists of all fields `name` hold `token`.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .flat_map(|field| field.value.split(|&b| b == b','))
            .any(|item| trim(item).eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Reads a head from the beginning of `bytes`. `Ok(None)` asks for more bytes; otherwise the head and how many
/// bytes it took.
pub fn parse(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, Error> {
    // RFC 9112 section 2.2: one empty line before the request line is forgiven.
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let Some(length) = scan(&bytes[skipped..])? else {
        return Ok(None);
    };
    let head = &bytes[skipped..skipped + length];
    let mut raw = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request
        .parse_with_uninit_headers(head, &mut raw)
        .map_err(error_of)?;
    if status.is_partial() {
        return Err(Error::Malformed("the head ends before its last field"));
    }
    let target = request.path.unwrap_or_default();
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Malformed(
            "the request target holds something other than visible ASCII",
        ));
    }
    let fields = Fields {
        list: request.headers.to_vec(),
    };
    let minor = request.version.unwrap_or_default();
    let head = understand(method(request.method.unwrap_or_default()), target, minor, fields)?;
    Ok(Some((head, skipped + length)))
}

/// One pass over the raw bytes: finds the end of the head, and refuses bytes that a head must not contain.
fn scan(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let mut line_start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => {
                return Err(Error::Malformed("a line ends in LF without CR"));
            }
            b'\n' if line_start == 0 => {
                check_request_line(&bytes[..at - 1])?;
                line_start = at + 1;
            }
            b'\n' if at - 1 == line_start => return check_length(at + 1).map(Some),
            b'\n' => line_start = at + 1,
            b'\r' if bytes.get(at + 1).is_some_and(|&next| next != b'\n') => {
                return Err(Error::Malformed("CR without LF"));
            }
            b'\r' => {}
            b' ' | b'\t' if at == line_start => return Err(Error::Malformed("a folded field line")),
            b'\t' => {}
            0..=31 | 127 => return Err(Error::Malformed("a control character in the head")),
            _ => {}
        }
    }
    if line_start == 0 && bytes.len() >= REQUEST_LINE_BYTES_MAX {
        return Err(Error::TargetTooLong);
    }
    check_length(bytes.len() + 1).map(|_| None)
}

fn check_length(length: usize) -> Result<usize, Error> {
    if length > HEAD_BYTES_MAX {
        Err(Error::TooLarge)
    } else {
        Ok(length)
    }
}

/// Checked as soon as the line is complete, so that HTTP/0.9 and HTTP/2 clients get an answer and do not wait for an
/// empty line that never comes.
fn check_request_line(line: &[u8]) -> Result<(), Error> {
    if line.len() + 2 > REQUEST_LINE_BYTES_MAX {
        return Err(Error::TargetTooLong);
    }
    let mut parts = line.split(|&b| b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let filled = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty());
    if !filled(method) || !filled(target) || parts.next().is_some() {
        return Err(Error::Malformed(
            "a request line is method, target and version with one space between",
        ));
    }
    match version.unwrap_or_default() {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Error::Version)
        }
        _ => Err(Error::Malformed(
            "the request line does not end in an HTTP version",
        )),
    }
}

fn error_of(error: httparse::Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::TooLarge,
        httparse::Error::HeaderName => Error::Malformed("a field name holds a character that it must not"),
        httparse::Error::HeaderValue => Error::Malformed("a field value holds a character that it must not"),
        httparse::Error::Token => Error::Malformed("the request line holds a character that it must not"),
        httparse::Error::Version => Error::Version,
        httparse::Error::NewLine | httparse::Error::Status => {
            Error::Malformed("the head is not a request head")
        }
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "POST" => Method::Post,
        "OPTIONS" | "PATCH" | "TRACE" | "CONNECT" | "QUERY" => Method::Other,
        _ => Method::Unknown,
    }
}

fn understand<'b>(method: Method, target: &'b str, minor: u8, fields: Fields<'b>) -> Result<Head<'b>, Error> {
    for name in SINGLE {
        let mut values = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        // Read as absent, an `Origin` would let a page in, and an `If-None-Match` would let a write through.
        if values.next().is_some_and(|field| !field.value.is_ascii()) {
            return Err(Error::Malformed(
                "a field that matters holds something other than ASCII",
            ));
        }
        if values.next().is_some() {
            return Err(Error::Malformed("a field that must be single comes twice"));
        }
    }
    if fields.bytes("host").is_none() && minor == 1 {
        return Err(Error::Malformed("HTTP/1.1 without Host"));
    }
    let host = match fields.bytes("host") {
        Some(value) => Some(check_host(value)?),
        None => None,
    };
    let framing = framing(&fields, minor)?;
    let expects_continue = match fields.bytes("expect") {
        Some(value) if !value.eq_ignore_ascii_case(b"100-continue") => return Err(Error::Expectation),
        // RFC 9110 section 10.1.1: an HTTP/1.0 client does not know the expectation.
        Some(_) => minor == 1 && framing != Framing::None && framing != Framing::Length(0),
        None => false,
    };
    let keep_alive = match minor {
        0 => fields.lists("connection", "keep-alive"),
        _ => !fields.lists("connection", "close"),
    };
    let offer = expects_continue && fields.lists("connection", "offer");
    Ok(Head {
        method,
        target,
        host,
        fields,
        framing,
        expects_continue,
        keep_alive,
        offer,
    })
}

/// RFC 9112 section 6.3; where it leaves a choice, the message is refused.
fn framing(fields: &Fields<'_>, minor: u8) -> Result<Framing, Error> {
    match (fields.bytes("transfer-encoding"), fields.bytes("content-length")) {
        (Some(_), Some(_)) => Err(Error::Malformed("Transfer-Encoding and Content-Length together")),
        (Some(_), None) if minor == 0 => Err(Error::Malformed("Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(coding), None) if is_other_coding(coding) => Err(Error::Coding),
        (Some(_), None) => Err(Error::Malformed("Transfer-Encoding is not exactly one chunked")),
        (None, Some(length)) => decimal(length).map(Framing::Length),
        (None, None) => Ok(Framing::None),
    }
}

/// A single, registered coding that is not implemented here (501); every other one is malformed.
fn is_other_coding(coding: &[u8]) -> bool {
    [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
}

/// Digits only: no sign, no space, no list, no hex, nothing that overflows.
fn decimal(text: &[u8]) -> Result<u64, Error> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|d| d.parse().ok())
        .ok_or(Error::Malformed("Content-Length is not a plain number"))
}

/// `host` or `host:port`, without user info, path or space. Which hosts are ours is not decided here.
fn check_host(value: &[u8]) -> Result<&str, Error> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|v| !v.is_empty() && v.as_bytes().iter().all(allowed));
    let text = text.ok_or(Error::Malformed("Host is not a host name with an optional port"))?;
    let port = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') && !text.ends_with(']') => None,
        Some((_, port)) if !text.ends_with(']') => Some(port),
        _ => Some("80"),
    };
    match port {
        Some(port) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => Ok(text),
        _ => Err(Error::Malformed("Host has a port that is not a number")),
    }
}

/// Without the spaces and tabs at both ends.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn error(text: &str) -> Error {
        match parse(text.as_bytes()) {
            Err(fault) => fault,
            Ok(Some((_, length))) => panic!("{text:?} was accepted with {length} bytes"),
            Ok(None) => panic!("{text:?} waits for more"),
        }
    }

    #[test]
    fn a_plain_put_is_understood() {
        let text =
            b"PUT /images/a/b.png HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\
                     Connection: keep-alive, offer\r\n\r\nrest";
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!(&text[length..], b"rest");
        assert_eq!(
            (head.method, head.target, head.host),
            (Method::Put, "/images/a/b.png", Some("h:80"))
        );
        assert_eq!(head.framing, Framing::Length(12));
        assert!(head.expects_continue && head.keep_alive && head.offer);
    }

    #[test]
    fn every_prefix_of_a_good_head_asks_for_more() {
        let text = b"\r\nGET / HTTP/1.1\r\nHost: h\r\nA: b\t c\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(parse(text).unwrap().unwrap().1, text.len());
    }

    #[test]
    fn framing_errors_are_malformed() {
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: 0x1",
            "Content-Length: 1 1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \"chunked\"",
            "Content-Length : 1",
            " folded: x",
            "A: b\r\n c",
            "A: b\rc",
            "A: b\nC: d",
            "A: \x01",
            "A\x00: b",
            "Host: other",
            ": x",
            "novalue",
        ] {
            let text = format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
            assert!(matches!(error(&text), Error::Malformed(_)), "{fields:?}");
        }
        assert_eq!(
            error("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n"),
            Error::Coding
        );
        let old = "PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(error(old), Error::Malformed(_)));
    }

    #[test]
    fn request_lines_are_judged_at_once() {
        for line in [
            "GET /\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET / HTTP/1.1 \r\n",
            "GET / http/1.1\r\n",
            " GET / HTTP/1.1\r\n",
        ] {
            assert!(matches!(error(line), Error::Malformed(_)), "{line:?}");
        }
        assert_eq!(error("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Error::Version);
        assert_eq!(error("GET / HTTP/3.0\r\n"), Error::Version);
        assert!(matches!(
            error("GET /\u{e4} HTTP/1.1\r\nHost: h\r\n\r\n"),
            Error::Malformed(_)
        ));
        assert!(matches!(
            error("GET / HTTP/1.1\nHost: h\n\n"),
            Error::Malformed(_)
        ));
    }

    #[test]
    fn hosts_are_checked_for_form() {
        for host in ["", "a b", "a/b", "u@h", "h:", "h:x", "h:123456", "::1"] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            match parse(text.as_bytes()) {
                Err(Error::Malformed(_)) => {}
                Ok(Some(_)) if host == "h:" => {}
                _ => panic!("{host:?} passed"),
            }
        }
        for host in ["h", "h:8001", "127.0.0.1:1", "[::1]", "[::1]:8001"] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert!(parse(text.as_bytes()).unwrap().is_some(), "{host:?} was refused");
        }
        assert!(matches!(error("GET / HTTP/1.1\r\n\r\n"), Error::Malformed(_)));
        assert!(parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn limits_hold_before_the_head_is_complete() {
        assert_eq!(error(&"G".repeat(REQUEST_LINE_BYTES_MAX)), Error::TargetTooLong);
        let line = "GET / HTTP/1.1\r\nHost: h\r\n";
        assert_eq!(
            error(&format!("{line}A: {}", "b".repeat(HEAD_BYTES_MAX))),
            Error::TooLarge
        );
        let many = "A: b\r\n".repeat(FIELDS_MAX);
        assert_eq!(error(&format!("{line}{many}\r\n")), Error::TooLarge);
        assert!(
            parse(format!("{line}{}\r\n", "A: b\r\n".repeat(FIELDS_MAX - 1)).as_bytes())
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn only_known_expectations_pass() {
        let text = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n";
        assert_eq!(error(text), Error::Expectation);
        let text = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: offer\r\n\r\n";
        assert!(
            !parse(text).unwrap().unwrap().0.offer,
            "an offer without an expectation is none"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_fields_make_it_panic(fields in "([A-Za-z-]{1,12}:[ -~\\r\\n\\t]{0,20}\r\n){0,8}") {
            let _ = parse(format!("PUT /x HTTP/1.1\r\n{fields}\r\n").as_bytes());
        }
    }
}
