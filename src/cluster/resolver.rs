//! Looks up the host names of peers, on a thread of its own: a look-up may take many seconds, and the heartbeat does
//! not wait for it. The thread ends when the last name is looked up.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use crate::roster::NodeId;

#[derive(Default)]
pub(super) struct Resolver {
    running: Option<Receiver<Resolved>>,
}

/// The addresses of one peer; none if its name was not found.
pub(super) struct Resolved {
    pub(super) peer: NodeId,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Resolver {
    /// Whether an earlier look-up goes on.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Looks up `names` (`host:port`), one after another. Without a free thread it does nothing: the caller asks again.
    pub(super) fn start(&mut self, names: Vec<(NodeId, String)>) {
        let (sender, receiver) = channel();
        let resolve = move || {
            for (peer, name) in names {
                let addresses = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                if sender.send(Resolved { peer, addresses }).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("resolver".to_owned()).spawn(resolve);
        self.running = started.is_ok().then_some(receiver);
    }

    /// The next result, if there is one. Never waits.
    pub(super) fn next(&mut self) -> Option<Resolved> {
        match self.running.as_ref()?.try_recv() {
            Ok(resolved) => Some(resolved),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.running = None;
                None
            }
        }
    }
}
