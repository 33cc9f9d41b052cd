//! Brings every copy to the node that it is assigned to, once all members are back, and says when that is done.
//!
//! ```text
//! a new view ─► all members in it, ready? ─► writes of earlier views have ended ─► nothing misplaced? ─► clean
//!                                                                                  └► hand over, look again
//! ```
//!
//! One thread, at the workers' priority. While a member is away, or takes no images, nothing is moved: `mod` moves most
//! names with each change of the view, and what was written elsewhere meanwhile is found by asking. A person who takes a
//! node out for good has its images moved all the same ([`rebalance`]). Also forgets tombstones that every
//! member has heard of, remembers which members were ever met, and keeps the clock for the next start.

#![allow(clippy::disallowed_methods, reason = "this room owns the thread that settles")]

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::error::Error;
use super::hand_over;
use super::pause::pause;
use super::shared::Node;
use crate::condition::Condition;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::priority;
use crate::report::Rebalance;
use crate::roster::{NodeId, ViewId};
use crate::ticket::LIFETIME_MS;
use crate::vital;

/// How long images are moved after a person has asked for it, who asks again as long as there is something to move.
const REBALANCE_TIME: Duration = Duration::from_secs(10);
/// How often the thread looks whether there is something to do.
const INTERVAL: Duration = Duration::from_millis(50);
/// A tombstone is forgotten when the cluster has been settled for this long: twice what a ticket lives, so that no copy
/// that is still on its way comes after it.
const TOMBSTONES_KEPT: Duration = Duration::from_millis(2 * LIFETIME_MS);
/// How soon what was not taken is offered again, and what could not be kept is kept.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often old tombstones are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How often the clock is kept.
const KEEP_CLOCK_EVERY: Duration = Duration::from_secs(5);
/// How many threads hand over. More would only take the disk from uploads.
const HANDING_OVER: usize = 2;
/// Each of them rests so many times as long as it worked: uploads come first, and a hand-over costs as much as several of them
/// (docs/measurements.md).
const REST: u32 = 6;
/// At most so long.
const REST_MAX: Duration = Duration::from_millis(200);
/// A tombstone of this age that waits for a member is told of.
const TOMBSTONE_WARNING_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// How often that is told.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// From now on, for a while, images are moved to the nodes that they are assigned to now, although not all nodes take
/// images. All members have to be there: nobody knows what one that is away holds.
pub(crate) fn rebalance(node: &Node) -> Result<Rebalance, Error> {
    let standing = node.cluster.standing();
    let Some(view) = standing.view.filter(|_| standing.is_ready) else {
        return Err(Error::NotReady);
    };
    let away: Vec<NodeId> = node
        .others()
        .filter(|id| !standing.roster.contains(*id))
        .collect();
    if !away.is_empty() {
        return Err(Error::Away(away));
    }
    node.misplaced.want_moved(node.cluster.now() + REBALANCE_TIME);
    Ok(Rebalance {
        node: node.id,
        view,
        misplaced: node.misplaced.in_view(view),
    })
}

/// The thread that settles.
pub(crate) struct Settling {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Settling {
    pub(crate) fn start(node: Arc<Node>, met: BTreeSet<NodeId>) -> io::Result<Settling> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = vital::spawn("settle", {
            let stop = Arc::clone(&stop);
            move || {
                priority::give_way_to_heartbeat();
                Settler::new(node, met, stop).run();
            }
        })?;
        Ok(Settling { stop, thread })
    }

    /// Has the thread end, and waits for that until `is_over`. A hand-over that is cut leaves the copy where it was.
    pub(crate) fn finish(self, is_over: impl Fn() -> bool) {
        self.stop.store(true, Ordering::Relaxed);
        while !self.thread.is_finished() && !is_over() {
            pause();
        }
    }
}

struct Settler {
    node: Arc<Node>,
    stop: Arc<AtomicBool>,
    /// The view that this node is clean in.
    clean: Option<ViewId>,
    /// Since when the cluster has been settled, without a break.
    settled_since: Option<(ViewId, Duration)>,
    /// Deletes that an earlier life left undone are done.
    deletes_are_finished: bool,
    /// Members that the next start will know of.
    met: BTreeSet<NodeId>,
    /// What was not taken is offered again then.
    retry_at: Duration,
    next_sweep: Duration,
    next_clock: Duration,
    next_met: Duration,
    next_warning: Duration,
}

impl Settler {
    fn new(node: Arc<Node>, met: BTreeSet<NodeId>, stop: Arc<AtomicBool>) -> Settler {
        Settler {
            node,
            stop,
            met,
            clean: None,
            settled_since: None,
            deletes_are_finished: false,
            retry_at: Duration::ZERO,
            next_sweep: Duration::ZERO,
            next_clock: Duration::ZERO,
            next_met: Duration::ZERO,
            next_warning: Duration::ZERO,
        }
    }

    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let standing = self.node.cluster.standing();
            self.node.store.set_shared(!standing.companions.is_empty());
            let now = self.node.cluster.now();
            let worked = match standing.view {
                Some(view) if self.is_due(view, now) && self.is_whole(&standing) => self.settle(view),
                _ => Ok(()),
            };
            if let Err(error) = worked.and_then(|()| self.keep_house(&standing)) {
                // Of a disk that cannot be used people are told once, by whoever watches it.
                let condition = self.node.condition.get();
                if matches!(
                    condition,
                    Condition::Able | Condition::Draining | Condition::OtherKeys
                ) {
                    log::error!("Node {}: {error}", self.node.id);
                }
                self.retry_at = now + RETRY_EVERY;
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Not clean in this view yet, and not just tried in vain.
    fn is_due(&self, view: ViewId, now: Duration) -> bool {
        self.clean != Some(view) && now >= self.retry_at
    }

    /// All members are in the view, and take images or are to be emptied, and it may be acted on.
    fn is_whole(&self, standing: &Standing) -> bool {
        let members = self.node.members().count();
        let Standing { is_ready, roster, .. } = standing;
        let is_wanted =
            roster.ids().len() == members && self.node.misplaced.are_wanted(self.node.cluster.now());
        *is_ready && (roster.placed().len() == members || is_wanted)
    }

    /// Hands over what is misplaced in this view; if all of it was taken, this node is clean.
    fn settle(&mut self, view: ViewId) -> Result<(), crate::store::error::Error> {
        // Whoever commits from now on does so in this view or a later one.
        drop(self.node.commits.write().unwrap_or_else(PoisonError::into_inner));
        let misplaced = self.misplaced(view)?;
        self.node.misplaced.set(view, misplaced.len() as u64);
        if misplaced.is_empty() {
            if self.is_current(view) {
                self.clean = Some(view);
                self.node.cluster.set_clean(view);
            }
            return Ok(());
        }
        log::info!(
            "Node {}: Handing over {} images that are assigned to other nodes",
            self.node.id,
            misplaced.len()
        );
        let queue = crossbeam_channel::unbounded();
        for job in misplaced {
            queue.0.send(job).expect("this function holds the other end");
        }
        drop(queue.0);
        let refused = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..HANDING_OVER {
                scope.spawn(|| {
                    priority::give_way_to_heartbeat();
                    while let Ok((id, to)) = queue.1.try_recv() {
                        if !self.is_current(view) || self.stop.load(Ordering::Relaxed) {
                            return;
                        }
                        if !self.hand_over(&id, to) && refused.fetch_add(1, Ordering::Relaxed) == 0 {
                            log::warn!("Node {}: Node {to} does not take {id} now", self.node.id);
                        }
                    }
                });
            }
        });
        log::info!("Node {}: Handed over what other nodes took", self.node.id);
        // The next round finds what was not taken, and is clean if there is nothing.
        if refused.into_inner() > 0 {
            self.retry_at = self.node.cluster.now() + RETRY_EVERY;
        }
        Ok(())
    }

    fn hand_over(&self, id: &ImageId, to: NodeId) -> bool {
        let begun = Instant::now();
        let taken = hand_over::copy(&self.node, to, id).unwrap_or_else(|error| {
            log::error!("Node {}: {error}", self.node.id);
            false
        });
        if taken {
            Counters::add(&self.node.counters.images_handed_over, 1);
            self.node.misplaced.one_less();
        }
        thread::sleep((begun.elapsed() * REST).min(REST_MAX));
        taken
    }

    fn is_current(&self, view: ViewId) -> bool {
        let standing = self.node.cluster.standing();
        standing.view == Some(view) && self.is_whole(&standing)
    }

    /// What lies here and belongs to another folder.
    fn misplaced(&self, view: ViewId) -> Result<Vec<(ImageId, NodeId)>, crate::store::error::Error> {
        let standing = self.node.cluster.standing();
        let mut misplaced = Vec::new();
        self.node.store.for_each_name(|id| {
            let to = standing.assigned(id.user(), id.name());
            if !standing.is_folder_of(to) {
                misplaced.push((id, to));
            }
        })?;
        // If the view has changed meanwhile, the next round looks again.
        misplaced.retain(|_| standing.view == Some(view));
        Ok(misplaced)
    }

    fn keep_house(&mut self, standing: &Standing) -> Result<(), crate::store::error::Error> {
        let now = self.node.cluster.now();
        if let Some(other) = self.node.cluster.outlived_by() {
            let incarnation = self.node.store.reincarnate(other)?;
            self.node.cluster.reincarnate(incarnation);
            log::warn!(
                "Node {}: others know a later life of this node: its incarnation file was lost, or the clock went back; it goes on \
                 as incarnation {incarnation}",
                self.node.id
            );
        }
        self.settled_since = match (standing.view, self.settled_since) {
            (Some(view), Some((since_view, since))) if standing.is_settled && view == since_view => {
                Some((view, since))
            }
            (Some(view), _) if standing.is_settled => Some((view, now)),
            _ => None,
        };
        if !self.deletes_are_finished && now >= self.retry_at {
            self.node.store.finish_deletes()?;
            self.deletes_are_finished = true;
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.sweep_tombstones(standing, now)?;
        }
        if now >= self.next_clock {
            self.next_clock = now + KEEP_CLOCK_EVERY;
            self.node.store.keep_incarnation()?;
            self.node
                .store
                .keep_clock(self.node.clock.now(self.node.wall_ms()))?;
        }
        if !standing.heard.is_subset(&self.met) && now >= self.next_met {
            self.next_met = now + RETRY_EVERY;
            let met = &self.met | &standing.heard;
            self.node.store.keep_met(&met)?;
            self.met = met;
        }
        Ok(())
    }

    fn sweep_tombstones(
        &mut self,
        standing: &Standing,
        now: Duration,
    ) -> Result<(), crate::store::error::Error> {
        let Some((_, since)) = self.settled_since else {
            return self.warn_of_tombstones(standing, now);
        };
        if now.saturating_sub(since) < TOMBSTONES_KEPT {
            return Ok(());
        }
        let age = u64::try_from(TOMBSTONES_KEPT.as_millis()).unwrap_or(u64::MAX);
        let before = self.node.wall_ms().saturating_sub(age);
        let expired = self.node.store.tombstones(|version| version.time.ms() < before)?;
        for (id, version) in expired {
            let _lock = self.node.names.lock(&id);
            self.node.store.forget_tombstone(&id, version)?;
        }
        Ok(())
    }

    /// A tombstone is kept until every member has heard of the delete: a member that stays away is told of.
    fn warn_of_tombstones(
        &mut self,
        standing: &Standing,
        now: Duration,
    ) -> Result<(), crate::store::error::Error> {
        if now < self.next_warning || standing.away().next().is_none() {
            return Ok(());
        }
        let before = self.node.wall_ms().saturating_sub(TOMBSTONE_WARNING_MS);
        let waiting = self.node.store.tombstones(|version| version.time.ms() < before)?;
        if !waiting.is_empty() {
            self.next_warning = now + WARN_EVERY;
            let away: Vec<String> = standing.away().map(|away| format!("Node {away}")).collect();
            log::warn!(
                "Node {}: {} deletes wait for {} for over 30 days: start it, or take it out of the cluster file",
                self.node.id,
                waiting.len(),
                away.join(", ")
            );
        }
        Ok(())
    }
}
