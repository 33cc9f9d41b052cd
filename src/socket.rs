//! A socket that keeps the pace: what arrived on it and is not yet read, reads and writes that let the caller think
//! now and then, and a bound on how slow the other end may be.
//!
//! A TCP connection is in the clear or under TLS ([`channel`]): one type owns socket, session and what is unread.
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

pub(crate) mod channel;
pub(crate) mod pace;
pub(crate) mod pressure;

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::SockRef;

use self::channel::Channel;
use self::pace::Pace;
use self::pressure::Pressure;
use crate::http::inbox::Inbox;
use crate::tls::session::Session;

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
    channel: Channel,
    client: IpAddr,
    pressure: Arc<Pressure>,
    /// What arrived and was not yet consumed.
    pub(crate) inbox: Inbox,
}

impl Socket {
    /// Takes over an accepted socket, at whose other end is `client`, and whose transfers are held to a pace that depends on
    /// `pressure`.
    pub(crate) fn new(
        stream: TcpStream,
        session: Option<Session>,
        client: IpAddr,
        pressure: Arc<Pressure>,
    ) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        Ok(Socket {
            channel: Channel::new(stream, session),
            client,
            pressure,
            inbox: Inbox::default(),
        })
    }

    /// Who is at the other end.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// The socket, to be polled: what it says of input holds once [`Socket::has_next`] is false.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.channel.stream()
    }

    /// Resets the connection: what was sent and not yet taken is dropped. Otherwise a client that takes nothing would
    /// keep the kernel's memory for minutes, and one that waits for the rest would not see that it will not come.
    pub(crate) fn reset(mut self) {
        self.channel.give_up_tls();
        let _ = rustix::net::sockopt::set_socket_linger(self.stream(), Some(Duration::ZERO));
    }

    /// Inbox and wire, for readers that need both. The wire is held to the pace.
    pub(crate) fn reader<'c>(&'c mut self, pace: &'c mut Pace) -> (&'c mut Inbox, Paced<'c>) {
        let paced = Paced {
            channel: &mut self.channel,
            pressure: &self.pressure,
            pace,
        };
        (&mut self.inbox, paced)
    }

    /// Reads what arrived into the inbox, waiting at most one tick, or not at all.
    pub(crate) fn fill(&mut self, wait: bool) -> io::Result<usize> {
        if wait {
            self.inbox.fill(&mut self.channel)
        } else {
            self.inbox.fill(&mut WithoutWaiting(&mut self.channel))
        }
    }

    /// Whether a byte, or the end of the stream, can be read without waiting.
    pub(crate) fn has_input(&self) -> bool {
        let mut byte = [0];
        self.channel.has_input()
            || !matches!(
                rustix::net::recv(
                    self.stream(),
                    &mut byte[..],
                    RecvFlags::PEEK | RecvFlags::DONTWAIT
                ),
                Err(rustix::io::Errno::AGAIN)
            )
    }

    /// Whether a worker would find something: what arrived already, or what can be read without waiting.
    pub(crate) fn has_next(&self) -> bool {
        !self.inbox.unread().is_empty() || self.has_input()
    }

    /// Whether the client has begun to say something, and has to go on: a head, a record, or the handshake before them.
    pub(crate) fn has_begun(&self) -> bool {
        !self.inbox.unread().is_empty() || self.channel.is_midway()
    }

    /// Whether the next `count` bytes can be read without waiting, or nearly so: under TLS what lies in the socket holds a
    /// little less than its length.
    pub(crate) fn has_arrived(&self, count: u64) -> bool {
        let held = self.inbox.unread().len() as u64;
        count <= held || rustix::io::ioctl_fionread(self.stream()).is_ok_and(|more| count - held <= more)
    }

    /// Copies what comes next into `buf`, without waiting or consuming, and returns how much. Nothing under TLS.
    pub(crate) fn peek(&self, buf: &mut [u8]) -> usize {
        if !self.channel.is_clear() {
            return 0;
        }
        let peeked = rustix::net::recv(self.stream(), buf, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.map_or(0, |(_, count)| count)
    }

    /// Waits until there is something to read, at most as long as the pace allows.
    pub(crate) fn await_input(&self, pace: &mut Pace) -> io::Result<()> {
        if self.channel.has_input() {
            return Ok(());
        }
        let events = match self.channel.has_output() {
            true => PollFlags::IN | PollFlags::OUT,
            false => PollFlags::IN,
        };
        self.wait_for(events, pace)
    }

    /// Writes as much of `bytes` as moves within a tick. After a stall the same bytes have to come again.
    pub(crate) fn write_some(&mut self, bytes: &[u8], pace: &mut Pace) -> io::Result<usize> {
        let channel = &mut self.channel;
        pace.time(self.pressure.factor(), || {
            counted(channel, |channel| channel.write(bytes))
        })
    }

    /// The same within a much shorter tick.
    pub(crate) fn write_briefly(&mut self, bytes: &[u8], pace: &mut Pace) -> io::Result<usize> {
        let channel = &mut self.channel;
        let write = |channel: &mut Channel| match channel.try_write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(
                    &mut [PollFd::new(channel.stream(), PollFlags::OUT)],
                    Some(&BRIEF_TICK),
                );
                channel.try_write(bytes)
            }
            written => written,
        };
        pace.time(self.pressure.factor(), || counted(channel, write))
    }

    /// Writes all of `bytes`, at least at the pace that transfers must keep.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
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
    pub(crate) fn write_at_once(&mut self, bytes: &[u8]) {
        if !self.channel.is_beginning() {
            let _ = self.channel.try_write(bytes);
        }
    }

    /// Waits until something can be written, at most as long as the pace allows.
    pub(crate) fn await_output(&self, pace: &mut Pace) -> io::Result<()> {
        self.wait_for(PollFlags::OUT, pace)
    }

    /// Goes on in the clear: for an answer to somebody who does not speak TLS.
    pub(crate) fn give_up_tls(&mut self) {
        self.channel.give_up_tls();
    }

    /// Tells the other end that nothing more is coming.
    pub(crate) fn finish_sending(&mut self) {
        self.channel.finish_sending();
    }

    /// Gives back the memory that an idle connection does not need.
    pub(crate) fn release_if_empty(&mut self) {
        self.inbox.release_if_empty();
        self.channel.release_if_empty();
    }

    /// Throws away what arrived, without waiting. `None` at the end of the stream.
    pub(crate) fn discard(&mut self, scratch: &mut [u8]) -> Option<usize> {
        let unread = self.inbox.unread().len();
        self.inbox.consume(unread);
        match rustix::net::recv(self.stream(), &mut *scratch, RecvFlags::DONTWAIT) {
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
            let _ = poll(&mut [PollFd::new(self.stream(), events)], Some(&timeout));
            (0, Ok(()))
        };
        pace.time(self.pressure.factor(), wait)
    }
}

/// What `step` has moved, and what came of it.
fn counted(
    channel: &mut Channel,
    step: impl FnOnce(&mut Channel) -> io::Result<usize>,
) -> (u64, io::Result<usize>) {
    let before = channel.moved();
    let outcome = step(channel);
    (channel.moved() - before, outcome)
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
    channel: &'c mut Channel,
    pressure: &'c Pressure,
    pace: &'c mut Pace,
}

impl Read for Paced<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let channel = &mut *self.channel;
        let read = |channel: &mut Channel| channel.read(buf);
        self.pace.time(self.pressure.factor(), || counted(channel, read))
    }
}

/// The socket as `Read` that never waits.
struct WithoutWaiting<'c>(&'c mut Channel);

impl Read for WithoutWaiting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}
