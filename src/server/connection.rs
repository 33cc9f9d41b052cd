//! One client's connection: a blocking socket, what arrived on it and is not yet read, and how long it may take.
//!
//! Every read and write returns after [`TICK`] with `WouldBlock` if nothing moved, so that whoever works for the
//! connection can give up what others wait for before it goes on waiting. Waiting itself is bounded by [`Pace`]: a
//! transfer that is too slow ends in `TimedOut`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "sockets and their deadlines are this room"
)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

use crate::http::inbox::Inbox;

/// How long a read or a write waits before it lets the worker think.
pub const TICK: Duration = Duration::from_millis(20);
/// A request head must be complete this long after its first byte.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// An idle connection is closed after this long.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// The window in which a transfer must make progress.
const PACE_WINDOW: Duration = Duration::from_secs(5);
/// The progress it must make in each window: 1 kB/s.
const PACE_BYTES: u64 = 5_000;

/// A place among the connections that may be open, given back when dropped.
pub struct Permit {
    seats: Arc<Seats>,
    address: IpAddr,
}

/// How many places are taken, in total and from each address.
pub struct Seats {
    taken: Mutex<HashMap<IpAddr, usize>>,
    rule: Rule,
}

/// Who gets a place.
enum Rule {
    /// Whoever comes, up to so many in total and so many from one address.
    Caps {
        total_max: usize,
        per_address_max: usize,
    },
    /// Whoever comes, until half of `total` are taken; then, if several addresses come, each as many as it gets when
    /// they divide the total.
    FairShare { total: usize },
}

impl Rule {
    fn allows(&self, taken: &HashMap<IpAddr, usize>, address: IpAddr) -> bool {
        let in_all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or(0);
        match *self {
            Rule::Caps {
                total_max,
                per_address_max,
            } => in_all < total_max && own < per_address_max,
            Rule::FairShare { total } => {
                let wanting = taken.len() + usize::from(own == 0);
                wanting == 1 || in_all < total / 2 || own < (total / wanting).max(1)
            }
        }
    }
}

impl Seats {
    /// Places for open connections: nobody is seated yet.
    pub fn new(total_max: usize, per_address_max: usize) -> Arc<Seats> {
        Seats::with(Rule::Caps {
            total_max,
            per_address_max,
        })
    }

    /// Places that are shared fairly once they get scarce: whoever comes from many addresses gets many, but whoever
    /// comes from one more always gets one too.
    pub fn shared_fairly(total: usize) -> Arc<Seats> {
        Seats::with(Rule::FairShare { total })
    }

    fn with(rule: Rule) -> Arc<Seats> {
        Arc::new(Seats {
            taken: Mutex::new(HashMap::new()),
            rule,
        })
    }

    /// A place for one more from `address`, unless the rule is against it.
    pub fn seat(self: &Arc<Seats>, address: IpAddr) -> Option<Permit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.rule.allows(&taken, address) {
            return None;
        }
        *taken.entry(address).or_insert(0) += 1;
        Some(Permit {
            seats: Arc::clone(self),
            address,
        })
    }

    /// How many connections are open.
    pub fn taken(&self) -> usize {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// A transfer's minimum speed: so many bytes in each window, so that bytes sent early buy no idleness later.
///
/// A window is made of the time spent waiting for the client, and of nothing else: a disk that is slow, or others
/// who hold all the blocks, are not the client's fault.
#[derive(Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes the time of one read or write. It is judged also if something moved: a byte now and then is no progress.
    fn time(&mut self, step: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let begun = Instant::now();
        let outcome = step();
        let moved = outcome.as_ref().map_or(0, |count| *count as u64);
        self.judge(begun.elapsed(), moved).and(outcome)
    }

    fn judge(&mut self, waited: Duration, moved: u64) -> io::Result<()> {
        self.waited += waited;
        self.bytes += moved;
        if self.waited < PACE_WINDOW {
            return Ok(());
        }
        if self.bytes < PACE_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        *self = Pace::default();
        Ok(())
    }
}

/// A client's connection.
pub struct Connection {
    stream: TcpStream,
    /// What arrived and was not yet consumed.
    pub inbox: Inbox,
    /// When the first byte of a head arrived that is not complete yet.
    pub head_since: Option<Instant>,
    /// Reused for every answer.
    pub outbox: Vec<u8>,
    /// The place among those who are served or wait for a worker; none while the connection is parked.
    pub turn: Option<Permit>,
    permit: Permit,
}

impl Connection {
    /// Takes over an accepted socket.
    pub fn new(stream: TcpStream, permit: Permit) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Connection {
            stream,
            inbox: Inbox::default(),
            head_since: None,
            outbox: Vec::new(),
            turn: None,
            permit,
        })
    }

    /// The socket, to be polled.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The address that the client's places are counted for.
    pub fn address(&self) -> IpAddr {
        self.permit.address
    }

    /// Closes without a farewell: what was sent and not yet taken is dropped. A client that takes nothing would keep
    /// the kernel's memory for minutes otherwise, and one that waits for the rest sees at once that it will not come.
    pub fn reset(self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Inbox and wire at once, for readers that need both. The wire keeps the pace.
    pub fn reader<'c>(&'c mut self, pace: &'c mut Pace) -> (&'c mut Inbox, Paced<'c>) {
        let stream = &self.stream;
        (&mut self.inbox, Paced { stream, pace })
    }

    /// Reads what arrived into the inbox, waiting at most one tick, or not at all.
    pub fn fill(&mut self, wait: bool) -> io::Result<usize> {
        if wait {
            self.inbox.fill(&mut &self.stream)
        } else {
            self.inbox.fill(&mut Impatient(&self.stream))
        }
    }

    /// Whether a head that has begun to arrive takes too long. Its clock starts when this is first asked.
    pub fn is_head_late(&mut self) -> bool {
        let begun = !self.inbox.unread().is_empty();
        begun && self.head_since.get_or_insert_with(Instant::now).elapsed() >= HEAD_TIME_MAX
    }

    /// Whether a byte, or the end of the stream, can be read without waiting.
    pub fn has_input(&self) -> bool {
        let mut byte = [0];
        !matches!(
            rustix::net::recv(&self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT),
            Err(rustix::io::Errno::AGAIN)
        )
    }

    /// Whether the next `count` bytes can be read without waiting.
    pub fn has_arrived(&self, count: u64) -> bool {
        let held = self.inbox.unread().len() as u64;
        count <= held || rustix::io::ioctl_fionread(&self.stream).is_ok_and(|more| count - held <= more)
    }

    /// Copies what comes next into `room`, without waiting or consuming, and returns how much.
    pub fn peek(&self, room: &mut [u8]) -> usize {
        let peeked = rustix::net::recv(&self.stream, room, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.map_or(0, |(_, count)| count)
    }

    /// Waits until there is something to read, at most as long as the pace allows.
    pub fn await_input(&self, pace: &mut Pace) -> io::Result<()> {
        self.wait_for(PollFlags::IN, pace)
    }

    /// Writes as much of `bytes` as moves within a tick.
    pub fn write_some(&self, bytes: &[u8], pace: &mut Pace) -> io::Result<usize> {
        let mut stream = &self.stream;
        pace.time(|| stream.write(bytes))
    }

    /// Writes all of `bytes`, at least at the pace that transfers must keep.
    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut sent, mut pace) = (0, Pace::default());
        while sent < bytes.len() {
            match self.write_some(&bytes[sent..], &mut pace) {
                Ok(count) => sent += count,
                Err(e) if is_stall(&e) => self.await_room(&mut pace)?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes what fits into the socket's buffer at once and does not care for the rest: for refusals that must
    /// not hold up whoever refuses.
    pub fn write_at_once(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Waits until there is room to write, at most as long as the pace allows.
    pub fn await_room(&self, pace: &mut Pace) -> io::Result<()> {
        self.wait_for(PollFlags::OUT, pace)
    }

    /// Tells the client that nothing more is coming.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Throws away what arrived, without waiting. `None` at the end of the stream.
    pub fn discard(&mut self, scratch: &mut [u8]) -> Option<usize> {
        let unread = self.inbox.unread().len();
        self.inbox.consume(unread);
        match rustix::net::recv(&self.stream, &mut *scratch, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => None,
            Ok((_, count)) => Some(count),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Some(0),
            Err(_) => None,
        }
    }

    fn wait_for(&self, events: PollFlags, pace: &mut Pace) -> io::Result<()> {
        let patience = PACE_WINDOW.saturating_sub(pace.waited);
        let timeout = Timespec::try_from(patience).expect("a window fits a timespec");
        let wait = || {
            // Interrupted or timed out: the caller tries its read or write again and comes back with its pace.
            let _ = poll(&mut [PollFd::new(&self.stream, events)], Some(&timeout));
            Ok(0)
        };
        pace.time(wait).map(drop)
    }
}

/// Whether a read or write moved nothing for a tick and may be tried again.
pub fn is_stall(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Whether the client was slower than a client may be.
pub fn is_too_slow(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// The socket as `Read`, waiting at most a tick, against the clock.
pub struct Paced<'c> {
    stream: &'c TcpStream,
    pace: &'c mut Pace,
}

impl Read for Paced<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        self.pace.time(|| stream.read(room))
    }
}

/// The socket as `Read` that never waits.
struct Impatient<'c>(&'c TcpStream);

impl Read for Impatient<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let (_, count) = rustix::net::recv(self.0, &mut *room, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_capped_in_total_and_per_address() {
        let (one, two): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        let seats = Seats::new(3, 2);
        let held = [seats.seat(one).unwrap(), seats.seat(one).unwrap()];
        assert!(seats.seat(one).is_none());
        let last = seats.seat(two).unwrap();
        assert!(seats.seat(two).is_none());
        drop(held);
        assert_eq!(seats.taken(), 1);
        drop(last);
        assert!(seats.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn one_more_address_always_finds_a_place() {
        let address = |last: u8| IpAddr::from([127, 0, 0, last]);
        let seats = Seats::shared_fairly(100);
        let alone: Vec<Permit> = std::iter::from_fn(|| seats.seat(address(1))).take(200).collect();
        assert_eq!(alone.len(), 200, "nobody else wants them");
        drop(alone);
        let mut held = Vec::new();
        for round in 0..200_u8 {
            held.extend(seats.seat(address(round % 20)));
        }
        assert!(held.len() >= 50 && held.len() <= 100, "{} are held", held.len());
        assert!(seats.seat(address(77)).is_some());
    }

    #[test]
    fn early_bytes_buy_no_idleness() {
        let mut pace = Pace::default();
        assert!(pace.judge(PACE_WINDOW, 1 << 30).is_ok());
        assert!(is_too_slow(&pace.judge(PACE_WINDOW, PACE_BYTES - 1).unwrap_err()));
    }

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        let steps = PACE_WINDOW.as_millis() / TICK.as_millis();
        let outcome = |bytes: u64| {
            let mut pace = Pace::default();
            (0..10 * steps).try_for_each(|_| pace.judge(TICK, bytes))
        };
        assert!(outcome(1).is_err());
        assert!(outcome(PACE_BYTES.div_ceil(u64::try_from(steps).unwrap())).is_ok());
    }
}
