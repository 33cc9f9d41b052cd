//! Which members a node goes by, how it comes to another list, and who gives way while lists differ.
//!
//! Every datagram carries the digest of the list that its sender goes by, the digest of the list that it wants, and
//! whether the receiver is in the first. A node counts a peer only if each has the other in its list. A new list comes
//! into force once every node of it that is heard wants it too: until then, nobody places by a list that others do not
//! have. All of them switch within a heartbeat of each other.
//!
//! If one of two nodes has the other in its list and the other does not, one of them gives way: the one whose list fewer
//! nodes want, or, if as many do, the one that is not in the other's list. It takes no part until the files agree.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::datagram::LinkState;
use crate::roster::NodeId;

/// The lists of one node.
pub(super) struct Lists {
    own: NodeId,
    in_force: BTreeSet<NodeId>,
    wanted: BTreeSet<NodeId>,
    in_force_digest: u64,
    wanted_digest: u64,
}

impl Lists {
    /// Both lists are `members`, and this node.
    pub(super) fn new(own: NodeId, members: impl IntoIterator<Item = NodeId>) -> Lists {
        let mut in_force: BTreeSet<NodeId> = members.into_iter().collect();
        in_force.insert(own);
        let digest = digest(&in_force);
        Lists {
            own,
            wanted: in_force.clone(),
            in_force,
            in_force_digest: digest,
            wanted_digest: digest,
        }
    }

    /// The members that this node goes by, itself among them.
    pub(super) fn in_force(&self) -> &BTreeSet<NodeId> {
        &self.in_force
    }

    /// From now on this node wants these members, and itself.
    pub(super) fn want(&mut self, members: &[NodeId]) {
        let next = Lists::new(self.own, members.iter().copied());
        self.wanted = next.wanted;
        self.wanted_digest = next.wanted_digest;
    }

    /// Whether a list is wanted that is not in force yet.
    pub(super) fn is_changing(&self) -> bool {
        self.in_force_digest != self.wanted_digest
    }

    /// Everyone who is sent heartbeats: the members of both lists but this node.
    pub(super) fn peers(&self) -> BTreeSet<NodeId> {
        let both = self.in_force.union(&self.wanted).copied();
        both.filter(|id| *id != self.own).collect()
    }

    /// The list that is wanted comes into force if nobody who is heard wants another. Returns whether it did. `said` is
    /// what each node that is heard says.
    pub(super) fn switch<'s>(&mut self, said: impl Iterator<Item = (NodeId, &'s LinkState)>) -> bool {
        let agreed = said
            .filter(|(id, _)| self.wanted.contains(id))
            .all(|(_, said)| said.wanted == self.wanted_digest);
        if !self.is_changing() || !agreed {
            return false;
        }
        self.in_force = self.wanted.clone();
        self.in_force_digest = self.wanted_digest;
        true
    }

    /// What a datagram to `receiver` says of the lists. The rest of it is for the caller to fill in.
    pub(super) fn said_to(&self, receiver: NodeId) -> LinkState {
        LinkState {
            in_force: self.in_force_digest,
            wanted: self.wanted_digest,
            counts_receiver: self.in_force.contains(&receiver),
            ..LinkState::default()
        }
    }

    /// Whether a peer that says this wants other members than this node.
    pub(super) fn differs(&self, said: &LinkState) -> bool {
        said.wanted != self.wanted_digest
    }

    /// The nodes that this one gives way to, given what each node that is heard says: they do not count this node, or it
    /// does not count them, and their list prevails.
    pub(super) fn gives_way_to<'s>(
        &self,
        said: impl Iterator<Item = (NodeId, &'s LinkState)> + Clone,
    ) -> Vec<NodeId> {
        let is_mutual =
            |(id, said): (NodeId, &LinkState)| self.in_force.contains(&id) == said.counts_receiver;
        if said.clone().all(is_mutual) {
            return Vec::new();
        }
        let mut holders = BTreeMap::from([(self.wanted_digest, 1)]);
        for (_, said) in said.clone() {
            *holders.entry(said.wanted).or_insert(0) += 1;
        }
        let ours = holders[&self.wanted_digest];
        let prevails = |(id, said): &(NodeId, &LinkState)| {
            let counted = self.in_force.contains(id);
            let theirs = holders[&said.wanted];
            counted != said.counts_receiver && (theirs > ours || theirs == ours && counted)
        };
        said.filter(prevails).map(|(id, _)| id).collect()
    }
}

/// The first eight bytes of SHA-256 over the ids in rising order, big-endian.
fn digest(ids: &BTreeSet<NodeId>) -> u64 {
    let mut sha = Sha256::new();
    ids.iter().for_each(|id| sha.update(id.0.to_be_bytes()));
    let digest: [u8; 32] = sha.finalize().into();
    u64::from_be_bytes(*digest.first_chunk().expect("a SHA-256 digest has 32 bytes"))
}
