//! The way to each peer: one connected socket each, and the names that have to be looked up for it.
//!
//! A connected socket tells what an unconnected one keeps to itself: that the peer's host has nobody listening on
//! the port. The kernel believes that only of the address and ports that we wrote to ourselves.
//!
//! Looking up a host name may take many seconds, so it happens on a thread of its own, which ends with it. A peer
//! that is not heard is looked up again, in case it has moved; a name with several addresses gets them in turn.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "cluster owns the UDP sockets"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::election::Election;
use crate::election::detector::State;
use crate::members::Members;
use crate::roster::NodeId;

/// A silent peer's name is looked up this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Routes {
    routes: BTreeMap<NodeId, Route>,
    looking_up: Option<Receiver<Found>>,
    looked_up: Option<Instant>,
}

struct Route {
    name: String,
    /// No name but an address: there is nothing to look up.
    literal: bool,
    address: Option<SocketAddr>,
    socket: Option<UdpSocket>,
    attempts: usize,
}

struct Found {
    peer: NodeId,
    addresses: Vec<SocketAddr>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// On its way, or lost: nobody knows.
    Perhaps,
    /// Nobody listens there. This is said of an earlier one; the datagram was sent all the same.
    Refused,
}

impl Routes {
    pub(super) fn new(own: NodeId, members: &Members) -> Routes {
        let peers = members.iter().filter(|(id, _)| *id != own);
        let routes = peers.map(|(id, address)| (id, Route::new(address))).collect();
        let mut routes = Routes {
            routes,
            looking_up: None,
            looked_up: None,
        };
        routes.look_up(|_| true);
        routes
    }

    pub(super) fn send(&self, to: NodeId, bytes: &[u8]) -> Sent {
        let Some(socket) = self.routes.get(&to).and_then(|route| route.socket.as_ref()) else {
            return Sent::Perhaps;
        };
        match socket.send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // Telling cleared the error and cost the datagram. What fails now is lost, like any other.
                let _ = socket.send(bytes);
                Sent::Refused
            }
            // A full queue, a missing route: the next heartbeat tries again.
            Ok(_) | Err(_) => Sent::Perhaps,
        }
    }

    /// Takes what was looked up, and looks up again whoever is not heard.
    pub(super) fn refresh(&mut self, election: &Election) {
        if let Some(found) = &self.looking_up {
            match found.try_recv() {
                Ok(found) => {
                    if let Some(route) = self.routes.get_mut(&found.peer) {
                        route.take(&found.addresses);
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.looking_up = None,
            }
        } else if self.looked_up.is_some_and(|at| at.elapsed() >= LOOK_UP_EVERY) {
            let heard: Vec<NodeId> = election
                .peers()
                .filter(|(_, state, _)| *state == State::Alive)
                .map(|(id, ..)| id)
                .collect();
            self.look_up(|peer| !heard.contains(&peer));
        }
    }

    fn look_up(&mut self, wanted: impl Fn(NodeId) -> bool) {
        let names: Vec<(NodeId, String)> = self
            .routes
            .iter()
            .filter(|(peer, route)| !route.literal && wanted(**peer))
            .map(|(peer, route)| (*peer, route.name.clone()))
            .collect();
        self.looked_up = Some(Instant::now());
        if names.is_empty() {
            return;
        }
        let (sender, receiver) = channel();
        let resolver = move || {
            for (peer, name) in names {
                let addresses = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                if sender.send(Found { peer, addresses }).is_err() {
                    return;
                }
            }
        };
        // Without a thread to spare, the next round tries again.
        let started = thread::Builder::new().name("resolver".to_owned()).spawn(resolver);
        self.looking_up = started.is_ok().then_some(receiver);
    }
}

impl Route {
    fn new(name: &str) -> Route {
        let literal: Option<SocketAddr> = name.parse().ok();
        let mut route = Route {
            name: name.to_owned(),
            literal: literal.is_some(),
            address: None,
            socket: None,
            attempts: 0,
        };
        route.take(literal.as_slice());
        route
    }

    fn take(&mut self, addresses: &[SocketAddr]) {
        if addresses.is_empty() {
            return;
        }
        let address = addresses[self.attempts % addresses.len()];
        self.attempts += 1;
        if self.address != Some(address) || self.socket.is_none() {
            self.socket = connect(address).ok();
            self.address = Some(address);
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
