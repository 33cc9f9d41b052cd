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
            // One that takes no part itself, and is none of ours, is a newcomer that waits for us.
            let waits = !counted && said.is_apart;
            counted != said.counts_receiver && !waits && (theirs > ours || theirs == ours && counted)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(own: u32, members: &[u32]) -> Lists {
        Lists::new(NodeId(own), members.iter().copied().map(NodeId))
    }

    /// What `from` says to `to`.
    fn said(from: &Lists, to: &Lists) -> (NodeId, LinkState) {
        (from.own, from.said_to(to.own))
    }

    fn all_said(to: &Lists, others: &[&Lists]) -> Vec<(NodeId, LinkState)> {
        others.iter().map(|from| said(from, to)).collect()
    }

    fn gives_way(to: &Lists, others: &[&Lists]) -> bool {
        let said = all_said(to, others);
        !to.gives_way_to(said.iter().map(|(id, said)| (*id, said)))
            .is_empty()
    }

    fn switch(node: &mut Lists, others: &[&Lists]) -> bool {
        let said = all_said(node, others);
        node.switch(said.iter().map(|(id, said)| (*id, said)))
    }

    #[test]
    fn a_list_comes_into_force_once_all_that_are_there_want_it() {
        let [mut one, mut two] = [1, 2].map(|own| lists(own, &[1, 2]));
        let three = lists(3, &[1, 2, 3]);
        one.want(&[1, 2, 3].map(NodeId));
        assert!(!switch(&mut one, &[&two, &three]));
        assert_eq!(one.peers(), [2, 3].map(NodeId).into());
        two.want(&[1, 2, 3].map(NodeId));
        assert!(switch(&mut one, &[&two, &three]) && !one.is_changing());
        // The other one has not noticed yet, and nobody has to give way meanwhile but the newcomer.
        assert!(!gives_way(&one, &[&two, &three]) && !gives_way(&two, &[&one, &three]));
        assert!(gives_way(&three, &[&one, &two]));
        assert!(switch(&mut two, &[&one, &three]));
        assert!(!gives_way(&three, &[&one, &two]));
    }

    #[test]
    fn a_node_that_is_taken_out_has_no_say_and_gives_way() {
        let [mut one, mut two, three] = [1, 2, 3].map(|own| lists(own, &[1, 2, 3]));
        one.want(&[1, 2].map(NodeId));
        two.want(&[1, 2].map(NodeId));
        assert!(switch(&mut one, &[&two, &three]));
        assert!(!gives_way(&one, &[&two, &three]) && !gives_way(&two, &[&one, &three]));
        assert!(gives_way(&three, &[&one, &two]));
    }

    #[test]
    fn of_lists_that_do_not_name_each_other_the_one_that_more_nodes_want_prevails() {
        let [one, three] = [1, 3].map(|own| lists(own, &[1, 2, 3]));
        let two = lists(2, &[1, 2]);
        assert!(gives_way(&two, &[&one, &three]));
        assert!(!gives_way(&one, &[&two, &three]) && !gives_way(&three, &[&one, &two]));
        // As many want the one as the other: then who is not named.
        let alone = lists(2, &[2]);
        let pair = lists(1, &[1, 2]);
        assert!(gives_way(&pair, &[&alone]) && !gives_way(&alone, &[&pair]));
    }

    #[test]
    fn the_last_node_that_is_told_of_a_newcomer_does_not_give_way_to_it() {
        let [mut one, mut two, three] = [1, 2, 3].map(|own| lists(own, &[1, 2, 3]));
        let four = lists(4, &[1, 2, 3, 4]);
        for old in [&mut one, &mut two] {
            old.want(&[1, 2, 3, 4].map(NodeId));
        }
        assert!(gives_way(&four, &[&one, &two, &three]));
        let mut said = all_said(&three, &[&one, &two, &four]);
        said[2].1.is_apart = true;
        assert!(
            three
                .gives_way_to(said.iter().map(|(id, said)| (*id, said)))
                .is_empty()
        );
    }

    #[test]
    fn lists_that_differ_and_name_each_other_keep_nobody_out() {
        let (one, two) = (lists(1, &[1, 2]), lists(2, &[1, 2, 3]));
        assert!(one.differs(&said(&two, &one).1) && two.differs(&said(&one, &two).1));
        assert!(!gives_way(&one, &[&two]) && !gives_way(&two, &[&one]));
    }
}
