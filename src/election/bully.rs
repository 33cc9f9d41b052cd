//! Who leads, as one node sees it: the highest id alive (Bully, Garcia-Molina 1982), with terms, and with a delay
//! before an established leader is replaced.
//!
//! Decides by the stances of peers, and by which peers the detector counts as alive. Knows nothing of datagrams:
//! the next heartbeat, or the coordinator message, tells the others what has changed here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::detector::Detector;
use super::message::{Reign, Stance};
use crate::roster::{NodeId, Roster};

/// How long a higher id watches an established leader before it takes over.
pub(super) const STABLE: Duration = Duration::from_secs(2);

pub(super) struct Bully {
    own: NodeId,
    role: Role,
    /// The last reign that this node took part in, as follower or leader.
    reign: Reign,
    highest_term_heard: u64,
    /// What each peer says about who leads; a peer without a leader has no entry.
    claims: BTreeMap<NodeId, Claim>,
    /// How long this node listens for an existing leader before it may lead.
    listen: Duration,
    listening_since: Duration,
    /// When that was on the clock: what peers say counts once they have received something that was sent since.
    woken_at: Duration,
    /// Since when this node has known that a lower node leads.
    incumbent_since: Option<Duration>,
    /// This node followed a leader that failed. If it leads next, it is a successor and counts as established at once.
    lost_a_leader: bool,
    leaving: bool,
    /// The member lists of others prevail: this node neither leads nor follows.
    is_apart: bool,
    /// A member is there that does not count this node, or not yet.
    is_uncounted: bool,
}

enum Role {
    Seeking,
    Following {
        leader: NodeId,
        established: bool,
        number: u64,
        roster: Roster,
    },
    Leading {
        since: Duration,
    },
}

/// Who leads, as a peer sees it.
struct Claim {
    leader: NodeId,
    established: bool,
}

impl Bully {
    pub(super) fn new(own: NodeId, listen: Duration) -> Bully {
        Bully {
            own,
            role: Role::Seeking,
            reign: Reign::default(),
            highest_term_heard: 0,
            claims: BTreeMap::new(),
            listen,
            listening_since: Duration::ZERO,
            woken_at: Duration::ZERO,
            incumbent_since: None,
            lost_a_leader: false,
            leaving: false,
            is_apart: false,
            is_uncounted: false,
        }
    }

    /// The last term in which this node had a leader; 0 if none.
    pub(super) fn term(&self) -> u64 {
        self.reign.term
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Seeking => None,
            Role::Following { leader, .. } => Some(leader),
            Role::Leading { .. } => Some(self.own),
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The leader's list, if this node follows one.
    pub(super) fn followed_roster(&self) -> Option<&Roster> {
        match &self.role {
            Role::Following { roster, .. } => Some(roster),
            Role::Seeking | Role::Leading { .. } => None,
        }
    }

    /// The number of the leader's view; 0 unless this node follows.
    pub(super) fn number(&self) -> u64 {
        match self.role {
            Role::Following { number, .. } => number,
            Role::Seeking | Role::Leading { .. } => 0,
        }
    }

    /// What this node tells the others about itself. `number` and `roster` are those of the view that it goes by.
    pub(super) fn stance(&self, number: u64, roster: &Roster, awake: Duration) -> Stance {
        let Reign { term, leader: last } = self.reign;
        match self.role {
            Role::Seeking => Stance::Seeks { term, last },
            Role::Following {
                leader,
                established,
                number,
                ..
            } => Stance::Follows {
                term,
                leader,
                number,
                established,
            },
            Role::Leading { since } => Stance::Leads {
                term,
                number,
                established: self.lost_a_leader || awake >= since + STABLE,
                roster: roster.clone(),
            },
        }
    }

    /// This node was not running, and another node may lead by now: it gives up its role and listens again. The
    /// datagrams that waited meanwhile tell of the time before.
    pub(super) fn resume_after_sleep(&mut self, awake: Duration, clock: Duration) {
        self.listening_since = awake;
        self.woken_at = clock;
        self.role = Role::Seeking;
    }

    /// This node is stopping: it neither leads nor follows from now on.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.role = Role::Seeking;
    }

    /// How this node stands to the member lists of others: see the fields.
    pub(super) fn set_standing(&mut self, is_apart: bool, is_uncounted: bool, awake: Duration) {
        if is_apart != self.is_apart {
            self.is_apart = is_apart;
            self.listening_since = awake;
            self.role = Role::Seeking;
        }
        if is_uncounted != self.is_uncounted {
            self.is_uncounted = is_uncounted;
            // It has watched others wait, and now watches who leads them.
            self.incumbent_since = None;
        }
    }

    pub(super) fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Takes in what a peer that is alive says about itself.
    pub(super) fn hear_stance(
        &mut self,
        sender: NodeId,
        stance: &Stance,
        (detector, members): (&Detector, &BTreeSet<NodeId>),
        awake: Duration,
    ) {
        let reign = stance.reign(sender);
        self.highest_term_heard = self.highest_term_heard.max(reign.term);
        let established = match stance {
            Stance::Seeks { .. } => None,
            Stance::Follows { established, .. } | Stance::Leads { established, .. } => Some(*established),
        };
        match reign.leader.zip(established) {
            Some((leader, established)) => self.claims.insert(sender, Claim { leader, established }),
            None => self.claims.remove(&sender),
        };
        match (stance, &self.role) {
            (
                Stance::Leads {
                    established,
                    number,
                    roster,
                    ..
                },
                _,
            ) if self.may_follow(reign, roster, members) => {
                self.enter(reign);
                self.role = Role::Following {
                    leader: sender,
                    established: *established,
                    number: *number,
                    roster: roster.clone(),
                };
            }
            (_, Role::Following { leader, .. }) if *leader == sender => {
                // The leader has stepped down, or its roster no longer holds this node.
                self.lost_a_leader |= established.is_none();
                self.role = Role::Seeking;
            }
            (_, Role::Leading { .. }) => self.defend(reign, established.is_some(), detector, awake),
            _ => {}
        }
    }

    /// A node never goes back to an earlier term, never follows two leaders in one term, and never places by a list with
    /// nodes that it does not know.
    fn may_follow(&self, reign: Reign, roster: &Roster, members: &BTreeSet<NodeId>) -> bool {
        let forward = reign.term > self.reign.term || reign == self.reign;
        let known = roster.contains(self.own) && roster.ids().iter().all(|id| members.contains(id));
        forward && known && !self.leaving && !self.is_apart
    }

    /// This node leads and hears of another reign, of a node that `has_leader` now or had one. It steps down for a
    /// later leader. A node that may not follow it in its present term gets a new term that it may follow.
    fn defend(&mut self, reign: Reign, has_leader: bool, detector: &Detector, awake: Duration) {
        if reign.term < self.reign.term || reign == self.reign {
            return;
        }
        let rival = reign.leader.filter(|rival| has_leader && *rival != self.own);
        match rival {
            Some(rival) if !detector.is_present(rival) => {}
            Some(rival) if reign.term > self.reign.term || rival > self.own => self.role = Role::Seeking,
            Some(_) | None => self.become_leader(awake),
        }
    }

    /// Gives up a leader that this node no longer hears, and takes over when that is due.
    pub(super) fn decide(&mut self, detector: &Detector, awake: Duration) {
        if let Role::Following { leader, .. } = self.role
            && detector.out_of_touch_at(leader).is_none_or(|at| at <= awake)
        {
            self.lost_a_leader = true;
            self.role = Role::Seeking;
        }
        self.incumbent_since = self
            .incumbent(detector)
            .map(|_| self.incumbent_since.unwrap_or(awake));
        if self.takeover_at(detector).is_some_and(|at| at <= awake) {
            self.become_leader(awake);
        }
        self.assert_invariants(detector);
    }

    /// When [`Bully::decide`] is due next, if nothing is heard before.
    pub(super) fn deadline(&self, detector: &Detector) -> Option<Duration> {
        let out_of_touch = match self.role {
            Role::Following { leader, .. } => detector.out_of_touch_at(leader),
            Role::Seeking | Role::Leading { .. } => None,
        };
        out_of_touch.into_iter().chain(self.takeover_at(detector)).min()
    }

    /// When this node may lead: it is the highest, has listened, and has watched an established leader for [`STABLE`].
    fn takeover_at(&self, detector: &Detector) -> Option<Duration> {
        let highest = detector.present().all(|id| id < self.own);
        if !highest || self.leaving || self.is_apart || matches!(self.role, Role::Leading { .. }) {
            return None;
        }
        let since = self.listening_since;
        let listened = if detector.all_answered_since(self.woken_at) {
            since
        } else {
            since + self.listen
        };
        let established = self.incumbent(detector).filter(|established| *established);
        let stable = established
            .and(self.incumbent_since)
            .map_or(Duration::ZERO, |since| since + STABLE);
        Some(listened.max(stable))
    }

    /// `Some` if a peer that is alive claims that a lower node leads; whether that leader is established. Members that do
    /// not count this node may have one too.
    fn incumbent(&self, detector: &Detector) -> Option<bool> {
        if self.is_uncounted {
            return Some(true);
        }
        let claims = self
            .claims
            .iter()
            .filter(|(id, _)| detector.is_present(**id))
            .map(|(_, claim)| claim);
        let lower = claims.filter(|claim| claim.leader < self.own && detector.is_present(claim.leader));
        lower.map(|claim| claim.established).max()
    }

    fn become_leader(&mut self, awake: Duration) {
        self.highest_term_heard = self.highest_term_heard.max(self.reign.term).saturating_add(1);
        self.enter(Reign {
            term: self.highest_term_heard,
            leader: Some(self.own),
        });
        self.role = Role::Leading { since: awake };
    }

    /// The only place where the reign changes. The last of all terms has no next one: a holder of the key who claims
    /// it can take the order of terms from us, but not our life.
    fn enter(&mut self, reign: Reign) {
        let forward = reign.term > self.reign.term || reign == self.reign || reign.term == u64::MAX;
        assert!(forward, "{} went from {:?} to {reign:?}", self.own, self.reign);
        self.reign = reign;
    }

    fn assert_invariants(&self, detector: &Detector) {
        assert!(
            self.reign.term <= self.highest_term_heard,
            "a term was not counted"
        );
        match &self.role {
            Role::Seeking => {}
            Role::Leading { .. } => {
                assert!(!self.leaving && !self.is_apart, "a node leads that takes no part");
                assert_eq!(self.reign.leader, Some(self.own), "a leader in another's term");
                assert_ne!(self.reign.term, 0, "term 0 has no leader");
            }
            Role::Following { leader, roster, .. } => {
                assert!(
                    !self.leaving && !self.is_apart,
                    "a node follows that takes no part"
                );
                assert_eq!(self.reign.leader, Some(*leader), "a follower in another's term");
                assert_ne!(self.reign.term, 0, "term 0 has no leader");
                assert_ne!(*leader, self.own, "a node follows itself");
                assert!(detector.is_present(*leader), "the leader is not alive");
                assert!(
                    roster.contains(self.own) && roster.contains(*leader),
                    "the view lacks its leader or its holder"
                );
            }
        }
    }
}
