//! A socket that keeps the pace: what arrived on it and is not yet read, reads and writes that let the caller think
//! now and then, and a bound on how slow the other end may be.
//!
//! Every read and write returns after [`TICK`] with `WouldBlock` if nothing moved, so that a worker can give up what
//! others wait for before it goes on waiting. Waiting itself is bounded by [`pace::Pace`]: a transfer that is too
//! slow ends in `TimedOut`.
//!
//! Knows nothing of HTTP but where its unread bytes lie.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "sockets and their deadlines are this room"
)]

pub(crate) mod pace;
pub(crate) mod pressure;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use self::pace::Pace;
use self::pressure::Pressure;
use crate::http::inbox::Inbox;

/// How much of what was written to a socket may wait in the kernel to be sent, which bounds what slow readers cost. What
/// is on its way, and grows with distance and speed, is not counted; so this slows nobody down. Without it the kernel
/// took thirteen times as much for clients that did not read (docs/measurements.md).
const UNSENT_BYTES_MAX: u32 = 128 << 10;
/// How long a read or a write waits before it returns to the caller.
const TICK: Duration = Duration::from_millis(20);
/// The same for a write while others wait for the memory that it is from. A client that takes 13 MB/s makes room
/// within it: the kernel says that there is some when half of [`UNSENT_BYTES_MAX`] is gone.
const BRIEF_TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// A connected blocking socket.
pub(crate) struct Socket {
    stream: TcpStream,
    client: IpAddr,
    pressure: Arc<Pressure>,
    /// What arrived and was not yet consumed.
    pub(crate) inbox: Inbox,
}

impl Socket {
    /// Takes over an accepted socket, at whose other end is `client`, and whose transfers are held to a pace that depends on
    /// `pressure`.
    pub(crate) fn new(stream: TcpStream, client: IpAddr, pressure: Arc<Pressure>) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        Ok(Socket {
            stream,
            client,
            pressure,
            inbox: Inbox::default(),
        })
    }

    /// Who is at the other end.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// The socket, to be polled.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Resets the connection: what was sent and not yet taken is dropped. Otherwise a client that takes nothing would
    /// keep the kernel's memory for minutes, and one that waits for the rest would not see that it will not come.
    pub(crate) fn reset(self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Inbox and wire, for readers that need both. The wire is held to the pace.
    pub(crate) fn reader<'c>(&'c mut self, pace: &'c mut Pace) -> (&'c mut Inbox, Paced<'c>) {
        let (stream, pressure) = (&self.stream, &*self.pressure);
        let paced = Paced {
            stream,
            pressure,
            pace,
        };
        (&mut self.inbox, paced)
    }

    /// Reads what arrived into the inbox, waiting at most one tick, or not at all.
    pub(crate) fn fill(&mut self, wait: bool) -> io::Result<usize> {
        if wait {
            self.inbox.fill(&mut &self.stream)
        } else {
            self.inbox.fill(&mut NonBlocking(&self.stream))
        }
    }

    /// Whether a byte, or the end of the stream, can be read without waiting.
    pub(crate) fn has_input(&self) -> bool {
        let mut byte = [0];
        !matches!(
            rustix::net::recv(&self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT),
            Err(rustix::io::Errno::AGAIN)
        )
    }

    /// Whether a worker would find something: what arrived already, or what can be read without waiting.
    pub(crate) fn has_next(&self) -> bool {
        !self.inbox.unread().is_empty() || self.has_input()
    }

    /// Whether the next `count` bytes can be read without waiting.
    pub(crate) fn has_arrived(&self, count: u64) -> bool {
        let held = self.inbox.unread().len() as u64;
        count <= held || rustix::io::ioctl_fionread(&self.stream).is_ok_and(|more| count - held <= more)
    }

    /// Copies what comes next into `buf`, without waiting or consuming, and returns how much.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> usize {
        let peeked = rustix::net::recv(&self.stream, buf, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.map_or(0, |(_, count)| count)
    }

    /// Waits until there is something to read, at most as long as the pace allows.
    pub(crate) fn await_input(&self, pace: &mut Pace) -> io::Result<()> {
        self.wait_for(PollFlags::IN, pace)
    }

    /// Writes as much of `bytes` as moves within a tick.
    pub(crate) fn write_some(&self, bytes: &[u8], pace: &mut Pace) -> io::Result<usize> {
        let mut stream = &self.stream;
        pace.time(self.pressure.factor(), || stream.write(bytes))
    }

    /// The same within a much shorter tick.
    pub(crate) fn write_briefly(&self, bytes: &[u8], pace: &mut Pace) -> io::Result<usize> {
        let write = || rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        pace.time(self.pressure.factor(), || match write() {
            Err(Errno::AGAIN) => {
                let _ = poll(
                    &mut [PollFd::new(&self.stream, PollFlags::OUT)],
                    Some(&BRIEF_TICK),
                );
                Ok(write()?)
            }
            written => Ok(written?),
        })
    }

    /// Writes all of `bytes`, at least at the pace that transfers must keep.
    pub(crate) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut sent, mut pace) = (0, Pace::default());
        while sent < bytes.len() {
            match self.write_some(&bytes[sent..], &mut pace) {
                Ok(count) => sent += count,
                Err(e) if is_stall(&e) => self.await_output(&mut pace)?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes what fits into the socket's buffer now and drops the rest: for refusals by a thread that must not wait.
    pub(crate) fn write_at_once(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Waits until something can be written, at most as long as the pace allows.
    pub(crate) fn await_output(&self, pace: &mut Pace) -> io::Result<()> {
        self.wait_for(PollFlags::OUT, pace)
    }

    /// Tells the other end that nothing more is coming.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Throws away what arrived, without waiting. `None` at the end of the stream.
    pub(crate) fn discard(&mut self, scratch: &mut [u8]) -> Option<usize> {
        let unread = self.inbox.unread().len();
        self.inbox.consume(unread);
        match rustix::net::recv(&self.stream, &mut *scratch, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => None,
            Ok((_, count)) => Some(count),
            Err(Errno::AGAIN | Errno::INTR) => Some(0),
            Err(_) => None,
        }
    }

    fn wait_for(&self, events: PollFlags, pace: &mut Pace) -> io::Result<()> {
        let timeout = Timespec::try_from(pace.patience()).expect("a window fits a timespec");
        let wait = || {
            // Interrupted or timed out: the caller tries its read or write again and comes back with its pace.
            let _ = poll(&mut [PollFd::new(&self.stream, events)], Some(&timeout));
            Ok(0)
        };
        pace.time(self.pressure.factor(), wait).map(drop)
    }
}

/// Whether a read or write moved nothing for a tick and may be tried again.
pub(crate) fn is_stall(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Whether the other end was slower than [`Pace`] allows.
pub(crate) fn is_too_slow(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// The socket as `Read`: waits at most a tick, and is held to the pace.
pub(crate) struct Paced<'c> {
    stream: &'c TcpStream,
    pressure: &'c Pressure,
    pace: &'c mut Pace,
}

impl Read for Paced<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        self.pace.time(self.pressure.factor(), || stream.read(buf))
    }
}

/// The socket as `Read` that never waits.
struct NonBlocking<'c>(&'c TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (_, count) = rustix::net::recv(self.0, &mut *buf, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}
