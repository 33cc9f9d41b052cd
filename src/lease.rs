//! What a node may answer alone: leases, whether the cluster is settled, and what absent nodes may hold.
//!
//! Fed by the heartbeat thread with what peers say of themselves, once their datagrams are known to be authentic and
//! fresh. Holds no socket, clock or thread; times are those of the election. From it come three promises:
//!
//! - *Ready*: every node of the view has installed it, and every other member has been silent for so long that its
//!   lease has expired, or has said that it takes no part; a node that has said so itself waits for as long. Only then does a node take or confirm writes: no two nodes take writes of one name at a time.
//! - *Lease*: every node of the view heard this node a moment ago under this view, so none of them takes writes for
//!   this node's names before the lease ends (Gray and Cheriton 1989). It ends before a silent node is replaced; a
//!   node that was paused wakes up without one.
//! - *Settled*: all members are in the view, and each has reported that nothing of it lies elsewhere. Then the copy on
//!   the assigned node is the only one, and is served without asking anybody.
//!
//! When a node is away, when can it have written a name? [`standing::Standing::times_on`] tells, of all that this node
//! knows:
//!
//! - While the cluster was settled, it took what it was assigned, and told nobody.
//! - Since then it declared each name to this node before it wrote it ([`intents`]), unless this node had said that it is
//!   clean. What this node has not noted, the other one wrote in views without this node: later than the last reserve that
//!   it had heard of this node ([`Leases::floor`]), and no later than [`Facts::stored`](facts::Facts::stored).
//! - A node that is clean knows only what the other one was assigned. That is enough: copies that it might be asked about lie
//!   on nodes that are not clean, and those have noted each name.
//! - It confirmed nothing later than the last time that it announced ([`Facts::reserve`](facts::Facts::reserve)): a node
//!   confirms a write only once all others of its view have heard of a later reserve.
//!
//! A pause loses nothing of that: what others wrote meanwhile is of a known span of time. Nor does a node that leaves in
//! peace and starts again: it leaves what it knows to its next life ([`knowledge`]).
//!
//! The election already excludes what must not happen here: a view is adopted from its leader only, over a link that
//! works both ways. During a partition each side is ready for itself; the newest version wins when they meet.

pub mod facts;
pub mod intents;
pub mod knowledge;
mod peer;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod times;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::facts::Heard;
use self::intents::Intents;
use self::knowledge::Knowledge;
use self::peer::PeerLease;
use self::standing::{Epoch, Other, Standing};
use crate::roster::{NodeId, Roster, ViewId};
use crate::version::Time;

/// How long a node may answer alone after the moment at which it was heard.
pub const LEASE: Duration = Duration::from_millis(450);
/// A node that was not heard for this long has no lease any more. The difference covers clocks that run at different
/// speeds and the time between looking at the clock and acting.
pub const EXPIRY: Duration = Duration::from_millis(600);
/// How far a clock is ahead of the wall clock at most, in milliseconds, as long as the wall clocks of the nodes agree: a
/// node starts with its clock so far ahead, since it does not know how far it was when it stopped; and nobody knows more
/// of a member that was never heard. A silent node had stopped [`EXPIRY`] before that is used, which is what the wall
/// clocks may differ by.
pub const CLOCK_LEAD_MS: u64 = 1500;
/// A reserve is announced until one can be that is so much later: of those that are remembered, the first is older than
/// any echo, however many datagrams are sent.
const RESERVE_STEP_MS: u64 = 20;
/// Rosters that are remembered under which nodes may have written without declaring it. One more, and absent nodes may hold
/// anything.
const EPOCHS_MAX: usize = 64;
/// Reserves that are remembered until they are confirmed: more than a lease is long.
const RESERVES_MAX: usize = 64;

/// Everything a node knows of leases.
pub struct Leases {
    own: NodeId,
    folder: u64,
    peers: BTreeMap<NodeId, PeerLease>,
    /// Nodes that are no members any more, and may still have a lease.
    departed: BTreeMap<NodeId, PeerLease>,
    /// Members that were ever heard in the life of the images folder, before this life of the node.
    met: BTreeSet<NodeId>,
    /// Members that were never heard in the life of the images folder: they have nothing.
    strangers: BTreeSet<NodeId>,
    /// Members that were last seen in the same images folder.
    companions: Arc<BTreeSet<NodeId>>,
    /// Members that were heard in this life of the node.
    heard: Arc<BTreeSet<NodeId>>,
    view: Option<(ViewId, Roster)>,
    /// Rosters since the cluster was settled under which peers may have written without declaring it to this node, each
    /// once.
    epochs: Arc<Vec<Epoch>>,
    /// Peers that may have written under the present roster without declaring it to this node.
    undeclaring: BTreeSet<NodeId>,
    /// No peer had used a later time when this node was last paused, under the present roster.
    used_before_pause: Time,
    intents: Arc<Intents>,
    /// How often the cluster was settled.
    generation: u64,
    /// No write that this node stored in an earlier view is later.
    stored: Time,
    /// The view for which nothing of this node lies elsewhere.
    clean: Option<ViewId>,
    /// What this node announced, and when.
    reserves: VecDeque<(Duration, Time)>,
    /// Since when it has run without a pause.
    present_since: Duration,
    /// When this node last took no part, and may have said so.
    apart_at: Option<Duration>,
    ticked: Duration,
}

impl Leases {
    /// A node at time 0, which has heard nobody. `met` are the members that this folder's node has ever heard,
    /// `companions` those that have used the same folder.
    pub fn new(
        own: NodeId,
        members: impl IntoIterator<Item = NodeId>,
        folder: u64,
        met: &BTreeSet<NodeId>,
        companions: BTreeSet<NodeId>,
    ) -> Leases {
        let mut leases = Leases {
            own,
            folder,
            peers: BTreeMap::new(),
            departed: BTreeMap::new(),
            met: met.clone(),
            strangers: BTreeSet::new(),
            companions: Arc::new(companions),
            heard: Arc::default(),
            view: None,
            epochs: Arc::default(),
            undeclaring: BTreeSet::new(),
            used_before_pause: Time::default(),
            intents: Arc::default(),
            generation: 0,
            stored: Time::MAX,
            clean: None,
            reserves: VecDeque::new(),
            present_since: Duration::ZERO,
            apart_at: None,
            ticked: Duration::ZERO,
        };
        leases.set_members(members);
        leases
    }

    /// What an earlier life of this node knew when it left. It is `wall_ms` by the wall clock now.
    pub fn recall(&mut self, knowledge: &Knowledge, wall_ms: u64) {
        for peer in &knowledge.peers {
            if let Some(lease) = self.peers.get_mut(&peer.node) {
                *lease = PeerLease::recalled(peer, wall_ms);
                self.intents.recall(peer.node, &peer.declared);
            }
        }
        let epochs = knowledge.epochs.iter().filter_map(|epoch| {
            Some(Epoch {
                roster: epoch.roster()?,
                end: epoch.end,
                undeclaring: epoch.undeclaring.iter().copied().collect(),
            })
        });
        self.epochs = Arc::new(epochs.take(EPOCHS_MAX).collect());
    }

    /// These are the members from now on. Whoever is none any more holds nothing that counts: whoever changed the list
    /// has said so.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = NodeId>) {
        let members: BTreeSet<NodeId> = members.into_iter().filter(|id| *id != self.own).collect();
        let (kept, gone) = std::mem::take(&mut self.peers)
            .into_iter()
            .partition(|(id, _)| members.contains(id));
        self.peers = kept;
        self.departed.extend::<BTreeMap<NodeId, PeerLease>>(gone);
        for id in members {
            // One that comes back is waited for as one whose lease has not expired.
            if let Some(mut departed) = self.departed.remove(&id) {
                departed.lose_track();
                self.peers.insert(id, departed);
            }
            self.peers.entry(id).or_insert_with(|| {
                if !self.met.contains(&id) && !self.heard.contains(&id) {
                    self.strangers.insert(id);
                }
                PeerLease::unknown()
            });
        }
        self.forget_if_settled();
    }

    /// Time has passed. A node that was paused knows what was before, and nothing of what others have done meanwhile.
    pub fn tick(&mut self, now: Duration, clock: Time, wall_ms: u64) {
        if now.saturating_sub(self.ticked) > LEASE {
            self.present_since = now;
            let used = self.peers.values().filter_map(PeerLease::latest);
            self.used_before_pause = used.fold(self.used_before_pause, Time::max);
            for peer in self.peers.values_mut() {
                *peer = std::mem::take(peer).after_pause();
            }
        }
        self.ticked = now;
        let present_since = self.present_since;
        self.departed
            .retain(|_, peer| !peer.has_expired(now, present_since));
        let expired_at = self.present_since + EXPIRY;
        for (id, peer) in &mut self.peers {
            if peer.heard.is_none() && peer.estimate.is_none() && now >= expired_at {
                let stranger = self.strangers.contains(id);
                peer.estimate = Some(if stranger {
                    Time::default()
                } else {
                    clock.max(Time::from_ms(wall_ms).plus_ms(CLOCK_LEAD_MS))
                });
            }
        }
    }

    /// This node takes no part at present, and its datagrams say so. Others do not wait for a lease of it then, so it takes
    /// nothing before they must have heard that it takes part again.
    pub fn stay_apart(&mut self, now: Duration) {
        self.apart_at = Some(now);
        self.peers.values_mut().for_each(PeerLease::lose_track);
    }

    /// The reserve to announce in a datagram that this node sends now: `reserve`, or the last one, if that was announced just
    /// now or the wall clock went back.
    #[must_use]
    pub fn announce(&mut self, now: Duration, reserve: Time) -> Time {
        if let Some((_, last)) = self.reserves.back()
            && last.plus_ms(RESERVE_STEP_MS) > reserve
        {
            return *last;
        }
        self.reserves.push_back((now, reserve));
        if self.reserves.len() > RESERVES_MAX {
            self.reserves.pop_front();
        }
        reserve
    }

    /// A peer was heard.
    pub fn heard(&mut self, now: Duration, heard: Heard) {
        let installed = self.view.as_ref().map(|(view, _)| *view);
        let known = (installed, self.present_since);
        let reserve = self.reserve_by(heard.echo);
        let Some(peer) = self.peers.get_mut(&heard.peer) else {
            return;
        };
        peer.hear(now, heard, reserve, known);
        if let Some((view, roster)) = &self.view
            && heard.view == Some(*view)
            && !roster.places_on(heard.peer)
        {
            peer.ceased.get_or_insert(heard.facts.clock);
        }
        self.strangers.remove(&heard.peer);
        let shares = heard.facts.folder == self.folder;
        if shares != self.companions.contains(&heard.peer) {
            let companions = Arc::make_mut(&mut self.companions);
            if shares {
                companions.insert(heard.peer);
            } else {
                companions.remove(&heard.peer);
                peer.lose_track();
            }
        }
        if !self.heard.contains(&heard.peer) {
            Arc::make_mut(&mut self.heard).insert(heard.peer);
        }
        self.forget_if_settled();
    }

    /// A datagram of a peer has arrived, which may not be heard. The peer counts its lease and its reserve by the news
    /// that it arrived: this node can call neither expired.
    pub fn arrived(&mut self, now: Duration, peer: NodeId, reserve: Time) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.arrive(now, reserve);
        }
    }

    /// A peer said that it stops, or takes no part: it has given up its lease, and confirms nothing later than `clock`.
    pub fn left(&mut self, peer: NodeId, clock: Time) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.leave(clock);
        }
    }

    /// Workers place by this view from now on. `None`: there is no leader.
    pub fn install(&mut self, view: Option<(ViewId, Roster)>, clock: Time) {
        let replaced = match (self.view.take(), &view) {
            (Some((_, before)), Some((_, now))) if before == *now => None,
            (Some((_, before)), _) => Some(before),
            (None, _) => None,
        };
        if let Some(roster) = replaced {
            let end = self
                .peers
                .values()
                .filter_map(PeerLease::latest)
                .fold(clock.max(self.used_before_pause), Time::max);
            let undeclaring = std::mem::take(&mut self.undeclaring);
            self.used_before_pause = Time::default();
            let epochs = Arc::make_mut(&mut self.epochs);
            match epochs.iter_mut().find(|epoch| epoch.roster == roster) {
                _ if undeclaring.is_empty() => {}
                Some(epoch) => {
                    epoch.end = epoch.end.max(end);
                    epoch.undeclaring.extend(undeclaring);
                }
                None => epochs.push(Epoch {
                    roster,
                    end,
                    undeclaring,
                }),
            }
            if self.epochs.len() > EPOCHS_MAX {
                self.epochs = Arc::default();
                self.peers.values_mut().for_each(PeerLease::lose_track);
            }
        }
        if let Some((_, roster)) = &view {
            let placed = self.peers.iter_mut().filter(|(id, _)| roster.places_on(**id));
            placed.for_each(|(_, peer)| peer.ceased = None);
        }
        self.view = view;
        self.take_up_clean();
        self.forget_if_settled();
    }

    /// Nothing of what this node holds belongs elsewhere, in this view.
    pub fn set_clean(&mut self, view: Option<ViewId>) {
        self.clean = view;
        self.take_up_clean();
        self.forget_if_settled();
    }

    /// Whether this node is clean in the view that it has installed.
    pub fn is_clean(&self) -> bool {
        self.view
            .as_ref()
            .is_some_and(|(view, _)| self.clean == Some(*view))
    }

    /// Since the view was installed workers have gone by it, and nothing had been stored that is later than this.
    pub fn set_stored(&mut self, stored: Time) {
        self.stored = stored;
    }

    /// What to announce as [`Facts::stored`](facts::Facts::stored).
    pub fn stored(&self) -> Time {
        self.stored
    }

    /// What this node may do at `now`, which is `wall_ms` by its wall clock.
    pub fn standing(&self, now: Duration, wall_ms: u64) -> Standing {
        let roster = match &self.view {
            Some((_, roster)) => roster.clone(),
            None => Roster::new(self.own, []),
        };
        let in_view = || self.peers.iter().filter(|(id, _)| roster.contains(**id));
        let echoes = || in_view().filter_map(|(_, peer)| self.echo_under_view(peer));
        let is_ready = self.is_ready(now, &roster);
        let heard_by_all = echoes().count() == in_view().count();
        let lease = echoes().fold(self.ticked, Duration::min) + LEASE;
        // Nobody else may be there to hear of a reserve.
        let confirmed = echoes().min().map_or(Time::MAX, |oldest| self.reserve_by(oldest));
        Standing {
            own: self.own,
            view: self.view.as_ref().map(|(view, _)| *view),
            is_ready,
            is_settled: is_ready && self.is_settled(),
            floor: self.floor(),
            declared_to: self.declared_to(&roster),
            present_since: self.present_since,
            present_until: self.ticked + LEASE,
            lease_until: if self.view.is_some() && heard_by_all {
                lease
            } else {
                Duration::ZERO
            },
            confirmed,
            companions: Arc::clone(&self.companions),
            others: self.others(&roster),
            epochs: Arc::clone(&self.epochs),
            intents: Arc::clone(&self.intents),
            generation: self.generation,
            heard: Arc::clone(&self.heard),
            clock_offsets: self.clock_offsets(now, wall_ms),
            roster,
        }
    }

    /// A write that this node takes from now on has to be later than this: nothing of those that are away is.
    pub fn floor(&self) -> Time {
        let roster = self.view.as_ref().map(|(_, roster)| roster);
        let away = self
            .peers
            .iter()
            .filter(|(id, _)| roster.is_some_and(|roster| !roster.contains(**id)));
        away.filter_map(|(_, peer)| peer.latest())
            .fold(Time::default(), Time::max)
    }

    fn is_ready(&self, now: Duration, roster: &Roster) -> bool {
        let Some((view, _)) = &self.view else {
            return false;
        };
        let departed = || {
            self.departed
                .values()
                .all(|peer| peer.has_expired(now, self.present_since))
        };
        let is_acknowledged = self.apart_at.is_none_or(|at| now >= at + EXPIRY);
        is_acknowledged
            && departed()
            && self.peers.iter().all(|(id, peer)| {
                if roster.contains(*id) {
                    self.heard_now(peer)
                        .is_some_and(|heard| heard.view == Some(*view))
                } else {
                    peer.has_expired(now, self.present_since)
                }
            })
    }

    fn is_settled(&self) -> bool {
        let Some((_, roster)) = &self.view else {
            return false;
        };
        let mut peers = self.peers.iter();
        self.is_clean() && peers.all(|(id, peer)| roster.contains(*id) && self.has_said_clean(peer))
    }

    /// The peer has said that it is clean in the view that this node has installed.
    fn has_said_clean(&self, peer: &PeerLease) -> bool {
        let view = self.view.as_ref().map(|(view, _)| *view);
        self.heard_now(peer)
            .is_some_and(|heard| view.is_some() && heard.view == view && heard.facts.is_clean)
    }

    /// The nodes of the view that use another folder, and may hold what belongs elsewhere.
    fn declared_to(&self, roster: &Roster) -> Vec<NodeId> {
        let separate = self.peers.iter().filter(|(id, _)| !self.companions.contains(id));
        separate
            .filter(|(id, peer)| roster.contains(**id) && !self.has_said_clean(peer))
            .map(|(id, _)| *id)
            .collect()
    }

    /// What the peer said last, if it had heard this node since it was last paused: what waited in the socket meanwhile tells
    /// of the time before.
    fn heard_now<'p>(&self, peer: &'p PeerLease) -> Option<&'p Heard> {
        let (_, heard) = peer.heard.as_ref()?;
        (heard.echo >= self.present_since).then_some(heard)
    }

    /// Whoever hears that this node is clean declares nothing to it from then on.
    fn take_up_clean(&mut self) {
        if self.is_clean() {
            self.undeclaring.extend(self.peers.keys());
        }
    }

    /// In a settled cluster nobody holds what it was assigned earlier.
    fn forget_if_settled(&mut self) {
        let is_open = |peer: &PeerLease| !peer.undeclared().is_empty();
        if (!self.epochs.is_empty() || self.peers.values().any(is_open)) && self.is_settled() {
            self.generation += 1;
            self.epochs = Arc::default();
            self.peers.values_mut().for_each(PeerLease::settle);
        }
    }

    /// The latest reserve that this node had announced by then.
    fn reserve_by(&self, sent: Duration) -> Time {
        let announced = self.reserves.iter().take_while(|(at, _)| *at <= sent);
        announced.last().map_or(Time::default(), |(_, reserve)| *reserve)
    }

    /// When the peer heard this node last, if it has installed the same view.
    fn echo_under_view(&self, peer: &PeerLease) -> Option<Duration> {
        let (view, _) = self.view.as_ref()?;
        let (_, heard) = peer.heard?;
        (heard.view == Some(*view)).then_some(heard.echo)
    }

    fn others(&self, roster: &Roster) -> Vec<Other> {
        let separate = self.peers.iter().filter(|(id, _)| !self.companions.contains(id));
        let other = |(id, peer): (&NodeId, &PeerLease)| {
            // One that is in the view, or has not even expired, may do anything at the moment.
            let latest = if roster.contains(*id) {
                Time::MAX
            } else {
                peer.latest().unwrap_or(Time::MAX)
            };
            let undeclared = peer.undeclared();
            let ceased = peer.ceased.filter(|_| undeclared.is_empty());
            Other {
                node: *id,
                latest: ceased.map_or(latest, |ceased| ceased.min(latest)),
                undeclared,
                undeclared_after: peer.undeclared_after(),
            }
        };
        separate.map(other).collect()
    }

    fn clock_offsets(&self, now: Duration, wall_ms: u64) -> Vec<(NodeId, i64)> {
        let off = |(id, peer): (&NodeId, &PeerLease)| {
            let (at, heard) = peer.heard?;
            let passed = u64::try_from(now.saturating_sub(at).as_millis()).ok()?;
            let theirs = heard.facts.wall_ms.saturating_add(passed);
            let offset = i64::try_from(theirs).ok()? - i64::try_from(wall_ms).ok()?;
            Some((*id, offset))
        };
        self.peers.iter().filter_map(off).collect()
    }
}
