//! Nodes that have the key and are in no list of this node: they are told so, and their lists are heard.
//!
//! Neither counted nor sent heartbeats: each of their datagrams is answered where it came from, at most once in the time
//! between two heartbeats. Without an answer a node that others have left out would take itself for the last one alive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::datagram::{Datagram, LinkState};
use super::detector::TrackedPeer;
use crate::members::NODES_MAX;
use crate::roster::NodeId;

/// A stranger that was silent for this long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Strangers(BTreeMap<NodeId, Stranger>);

pub(super) struct Stranger {
    arrived: Duration,
    pub(super) address: Option<SocketAddr>,
    /// When it last proved that it hears this node.
    contact: Option<Duration>,
    link: LinkState,
    answered: Option<Duration>,
}

impl Strangers {
    /// Takes note of a datagram, which is `fresh` if it proves that its sender hears this node. Returns whether it is to be
    /// answered: the last answer was long enough ago.
    pub(super) fn meet(
        &mut self,
        datagram: &Datagram,
        address: Option<SocketAddr>,
        (is_fresh, awake): (bool, Duration),
        answer_every: Duration,
    ) -> bool {
        let known = self.0.len();
        let stranger = match self.0.entry(datagram.sender) {
            std::collections::btree_map::Entry::Vacant(_) if known >= NODES_MAX => return false,
            entry => entry.or_insert_with(|| Stranger {
                arrived: awake,
                address: None,
                contact: None,
                link: LinkState::default(),
                answered: None,
            }),
        };
        stranger.arrived = awake;
        stranger.address = address;
        if is_fresh {
            stranger.contact = Some(awake);
            stranger.link = datagram.link;
        }
        let is_due = stranger.answered.is_none_or(|at| awake >= at + answer_every);
        if is_due {
            stranger.answered = Some(awake);
        }
        is_due
    }

    /// A peer that was a member, and is in contact, is a stranger from now on.
    pub(super) fn adopt(&mut self, id: NodeId, peer: &TrackedPeer, awake: Duration) {
        let stranger = Stranger {
            arrived: awake,
            address: peer.address,
            contact: Some(awake),
            link: peer.link,
            answered: None,
        };
        self.0.insert(id, stranger);
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Stranger> {
        self.0.get(&id)
    }

    /// Those that have proved within `lately` that they hear this node, and what they said.
    pub(super) fn in_contact(
        &self,
        awake: Duration,
        lately: Duration,
    ) -> impl Iterator<Item = (NodeId, &LinkState)> + Clone {
        let heard = move |stranger: &Stranger| stranger.contact.is_some_and(|at| awake < at + lately);
        self.0
            .iter()
            .filter(move |(_, stranger)| heard(stranger))
            .map(|(id, stranger)| (*id, &stranger.link))
    }

    /// Forgets those that are silent, and `members`, which are none.
    pub(super) fn forget(&mut self, awake: Duration, is_member: impl Fn(NodeId) -> bool) {
        self.0
            .retain(|id, stranger| awake < stranger.arrived + FORGOTTEN_AFTER && !is_member(*id));
    }
}
