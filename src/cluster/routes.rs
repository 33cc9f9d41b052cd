//! The routes to all peers, and which of them are renewed when.
//!
//! A route is renewed every few seconds while this node does not hear the peer itself, whatever others say of the peer:
//! the name may stand for another address by now, and the peer or this node may have moved. Addresses are taken in
//! turn: those that the configured name stands for, and the one that the peer was last heard from. While a peer is
//! heard, its route stays as it is.
#![allow(clippy::disallowed_methods, reason = "routes are renewed by the clock")]

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::resolver::{Resolved, Resolver};
use super::route::{Delivery, Route};
use crate::election::Election;
use crate::members::Members;
use crate::roster::NodeId;

/// A peer that this node has not heard itself for this long may have moved. Ten heartbeats: what is shorter may be lost
/// datagrams, for which a new socket is no help.
const SILENT: Duration = Duration::from_secs(1);
/// How often the route to a silent peer is renewed: an answer has to have the time to come.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The most routes renewed in one round, so that the heartbeat does not wait for threads to be started. Rounds come at
/// least every 100 ms, so that even all of [`NODES_MAX`](crate::members::NODES_MAX) have their turn in time.
const RENEWED_AT_ONCE_MAX: usize = 16;
/// A look-up that takes longer than this is told of like one that failed. The name servers of a machine are given up
/// after 10 s or more, by default.
const LOOK_UP_SLOW: Duration = Duration::from_secs(10);
/// How often people are told that a name cannot be looked up.
const TELL_EVERY: Duration = Duration::from_secs(600);

pub(super) struct Routes {
    own: NodeId,
    /// Where this node listens.
    from: IpAddr,
    peers: BTreeMap<NodeId, PeerRoute>,
    resolver: Resolver,
}

struct PeerRoute {
    /// `host:port`, as the cluster file has it.
    text: String,
    /// Whether `text` has to be looked up.
    is_name: bool,
    /// What `text` stands for, as far as is known.
    addresses: Vec<SocketAddr>,
    /// How many of `addresses` were tried so far.
    attempts: usize,
    /// Where the peer was heard from, if not from where the route went.
    learnt: Option<SocketAddr>,
    /// Whether the next renewal takes `learnt`, if there is one.
    learnt_is_next: bool,
    /// The name was not found since the cluster file has it: the route goes to where the peer was before, or nowhere.
    outdated: bool,
    route: Route,
    renewed: Option<Instant>,
    /// When people were last told that the name cannot be looked up.
    told: Option<Instant>,
}

impl Routes {
    /// The routes of a node that listens at `from`.
    pub(super) fn new(own: NodeId, from: IpAddr, members: &Members) -> Routes {
        Routes::with_resolver(own, from, members, Resolver::default())
    }

    fn with_resolver(own: NodeId, from: IpAddr, members: &Members, resolver: Resolver) -> Routes {
        let mut routes = Routes {
            own,
            from,
            peers: BTreeMap::new(),
            resolver,
        };
        routes.set_members(own, members);
        routes
    }

    /// Members were added or removed, or have another address. Routes to an unchanged address stay as they are. Where
    /// the address is now another name, the old route is used until that name is looked up.
    pub(super) fn set_members(&mut self, own: NodeId, members: &Members) {
        self.own = own;
        let mut before = std::mem::take(&mut self.peers);
        for (peer, text) in members.iter().filter(|(peer, _)| *peer != own) {
            let route = match before.remove(&peer) {
                Some(kept) if kept.text == text => kept,
                Some(old) => PeerRoute::new(text, old.route),
                None => PeerRoute::new(text, Route::new(self.from)),
            };
            self.peers.insert(peer, route);
        }
    }

    pub(super) fn send(&self, to: NodeId, bytes: &[u8]) -> Delivery {
        let peer = self.peers.get(&to);
        peer.map_or(Delivery::Unknown, |peer| peer.route.send(bytes))
    }

    /// Where datagrams to this peer go; nowhere while its name was not found.
    pub(super) fn leads_to(&self, peer: NodeId) -> Option<SocketAddr> {
        self.peers.get(&peer)?.route.leads_to()
    }

    /// The peers that datagrams are sent to where they were heard from, which is not where the members' list has them.
    pub(super) fn moved(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        let moved = self.peers.iter().filter(|(_, peer)| peer.is_at_learnt());
        moved.filter_map(|(id, peer)| Some((*id, peer.learnt?)))
    }

    /// `source` as people write it, if it is on the host that datagrams to this peer go to.
    pub(super) fn on_host_of(&self, peer: NodeId, source: SocketAddr) -> Option<SocketAddr> {
        let source = canonical(source);
        let host = self.leads_to(peer)?.ip();
        (host == source.ip()).then_some(source)
    }

    /// A peer that is not heard listens at `address`, as its authentic datagrams say: the route goes there from now on, in
    /// turn with the configured address. Does nothing if the route goes there, or has come from there because that did not
    /// help.
    pub(super) fn learn(&mut self, peer: NodeId, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.learn(address);
        }
    }

    /// A new process of a peer listens at `address`. If the route goes to where an earlier one was heard from, nobody is there
    /// any more: it goes to `address` from now on.
    pub(super) fn follow(&mut self, peer: NodeId, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&peer)
            && peer.is_at_learnt()
        {
            peer.learn(address);
        }
    }

    /// Uses the addresses that were looked up, and renews the routes to peers that this node does not hear itself.
    pub(super) fn refresh(&mut self, election: &Election) {
        let heard = |silent: Option<Duration>| silent.is_some_and(|silent| silent < SILENT);
        let peers = election.peers().filter(|(.., silent)| heard(*silent));
        let heard: BTreeSet<NodeId> = peers.map(|(peer, ..)| peer).collect();
        for sentence in self.renew(Instant::now(), &heard) {
            log::warn!("{sentence}");
        }
    }

    /// Returns what people have to be told.
    fn renew(&mut self, now: Instant, heard: &BTreeSet<NodeId>) -> Vec<String> {
        let mut failures = Vec::new();
        for resolved in self.resolver.take_finished() {
            failures.extend(self.take_resolved(resolved, heard));
        }
        let due = |(id, peer): &(&NodeId, &mut PeerRoute)| peer.is_due(now, heard.contains(id));
        for (id, peer) in self.peers.iter_mut().filter(due).take(RENEWED_AT_ONCE_MAX) {
            peer.renew(now);
            if !peer.is_name {
                continue;
            }
            let waited = self.resolver.busy_since(*id).map(|since| now - since);
            if let Some(waited) = waited.filter(|waited| *waited >= LOOK_UP_SLOW) {
                failures.push((*id, format!("no answer for {} s", waited.as_secs())));
            }
            if let Err(why) = self.resolver.start(*id, &peer.text, now) {
                failures.push((*id, why.to_string()));
            }
        }
        let tell = |(id, why): (NodeId, String)| self.peers.get_mut(&id)?.tell(now, self.own, id, &why);
        failures.into_iter().filter_map(tell).collect()
    }

    /// Returns whose name was not found, and why.
    fn take_resolved(&mut self, resolved: Resolved, heard: &BTreeSet<NodeId>) -> Option<(NodeId, String)> {
        let Resolved {
            peer: id,
            name,
            outcome,
        } = resolved;
        // Members may have changed while it was looked up.
        let peer = self.peers.get_mut(&id).filter(|peer| peer.text == name)?;
        match outcome {
            Ok(addresses) => {
                peer.take_addresses(addresses, heard.contains(&id));
                None
            }
            Err(why) => Some((id, why.to_string())),
        }
    }
}

impl PeerRoute {
    /// `route` goes to where the peer was before, or nowhere.
    fn new(text: &str, route: Route) -> PeerRoute {
        let literal: Option<SocketAddr> = text.parse().ok();
        let mut peer = PeerRoute {
            text: text.to_owned(),
            is_name: literal.is_none(),
            addresses: literal.into_iter().collect(),
            attempts: 0,
            learnt: None,
            learnt_is_next: false,
            outdated: literal.is_none(),
            route,
            renewed: literal.map(|_| Instant::now()),
            told: None,
        };
        peer.connect_to_next();
        peer
    }

    fn is_due(&self, now: Instant, heard: bool) -> bool {
        let wanted = self.outdated || !heard;
        wanted && self.renewed.is_none_or(|last| now >= last + RENEW_EVERY)
    }

    /// Takes a new socket, to the learnt and the configured address in turn.
    fn renew(&mut self, now: Instant) {
        self.renewed = Some(now);
        match self.learnt {
            Some(learnt) if self.learnt_is_next => self.route.connect(learnt),
            _ => self.connect_to_next(),
        }
        self.learnt_is_next = !self.learnt_is_next;
    }

    fn connect_to_next(&mut self) {
        if !self.addresses.is_empty() {
            self.route
                .connect(self.addresses[self.attempts % self.addresses.len()]);
            self.attempts += 1;
        }
    }

    /// Of addresses that were known before, the order does not count: name servers rotate it.
    fn take_addresses(&mut self, addresses: Vec<SocketAddr>, heard: bool) {
        let set = |addresses: &[SocketAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        if set(&addresses) == set(&self.addresses) {
            return;
        }
        self.addresses = addresses;
        self.attempts = 0;
        // What works is not thrown away.
        if self.outdated || !heard {
            self.outdated = false;
            self.learnt_is_next = true;
            self.connect_to_next();
        }
    }

    /// Whether the route goes to where the peer was heard from, which is not where the cluster file has it.
    fn is_at_learnt(&self) -> bool {
        let goes_there = |learnt: &SocketAddr| self.route.leads_to() == Some(*learnt);
        self.learnt
            .filter(goes_there)
            .is_some_and(|at| !self.addresses.contains(&at))
    }

    fn learn(&mut self, from: SocketAddr) {
        let address = canonical(from);
        if self.learnt != Some(address) && self.route.leads_to() != Some(address) {
            self.learnt = Some(address);
            self.learnt_is_next = false;
            self.outdated = false;
            self.route.connect(address);
            self.renewed = Some(Instant::now());
        }
    }

    /// A sentence, unless the same was said lately.
    fn tell(&mut self, now: Instant, own: NodeId, peer: NodeId, why: &str) -> Option<String> {
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        let host = self
            .text
            .rsplit_once(':')
            .map_or(self.text.as_str(), |(host, _)| host);
        Some(format!(
            "Node {own}: {host} of Node {peer} cannot be looked up ({why}): it is tried again every {} s; if the \
             name is right, see to the name server, otherwise correct it in the cluster file of each node",
            RENEW_EVERY.as_secs()
        ))
    }
}

/// A socket for both families shows IPv4 addresses as IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
