//! How workers give connections to the acceptor.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, eventfd};

use super::connection::Connection;

/// A connection that a worker gives back.
pub(crate) enum Return {
    /// Nothing to read at the moment.
    Park(Connection),
    /// There may be a next request, and others come first.
    Yield(Connection),
    /// Answered before its body was read; the rest of the body is thrown away.
    Drain(Connection),
}

/// The sending end.
pub(crate) struct AcceptorHandle {
    returns: Sender<Return>,
    waker: Arc<OwnedFd>,
}

/// The acceptor's end: what was given back, and the eventfd that says so.
pub(crate) struct Returns {
    pub(crate) queue: Receiver<Return>,
    pub(crate) waker: Arc<OwnedFd>,
}

impl AcceptorHandle {
    pub(crate) fn new() -> io::Result<(AcceptorHandle, Returns)> {
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        // Unbounded, but never longer than there are permits: every entry is an open connection.
        let (returns, queue) = unbounded();
        let handle = AcceptorHandle {
            returns,
            waker: Arc::clone(&waker),
        };
        Ok((handle, Returns { queue, waker }))
    }

    /// Gives a connection back that has nothing to read at the moment.
    pub(crate) fn park(&self, mut connection: Connection) {
        connection.release_buffers();
        connection.worker_permit = None;
        self.send(Return::Park(connection));
    }

    /// Gives a connection back after a request, since others wait for a worker.
    pub(crate) fn yield_worker(&self, mut connection: Connection) {
        connection.worker_permit = None;
        self.send(Return::Yield(connection));
    }

    /// Gives a connection back whose client is still sending what was refused.
    pub(crate) fn drain(&self, mut connection: Connection) {
        connection.socket.finish_sending();
        connection.worker_permit = None;
        self.send(Return::Drain(connection));
    }

    /// Has the acceptor look around: something has changed.
    pub(crate) fn wake(&self) {
        // The only failure is a counter that is full, and then the thread will wake anyway.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
    }

    fn send(&self, connection: Return) {
        // If the acceptor has ended, the connection is dropped, and that closes it.
        if self.returns.send(connection).is_ok() {
            self.wake();
        }
    }
}
