//! Bodies: fixed length or chunked (RFC 9112 section 7.1), read where the caller wants the bytes.
//!
//! A body survives a read that timed out: the error is handed on, and the next call goes on where it stopped.
//! Chunk extensions and trailers are read within bounds and dropped.

use std::io::{self, Read};

use super::head::Framing;
use super::inbox::Inbox;
use super::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// What can go wrong while a body is read.
#[derive(Debug)]
pub enum Error {
    /// The wire's own error; `WouldBlock` or `TimedOut` may be tried again.
    Wire(io::Error),
    /// The stream ended before the body did.
    Ended,
    /// The chunking is malformed (400), with what is wrong.
    Malformed(&'static str),
}

enum BodyState {
    /// This many bytes are left, and nothing follows them.
    Fixed(u64),
    /// A chunk-size line comes next.
    ChunkLine,
    /// This many bytes are left of the chunk.
    Chunk(u64),
    /// The CRLF after a chunk comes next.
    ChunkEnd,
    /// Trailer lines come next; this many bytes of them have been read.
    Trailers(usize),
    Done,
}

/// A body that is being read.
pub struct Body {
    state: BodyState,
    /// Bytes of content that were read.
    received: u64,
}

impl Body {
    /// The body that `framing` announces.
    pub fn new(framing: Framing) -> Body {
        let state = match framing {
            Framing::None | Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Fixed(length),
            Framing::Chunked => BodyState::ChunkLine,
        };
        Body { state, received: 0 }
    }

    /// Whether every byte of the body, chunking and trailers included, has been consumed.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, BodyState::Done)
    }

    /// How many bytes of content were read so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes are still to come, where the sender said so.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.state {
            BodyState::Fixed(left) => Some(left),
            BodyState::Done => Some(0),
            _ => None,
        }
    }

    /// Reads content into `room` (not empty) and returns how much; 0 is the end of the body. Chunk lines are
    /// taken from `inbox`, and content directly from `wire` once the inbox is empty.
    pub fn read(&mut self, inbox: &mut Inbox, wire: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.state {
                BodyState::Done => return Ok(0),
                BodyState::Fixed(left) => {
                    let count = content(inbox, wire, buf, left)?;
                    self.received += count as u64;
                    let left = left - count as u64;
                    self.state = if left == 0 {
                        BodyState::Done
                    } else {
                        BodyState::Fixed(left)
                    };
                    return Ok(count);
                }
                BodyState::Chunk(left) => {
                    let count = content(inbox, wire, buf, left)?;
                    self.received += count as u64;
                    let left = left - count as u64;
                    self.state = if left == 0 {
                        BodyState::ChunkEnd
                    } else {
                        BodyState::Chunk(left)
                    };
                    return Ok(count);
                }
                _ => self.between_chunks(inbox, wire)?,
            }
        }
    }

    /// Consumes chunk lines and trailers until content or the end is next, so that [`Body::is_done`] tells
    /// whether the content read so far was the last.
    pub(crate) fn skip_to_content(&mut self, inbox: &mut Inbox, wire: &mut impl Read) -> Result<(), Error> {
        while !matches!(
            self.state,
            BodyState::Done | BodyState::Fixed(_) | BodyState::Chunk(_)
        ) {
            self.between_chunks(inbox, wire)?;
        }
        Ok(())
    }

    fn between_chunks(&mut self, inbox: &mut Inbox, wire: &mut impl Read) -> Result<(), Error> {
        let too_long = match self.state {
            BodyState::Trailers(_) => "the trailers are too long",
            _ => "a chunk line is too long",
        };
        let limit = match self.state {
            BodyState::Trailers(seen) => TRAILER_BYTES_MAX - seen,
            BodyState::ChunkEnd => 2,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        let line = loop {
            match line_length(inbox.unread())? {
                Some(length) if length > limit => return Err(Error::Malformed(too_long)),
                Some(length) => break length,
                None if inbox.unread().len() >= limit => return Err(Error::Malformed(too_long)),
                None => more(inbox, wire)?,
            }
        };
        self.state = self.after_line(&inbox.unread()[..line - 2])?;
        inbox.consume(line);
        Ok(())
    }

    fn after_line(&self, line: &[u8]) -> Result<BodyState, Error> {
        Ok(match self.state {
            BodyState::ChunkEnd if line.is_empty() => BodyState::ChunkLine,
            BodyState::ChunkEnd => return Err(Error::Malformed("a chunk is longer than it said")),
            BodyState::Trailers(_) if line.is_empty() => BodyState::Done,
            BodyState::Trailers(seen) => BodyState::Trailers(seen + line.len() + 2),
            _ => match chunk_size(line)? {
                0 => BodyState::Trailers(0),
                size => BodyState::Chunk(size),
            },
        })
    }
}

fn content(inbox: &mut Inbox, wire: &mut impl Read, buf: &mut [u8], left: u64) -> Result<usize, Error> {
    assert!(
        !buf.is_empty(),
        "a body is read into a buffer of at least one byte"
    );
    let buf_bytes = buf.len();
    let buf = &mut buf[..usize::try_from(left).unwrap_or(buf_bytes).min(buf_bytes)];
    let held = inbox.unread();
    if !held.is_empty() {
        let count = held.len().min(buf.len());
        buf[..count].copy_from_slice(&held[..count]);
        inbox.consume(count);
        return Ok(count);
    }
    match wire.read(buf).map_err(Error::Wire)? {
        0 => Err(Error::Ended),
        count => Ok(count),
    }
}

fn more(inbox: &mut Inbox, wire: &mut impl Read) -> Result<(), Error> {
    match inbox.fill(wire).map_err(Error::Wire)? {
        0 => Err(Error::Ended),
        _ => Ok(()),
    }
}

/// The length of the first line with its CRLF. A bare LF, a CR without LF or a control character is malformed.
fn line_length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(end) = bytes.iter().position(|&b| b < b' ' && b != b'\t' || b == 127) else {
        return Ok(None);
    };
    match (bytes[end], bytes.get(end + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some(end + 2)),
        (b'\r', None) => Ok(None),
        _ => Err(Error::Malformed(
            "a chunk line holds a control character or does not end in CRLF",
        )),
    }
}

/// `1*HEXDIG *( BWS ";" BWS ext )`, RFC 9112 section 7.1.1. Extensions are ignored. Space is forgiven before a semicolon,
/// where the RFC has it, and nowhere else.
fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let size = match line.iter().position(|&b| b == b';') {
        Some(end) => line[..end].trim_ascii_end(),
        None => line,
    };
    let text = std::str::from_utf8(size)
        .ok()
        .filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
    text.and_then(|t| u64::from_str_radix(t, 16).ok())
        .ok_or(Error::Malformed("a chunk size is not hex"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// Hands out its bytes a few at a time, and says WouldBlock in between.
    struct Dribble<'b> {
        bytes: &'b [u8],
        step: usize,
        blocked: bool,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.blocked = !self.blocked;
            if self.blocked {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = self.step.min(buf.len()).min(self.bytes.len());
            buf[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    fn read_all(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut wire = Dribble {
            bytes,
            step,
            blocked: false,
        };
        let (mut inbox, mut body) = (Inbox::default(), Body::new(framing));
        let (mut content, mut buf) = (Vec::new(), [0; 7]);
        loop {
            match body.read(&mut inbox, &mut wire, &mut buf) {
                Ok(0) => {
                    assert!(body.is_done());
                    let rest = [inbox.unread(), wire.bytes].concat();
                    return Ok((content, rest));
                }
                Ok(count) => content.extend_from_slice(&buf[..count]),
                Err(Error::Wire(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(other) => return Err(other),
            }
        }
    }

    #[test]
    fn a_fixed_body_ends_where_it_said() {
        for step in 1..20 {
            let (content, rest) = read_all(Framing::Length(11), b"hello worldGET /", step).unwrap();
            assert_eq!((&content[..], &rest[..]), (&b"hello world"[..], &b"GET /"[..]));
        }
        assert!(matches!(
            read_all(Framing::Length(12), b"hello world", 3),
            Err(Error::Ended)
        ));
    }

    #[test]
    fn chunks_are_joined_and_trailers_dropped() {
        let wire = b"5;a=b\r\nhello\r\n006 \t;c\r\n world\r\n0 ; d=\"e\"\r\nX: y\r\nZ: w\r\n\r\nGET /";
        for step in 1..20 {
            let (content, rest) = read_all(Framing::Chunked, wire, step).unwrap();
            assert_eq!((&content[..], &rest[..]), (&b"hello world"[..], &b"GET /"[..]));
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
        for wire in [
            "",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\na\r\n",
            "1 \r\na\r\n",
            " 1\r\na\r\n",
            "\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "ffffffffffffffff0\r\n",
            "1\r\na",
            "0\r\n",
            "0\r\n\n",
            "1\r\r\n",
            &long,
            &trailers,
        ] {
            assert!(
                read_all(Framing::Chunked, wire.as_bytes(), 64).is_err(),
                "{wire:?} passed"
            );
        }
    }

    #[test]
    fn settling_tells_whether_content_was_the_last() {
        let (mut inbox, mut body) = (Inbox::default(), Body::new(Framing::Chunked));
        let (mut wire, mut buf) = (&b"3\r\nabc\r\n0\r\n\r\n"[..], [0; 3]);
        assert_eq!(body.read(&mut inbox, &mut wire, &mut buf).unwrap(), 3);
        assert!(!body.is_done());
        body.skip_to_content(&mut inbox, &mut wire).unwrap();
        assert!(body.is_done());
    }

    proptest! {
        #[test]
        fn any_chunking_of_any_content_comes_back(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            step in 1_usize..30,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let (content, rest) = read_all(Framing::Chunked, &wire, step).unwrap();
            prop_assert_eq!(content, chunks.concat());
            prop_assert_eq!(rest, Vec::<u8>::new());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_all(Framing::Chunked, &bytes, 64);
        }
    }
}
