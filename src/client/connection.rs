//! One connection to one node: a request out, an answer in, kept alive for the next.
//!
//! Blocking, with a bound on every wait. Knows nothing of which node should be asked, nor of trying again: whoever
//! gets an [`Error`] drops the connection.

use std::io::{self, IoSlice, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bearer_token::BearerToken;
use super::error::{Error, ErrorKind};
use crate::http::body::{self, Body};
use crate::http::inbox::Inbox;
use crate::http::response::{self, AnswerFields, Response};
use crate::socket::channel::Channel;
use crate::socket::is_stall;
use crate::tls::settings::ClientTls;

/// A blocked read or write looks at its deadline this often: the kernel's timeout is set once a connection.
const TICK: Duration = Duration::from_millis(250);

/// An open connection.
pub struct NodeConnection {
    channel: Channel,
    address: String,
    inbox: Inbox,
    out: Vec<u8>,
    reused: bool,
    token: Option<BearerToken>,
}

impl NodeConnection {
    /// Connects to `host:port`, trying each address that the name resolves to. With `tls` the node has to show, with its
    /// first answer, that it is `host`.
    pub fn open(address: &str, tls: Option<&ClientTls>, within: Duration) -> Result<NodeConnection, Error> {
        let unreachable = |e: io::Error| Error {
            kind: ErrorKind::Unreachable,
            text: format!("{address}: {e}"),
        };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let session = tls
            .map(|tls| {
                tls.connect(host)
                    .map_err(|why| unreachable(io::Error::other(why)))
            })
            .transpose()?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for resolved in address.to_socket_addrs().map_err(unreachable)? {
            match connect(&resolved, within) {
                Ok(stream) => {
                    return Ok(NodeConnection {
                        channel: Channel::new(stream, session),
                        address: address.to_owned(),
                        inbox: Inbox::default(),
                        out: Vec::new(),
                        reused: false,
                        token: None,
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(unreachable(last))
    }

    /// Shows this token with every request.
    pub fn with_token(mut self, token: Option<BearerToken>) -> NodeConnection {
        self.token = token;
        self
    }

    /// Whether an answer has been read on it before: only then may it have been closed for being idle.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends a request head, and with it `body`, as much of one as should not wait. `fields` are whole lines, each with
    /// its CRLF.
    pub fn send_head(
        &mut self,
        method: &str,
        target: &str,
        fields: &str,
        body: &[u8],
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let written = write!(out, "{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address).and_then(
            |()| match &self.token {
                Some(token) => write!(out, "Authorization: Bearer {}\r\n{fields}\r\n", token.text()),
                None => write!(out, "{fields}\r\n"),
            },
        );
        written.expect("writing to memory does not fail");
        let sent = self.send_slices(&mut [IoSlice::new(&out), IoSlice::new(body)], deadline);
        self.out = out;
        sent
    }

    /// Sends bytes of a body.
    pub fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        self.send_slices(&mut [IoSlice::new(bytes)], deadline)
    }

    fn send_slices(&mut self, mut slices: &mut [IoSlice<'_>], deadline: Instant) -> Result<(), Error> {
        // Passes over what is empty.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.channel.write_vectored(slices) {
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(e) => self.wait_on(&e, deadline)?,
            }
        }
        Ok(())
    }

    /// Reads the next head, interim ones included.
    pub fn head(&mut self, deadline: Instant) -> Result<Response, Error> {
        let (response, length) = self.await_head(deadline)?;
        self.inbox.consume(length);
        Ok(response)
    }

    /// The same, with all its fields.
    pub(crate) fn head_with_fields(&mut self, deadline: Instant) -> Result<(Response, AnswerFields), Error> {
        let (response, length) = self.await_head(deadline)?;
        let fields = response::fields(&self.inbox.unread()[..length]);
        self.inbox.consume(length);
        Ok((response, fields))
    }

    fn await_head(&mut self, deadline: Instant) -> Result<(Response, usize), Error> {
        loop {
            if !self.inbox.unread().is_empty() {
                let parsed = response::parse(self.inbox.unread()).map_err(|e| self.protocol_error(e.0))?;
                if let Some(head) = parsed {
                    self.reused = true;
                    return Ok(head);
                }
            }
            match self.inbox.fill(&mut self.channel) {
                Ok(0) => return Err(self.lost("closed the connection")),
                Ok(_) => {}
                Err(e) => self.wait_on(&e, deadline)?,
            }
        }
    }

    /// Whether there is something to read by now, or within `patience`.
    pub(crate) fn await_input(&self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).expect("a wait fits a timespec");
        !self.inbox.unread().is_empty()
            || self.channel.has_input()
            || poll(
                &mut [PollFd::new(self.channel.stream(), PollFlags::IN)],
                Some(&timeout),
            )
            .is_ok_and(|count| count > 0)
    }

    /// Whether anything of an answer arrives within `patience`: nothing should, while a node still waits for the end of a
    /// body.
    pub(crate) fn has_answer(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.inbox.unread().is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if !self.await_input(left) {
                return false;
            }
            match self.inbox.fill(&mut self.channel) {
                Err(e) if is_stall(&e) => {}
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// Reads content into `buf` (not empty) and returns how many bytes; 0 is its end.
    pub(crate) fn read(
        &mut self,
        body: &mut Body,
        buf: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, Error> {
        loop {
            match body.read(&mut self.inbox, &mut self.channel, buf) {
                Ok(count) => return Ok(count),
                Err(body::Error::Wire(e)) => self.wait_on(&e, deadline)?,
                Err(body::Error::Ended) => {
                    return Err(self.lost("closed the connection in the middle of an answer"));
                }
                Err(body::Error::Malformed(why)) => return Err(self.protocol_error(why)),
            }
        }
    }

    /// Reads content that should be at most `bytes_max` long.
    pub fn read_all(
        &mut self,
        response: &Response,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let mut body = Body::new(response.framing);
        let mut content = Vec::new();
        let mut buf = [0; 8 << 10];
        loop {
            match self.read(&mut body, &mut buf, deadline)? {
                0 => return Ok(content),
                count if content.len() + count > bytes_max => {
                    return Err(self.protocol_error("the answer is too long"));
                }
                count => content.extend_from_slice(&buf[..count]),
            }
        }
    }

    /// `host:port` as it was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn wait_on(&self, error: &io::Error, deadline: Instant) -> Result<(), Error> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            // Of TLS: the other end is not who it should be, or speaks something else.
            io::ErrorKind::InvalidData => Err(Error {
                kind: ErrorKind::Untrusted,
                text: format!("{}: {error}", self.address),
            }),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if Instant::now() < deadline => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Error {
                kind: ErrorKind::Silent,
                text: format!("{}: no answer in time", self.address),
            }),
            _ => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&self, why: &str) -> Error {
        Error {
            kind: ErrorKind::Lost,
            text: format!("{}: {why}", self.address),
        }
    }

    fn protocol_error(&self, why: &str) -> Error {
        Error {
            kind: ErrorKind::Protocol,
            text: format!("{}: {why}", self.address),
        }
    }
}

fn connect(address: &std::net::SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, within)?;
    // An offer is one small write that waits for an answer: Nagle's algorithm would hold back the next one.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(TICK))?;
    Ok(stream)
}
