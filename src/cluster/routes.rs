//! The routes to all peers, and which of them are reconnected when.
//!
//! The route to a peer that is not present is reconnected every few seconds, in case the peer or this node has moved.
//! Names are looked up for it; a name with several addresses takes them in turn.
#![allow(clippy::disallowed_methods, reason = "routes are reconnected by the clock")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::resolver::Resolver;
use super::route::{Delivery, Route};
use crate::election::Election;
use crate::members::Members;
use crate::roster::NodeId;

const RECONNECT_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Routes {
    peers: BTreeMap<NodeId, (Address, Route)>,
    resolver: Resolver,
    reconnected: Instant,
}

enum Address {
    /// Nothing to look up.
    Literal(SocketAddr),
    Name(String),
}

impl Routes {
    pub(super) fn new(own: NodeId, members: &Members) -> Routes {
        let peers = members.iter().filter(|(id, _)| *id != own);
        let mut routes = Routes {
            peers: peers
                .map(|(id, address)| (id, (Address::new(address), Route::default())))
                .collect(),
            resolver: Resolver::default(),
            reconnected: Instant::now(),
        };
        routes.reconnect(|_| true);
        routes
    }

    pub(super) fn send(&self, to: NodeId, bytes: &[u8]) -> Delivery {
        let route = self.peers.get(&to);
        route.map_or(Delivery::Unknown, |(_, route)| route.send(bytes))
    }

    /// Uses the addresses that were looked up, and reconnects the routes to peers that are not present.
    pub(super) fn refresh(&mut self, election: &Election) {
        if self.resolver.is_running() {
            if let Some(resolved) = self.resolver.next()
                && let Some((_, route)) = self.peers.get_mut(&resolved.peer)
            {
                route.reconnect(&resolved.addresses);
            }
        } else if self.reconnected.elapsed() >= RECONNECT_EVERY {
            let peers = election.peers().filter(|(_, state, _)| state.is_present());
            let present: Vec<NodeId> = peers.map(|(id, ..)| id).collect();
            self.reconnect(|peer| !present.contains(&peer));
        }
    }

    pub(super) fn leads_to(&self, _peer: NodeId) -> Option<SocketAddr> {
        None
    }

    pub(super) fn learn(&mut self, _peer: NodeId, _address: SocketAddr) {}

    pub(super) fn set_members(&mut self, _own: NodeId, _members: &Members) {}

    fn reconnect(&mut self, wanted: impl Fn(NodeId) -> bool) {
        self.reconnected = Instant::now();
        let mut names = Vec::new();
        for (peer, (address, route)) in self.peers.iter_mut().filter(|(peer, _)| wanted(**peer)) {
            match address {
                Address::Literal(address) => route.reconnect(&[*address]),
                Address::Name(name) => names.push((*peer, name.clone())),
            }
        }
        if !names.is_empty() {
            self.resolver.start(names);
        }
    }
}

impl Address {
    fn new(text: &str) -> Address {
        match text.parse() {
            Ok(address) => Address::Literal(address),
            Err(_) => Address::Name(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types, reason = "the peer of the test")]

    use super::*;
    use crate::election::datagram::ClusterKey;
    use crate::election::{HEALTH_TIMEOUT, Settings};
    use std::net::UdpSocket;

    fn nobody_heard(own: NodeId, members: &Members) -> Election {
        Election::new(Settings {
            own,
            members: members.iter().map(|(id, _)| id).collect(),
            key: ClusterKey::new(&[7; 32]),
            incarnation: 1,
            health_timeout: HEALTH_TIMEOUT,
            port: 0,
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
        assert_eq!(routes.send(NodeId(3), b"to nobody"), Delivery::Unknown);
    }
}
