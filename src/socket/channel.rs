//! One TCP connection, in the clear or under TLS.

#![allow(clippy::disallowed_types, reason = "part of the socket room")]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::{RecvFlags, SendFlags};

use crate::tls::session::Session;

/// The longest head and body that are written as one.
const JOINED_BYTES_MAX: usize = 72 << 10;

/// A connection. Reads and writes wait as long as the socket's own timeouts say, or not at all.
pub(crate) struct Channel {
    stream: TcpStream,
    /// Of TLS. It is large, and most connections have none.
    session: Option<Box<Session>>,
    /// Bytes that came or went, where there is no session to count them.
    moved: u64,
}

impl Channel {
    pub(crate) fn new(stream: TcpStream, session: Option<Session>) -> Channel {
        Channel {
            stream,
            session: session.map(Box::new),
            moved: 0,
        }
    }

    /// The socket, to be polled: what it says holds once [`Channel::has_input`] is false.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether nothing can be said yet.
    pub(crate) fn is_beginning(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| !session.is_established())
    }

    /// Whether bytes have come of which nothing can be read yet.
    pub(crate) fn is_midway(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_midway())
    }

    /// Whether what is in the socket is what its other end means: it can be looked at from outside.
    pub(crate) fn is_clear(&self) -> bool {
        self.session.is_none()
    }

    /// Whether there is something to read that has left the socket.
    pub(crate) fn has_input(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_input())
    }

    /// Whether something waits to be sent, beside what the caller was told that it has to send again.
    pub(crate) fn has_output(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_output())
    }

    /// Bytes that came or went over the wire so far.
    pub(crate) fn moved(&self) -> u64 {
        self.session
            .as_ref()
            .map_or(self.moved, |session| session.moved())
    }

    /// Reads as much as is there, without waiting.
    pub(crate) fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let outcome = read(self.session.as_deref_mut(), NonBlocking(&self.stream), buf);
        self.count(outcome)
    }

    /// Writes as much as fits, without waiting. Under TLS the same bytes have to come again after `WouldBlock`.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = write(self.session.as_deref_mut(), NonBlocking(&self.stream), bytes);
        self.count(outcome)
    }

    /// Goes on in the clear: for an answer to somebody who does not speak TLS.
    pub(crate) fn give_up_tls(&mut self) {
        self.session = None;
    }

    /// Tells the other end that nothing more is coming.
    pub(crate) fn finish_sending(&mut self) {
        if let Some(session) = &mut self.session {
            session.close(NonBlocking(&self.stream));
        }
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Frees the memory that an idle connection does not need.
    pub(crate) fn release_if_empty(&mut self) {
        if let Some(session) = &mut self.session {
            session.release_if_empty();
        }
    }

    fn count(&mut self, outcome: io::Result<usize>) -> io::Result<usize> {
        self.moved += outcome.as_ref().map_or(0, |count| *count as u64);
        outcome
    }
}

impl Read for Channel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let outcome = read(self.session.as_deref_mut(), &self.stream, buf);
        self.count(outcome)
    }
}

/// Under TLS the same bytes have to come again after `WouldBlock`.
impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = write(self.session.as_deref_mut(), &self.stream, bytes);
        self.count(outcome)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.session.is_none() {
            let outcome = (&self.stream).write_vectored(slices);
            return self.count(outcome);
        }
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        match slices {
            [only] => self.write(only),
            [first, ..] if whole > JOINED_BYTES_MAX => self.write(first),
            _ => {
                let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                self.write(&joined)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.close(NonBlocking(&self.stream));
        }
    }
}

fn read(session: Option<&mut Session>, mut wire: impl Read + Write, buf: &mut [u8]) -> io::Result<usize> {
    match session {
        Some(session) => session.read(wire, buf),
        None => wire.read(buf),
    }
}

fn write(session: Option<&mut Session>, mut wire: impl Read + Write, bytes: &[u8]) -> io::Result<usize> {
    match session {
        Some(session) => session.write(wire, bytes),
        None => wire.write(bytes),
    }
}

/// The socket, without waiting.
struct NonBlocking<'c>(&'c TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, count) = rustix::net::recv(self.0, &mut *buf, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(
            self.0,
            bytes,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
