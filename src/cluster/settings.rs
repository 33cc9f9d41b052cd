//! What membership needs to know when a node starts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::condition::ConditionCell;
use crate::lease::knowledge::Knowledge;
use crate::members::Members;
use crate::roster::NodeId;
use crate::version::Clock;

/// What membership needs to know.
pub(crate) struct ClusterSettings {
    pub(crate) own: NodeId,
    pub(crate) members: Members,
    /// Where heartbeats are received.
    pub(crate) listen: SocketAddr,
    /// That is where the members' list has this node.
    pub(crate) is_at_home: bool,
    /// The secret that all nodes share.
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// Fingerprints of the keys that open images; the first is of the one that seals.
    pub(crate) image_keys: Vec<u64>,
    /// Greater than at every earlier start of this node, and greater than 0.
    pub(crate) incarnation: u64,
    /// A peer that nobody has heard for this long is dead; see [`HEALTH_TIMEOUT`](crate::election::HEALTH_TIMEOUT).
    pub(crate) health_timeout: Duration,
    /// Whether the node can take images; the cluster adds what it finds out itself.
    pub(crate) condition: Arc<ConditionCell>,
    /// Gives the times of writes; shared with whoever writes.
    pub(crate) clock: Arc<Clock>,
    /// Names the images folder.
    pub(crate) folder: u64,
    /// Members that this folder's node has heard before.
    pub(crate) met: BTreeSet<NodeId>,
    /// Members that have used the same images folder.
    pub(crate) companions: BTreeSet<NodeId>,
    /// What the last life of this node knew, if it left a moment ago.
    pub(crate) knowledge: Option<Knowledge>,
}
