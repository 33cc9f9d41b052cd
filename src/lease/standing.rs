//! What a node may do at one moment, as its workers read it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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
    /// Rosters that were replaced since the cluster was settled.
    pub(super) epochs: Arc<Vec<Epoch>>,
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
    /// It may have taken any name, in views that this node did not see.
    pub(super) may_hold_anything: bool,
}

/// A roster that was replaced.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) roster: Roster,
    /// No write under it is later.
    pub(super) end: Time,
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
            lease_until: Duration::ZERO,
            present_since: Duration::ZERO,
            present_until: Duration::ZERO,
            confirmed: Time::default(),
            companions: Arc::default(),
            others: Vec::new(),
            epochs: Arc::default(),
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

    /// The latest time that a copy of this name on another node can have; `None`: it holds none that counts.
    pub fn latest_on(&self, node: NodeId, user: &str, name: &str) -> Option<Time> {
        let other = self.others.iter().find(|other| other.node == node)?;
        let had = |roster: &Roster| balancer::assigned(user, name, roster) == node;
        let latest = if other.may_hold_anything || self.roster.contains(node) && had(&self.roster) {
            other.latest
        } else {
            let ends = self.epochs.iter().filter(|epoch| had(&epoch.roster));
            ends.map(|epoch| epoch.end).max()?.min(other.latest)
        };
        (latest > Time::default()).then_some(latest)
    }
}
