//! What all threads of a node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::counters::Counters;
use crate::cluster::Cluster;
use crate::keyset::Keyset;
use crate::members::Members;
use crate::roster::NodeId;
use crate::sealing::blocks::Blocks;
use crate::sealing::pool::SealingPool;
use crate::store::Store;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) members: Members,
    pub(crate) keyset: Arc<Keyset>,
    pub(crate) store: Store,
    pub(crate) cluster: Cluster,
    pub(crate) pool: SealingPool,
    pub(crate) blocks: Blocks,
    pub(crate) counters: Counters,
    /// The longest image.
    pub(crate) body_bytes_max: u64,
    /// The most pixels an image may claim.
    pub(crate) pixels_max: u64,
    /// The node is going away: no upload is admitted.
    pub(crate) leaving: AtomicBool,
}

impl Node {
    /// Every configured node but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().map(|(id, _)| id).filter(|id| *id != self.id)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Tells the others, and admits no more uploads.
    pub(crate) fn leave(&self) {
        self.cluster.leave();
        self.leaving.store(true, Ordering::Relaxed);
    }
}
