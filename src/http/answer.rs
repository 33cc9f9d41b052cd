//! What a server sends back: a status, fields and, mostly, a small body, in one write.

use std::fmt::{Display, Write as _};
use std::io::Write;

/// A status code with the phrase that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusCode(pub(crate) u16);

impl StatusCode {
    /// The reason phrase of RFC 9110 section 15 (or of the RFC that registered the code).
    pub(crate) fn phrase(self) -> &'static str {
        match self.0 {
            200 => "OK",
            201 => "Created",
            204 => "No Content",
            206 => "Partial Content",
            304 => "Not Modified",
            307 => "Temporary Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            411 => "Length Required",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            421 => "Misdirected Request",
            422 => "Unprocessable Content",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            507 => "Insufficient Storage",
            _ => "",
        }
    }

    /// Whether RFC 9110 section 6.4.1 forbids content with this status.
    pub(crate) fn is_bodiless(self) -> bool {
        matches!(self.0, 204 | 304)
    }
}

/// An answer that fits into memory: everything but image content.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) status: StatusCode,
    fields: String,
    body: Vec<u8>,
    content_bytes: Option<u64>,
}

/// What most fields take in all, and what most texts take: more is allocated when it is needed.
const FIELDS_BYTES: usize = 384;
const TEXT_BYTES: usize = 128;

const MEMORY: &str = "writing to memory does not fail";

/// The interim answer that lets a waiting client send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Answer {
    /// A status without content.
    pub fn empty(status: u16) -> Answer {
        Answer {
            status: StatusCode(status),
            fields: String::with_capacity(FIELDS_BYTES),
            body: Vec::new(),
            content_bytes: None,
        }
    }

    /// A status with a line of plain text; the newline is added.
    pub fn text(status: u16, text: impl Display) -> Answer {
        let mut line = String::with_capacity(TEXT_BYTES);
        writeln!(line, "{text}").expect(MEMORY);
        Answer::empty(status).content("text/plain; charset=utf-8", line)
    }

    /// A status with JSON.
    pub fn json(status: u16, json: impl Into<Vec<u8>>) -> Answer {
        Answer::empty(status).content("application/json", json)
    }

    /// Sets the content and its type.
    pub fn content(self, media_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        let mut answer = self.field("Content-Type", media_type);
        answer.body = body.into();
        answer
    }

    /// The content, as far as it is in memory.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sets the content alone, of an answer whose fields say what it is.
    pub(crate) fn with_body(mut self, body: Vec<u8>) -> Answer {
        self.body = body;
        self
    }

    /// Announces `bytes` of content that the caller sends itself, or that a HEAD request leaves out.
    pub(crate) fn announcing(mut self, bytes: u64) -> Answer {
        self.content_bytes = Some(bytes);
        self
    }

    /// Adds a field. Neither part may hold a line break: nothing that a client sent goes in here unchecked.
    pub fn field(mut self, name: &str, value: impl Display) -> Answer {
        let start = self.fields.len();
        write!(self.fields, "{name}: {value}").expect(MEMORY);
        assert!(
            !self.fields[start..].contains(['\r', '\n']),
            "a field value must not hold a line break"
        );
        self.fields.push_str("\r\n");
        self
    }

    /// Appends the head to `out` and, unless it answers HEAD, the content.
    pub fn encode(&self, out: &mut Vec<u8>, keep_alive: bool, answers_head: bool) {
        let status = self.status;
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let length = self.content_bytes.unwrap_or(self.body.len() as u64);
        write!(out, "HTTP/1.1 {} {}\r\n", status.0, status.phrase()).expect(MEMORY);
        out.extend_from_slice(self.fields.as_bytes());
        if !status.is_bodiless() {
            write!(out, "Content-Length: {length}\r\n").expect(MEMORY);
        }
        for part in ["Connection: ", connection, "\r\n\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        if !answers_head {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(answer: &Answer, keep_alive: bool, answers_head: bool) -> String {
        let mut out = Vec::new();
        answer.encode(&mut out, keep_alive, answers_head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_is_head_and_content() {
        let answer = Answer::text(503, "busy").field("Retry-After", 1);
        assert_eq!(
            encoded(&answer, false, false),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\
             Content-Length: 5\r\nConnection: close\r\n\r\nbusy\n"
        );
        assert!(
            encoded(&answer, true, true).ends_with("Content-Length: 5\r\nConnection: keep-alive\r\n\r\n")
        );
        assert!(!encoded(&Answer::empty(204), true, false).contains("Content-Length"));
    }

    #[test]
    #[should_panic(expected = "line break")]
    fn a_line_break_never_gets_into_a_field() {
        let _ = Answer::empty(200).field("Location", "x\r\nSet-Cookie: y");
    }
}
