//! What all threads of a node share.

use std::sync::{Arc, Mutex, RwLock};

use serde::de::DeserializeOwned;

use super::counters::Counters;
use super::listings::Listings;
use super::misplaced::Misplaced;
use super::names::NameLocks;
use super::peers::Peers;
use super::transfers::Transfers;
use crate::cluster::{Cluster, time};
use crate::condition::ConditionCell;
use crate::image::Rules;
use crate::keyset::Keyset;
use crate::lease::standing::Standing;
use crate::members::Members;
use crate::roster::{NodeId, ViewId};
use crate::sealing::blocks::Blocks;
use crate::sealing::pool::SealingPool;
use crate::store::Store;
use crate::store::disk::{MinFree, Room};
use crate::store::listing::ImageCount;
use crate::ticket::{Claims, LIFETIME_MS, Purpose, Scope, TicketKey};
use crate::version::{Clock, Version};

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) keyset: Arc<Keyset>,
    pub(crate) store: Store,
    pub(crate) cluster: Cluster,
    /// Gives the times of writes.
    pub(crate) clock: Arc<Clock>,
    pub(crate) tickets: TicketKey,
    pub(crate) peers: Peers,
    pub(crate) names: NameLocks,
    /// Held from before the conditions of a write are judged until it has its name: what the name holds is not told meanwhile.
    pub(crate) judging: NameLocks,
    /// Held for reading while a name is changed; for writing, to be sure that nobody goes by an earlier view.
    pub(crate) commits: RwLock<()>,
    /// Held for reading from before a name is changed until the write is confirmed.
    pub(crate) confirmations: RwLock<()>,
    pub(crate) listings: Listings,
    /// One copy at a time is taken over.
    pub(crate) taking_over: Mutex<()>,
    pub(crate) pool: SealingPool,
    pub(crate) blocks: Blocks,
    pub(crate) counters: Counters,
    /// The longest image.
    pub(crate) body_bytes_max: u64,
    /// The most pixels an image may claim.
    pub(crate) pixels_max: u64,
    /// What an upload is held to. A copy that another node hands over was judged there.
    pub(crate) png_rules: Rules,
    /// Whether it can take images.
    pub(crate) condition: Arc<ConditionCell>,
    /// What is in progress, and whether more of it is begun.
    pub(crate) transfers: Transfers,
    /// What lies here and belongs elsewhere.
    pub(crate) misplaced: Misplaced,
    /// How much room its disk must have for that.
    pub(crate) min_free: MinFree,
    /// Images in the folder when they were counted last; none if they could not be.
    pub(crate) held: Mutex<Option<ImageCount>>,
    /// The room on the disk when it was looked at last; none if it did not say.
    pub(crate) room: Mutex<Option<Room>>,
}

impl Node {
    /// What nodes speak: `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.peers.speaks_tls() { "https" } else { "http" }
    }

    /// The members at present, this node among them.
    pub(crate) fn members(&self) -> Arc<Members> {
        self.cluster.members()
    }

    /// Every member but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = NodeId> {
        let others: Vec<NodeId> = self.members().ids().filter(|id| *id != self.id).collect();
        others.into_iter()
    }

    /// What these nodes answer to a GET of `target`, a path with a query, which is `scope`. One that is dead by now is not
    /// waited for.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        nodes: &[NodeId],
        (target, scope): (&str, Scope<'_>),
    ) -> Vec<(NodeId, Option<T>)> {
        self.ask_each(nodes, "GET", &|to| {
            let claims = self.claims(to, Purpose::Read, Default::default());
            format!("{target}&ticket={}", self.tickets.sign(&claims, scope))
        })
    }

    /// What these nodes answer, each to a question of its own. One that is dead by now is not waited for.
    pub(crate) fn ask_each<T: DeserializeOwned>(
        &self,
        nodes: &[NodeId],
        method: &str,
        target: &dyn Fn(NodeId) -> String,
    ) -> Vec<(NodeId, Option<T>)> {
        let is_there = |node| self.cluster.standing().roster.contains(node);
        self.peers.ask(&self.members(), nodes, (method, target), is_there)
    }

    /// What a ticket says by which this node asks another one for something that only nodes may ask.
    pub(crate) fn claims(&self, to: NodeId, purpose: Purpose, (version, view): (Version, ViewId)) -> Claims {
        Claims {
            purpose,
            node: to,
            view,
            hops: 0,
            expiry_ms: self.ticket_ms() + LIFETIME_MS,
            version,
        }
    }

    /// The time that tickets are judged by, in milliseconds since 1970: that of the clock which all nodes follow, since wall
    /// clocks may differ by more than a ticket lasts.
    pub(crate) fn ticket_ms(&self) -> u64 {
        self.clock.now(self.wall_ms()).ms()
    }

    /// The version of a write that begins now.
    pub(crate) fn next_version(&self) -> Version {
        Version {
            time: self.clock.next(self.wall_ms()),
            node: self.id,
        }
    }

    /// Every later version of this node is after this one, which it has seen: whatever the wall clocks do.
    pub(crate) fn goes_on_after(&self, version: Version) {
        self.clock.start_after(version.time);
    }

    #[allow(
        clippy::unused_self,
        reason = "the clock of the machine that the node runs on"
    )]
    pub(crate) fn wall_ms(&self) -> u64 {
        time::wall_ms()
    }

    /// Whether every member uses this node's folder: then what lies in it is all there is.
    pub(crate) fn shares_with_all(&self, standing: &Standing) -> bool {
        self.others().all(|other| standing.companions.contains(&other))
    }

    /// Whether no other node takes writes in another view than that of `standing`: none could while this node has a lease.
    pub(crate) fn has_lease(&self, standing: &Standing) -> bool {
        let now = self.cluster.standing();
        now.view == standing.view && self.cluster.now() < now.lease_until
    }

    /// Whether what `standing` says of other nodes still holds: the view is the same, and this node was not paused since.
    pub(crate) fn is_current(&self, standing: &Standing) -> bool {
        let now = self.cluster.standing();
        standing.view.is_some()
            && now.view == standing.view
            && now.present_since == standing.present_since
            && self.cluster.now() < now.present_until
    }

    /// Whether what was read after `standing` was asked for is certain without asking anybody.
    pub(crate) fn is_alone(&self, standing: &Standing) -> bool {
        let now = self.cluster.standing();
        now.view == standing.view && now.is_alone(self.cluster.now())
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.transfers.are_ending()
    }
}
