//! Failure detection: which peers are alive, as one node hears it.
//!
//! A peer that this node has not heard for a while becomes a suspect and stays in the roster. It is dead when, for
//! the whole timeout, this node has not heard it and no other node has said that it did (the second opinion). It is
//! dead sooner if its host says that the port is closed. Such an ICMP error is not authentic: it shortens the wait
//! but does not replace the silence, so a peer that is heard is never declared dead because of an ICMP error.
//!
//! A peer that talks to this node without counting it, or takes no part itself, is apart: it is there, and not in the
//! roster, whatever others hear of it.
//!
//! All times are times for which this node was awake: a node that was not running has not waited for its peers.
//! Knows nothing of leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::datagram::{Datagram, LinkState, Stamp};
use super::message::Hears;
use crate::condition::Condition;
use crate::roster::NodeId;

/// What a node knows about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Not heard since this node started.
    Unknown,
    /// Heard, and it hears us.
    Alive,
    /// Silent to us, but not long enough, or others still hear it. Counts as alive.
    Suspect,
    /// Silent to all nodes, silent with its port closed, or restarted.
    Dead,
    /// It said that it is stopping.
    Left,
    /// It talks to us, but its list of members or its own word keeps it out; see [`LinkState`].
    Apart,
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerState::Unknown => "unknown",
            PeerState::Alive => "alive",
            PeerState::Suspect => "suspect",
            PeerState::Dead => "dead",
            PeerState::Left => "left",
            PeerState::Apart => "apart",
        })
    }
}

impl PeerState {
    /// Whether uploads are placed on the peer.
    pub(crate) fn is_present(self) -> bool {
        matches!(self, PeerState::Alive | PeerState::Suspect)
    }
}

/// Why a peer's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An authentic, fresh datagram.
    Heard,
    /// Others hear it.
    Hearsay,
    /// Not heard for this long.
    Silent(Duration),
    /// Its host said that the port is closed, and it was not heard for this long.
    Refused(Duration),
    /// A datagram of a later incarnation arrived.
    Restarted,
    /// It said that it is stopping.
    Left,
    /// The member lists of the two do not fit together, or it takes no part because of the lists of others.
    Apart,
    /// This node itself was not running for this long.
    Slept(Duration),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Heard => write!(f, "heard"),
            Cause::Hearsay => write!(f, "heard by others"),
            Cause::Silent(silent) => write!(f, "silent for {} ms", silent.as_millis()),
            Cause::Refused(silent) => write!(f, "port closed, silent for {} ms", silent.as_millis()),
            Cause::Restarted => write!(f, "restarted"),
            Cause::Left => write!(f, "it said so"),
            Cause::Apart => write!(f, "member lists differ"),
            Cause::Slept(slept) => write!(f, "this node was not running for {} ms", slept.as_millis()),
        }
    }
}

/// A peer's change from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The peer.
    pub peer: NodeId,
    /// Its state before.
    pub from: PeerState,
    /// Its state now.
    pub to: PeerState,
    /// Why it changed.
    pub cause: Cause,
}

/// The times of the detector, all from one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) suspect_after: Duration,
    pub(super) dead_after: Duration,
    pub(super) refused_after: Duration,
    /// A dead peer comes back by hearsay only after this: earlier hearsay may be from before its death.
    pub(super) hearsay_after: Duration,
}

impl Timeouts {
    /// From the time after which a silent peer is dead.
    pub(super) fn of(dead_after: Duration) -> Timeouts {
        Timeouts {
            suspect_after: dead_after * 2 / 3,
            dead_after,
            refused_after: dead_after / 3,
            hearsay_after: dead_after * 2,
        }
    }
}

pub(super) struct Detector {
    timeouts: Timeouts,
    peers: BTreeMap<NodeId, TrackedPeer>,
}

pub(super) struct TrackedPeer {
    pub(super) state: PeerState,
    /// The newest stamp that arrived from it.
    pub(super) stamp: Stamp,
    /// The newest stamp of a later life that did not prove that it runs.
    pub(super) claimed: Stamp,
    /// Where it was heard from, and the port that it said it listens at.
    pub(super) address: Option<SocketAddr>,
    /// When it last sent something that proves that it hears this node, in awake time.
    pub(super) contact: Option<Duration>,
    /// What it said then.
    pub(super) link: LinkState,
    pub(super) condition: Condition,
    /// When it was last told of another life of itself.
    pub(super) told_of_rival: Option<Duration>,
    /// When it was last told that another process has its id.
    pub(super) told_of_double: Option<Duration>,
    /// When this node last heard it, in awake time: timeouts count from here.
    heard: Duration,
    /// The same on the clock: this is what other nodes are told.
    pub(super) heard_clock: Option<Duration>,
    /// When this node had sent, on the clock, what the peer had received by then.
    echo: Duration,
    /// When another node last heard it.
    heard_by_others: Duration,
    /// When it last died or left, or this node started.
    ended: Duration,
    /// Its host has said that the port is closed, and it has not been heard since.
    refused: bool,
}

impl Detector {
    pub(super) fn new(timeouts: Timeouts, peers: impl IntoIterator<Item = NodeId>) -> Detector {
        Detector {
            timeouts,
            peers: peers.into_iter().map(|id| (id, TrackedPeer::unknown())).collect(),
        }
    }

    /// From now on, exactly these peers are tracked.
    pub(super) fn track(&mut self, peers: &BTreeSet<NodeId>) {
        self.peers.retain(|id, _| peers.contains(id));
        for id in peers {
            self.peers.entry(*id).or_insert_with(TrackedPeer::unknown);
        }
    }

    pub(super) fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// Every peer in rising order of id, in every state.
    pub(super) fn peers(&self) -> impl Iterator<Item = (NodeId, &TrackedPeer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<&TrackedPeer> {
        self.peers.get(&id)
    }

    pub(super) fn peer_mut(&mut self, id: NodeId) -> Option<&mut TrackedPeer> {
        self.peers.get_mut(&id)
    }

    /// Every peer that has lately proved that it hears this node, counted or not, and what it said.
    pub(super) fn in_contact(&self, awake: Duration) -> impl Iterator<Item = (NodeId, &TrackedPeer)> + Clone {
        let lately = move |peer: &&TrackedPeer| {
            peer.contact
                .is_some_and(|at| awake.saturating_sub(at) < self.timeouts.dead_after)
        };
        self.peers
            .iter()
            .filter(move |(_, peer)| lately(peer))
            .map(|(id, peer)| (*id, peer))
    }

    pub(super) fn present(&self) -> impl Iterator<Item = NodeId> {
        self.peers()
            .filter(|(_, peer)| peer.state.is_present())
            .map(|(id, _)| id)
    }

    pub(super) fn is_present(&self, id: NodeId) -> bool {
        self.peer(id).is_some_and(|peer| peer.state.is_present())
    }

    /// Whether every peer has received something that this node sent at `since` on the clock or later, and answered.
    pub(super) fn all_answered_since(&self, since: Duration) -> bool {
        self.peers
            .values()
            .all(|peer| peer.state == PeerState::Alive && peer.echo >= since)
    }

    /// When a present peer will have been silent to this node for the whole timeout, whatever others say.
    pub(super) fn out_of_touch_at(&self, id: NodeId) -> Option<Duration> {
        let peer = self.peer(id).filter(|peer| peer.state.is_present())?;
        Some(peer.heard + self.timeouts.dead_after)
    }

    /// Records a newer stamp. A new incarnation proves that the earlier one has ended.
    pub(super) fn record_stamp(&mut self, id: NodeId, stamp: Stamp, awake: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&id)?;
        assert!(stamp > peer.stamp, "the caller drops replayed datagrams");
        let restarted = stamp.incarnation > peer.stamp.incarnation;
        peer.stamp = stamp;
        let to = match peer.state {
            PeerState::Alive | PeerState::Suspect if restarted => PeerState::Dead,
            // It had left in order, so nobody lost it.
            PeerState::Left if restarted => PeerState::Unknown,
            _ => return None,
        };
        peer.contact = None;
        Some(peer.end(id, to, Cause::Restarted, awake))
    }

    /// The peer has proved that it hears this node, and this is what it says.
    pub(super) fn record_contact(
        &mut self,
        id: NodeId,
        awake: Duration,
        address: Option<SocketAddr>,
        said: &Datagram,
    ) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.contact = Some(awake);
            peer.address = address;
            peer.link = said.link;
            peer.condition = said.facts.condition;
        }
    }

    /// The peer is there, and is not counted.
    pub(super) fn record_apart(&mut self, id: NodeId, awake: Duration) -> Option<Transition> {
        let peer = self
            .peers
            .get_mut(&id)
            .filter(|peer| !matches!(peer.state, PeerState::Left | PeerState::Apart))?;
        Some(peer.end(id, PeerState::Apart, Cause::Apart, awake))
    }

    /// The peer is alive and hears us: it has received what was sent at `echo` on the clock.
    pub(super) fn record_heard(
        &mut self,
        id: NodeId,
        awake: Duration,
        clock: Duration,
        echo: Duration,
    ) -> Option<Transition> {
        let peer = self
            .peers
            .get_mut(&id)
            .filter(|peer| peer.state != PeerState::Left)?;
        peer.heard = awake;
        peer.heard_clock = Some(clock);
        peer.echo = echo;
        peer.refused = false;
        (peer.state != PeerState::Alive).then(|| peer.become_present(id, PeerState::Alive, Cause::Heard))
    }

    /// Another peer has told us when it heard this one.
    pub(super) fn record_hearsay(&mut self, hears: Hears, awake: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&hears.peer)?;
        if peer.state == PeerState::Apart {
            return None;
        }
        let when = awake.saturating_sub(Duration::from_millis(hears.silent_ms.into()));
        if peer.state.is_present() {
            peer.heard_by_others = peer.heard_by_others.max(when);
            return None;
        }
        if when <= peer.ended + self.timeouts.hearsay_after || when + self.timeouts.suspect_after <= awake {
            return None;
        }
        peer.heard_by_others = when;
        Some(peer.become_present(hears.peer, PeerState::Suspect, Cause::Hearsay))
    }

    /// The peer's host said that the port is closed.
    pub(super) fn record_refusal(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.refused = true;
        }
    }

    pub(super) fn record_leave(&mut self, id: NodeId, awake: Duration) -> Option<Transition> {
        let here = |peer: &&mut TrackedPeer| peer.state.is_present() || peer.state == PeerState::Apart;
        let peer = self.peers.get_mut(&id).filter(here)?;
        peer.contact = None;
        Some(peer.end(id, PeerState::Left, Cause::Left, awake))
    }

    /// Makes peers suspect or dead that have been silent for too long.
    pub(super) fn time_out(&mut self, awake: Duration) -> Vec<Transition> {
        let timeouts = self.timeouts;
        self.peers
            .iter_mut()
            .filter_map(|(id, peer)| peer.time_out(*id, timeouts, awake))
            .collect()
    }

    /// When [`Detector::time_out`] is due next, if nothing is heard before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.peers
            .values()
            .filter_map(|peer| peer.deadline(self.timeouts))
            .min()
    }
}

impl TrackedPeer {
    fn unknown() -> TrackedPeer {
        TrackedPeer {
            state: PeerState::Unknown,
            stamp: Stamp::default(),
            claimed: Stamp::default(),
            address: None,
            contact: None,
            link: LinkState::default(),
            condition: Condition::default(),
            told_of_rival: None,
            told_of_double: None,
            heard: Duration::ZERO,
            heard_clock: None,
            echo: Duration::ZERO,
            heard_by_others: Duration::ZERO,
            ended: Duration::ZERO,
            refused: false,
        }
    }

    fn time_out(&mut self, id: NodeId, timeouts: Timeouts, awake: Duration) -> Option<Transition> {
        if self.deadline(timeouts)? > awake {
            return None;
        }
        if self.state == PeerState::Apart {
            let silent = awake - self.contact.unwrap_or(self.ended);
            return Some(self.end(id, PeerState::Dead, Cause::Silent(silent), awake));
        }
        let silent = awake - self.heard;
        if self.dead_at(timeouts) <= awake {
            let cause = if self.refused {
                Cause::Refused(silent)
            } else {
                Cause::Silent(silent)
            };
            return Some(self.end(id, PeerState::Dead, cause, awake));
        }
        let from = std::mem::replace(&mut self.state, PeerState::Suspect);
        Some(Transition {
            peer: id,
            from,
            to: self.state,
            cause: Cause::Silent(silent),
        })
    }

    fn deadline(&self, timeouts: Timeouts) -> Option<Duration> {
        match self.state {
            PeerState::Alive => Some(self.dead_at(timeouts).min(self.heard + timeouts.suspect_after)),
            PeerState::Suspect => Some(self.dead_at(timeouts)),
            PeerState::Apart => Some(self.contact.unwrap_or(self.ended) + timeouts.dead_after),
            PeerState::Unknown | PeerState::Dead | PeerState::Left => None,
        }
    }

    fn dead_at(&self, timeouts: Timeouts) -> Duration {
        let timeout = if self.refused {
            timeouts.refused_after
        } else {
            timeouts.dead_after
        };
        self.heard.max(self.heard_by_others) + timeout
    }

    fn become_present(&mut self, peer: NodeId, to: PeerState, cause: Cause) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        Transition {
            peer,
            from,
            to,
            cause,
        }
    }

    fn end(&mut self, peer: NodeId, to: PeerState, cause: Cause, awake: Duration) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.ended = awake;
        self.refused = false;
        Transition {
            peer,
            from,
            to,
            cause,
        }
    }
}
