//! One connection's records: what arrived of them, what is not yet sent, and what they hold.
//!
//! That a socket can be read says nothing of a session, in either direction: a record may have come in part, and one that
//! was decrypted may have been read in part. [`Session::has_input`] tells of the second; the first waits for the socket.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: a bound on the time of one call"
)]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustls::{AlertDescription, CertificateError, Connection, Error};

use super::PlainHttp;

/// Records are read from the wire so many bytes at a time: four of the longest.
const ARRIVED_BYTES_MAX: usize = 64 << 10;
/// So much is encrypted before it is written.
const WRITTEN_BYTES_MAX: usize = 64 << 10;
/// The same with what records add to it.
const UNSENT_BYTES_MAX: usize = WRITTEN_BYTES_MAX + (1 << 10);
/// A call returns after this long, also if bytes come or go that are no content.
const STEP_TIME_MAX: Duration = Duration::from_millis(20);
/// The first byte of a session: the type of the record that begins a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// A session, over a socket that its owner gives to each call.
pub(crate) struct Session {
    connection: Connection,
    /// Records that arrived and that nobody has looked at; empty, or of [`ARRIVED_BYTES_MAX`].
    arrived: Box<[u8]>,
    /// Which of these bytes.
    start: usize,
    end: usize,
    /// Bytes of content that are decrypted.
    readable: usize,
    /// Bytes of content whose records are not all sent: the caller gives them again.
    unsent: usize,
    /// Bytes that came over the wire.
    received: u64,
    /// The same when content came last, or the handshake was done.
    settled: u64,
    /// Bytes that went over the wire.
    sent: u64,
}

impl Session {
    pub(super) fn new(mut connection: Connection) -> Session {
        connection.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        Session {
            connection,
            arrived: Box::default(),
            start: 0,
            end: 0,
            readable: 0,
            unsent: 0,
            received: 0,
            settled: 0,
            sent: 0,
        }
    }

    /// Reads content; 0 is its end. `WouldBlock` of the wire, or nothing but parts of records for a while: to be tried
    /// again once there is more. What the session has to say itself is sent on the way.
    pub(crate) fn read(&mut self, mut wire: impl Read + Write, buf: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let mut filled = 0;
        loop {
            match self.connection.reader().read(&mut buf[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(count) => {
                    self.readable -= count;
                    filled += count;
                }
                // The end of the stream without that of the session: HTTP says itself where its messages end.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(filled),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if filled == buf.len() || filled > 0 && self.start == self.end {
                return Ok(filled);
            }
            if self.start == self.end {
                // Whether it can be sent decides nothing here: what is said to a closed end is of no use to it.
                let _ = self.flush(&mut wire, begun);
                if begun.elapsed() > STEP_TIME_MAX {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                if let Err(error) = self.receive(&mut wire) {
                    // A client that takes its time keeps no more than what it has begun.
                    self.release_if_empty();
                    return Err(error);
                }
            }
            if let Err(error) = self.decrypt() {
                // The alert that says why.
                let _ = self.flush(&mut wire, begun);
                // What came before it counts; it comes again.
                return if filled > 0 { Ok(filled) } else { Err(error) };
            }
        }
    }

    /// Writes content, and returns how much of it has been sent. After `WouldBlock` the same bytes have to come again, or a
    /// longer text that begins with them. Before the handshake is done, content waits for it, as much as fits.
    pub(crate) fn write(&mut self, mut wire: impl Read + Write, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        if self.unsent == 0 {
            let piece = &bytes[..bytes.len().min(WRITTEN_BYTES_MAX)];
            self.unsent = self.connection.writer().write(piece)?;
        }
        self.flush(&mut wire, begun)?;
        if self.unsent == 0 && !bytes.is_empty() {
            self.receive(&mut wire)?;
            self.decrypt()?;
            self.flush(&mut wire, begun)?;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(std::mem::take(&mut self.unsent))
    }

    /// Says that nothing more comes, as far as the wire takes that.
    pub(crate) fn close(&mut self, mut wire: impl Write) {
        if self.is_established() && self.unsent == 0 {
            self.connection.send_close_notify();
            let _ = self.connection.write_tls(&mut wire);
        }
    }

    /// Whether there is something to read that has left the socket: nobody would be woken for it.
    pub(crate) fn has_input(&self) -> bool {
        self.readable > 0 || self.start < self.end
    }

    /// Whether something of the session's own waits to be sent.
    pub(crate) fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the handshake is done.
    pub(crate) fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Whether bytes have come of which nothing came yet: half a handshake, or half a record.
    pub(crate) fn is_midway(&self) -> bool {
        self.received > self.settled
    }

    /// Bytes that came or went over the wire so far.
    pub(crate) fn moved(&self) -> u64 {
        self.received + self.sent
    }

    /// Frees the memory that an idle session does not need.
    pub(crate) fn release_if_empty(&mut self) {
        if self.start == self.end {
            self.arrived = Box::default();
        }
    }

    /// One read from the wire.
    fn receive(&mut self, wire: &mut impl Read) -> io::Result<()> {
        if self.arrived.is_empty() {
            self.arrived = vec![0; ARRIVED_BYTES_MAX].into_boxed_slice();
        }
        (self.start, self.end) = (0, 0);
        let count = wire.read(&mut self.arrived)?;
        if count == 0 {
            self.connection.read_tls(&mut io::empty())?;
        }
        let is_first = self.received == 0 && matches!(self.connection, Connection::Server(_));
        if is_first && count > 0 && self.arrived[0] != HANDSHAKE && self.arrived[0].is_ascii_alphabetic() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp));
        }
        self.received += count as u64;
        self.end = count;
        Ok(())
    }

    /// Decrypts what has arrived, up to the next content.
    fn decrypt(&mut self) -> io::Result<()> {
        while self.start < self.end {
            let mut rest = &self.arrived[self.start..self.end];
            let count = self.connection.read_tls(&mut rest)?;
            self.start += count;
            let was_established = self.is_established();
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, explain(&error)))?;
            self.readable = state.plaintext_bytes_to_read();
            if self.readable > 0 || self.is_established() != was_established {
                self.settled = self.received;
            }
            if self.readable > 0 || count == 0 {
                break;
            }
        }
        Ok(())
    }

    fn flush(&mut self, wire: &mut impl Write, begun: Instant) -> io::Result<()> {
        while self.connection.wants_write() {
            let count = self.connection.write_tls(wire)?;
            self.sent += count as u64;
            if self.connection.wants_write() && (count == 0 || begun.elapsed() > STEP_TIME_MAX) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }
}

/// `DnsName("node.example")` → `node.example`: rustls names them so.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

/// For people, as far as they can do something about it.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        // The second: an authority of the same name, with another key.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is of no authority that --ca names".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            format!(
                "its certificate is for {}, and not for {}",
                presented
                    .iter()
                    .map(|name| bare(name))
                    .collect::<Vec<_>>()
                    .join(", "),
                expected.to_str()
            )
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate: give one with --cert and --key".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            "it does not know the authority of the certificate that it was shown".to_owned()
        }
        _ => error.to_string(),
    }
}
