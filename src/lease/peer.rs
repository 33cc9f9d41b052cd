//! What a node knows of one peer: what it said last, and when it can have written what it did not declare.

use std::time::Duration;

use super::EXPIRY;
use super::facts::Heard;
use super::knowledge::KnownPeer;
use super::times::Times;
use crate::roster::ViewId;
use crate::version::Time;

/// Spans of time in which a peer wrote without this node that are remembered apart. One more, and they count as one.
const SPANS_MAX: usize = 16;

/// What a life of this node knew of a peer that it heard then, the next one knows for so long. Later, people may have taken
/// this node out of the cluster for a while, and others have moved their copies without it.
const KNOWN_FOR_MS: u64 = 60_000;

/// What is known of one peer.
#[derive(Default)]
pub(super) struct PeerLease {
    pub(super) heard: Option<(Duration, Heard)>,
    /// When a datagram arrived last, and the latest reserve that one told of: what it can take for heard by this node.
    arrived: Option<(Duration, Time)>,
    /// It said that it stops, or takes no part, and what its clock was then.
    left: Option<Time>,
    /// The latest time it can have used, if it was not heard since this node was last paused.
    pub(super) estimate: Option<Time>,
    /// When it can have written what it did not declare to this node, since the cluster was settled.
    undeclared: Times,
    /// And since then, until it is known how long.
    undeclared_since: Option<Time>,
    /// The latest reserve of this node that it has certainly heard: what it wrote without this node is later.
    reserve_heard: Time,
    /// Its clock when it was heard first in a view that places nothing on it, if nothing has been placed on it since.
    /// Whatever it holds is older: it draws the times of its writes before it stores them, by the view that it has.
    pub(super) ceased: Option<Time>,
}

impl PeerLease {
    /// Nobody knows what it has done.
    pub(super) fn unknown() -> PeerLease {
        PeerLease {
            undeclared_since: Some(Time::default()),
            ..PeerLease::default()
        }
    }

    /// What an earlier life of this node knew, if that was not long ago.
    pub(super) fn recalled(known: &KnownPeer, wall_ms: u64) -> PeerLease {
        let last_heard_of = known.undeclared_since.ms();
        if last_heard_of.saturating_add(KNOWN_FOR_MS) < wall_ms {
            return PeerLease::unknown();
        }
        PeerLease {
            undeclared: known.undeclared.clone(),
            undeclared_since: Some(known.undeclared_since),
            ..PeerLease::default()
        }
    }

    /// The same, after a time in which this node heard and noted nothing.
    pub(super) fn after_pause(self) -> PeerLease {
        PeerLease {
            undeclared_since: Some(self.undeclared_after()),
            undeclared: self.undeclared,
            reserve_heard: self.reserve_heard,
            ..PeerLease::default()
        }
    }

    /// It was heard at `now`. It had heard of `reserve` by then; this node has run without a pause since `present_since`, and
    /// has installed the view `installed`.
    ///
    /// Whoever did not hear this node for a while, or was silent for a while, may have written without it. What it has
    /// stored before its present view it says in every datagram; the first one that names a view may be older than that.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        heard: Heard,
        reserve: Time,
        (installed, present_since): (Option<ViewId>, Duration),
    ) {
        let same_life = self
            .heard
            .filter(|(_, before)| before.incarnation == heard.incarnation);
        let silent = same_life.is_some_and(|(at, _)| now.saturating_sub(at) >= EXPIRY);
        let unheard = same_life.is_some() && now.saturating_sub(heard.echo) >= EXPIRY;
        if silent || unheard {
            self.undeclared_since.get_or_insert(self.reserve_heard);
        }
        if same_life.is_none() {
            self.ceased = None;
            self.reserve_heard = Time::default();
        }
        self.reserve_heard = self.reserve_heard.max(reserve);
        let declares_to_us = installed.is_some()
            && heard.view == installed
            && heard.echo >= present_since
            && same_life.is_some_and(|(_, before)| before.view == installed);
        if declares_to_us && let Some(since) = self.undeclared_since.take() {
            self.undeclared.add(since, heard.facts.stored);
            if self.undeclared.spans() > SPANS_MAX {
                self.undeclared = self.undeclared.hull();
            }
        }
        self.heard = Some((now, heard));
        self.left = None;
        self.estimate = None;
    }

    /// A datagram of it has arrived, which may not be heard.
    pub(super) fn arrive(&mut self, now: Duration, reserve: Time) {
        let before = self.arrived.map_or(Time::default(), |(_, before)| before);
        self.arrived = Some((now, before.max(reserve)));
        self.left = None;
    }

    /// It said that it stops, or takes no part.
    pub(super) fn leave(&mut self, clock: Time) {
        self.left = Some(clock);
    }

    /// It may have written anything, at any time until it is known better.
    pub(super) fn lose_track(&mut self) {
        self.undeclared_since = Some(Time::default());
    }

    /// In a settled cluster all is known.
    pub(super) fn settle(&mut self) {
        self.undeclared = Times::default();
        self.undeclared_since = None;
    }

    /// If this node hears and notes nothing from now on: since when that one can have written what it did not declare.
    pub(super) fn undeclared_after(&self) -> Time {
        self.undeclared_since.unwrap_or(self.reserve_heard)
    }

    /// When it can have written what it did not declare to this node.
    pub(super) fn undeclared(&self) -> Times {
        let mut undeclared = self.undeclared.clone();
        if let Some(since) = self.undeclared_since {
            undeclared.add(since, Time::MAX);
        }
        undeclared
    }

    /// The latest time it can have used, as far as that is known.
    pub(super) fn latest(&self) -> Option<Time> {
        if self.left.is_some() {
            return self.left;
        }
        let known = self
            .heard
            .map(|(_, heard)| heard.facts.reserve)
            .or(self.estimate)?;
        Some(self.arrived.map_or(known, |(_, reserve)| known.max(reserve)))
    }

    /// Whether it can have no lease any more.
    pub(super) fn has_expired(&self, now: Duration, present_since: Duration) -> bool {
        let heard = self.heard.map_or(present_since, |(at, _)| at);
        let silent_since = self.arrived.map_or(heard, |(at, _)| heard.max(at));
        self.left.is_some() || now.saturating_sub(silent_since) >= EXPIRY
    }
}
