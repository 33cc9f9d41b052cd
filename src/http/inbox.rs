//! Bytes that have arrived on a connection and are not yet consumed.

use std::io::{self, Read};

/// The smallest buffer for one read.
const READ_BYTES: usize = 4 << 10;

/// A queue of bytes: filled from the wire at one end, consumed by parsers at the other.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// The bytes that are not yet consumed.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Removes the first `count` unread bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.bytes.len(), "consumed more than had arrived");
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// One read from `wire`. Returns how many bytes came; 0 is the end of the stream.
    pub fn fill(&mut self, wire: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let held = self.bytes.len();
        self.bytes.resize(held + READ_BYTES, 0);
        let outcome = wire.read(&mut self.bytes[held..]);
        self.bytes
            .truncate(held + outcome.as_ref().map_or(0, |count| *count));
        outcome
    }

    /// Frees the memory if nothing is unread: an idle connection costs none.
    pub(crate) fn release_if_empty(&mut self) {
        if self.unread().is_empty() {
            *self = Inbox::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_arrived() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.fill(&mut &b"abc"[..]).unwrap(), 3);
        inbox.consume(1);
        assert_eq!(inbox.fill(&mut &b"de"[..]).unwrap(), 2);
        assert_eq!(inbox.unread(), b"bcde");
        inbox.consume(4);
        assert_eq!(inbox.fill(&mut &b""[..]).unwrap(), 0);
        assert_eq!(inbox.unread(), b"");
    }
}
