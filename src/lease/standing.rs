//! What a node may do at one moment, as its workers read it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::intents::Intents;
use super::knowledge::{Knowledge, KnownEpoch, KnownPeer};
use super::times::Times;
use crate::balancer;
use crate::roster::{NodeId, Roster, ViewId};
use crate::version::Time;

/// What a node may do at one moment. Immutable: workers read it without a lock.
#[derive(Clone, Debug)]
pub struct Standing {
    pub(super) own: NodeId,
    /// The view that is installed; none while there is no leader.
    pub view: Option<ViewId>,
    /// Who is alive in it.
    pub roster: Roster,
    /// Whether writes may be taken and confirmed.
    pub is_ready: bool,
    /// Whether every image lies on the node that it is assigned to, and nowhere else.
    pub is_settled: bool,
    /// A write is later than this: nothing that was known of those that are away is.
    pub floor: Time,
    /// The nodes that have to note a name before this node writes it: none in a settled cluster.
    pub declared_to: Vec<NodeId>,
    /// Until when this node may answer alone.
    pub lease_until: Duration,
    /// Since when this node has run without a pause.
    pub present_since: Duration,
    /// Until when this node can be sure that it was not paused.
    pub present_until: Duration,
    /// Writes before this may be confirmed.
    pub confirmed: Time,
    /// Members that use the same images folder.
    pub companions: Arc<BTreeSet<NodeId>>,
    /// What each other member can hold, but those that use the same folder.
    pub(super) others: Vec<Other>,
    /// Rosters that were replaced since the cluster was settled, under which this node was clean.
    pub(super) epochs: Arc<Vec<Epoch>>,
    /// What others have declared; locked for a moment.
    pub(super) intents: Arc<Intents>,
    /// How often the cluster was settled before.
    pub(super) generation: u64,
    /// Members that were heard in this life of the node.
    pub heard: Arc<BTreeSet<NodeId>>,
    /// How far the clock of each peer that was heard is ahead of this node's, in milliseconds.
    pub clock_offsets: Vec<(NodeId, i64)>,
}

/// What another member can hold.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) node: NodeId,
    /// No write on it is later.
    pub(super) latest: Time,
    /// When it can have written what it did not declare to this node.
    pub(super) undeclared: Times,
    /// If this node hears and notes nothing from now on: since when that one can.
    pub(super) undeclared_after: Time,
}

/// A roster that was replaced.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) roster: Roster,
    /// No write under it is later.
    pub(super) end: Time,
    /// Who may have written under it without declaring it to this node.
    pub(super) undeclaring: BTreeSet<NodeId>,
}

impl Standing {
    /// A node that may do nothing: it has just started.
    pub fn nothing(own: NodeId) -> Standing {
        Standing {
            own,
            view: None,
            roster: Roster::new(own, []),
            is_ready: false,
            is_settled: false,
            floor: Time::default(),
            declared_to: Vec::new(),
            lease_until: Duration::ZERO,
            present_since: Duration::ZERO,
            present_until: Duration::ZERO,
            confirmed: Time::default(),
            companions: Arc::default(),
            others: Vec::new(),
            epochs: Arc::default(),
            intents: Arc::default(),
            generation: 0,
            heard: Arc::default(),
            clock_offsets: Vec::new(),
        }
    }

    /// The node that takes writes of this name.
    pub fn assigned(&self, user: &str, name: &str) -> NodeId {
        balancer::assigned(user, name, &self.roster)
    }

    /// Whether this node takes writes of this name now.
    pub fn takes(&self, user: &str, name: &str) -> bool {
        self.is_ready && self.assigned(user, name) == self.own
    }

    /// Whether this node's folder is that of the node that the name is assigned to.
    pub fn is_folder_of(&self, node: NodeId) -> bool {
        node == self.own || self.companions.contains(&node)
    }

    /// Whether a write with this time may be confirmed at `now`.
    pub fn confirms(&self, now: Duration, time: Time) -> bool {
        self.is_ready && now < self.lease_until && time < self.confirmed
    }

    /// Whether this node's own copy of a name that is assigned to it is the only one, at `now`.
    pub fn is_alone(&self, now: Duration) -> bool {
        self.is_settled && now < self.lease_until
    }

    /// The members that are not in the view and may hold something.
    pub fn away(&self) -> impl Iterator<Item = NodeId> {
        let others = self.others.iter().map(|other| other.node);
        others.filter(|other| !self.roster.contains(*other))
    }

    /// `node` is about to write this name in this view, with a version of `time`.
    pub fn note(&self, node: NodeId, user: &str, name: &str, time: Time) {
        self.intents.note(self.generation, node, (user, name), time);
    }

    /// What this node knows of the others, for its next life. `clock` is from before it told them that it leaves, and nothing that
    /// it has stored is later than `stored`.
    pub fn knowledge(&self, clock: Time, stored: Time) -> Knowledge {
        let peer = |other: &Other| {
            let declared = self.intents.all(self.generation, other.node);
            let since = match declared {
                Some(_) => other.undeclared_after.min(clock),
                None => Time::default(),
            };
            KnownPeer {
                node: other.node,
                undeclared: other.undeclared.until(since),
                undeclared_since: since,
                declared: declared.unwrap_or_default(),
            }
        };
        let epoch = |epoch: &Epoch| {
            let undeclaring = epoch.undeclaring.iter().copied().collect();
            KnownEpoch::new(&epoch.roster, epoch.end, undeclaring)
        };
        Knowledge {
            stored,
            peers: self.others.iter().map(peer).collect(),
            epochs: self.epochs.iter().map(epoch).collect(),
        }
    }

    /// When a copy of this name on another node can have been written, as far as this node knows. What counts no more is
    /// left out.
    pub fn times_on(&self, node: NodeId, user: &str, name: &str) -> Times {
        let other = self.others.iter().find(|other| other.node == node);
        let Some(other) = other.filter(|other| other.latest > Time::default()) else {
            return Times::default();
        };
        let had = |roster: &Roster| balancer::assigned(user, name, roster) == node;
        if self.roster.contains(node) && had(&self.roster) {
            return Times::up_to(other.latest);
        }
        let mut times = other.undeclared.clone();
        for epoch in self.epochs.iter() {
            if epoch.undeclaring.contains(&node) && had(&epoch.roster) {
                times.extend(&Times::up_to(epoch.end));
            }
        }
        if let Some(declared) = self.intents.latest(self.generation, node, (user, name)) {
            times.extend(&Times::up_to(declared));
        }
        times.until(other.latest)
    }
}
