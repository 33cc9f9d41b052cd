//! The leases of a simulated process, fed as the heartbeat thread feeds them, and its clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use pixseal::election::event::{Announcement, View};
use pixseal::lease::facts::{Facts, Heard};
use pixseal::lease::standing::Standing;
use pixseal::lease::{CLOCK_LEAD_MS, Leases};
use pixseal::roster::{NodeId, ViewId};
use pixseal::version::{Clock, Time};

/// Milliseconds since 1970 when a world begins.
const WALL_MS: u64 = 1_700_000_000_000;
/// Wall clocks differ by up to six of these.
const SKEW_MS: u64 = 100;
/// A node finds nothing misplaced so soon after it has become ready, in a view of all members.
const LOOKS_FOR: Duration = Duration::from_millis(60);

pub(crate) struct Leaseholder {
    own: NodeId,
    /// The members that it goes by.
    pub(crate) members: BTreeSet<NodeId>,
    /// Since when, on no clock.
    pub(crate) members_since: Duration,
    leases: Leases,
    clock: Clock,
    /// The clock has been set.
    has_begun: bool,
    /// What this node may do at present, as its workers see it.
    pub(crate) standing: Standing,
    clean_in: Option<ViewId>,
    /// Since when it has been ready in a view of all members.
    whole_since: Option<(ViewId, Duration)>,
    /// How far the wall clock is off, in milliseconds.
    pub(crate) wall_off_ms: i64,
}

/// A moment: on the process's own clock, and on no clock.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) own: Duration,
    pub(crate) world: Duration,
}

impl Leaseholder {
    pub(crate) fn new(
        own: NodeId,
        members: &[NodeId],
        met: &BTreeSet<NodeId>,
        wall_off_ms: i64,
    ) -> Leaseholder {
        Leaseholder {
            own,
            members: members.iter().copied().collect(),
            members_since: Duration::ZERO,
            leases: Leases::new(own, members.iter().copied(), own.0.into(), met, BTreeSet::new()),
            clock: Clock::default(),
            has_begun: false,
            standing: Standing::nothing(own),
            clean_in: None,
            whole_since: None,
            wall_off_ms,
        }
    }

    pub(crate) fn set_members(&mut self, moment: Moment, members: &[NodeId]) {
        self.members = members.iter().copied().collect();
        self.members_since = moment.world;
        self.leases.set_members(members.iter().copied());
    }

    fn wall_ms(&self, now: Moment) -> u64 {
        let passed = u64::try_from(now.world.as_millis()).unwrap();
        (WALL_MS + passed + u64::from(self.own.0) % 7 * SKEW_MS).saturating_add_signed(self.wall_off_ms)
    }

    /// What every datagram of this step says; the first of them has this stamp.
    pub(crate) fn announce(&mut self, now: Moment, stamp: Duration, is_apart: bool) -> Announcement {
        let wall_ms = self.wall_ms(now);
        if !self.has_begun {
            self.has_begun = true;
            let start = Time::from_ms(wall_ms).plus_ms(CLOCK_LEAD_MS);
            self.clock.start_after(start);
            self.clock.store(start);
        }
        let clock = self.clock.now(wall_ms);
        self.leases.tick(now.own, clock, wall_ms);
        if is_apart {
            self.leases.stay_apart(now.own);
        }
        self.leases.set_clean(self.clean_in);
        let reserve = Facts::reserve_at(clock, wall_ms);
        let reserve = self.leases.announce(stamp, reserve);
        Announcement {
            facts: Facts {
                clock,
                wall_ms,
                reserve,
                stored: self.leases.stored(),
                is_clean: false,
                folder: self.own.0.into(),
                ..Facts::default()
            },
            clean_in: self.clean_in,
        }
    }

    /// The time of a write that is taken now.
    pub(crate) fn next_time(&self, now: Moment) -> Time {
        self.clock.next(self.wall_ms(now))
    }

    /// Something with this time is stored now.
    pub(crate) fn store(&self, time: Time) {
        self.clock.store(time);
    }

    pub(crate) fn install(&mut self, now: Moment, view: &View) {
        let installed = view.id().map(|id| (id, view.roster.clone()));
        self.leases.install(installed, self.clock.now(self.wall_ms(now)));
        self.leases.set_stored(self.clock.stored());
        self.stand(now);
    }

    pub(crate) fn hear(&mut self, now: Moment, heard: Heard) {
        self.clock.observe(heard.facts.clock, self.wall_ms(now));
        self.leases.heard(now.own, heard);
    }

    pub(crate) fn arrived(&mut self, now: Moment, peer: NodeId, reserve: Time) {
        self.leases.arrived(now.own, peer, reserve);
    }

    pub(crate) fn left(&mut self, peer: NodeId, clock: Time) {
        self.leases.left(peer, clock);
    }

    /// What this node may do from now on.
    pub(crate) fn stand(&mut self, now: Moment) {
        let wall_ms = self.wall_ms(now);
        self.leases.tick(now.own, self.clock.now(wall_ms), wall_ms);
        self.clock.observe(self.leases.floor(), wall_ms);
        self.standing = self.leases.standing(now.own, wall_ms);
        let whole = self.standing.is_ready && self.standing.roster.ids().len() == self.members.len();
        let view = self.standing.view.filter(|_| whole);
        self.whole_since = match (view, self.whole_since) {
            (Some(view), Some((known, since))) if view == known => Some((view, since)),
            (view, _) => view.map(|view| (view, now.own)),
        };
        if let Some((view, since)) = self.whole_since
            && now.own >= since + LOOKS_FOR
        {
            self.clean_in = Some(view);
        }
    }
}
