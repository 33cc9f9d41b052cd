//! Looks up the host names of peers. Each look-up has a thread of its own: it may take many seconds, and neither the
//! heartbeat nor the other names wait for it.
//!
//! A peer has at most one look-up at a time, so there are never more threads than peers. A look-up cannot be ended
//! from outside: what it says is thrown away if nobody wants it any more.
#![allow(
    clippy::disallowed_methods,
    reason = "people are told for how long a name server is silent"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use crate::priority;
use crate::roster::NodeId;

/// Asks the name servers for `host:port`; may take as long as it likes.
pub(super) type LookUp = fn(&str) -> io::Result<Vec<SocketAddr>>;

pub(super) struct Resolver {
    look_up: LookUp,
    running: BTreeMap<NodeId, RunningLookUp>,
}

struct RunningLookUp {
    name: String,
    since: Instant,
    outcome: Receiver<io::Result<Vec<SocketAddr>>>,
}

/// What became of one look-up.
pub(super) struct Resolved {
    pub(super) peer: NodeId,
    /// `host:port`.
    pub(super) name: String,
    /// At least one address.
    pub(super) outcome: io::Result<Vec<SocketAddr>>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new(|name| name.to_socket_addrs().map(Iterator::collect))
    }
}

impl Resolver {
    pub(super) fn new(look_up: LookUp) -> Resolver {
        Resolver {
            look_up,
            running: BTreeMap::new(),
        }
    }

    /// Since when a name of this peer is being looked up.
    pub(super) fn busy_since(&self, peer: NodeId) -> Option<Instant> {
        self.running.get(&peer).map(|running| running.since)
    }

    /// Begins to look up `name`, unless a look-up for this peer goes on. Fails without a free thread: the caller
    /// asks again later.
    pub(super) fn start(&mut self, peer: NodeId, name: &str, now: Instant) -> io::Result<()> {
        if self.running.contains_key(&peer) {
            return Ok(());
        }
        let (sender, outcome) = channel();
        let (look_up, asked) = (self.look_up, name.to_owned());
        let resolve = move || {
            priority::give_way_to_heartbeat();
            // Nobody may be left who wants to know.
            let _ = sender.send(look_up(&asked));
        };
        thread::Builder::new()
            .name(format!("resolver {peer}"))
            .spawn(resolve)?;
        let running = RunningLookUp {
            name: name.to_owned(),
            since: now,
            outcome,
        };
        self.running.insert(peer, running);
        Ok(())
    }

    /// The look-ups that have ended since the last call, in the order of the peers. Never waits.
    pub(super) fn take_finished(&mut self) -> Vec<Resolved> {
        let mut finished = Vec::new();
        self.running.retain(|peer, running| {
            let outcome = match running.outcome.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => Err(io::Error::other("the look-up failed")),
                Ok(Ok(addresses)) if addresses.is_empty() => Err(io::Error::other("it has no address")),
                Ok(outcome) => outcome,
            };
            finished.push(Resolved {
                peer: *peer,
                name: std::mem::take(&mut running.name),
                outcome,
            });
            false
        });
        finished
    }
}
