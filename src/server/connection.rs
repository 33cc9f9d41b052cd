//! A client's connection, as the acceptor and the workers pass it on: the socket and what is kept beside it.

#![allow(
    clippy::disallowed_methods,
    reason = "the clock of a head that arrives slowly"
)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::quota::Permit;
use crate::socket::Socket;

/// A request head must be complete this long after its first byte.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// An idle connection is closed after this long.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// A request waits for a worker at most this long.
pub(crate) const WAIT_TIME_MAX: Duration = Duration::from_secs(10);

/// One client's connection, with the permits that it holds.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    /// Since when a head is awaited that is not complete yet: since its first byte, or that of what it comes in under TLS.
    pub(crate) head_since: Option<Instant>,
    /// The request that is being served.
    pub(crate) exchange: Exchange,
    /// Reused for every answer.
    pub(crate) outbox: Vec<u8>,
    /// To be served, or to wait for a worker; none while the connection is parked.
    pub(crate) worker_permit: Option<Permit>,
    /// To be open.
    permit: Permit,
}

impl Connection {
    pub(crate) fn new(socket: Socket, permit: Permit) -> Connection {
        Connection {
            socket,
            head_since: None,
            exchange: Exchange::default(),
            outbox: Vec::new(),
            worker_permit: None,
            permit,
        }
    }

    /// The address that the client's permits are counted for.
    pub(crate) fn address(&self) -> IpAddr {
        self.permit.address()
    }

    /// Whether a head that has begun to arrive, or the handshake before it, takes too long. Its clock starts when this is first asked.
    pub(crate) fn is_head_late(&mut self) -> bool {
        if !self.socket.has_begun() {
            self.head_since = None;
            return false;
        }
        self.head_since.get_or_insert_with(Instant::now).elapsed() >= HEAD_TIME_MAX
    }

    /// A request has begun whose head is not understood: when its first byte came, as far as that is known.
    pub(crate) fn begin_exchange(&mut self) {
        self.exchange = Exchange::begin(self.head_since.take().unwrap_or_else(Instant::now));
    }

    /// Gives back the memory that an idle connection does not need.
    pub(crate) fn release_buffers(&mut self) {
        self.socket.release_if_empty();
        self.outbox = Vec::new();
    }
}
