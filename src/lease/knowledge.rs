//! What a node knows of the others when it ends, for its next life: what it has noted, and until when that is all.
//!
//! Written by a node that has left in peace, and good for one start soon after: what others do meanwhile it has to hear
//! anew, as after a pause.

use serde::{Deserialize, Serialize};

use super::times::Times;
use crate::roster::{NodeId, Roster};
use crate::version::Time;

/// What one life of a node leaves to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knowledge {
    /// Nothing that the node has stored is later.
    pub stored: Time,
    pub(super) peers: Vec<KnownPeer>,
    /// Rosters under which peers may have written without declaring it.
    pub(super) epochs: Vec<KnownEpoch>,
}

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPeer {
    pub(super) node: NodeId,
    /// When it can have written what it did not declare.
    pub(super) undeclared: Times,
    /// And since then, without end.
    pub(super) undeclared_since: Time,
    /// The latest write of each name that it has declared, by the hash of the name.
    pub(super) declared: Vec<(u64, Time)>,
}

/// A roster under which nodes may have written without declaring it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownEpoch {
    alive: Vec<NodeId>,
    placed: Vec<NodeId>,
    pub(super) end: Time,
    pub(super) undeclaring: Vec<NodeId>,
}

impl Knowledge {
    /// There is nobody to know anything of: this node is alone, or all use one folder.
    pub fn is_of_nobody(&self) -> bool {
        self.peers.is_empty()
    }
}

impl KnownEpoch {
    pub(super) fn new(roster: &Roster, end: Time, undeclaring: Vec<NodeId>) -> KnownEpoch {
        KnownEpoch {
            alive: roster.ids().to_vec(),
            placed: roster.placed().to_vec(),
            end,
            undeclaring,
        }
    }

    /// `None`: nobody is alive in it, which no node writes.
    pub(super) fn roster(&self) -> Option<Roster> {
        let (first, others) = self.alive.split_first()?;
        let roster = Roster::new(*first, others.iter().copied());
        Some(roster.placed_on(|node| self.placed.contains(&node)))
    }
}
