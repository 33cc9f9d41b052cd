//! The way to each peer: one connected socket each, and the names that have to be looked up for it.
//!
//! A connected socket tells what an unconnected one keeps to itself: that the peer's host has nobody listening on
//! the port. The kernel believes that only of the address and ports that we wrote to ourselves.
//!
//! Looking up a host name may take many seconds, so it happens on a thread of its own, which ends with it. The way
//! to a peer that does not count is laid anew again and again, in case the peer has moved, or we have: a connected
//! socket keeps the address that it began with. A name with several addresses gets them in turn.
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
use crate::members::Members;
use crate::roster::NodeId;

/// The way to a peer that is not heard is laid anew this often.
const RENEW_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Routes {
    routes: BTreeMap<NodeId, Route>,
    looking_up: Option<Receiver<Found>>,
    renewed: Instant,
}

struct Route {
    name: String,
    /// What the name says, if it is an address: then there is nothing to look up.
    literal: Option<SocketAddr>,
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
            renewed: Instant::now(),
        };
        routes.renew(|_| true);
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

    /// Takes what was looked up, and lays the way anew to whoever does not count.
    pub(super) fn refresh(&mut self, election: &Election) {
        if let Some(found) = &self.looking_up {
            match found.try_recv() {
                Ok(found) => {
                    if let Some(route) = self.routes.get_mut(&found.peer) {
                        route.lay(&found.addresses);
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.looking_up = None,
            }
        } else if self.renewed.elapsed() >= RENEW_EVERY {
            let peers = election.peers().filter(|(_, state, _)| state.is_present());
            let present: Vec<NodeId> = peers.map(|(id, ..)| id).collect();
            self.renew(|peer| !present.contains(&peer));
        }
    }

    fn renew(&mut self, wanted: impl Fn(NodeId) -> bool) {
        self.renewed = Instant::now();
        let mut names = Vec::new();
        for (peer, route) in self.routes.iter_mut().filter(|(peer, _)| wanted(**peer)) {
            match route.literal {
                Some(address) => route.lay(&[address]),
                None => names.push((*peer, route.name.clone())),
            }
        }
        if !names.is_empty() {
            self.look_up(names);
        }
    }

    fn look_up(&mut self, names: Vec<(NodeId, String)>) {
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
        Route {
            name: name.to_owned(),
            literal: name.parse().ok(),
            socket: None,
            attempts: 0,
        }
    }

    fn lay(&mut self, addresses: &[SocketAddr]) {
        if !addresses.is_empty() {
            self.socket = connect(addresses[self.attempts % addresses.len()]).ok();
            self.attempts += 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::datagram::ClusterKey;
    use crate::election::{HEALTH_TIMEOUT, Settings};

    fn nobody_heard(own: NodeId, members: &Members) -> Election {
        Election::new(Settings {
            own,
            members: members.iter().map(|(id, _)| id).collect(),
            key: ClusterKey::new(&[7; 32]),
            incarnation: 1,
            health_timeout: HEALTH_TIMEOUT,
        })
    }

    #[test]
    fn a_host_name_is_looked_up_beside_the_heartbeat() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let port = peer.local_addr().unwrap().port();
        let text = format!("[nodes]\n1 = \"127.0.0.1:1\"\n2 = \"localhost:{port}\"\n");
        let members = Members::parse(&text).unwrap();
        let mut routes = Routes::new(NodeId(1), &members);
        let election = nobody_heard(NodeId(1), &members);
        let started = Instant::now();
        // The name may stand for an IPv6 address first: then it takes another round.
        while peer.recv(&mut [0; 8]).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "localhost was not found"
            );
            routes.refresh(&election);
            routes.send(NodeId(2), b"hello");
        }
    }

    #[test]
    fn a_closed_port_is_told() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let text = format!(
            "[nodes]\n1 = \"127.0.0.1:1\"\n2 = \"{}\"\n",
            held.local_addr().unwrap()
        );
        let routes = Routes::new(NodeId(1), &Members::parse(&text).unwrap());
        assert_eq!(routes.send(NodeId(2), b"hello"), Sent::Perhaps);
        drop(held);
        let started = Instant::now();
        while routes.send(NodeId(2), b"hello") == Sent::Perhaps {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "nobody said that the port is closed"
            );
        }
        assert_eq!(routes.send(NodeId(3), b"to nobody"), Sent::Perhaps);
    }
}
