//! Who is alive: node ids, and the sorted set of them that placement counts over.
//!
//! Knows nothing of addresses, heartbeats or time. A [`Roster`] is never empty and always holds the node
//! that owns it, so that `hash mod len` has an answer in every state the cluster can be in.

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

/// The alive ids: sorted, unique, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster(Box<[NodeId]>);

impl Roster {
    /// The roster of `own` and whoever else is alive. Order and repetition of `others` do not matter.
    pub fn new(own: NodeId, others: impl IntoIterator<Item = NodeId>) -> Roster {
        let mut ids: Vec<NodeId> = others.into_iter().collect();
        ids.push(own);
        ids.sort_unstable();
        ids.dedup();
        Roster(ids.into_boxed_slice())
    }

    /// The ids in rising order; at least one.
    pub fn ids(&self) -> &[NodeId] {
        &self.0
    }

    /// Whether `id` is alive.
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

/// As the event lines print it: `[1, 2, 3]`.
impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|id| id.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roster_is_sorted_unique_and_holds_its_owner() {
        let roster = Roster::new(NodeId(7), [30, 2, 30, 7].map(NodeId));
        assert_eq!(roster.ids(), [2, 7, 30].map(NodeId));
        assert_eq!(Roster::new(NodeId(5), []).ids(), [NodeId(5)]);
        assert!(roster.contains(NodeId(30)) && !roster.contains(NodeId(3)));
        assert_eq!(roster.to_string(), "[2, 7, 30]");
    }
}
