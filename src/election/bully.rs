//! Who leads, as one node sees it: the highest id alive (Bully, Garcia-Molina 1982), with terms and patience.
//!
//! Decides by what peers say of where they stand, and by whom the detector holds for alive. Knows nothing of
//! datagrams; whatever changes here is told to others by the next heartbeat, or by the coordinator message.

use std::collections::BTreeMap;
use std::time::Duration;

use super::STABLE;
use super::detector::Detector;
use super::message::Stance;
use crate::roster::{NodeId, Roster};

pub(super) struct Bully {
    own: NodeId,
    role: Role,
    /// The last (term, leader) that this node had.
    pair: (u64, Option<NodeId>),
    /// The highest term that it has heard of.
    horizon: u64,
    claims: BTreeMap<NodeId, Claim>,
    /// How long it listens for a leader in office before it may claim to lead.
    listen: Duration,
    /// Since when it listens.
    listening_since: Duration,
    /// Since when it has known of a lower leader in office.
    incumbent_since: Option<Duration>,
    /// It has lost a leader: whoever comes next is a successor, not the first.
    bereaved: bool,
    leaving: bool,
}

enum Role {
    Seeking,
    Following {
        leader: NodeId,
        established: bool,
        roster: Roster,
    },
    Leading {
        since: Duration,
    },
}

/// A peer's own word on who leads.
struct Claim {
    leader: NodeId,
    established: bool,
}

impl Bully {
    pub(super) fn new(own: NodeId, listen: Duration) -> Bully {
        Bully {
            own,
            role: Role::Seeking,
            pair: (0, None),
            horizon: 0,
            claims: BTreeMap::new(),
            listen,
            listening_since: Duration::ZERO,
            incumbent_since: None,
            bereaved: false,
            leaving: false,
        }
    }

    /// The last term in which this node had a leader; 0 if none.
    pub(super) fn term(&self) -> u64 {
        self.pair.0
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

    /// What uploads are placed by: the leader's word, or what this node hears itself.
    pub(super) fn roster(&self, detector: &Detector) -> Roster {
        match &self.role {
            Role::Following { roster, .. } => roster.clone(),
            Role::Seeking | Role::Leading { .. } => Roster::new(self.own, detector.present()),
        }
    }

    /// What others are told.
    pub(super) fn stance(&self, detector: &Detector, awake: Duration) -> Stance {
        let (term, last) = self.pair;
        match self.role {
            Role::Seeking => Stance::Seeks { term, last },
            Role::Following {
                leader, established, ..
            } => Stance::Follows {
                term,
                leader,
                established,
            },
            Role::Leading { since } => Stance::Leads {
                term,
                established: self.bereaved || awake >= since + STABLE,
                roster: self.roster(detector),
            },
        }
    }

    /// This node was not running: whatever it was, others may be it by now. It asks again.
    pub(super) fn woke(&mut self, awake: Duration) {
        self.listening_since = awake;
        self.role = Role::Seeking;
    }

    /// It neither leads nor follows any more.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.role = Role::Seeking;
    }

    /// A peer that is alive says where it stands.
    pub(super) fn weigh(&mut self, sender: NodeId, stance: &Stance, detector: &Detector, awake: Duration) {
        let (term, leader) = stance.pair(sender);
        self.horizon = self.horizon.max(term);
        let established = match stance {
            Stance::Seeks { .. } => None,
            Stance::Follows { established, .. } | Stance::Leads { established, .. } => Some(*established),
        };
        match leader.zip(established) {
            Some((leader, established)) => self.claims.insert(sender, Claim { leader, established }),
            None => self.claims.remove(&sender),
        };
        match (stance, &self.role) {
            (
                Stance::Leads {
                    established, roster, ..
                },
                _,
            ) if self.may_follow(sender, term, roster) => {
                self.pair = (term, leader);
                self.role = Role::Following {
                    leader: sender,
                    established: *established,
                    roster: roster.clone(),
                };
            }
            (_, Role::Following { leader, .. }) if *leader == sender => {
                // It leads no longer, or counts this node out.
                self.bereaved |= established.is_none();
                self.role = Role::Seeking;
            }
            (_, Role::Leading { .. }) => self.defend((term, leader), established.is_some(), detector, awake),
            _ => {}
        }
    }

    /// Never back to an earlier term, and never to a second leader of one term.
    fn may_follow(&self, sender: NodeId, term: u64, roster: &Roster) -> bool {
        let forward = term > self.pair.0 || (term, Some(sender)) == self.pair;
        forward && roster.contains(self.own) && !self.leaving
    }

    /// A leader hears of another pair, of a node that `has_leader` now or had. A later leader makes it yield; whoever
    /// could not follow it in its present term gets a new one.
    fn defend(
        &mut self,
        pair: (u64, Option<NodeId>),
        has_leader: bool,
        detector: &Detector,
        awake: Duration,
    ) {
        if pair.0 < self.pair.0 || pair == self.pair {
            return;
        }
        let rival = pair.1.filter(|rival| has_leader && *rival != self.own);
        match rival {
            Some(rival) if !detector.is_present(rival) => {}
            Some(rival) if pair.0 > self.pair.0 || rival > self.own => self.role = Role::Seeking,
            Some(_) | None => self.declare(awake),
        }
    }

    /// Gives up a leader that is out of touch, and takes over when the time has come.
    pub(super) fn decide(&mut self, detector: &Detector, awake: Duration) {
        if let Role::Following { leader, .. } = self.role
            && detector.out_of_touch_at(leader).is_none_or(|at| at <= awake)
        {
            self.bereaved = true;
            self.role = Role::Seeking;
        }
        self.incumbent_since = self
            .incumbent(detector)
            .map(|_| self.incumbent_since.unwrap_or(awake));
        if self.takeover_at(detector).is_some_and(|at| at <= awake) {
            self.declare(awake);
        }
    }

    /// When [`Bully::decide`] will have something to decide, if nothing is heard before.
    pub(super) fn deadline(&self, detector: &Detector) -> Option<Duration> {
        let out_of_touch = match self.role {
            Role::Following { leader, .. } => detector.out_of_touch_at(leader),
            Role::Seeking | Role::Leading { .. } => None,
        };
        out_of_touch.into_iter().chain(self.takeover_at(detector)).min()
    }

    /// When this node may lead: it is the highest, has listened, and has let an established leader work for a while.
    fn takeover_at(&self, detector: &Detector) -> Option<Duration> {
        let highest = detector.present().all(|id| id < self.own);
        if !highest || self.leaving || matches!(self.role, Role::Leading { .. }) {
            return None;
        }
        let since = self.listening_since;
        let listened = if detector.all_heard_after(since) {
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

    /// Whether a lower node is in office in the eyes of anybody present, and if so, whether it is established.
    fn incumbent(&self, detector: &Detector) -> Option<bool> {
        let claims = self
            .claims
            .iter()
            .filter(|(id, _)| detector.is_present(**id))
            .map(|(_, claim)| claim);
        let lower = claims.filter(|claim| claim.leader < self.own && detector.is_present(claim.leader));
        lower.map(|claim| claim.established).max()
    }

    fn declare(&mut self, awake: Duration) {
        self.horizon = self.horizon.max(self.pair.0).saturating_add(1);
        self.pair = (self.horizon, Some(self.own));
        self.role = Role::Leading { since: awake };
    }
}
