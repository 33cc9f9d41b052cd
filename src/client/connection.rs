//! One connection to one node: a request out, an answer in, kept alive for the next.
//!
//! Blocking, with a bound on every wait. Knows nothing of which node should be asked, nor of trying again: whoever
//! gets a [`Failure`] drops the connection.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::http::body::{Body, BodyError};
use crate::http::inbox::Inbox;
use crate::http::response::{self, Response};

/// A blocked read or write looks at its deadline this often: the kernel's timeout is set once a connection.
const TICK: Duration = Duration::from_millis(250);

/// What went wrong, as far as a caller acts or counts differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No connection could be made: the node is down, or its name or route is wrong.
    Unreachable,
    /// The connection ended in the middle.
    Lost,
    /// Nothing came, or nothing could be sent, in time.
    Silent,
    /// What came is not HTTP, or not what was asked for.
    Nonsense,
    /// 503, 429, 408: the node is there and asks to wait.
    Busy,
    /// 5xx other than 503 and 507: the node failed.
    Broken,
    /// 507: the node's disk is full.
    DiskFull,
    /// 4xx: asking again would not help.
    Refused,
    /// Every node that answered named another one.
    Disputed,
    /// The caller asked to stop.
    Stopped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Unreachable => "unreachable",
            Cause::Lost => "connection lost",
            Cause::Silent => "no answer in time",
            Cause::Nonsense => "answer makes no sense",
            Cause::Busy => "busy (503, 429 or 408)",
            Cause::Broken => "server error (5xx)",
            Cause::DiskFull => "disk full (507)",
            Cause::Refused => "refused (4xx)",
            Cause::Disputed => "nobody accepted",
            Cause::Stopped => "stopped",
        })
    }
}

/// A cause, with a sentence for people that names the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What a program acts on.
    pub cause: Cause,
    /// What a person reads.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    address: String,
    inbox: Inbox,
    out: Vec<u8>,
    served: bool,
}

impl Connection {
    /// Connects to `host:port`, trying each address that the name resolves to.
    pub fn open(address: &str, within: Duration) -> Result<Connection, Failure> {
        let unreachable = |e: io::Error| Failure {
            cause: Cause::Unreachable,
            text: format!("{address}: {e}"),
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for resolved in address.to_socket_addrs().map_err(unreachable)? {
            match connect(&resolved, within) {
                Ok(stream) => {
                    return Ok(Connection {
                        stream,
                        address: address.to_owned(),
                        inbox: Inbox::default(),
                        out: Vec::new(),
                        served: false,
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(unreachable(last))
    }

    /// Whether an answer has been read on it before: only then may it have been closed for being idle.
    pub fn is_reused(&self) -> bool {
        self.served
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
    ) -> Result<(), Failure> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let head = write!(
            out,
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
            self.address
        );
        head.expect("writing to memory does not fail");
        let sent = self.send_slices(&mut [IoSlice::new(&out), IoSlice::new(body)], deadline);
        self.out = out;
        sent
    }

    /// Sends bytes of a body.
    pub fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        self.send_slices(&mut [IoSlice::new(bytes)], deadline)
    }

    fn send_slices(&mut self, mut slices: &mut [IoSlice<'_>], deadline: Instant) -> Result<(), Failure> {
        // Passes over what is empty.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.stream.write_vectored(slices) {
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(e) => self.wait_on(&e, deadline)?,
            }
        }
        Ok(())
    }

    /// Reads the next head, interim ones included.
    pub fn head(&mut self, deadline: Instant) -> Result<Response, Failure> {
        loop {
            if !self.inbox.unread().is_empty() {
                let parsed = response::parse(self.inbox.unread()).map_err(|e| self.nonsense(e.0))?;
                if let Some((response, length)) = parsed {
                    self.inbox.consume(length);
                    self.served = true;
                    return Ok(response);
                }
            }
            match self.inbox.fill(&mut self.stream) {
                Ok(0) => return Err(self.lost("closed the connection")),
                Ok(_) => {}
                Err(e) => self.wait_on(&e, deadline)?,
            }
        }
    }

    /// Whether anything arrives within `patience`, without consuming it: nothing should, while a node still
    /// waits for the end of a body.
    pub fn stirs(&mut self, patience: Duration) -> Result<bool, Failure> {
        if !self.inbox.unread().is_empty() {
            return Ok(true);
        }
        let set = |timeout| {
            self.stream
                .set_read_timeout(Some(timeout))
                .map_err(|e| self.lost(&e.to_string()))
        };
        set(patience)?;
        let peeked = self.stream.peek(&mut [0]);
        set(TICK)?;
        Ok(peeked.is_ok_and(|count| count > 0))
    }

    /// Reads content into `room` (not empty) and returns how much; 0 is its end.
    pub fn read(&mut self, body: &mut Body, room: &mut [u8], deadline: Instant) -> Result<usize, Failure> {
        loop {
            match body.read(&mut self.inbox, &mut self.stream, room) {
                Ok(count) => return Ok(count),
                Err(BodyError::Wire(e)) => self.wait_on(&e, deadline)?,
                Err(BodyError::Ended) => {
                    return Err(self.lost("closed the connection in the middle of an answer"));
                }
                Err(BodyError::Malformed(why)) => return Err(self.nonsense(why)),
            }
        }
    }

    /// Reads content that should be at most `bytes_max` long.
    pub fn read_all(
        &mut self,
        response: &Response,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut body = Body::new(response.framing);
        let mut content = Vec::new();
        let mut room = [0; 8 << 10];
        loop {
            match self.read(&mut body, &mut room, deadline)? {
                0 => return Ok(content),
                count if content.len() + count > bytes_max => {
                    return Err(self.nonsense("the answer is too long"));
                }
                count => content.extend_from_slice(&room[..count]),
            }
        }
    }

    /// `host:port` as it was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn wait_on(&self, error: &io::Error, deadline: Instant) -> Result<(), Failure> {
        match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() < deadline => Ok(()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Failure {
                cause: Cause::Silent,
                text: format!("{}: no answer in time", self.address),
            }),
            _ => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure {
            cause: Cause::Lost,
            text: format!("{}: {why}", self.address),
        }
    }

    fn nonsense(&self, why: &str) -> Failure {
        Failure {
            cause: Cause::Nonsense,
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
