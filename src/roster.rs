//! Who is alive: node ids, and the sorted set of them that placement counts over.
//!
//! Knows nothing of addresses, heartbeats or time. A [`Roster`] is never empty, and neither is the list in it that
//! uploads are placed by, so that `hash mod len` has an answer in every state the cluster can be in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number a node is known by. Ids need not be consecutive; the highest alive one leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a view, in the order in which views replace each other. Two sides of a partition may count to the same
/// term; then the higher leader's view is the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewId {
    /// The term of the leader that published it; grows with each leader.
    pub term: u64,
    /// The leader that published it.
    pub leader: NodeId,
    /// Grows with each view of that leader in that term, and with each start of that leader: a leader that has lost its
    /// memory may lead in a term of its earlier life again.
    pub number: u64,
}

/// The low bits of a view number count the views of a term; the others hold the incarnation of the leader.
const COUNTER_BITS: u32 = 16;
/// No node starts so often, and no clock shows so many milliseconds before the year 10889: a higher one would not fit into
/// the number of a view.
pub(crate) const INCARNATION_MAX: u64 = (1 << (u64::BITS - COUNTER_BITS)) - 1;

impl ViewId {
    /// The number of the first view that a leader of this incarnation publishes in a term. The next one is one more.
    pub fn first_number(incarnation: u64) -> u64 {
        incarnation << COUNTER_BITS | 1
    }
}

/// As people read it: `term.leader.number`, where the views of a term are counted from 1.
impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.number & ((1 << COUNTER_BITS) - 1);
        write!(f, "{}.{}.{count}", self.term, self.leader)
    }
}

/// The alive ids, and those among them that uploads are placed on: both sorted, unique, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    alive: Box<[NodeId]>,
    placed: Box<[NodeId]>,
}

impl Roster {
    /// The roster of `own` and whoever else is alive, all of which take images. Order and repetition of `others` do not
    /// matter.
    pub fn new(own: NodeId, others: impl IntoIterator<Item = NodeId>) -> Roster {
        let mut ids: Vec<NodeId> = others.into_iter().collect();
        ids.push(own);
        ids.sort_unstable();
        ids.dedup();
        let alive = ids.into_boxed_slice();
        Roster {
            placed: alive.clone(),
            alive,
        }
    }

    /// The same nodes alive; uploads are placed on those that `takes_images` names. If it names none, on all of them:
    /// each says itself why it takes none.
    #[must_use]
    pub fn placed_on(self, takes_images: impl Fn(NodeId) -> bool) -> Roster {
        let able: Box<[NodeId]> = self
            .alive
            .iter()
            .copied()
            .filter(|id| takes_images(*id))
            .collect();
        Roster {
            placed: if able.is_empty() { self.alive.clone() } else { able },
            alive: self.alive,
        }
    }

    /// The alive ids in rising order; at least one.
    pub fn ids(&self) -> &[NodeId] {
        &self.alive
    }

    /// The ids that uploads are placed on, in rising order; at least one.
    pub fn placed(&self) -> &[NodeId] {
        &self.placed
    }

    /// The alive ids that uploads are not placed on, in rising order.
    pub fn reading(&self) -> impl Iterator<Item = NodeId> {
        self.alive.iter().copied().filter(|id| !self.places_on(*id))
    }

    /// Whether `id` is alive.
    pub fn contains(&self, id: NodeId) -> bool {
        self.alive.binary_search(&id).is_ok()
    }

    /// Whether uploads are placed on `id`.
    pub fn places_on(&self, id: NodeId) -> bool {
        self.placed.binary_search(&id).is_ok()
    }
}

/// The list that uploads are placed by, as the event lines print it: `[1, 2, 3]`.
impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.placed.iter().map(|id| id.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_placed_on_those_that_take_images_or_on_all() {
        let roster = Roster::new(NodeId(2), [1, 3].map(NodeId)).placed_on(|id| id != NodeId(2));
        assert_eq!(roster.placed(), [1, 3].map(NodeId));
        assert_eq!(roster.ids(), [1, 2, 3].map(NodeId));
        assert_eq!(roster.reading().collect::<Vec<_>>(), [NodeId(2)]);
        assert!(roster.contains(NodeId(2)) && !roster.places_on(NodeId(2)));
        assert_eq!(roster.to_string(), "[1, 3]");
        let nobody = roster.placed_on(|_| false);
        assert_eq!(nobody.placed(), nobody.ids());
    }

    #[test]
    fn roster_is_sorted_unique_and_holds_its_owner() {
        let roster = Roster::new(NodeId(7), [30, 2, 30, 7].map(NodeId));
        assert_eq!(roster.ids(), [2, 7, 30].map(NodeId));
        assert_eq!(Roster::new(NodeId(5), []).ids(), [NodeId(5)]);
        assert!(roster.contains(NodeId(30)) && !roster.contains(NodeId(3)));
        assert_eq!(roster.to_string(), "[2, 7, 30]");
    }
}
