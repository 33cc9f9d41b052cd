//! Heartbeat and election: one event in, all its effects out. Holds no socket, clock, thread or random number.
//!
//! The highest id alive leads (Bully, Garcia-Molina 1982). The leader has one job: it publishes the view, the ids
//! that are alive, in its heartbeats, and every follower places uploads by that view alone, so that all place
//! alike. A node without a leader places by what it hears itself; a lone node leads itself.
//!
//! What holds at every moment, and what the simulation checks after every step:
//!
//! - What a node follows, the pair (term, leader), never goes back, and a term has one leader for it.
//! - A view is adopted only from the leader itself, over a link that works both ways, and holds its holder.
//! - Nobody counts as alive without a fresh, authentic datagram, its own or that of a peer who heard it.
//! - A node that was not running judges nobody for the time it missed, and no longer claims to lead.
//!
//! What does not hold: during a partition each side has a leader of its own. Availability comes before
//! agreement here: uploads are idempotent, and readers look at every node.
//!
//! A returning higher id lets an established leader work for [`STABLE`] before it takes over. Pausing nodes,
//! broken links and new starts differ only in how long they are silent; none has a path of its own.

pub mod datagram;
pub mod detector;
pub mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use self::datagram::{ClusterKey, Datagram, Rejection, Stamp};
use self::detector::{Cause, Detector, Pace, Peer, State, Transition};
use self::message::{Hears, Message, Stance};
use crate::roster::{NodeId, Roster};

/// The default of [`Settings::health_timeout`]: six heartbeats. Less finds deaths earlier, but a machine that
/// shares its cores with other work then begins to see deaths that are none.
pub const HEALTH_TIMEOUT: Duration = Duration::from_millis(600);
/// A shorter timeout than this is taken as this: a timer and a round trip need to fit in it six times.
pub const HEALTH_TIMEOUT_MIN: Duration = Duration::from_millis(60);
/// How long a higher id watches an established leader before it takes over.
pub const STABLE: Duration = Duration::from_secs(2);
/// A heartbeat at least this often, whatever the timeout.
const HEARTBEAT_MAX: Duration = Duration::from_millis(100);
const HEARTBEATS_PER_TIMEOUT: u32 = 6;
/// A timer that fires this late is a busy machine; later, this node was not running.
const LATENESS: Duration = Duration::from_millis(10);

/// What a node is told at its start.
pub struct Settings {
    /// Its own id.
    pub own: NodeId,
    /// Every configured node; its own id may be among them.
    pub members: Vec<NodeId>,
    /// The shared secret.
    pub key: ClusterKey,
    /// Not 0, and greater than at every start before.
    pub incarnation: u64,
    /// A peer that nobody has heard for this long is dead. Every other time follows from it.
    pub health_timeout: Duration,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time has passed; due at [`Election::deadline`], harmless at any time. Everything that has arrived by
    /// then comes first, as datagrams: nobody is judged over words that were not yet read.
    Tick,
    /// Bytes from the network, from anybody.
    Datagram(&'a [u8]),
    /// The host of a peer said that nobody listens on its port.
    Refused(NodeId),
    /// This node is stopping: the others shall count it out. There is no way back.
    Leave,
}

/// What a node does about it, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to that member.
    Send {
        /// The member.
        to: NodeId,
        /// An encoded datagram.
        bytes: Vec<u8>,
    },
    /// From now on, place uploads by this.
    Publish(View),
    /// For people: what was seen.
    Note(Transition),
}

/// What uploads are placed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// The term of the leader, or of the last one; 0 before the first. Never falls.
    pub term: u64,
    /// Who published this view; `None`: this node goes by what it hears itself.
    pub leader: Option<NodeId>,
    /// The alive ids; holds this node.
    pub roster: Roster,
    /// Since when this node has held it, on the clock of [`Election::step`].
    pub since: Duration,
}

/// Dropped datagrams, by cause; see [`Rejection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field counts the variant of the same name")]
pub struct Rejections {
    pub malformed: u64,
    pub foreign: u64,
    pub forged: u64,
    pub misdirected: u64,
    pub stranger: u64,
    pub replayed: u64,
    pub unproven: u64,
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

/// One node's membership, from start to stop.
pub struct Election {
    own: NodeId,
    key: ClusterKey,
    stamp: Stamp,
    heartbeat: Duration,
    timeout: Duration,
    detector: Detector,
    claims: BTreeMap<NodeId, Claim>,
    rejections: Rejections,

    clock: Duration,
    /// How long this node was not running when it should have been. The time it was awake is the clock less this.
    slept: Duration,
    next_heartbeat: Duration,
    /// Since when it listens for a leader in office, before it may claim to lead.
    listening_since: Duration,
    /// A higher node answered: no more elections until then.
    patient_until: Duration,
    /// Since when it has known of a lower leader in office.
    incumbent_since: Option<Duration>,

    role: Role,
    /// The last (term, leader) that this node had.
    pair: (u64, Option<NodeId>),
    /// The highest term that it has heard of.
    horizon: u64,
    /// It has lost a leader: whoever comes next is a successor, not the first.
    bereaved: bool,
    leaving: bool,
    view: View,
}

impl Election {
    /// A node at time 0, which knows nobody.
    pub fn new(settings: Settings) -> Election {
        let Settings {
            own,
            members,
            key,
            incarnation,
            health_timeout,
        } = settings;
        let timeout = health_timeout.max(HEALTH_TIMEOUT_MIN);
        let pace = Pace {
            suspect_after: timeout * 2 / 3,
            dead_after: timeout,
            refused_after: timeout / 3,
            hearsay_after: timeout * 2,
        };
        let roster = Roster::new(own, []);
        Election {
            own,
            key,
            stamp: Stamp {
                incarnation,
                sequence: 0,
            },
            heartbeat: HEARTBEAT_MAX.min(timeout / HEARTBEATS_PER_TIMEOUT),
            timeout,
            detector: Detector::new(pace, members.into_iter().filter(|id| *id != own)),
            claims: BTreeMap::new(),
            rejections: Rejections::default(),
            clock: Duration::ZERO,
            slept: Duration::ZERO,
            next_heartbeat: Duration::ZERO,
            listening_since: Duration::ZERO,
            patient_until: Duration::ZERO,
            incumbent_since: None,
            role: Role::Seeking,
            pair: (0, None),
            horizon: 0,
            bereaved: false,
            leaving: false,
            view: View {
                term: 0,
                leader: None,
                roster,
                since: Duration::ZERO,
            },
        }
    }

    /// Takes one event at `now`, the time since this node's start on a monotonic clock, and returns all its effects.
    pub fn step(&mut self, now: Duration, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.notice_sleep(now, &mut out);
        match input {
            Input::Tick => self.tick(&mut out),
            Input::Datagram(bytes) => {
                if let Err(rejection) = self.receive(bytes, &mut out) {
                    self.rejections.count(rejection);
                }
            }
            Input::Refused(peer) => self.detector.refused(peer),
            Input::Leave => self.leave(&mut out),
        }
        self.decide();
        self.publish(&mut out);
        out
    }

    /// When the next [`Input::Tick`] is due. After a tick, always later than that tick.
    pub fn deadline(&self) -> Duration {
        let touch = match self.role {
            Role::Following { leader, .. } => self.detector.out_of_touch_at(leader),
            Role::Seeking | Role::Leading { .. } => None,
        };
        let others = [self.detector.deadline(), touch, self.takeover_at()];
        others
            .into_iter()
            .flatten()
            .fold(self.next_heartbeat, Duration::min)
            + self.slept
    }

    /// What uploads are placed by now.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What was dropped so far.
    pub fn rejections(&self) -> Rejections {
        self.rejections
    }

    /// Every peer in rising order of id: its state, and how long ago it was heard, if ever.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, State, Option<Duration>)> {
        self.detector.peers().map(|(id, peer)| {
            let silent = peer.heard_clock.map(|at| self.clock - at);
            (id, peer.state, silent)
        })
    }

    /// The time this node was awake since its start: what others are judged by.
    fn awake(&self) -> Duration {
        self.clock - self.slept
    }

    /// A deadline met late moves every other deadline by as much.
    fn notice_sleep(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.clock = self.clock.max(now);
        let late = self.clock.saturating_sub(self.deadline());
        if late <= LATENESS {
            return;
        }
        self.slept += late;
        if late >= self.timeout {
            let cause = Cause::Slept(late);
            out.push(Output::Note(Transition {
                peer: self.own,
                from: State::Alive,
                to: State::Alive,
                cause,
            }));
            self.listening_since = self.awake();
            self.resign();
        }
    }

    fn tick(&mut self, out: &mut Vec<Output>) {
        let awake = self.awake();
        for transition in self.detector.judge(awake) {
            out.push(Output::Note(transition));
            if transition.to == State::Suspect {
                self.send(transition.peer, Message::Probe, out);
            }
        }
        if awake < self.next_heartbeat {
            return;
        }
        self.next_heartbeat = awake + self.heartbeat;
        let word = if self.leaving {
            Message::Leave
        } else {
            self.heartbeat_now()
        };
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &word, out);
        if matches!(self.role, Role::Seeking) && !self.leaving && awake >= self.patient_until {
            let higher: Vec<NodeId> = self.detector.present().filter(|id| *id > self.own).collect();
            self.send_all(&higher, &Message::Election, out);
        }
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<Output>) -> Result<(), Rejection> {
        let datagram = self.key.decode(bytes)?;
        if datagram.receiver != self.own {
            return Err(Rejection::Misdirected);
        }
        let sender = datagram.sender;
        let known = self.detector.peer(sender).ok_or(Rejection::Stranger)?.stamp;
        if datagram.stamp <= known {
            return Err(Rejection::Replayed);
        }
        let awake = self.awake();
        out.extend(
            self.detector
                .stamped(sender, datagram.stamp, awake)
                .map(Output::Note),
        );
        if datagram.message == Message::Leave {
            out.extend(self.detector.left(sender, awake).map(Output::Note));
            return Ok(());
        }
        if datagram.stamp.incarnation > known.incarnation && !self.leaving {
            // Its echo is what proves a peer alive, and it has nothing to echo before this.
            self.send(sender, self.heartbeat_now(), out);
        }
        if !self.is_fresh(datagram.echo) {
            return Err(Rejection::Unproven);
        }
        out.extend(self.detector.heard(sender, awake, self.clock).map(Output::Note));
        if self.detector.is_present(sender) {
            self.weigh(sender, &datagram.stance);
            self.obey(sender, &datagram.message, out);
        }
        Ok(())
    }

    /// Whether the echo is of this life and young: on the clock, since sleep does not keep words fresh.
    fn is_fresh(&self, echo: Stamp) -> bool {
        let said = Duration::from_micros(echo.sequence);
        echo.incarnation == self.stamp.incarnation && self.clock.saturating_sub(said) <= self.timeout * 2
    }

    fn obey(&mut self, sender: NodeId, message: &Message, out: &mut Vec<Output>) {
        match message {
            Message::Heartbeat { hears } => {
                let awake = self.awake();
                out.extend(
                    hears
                        .iter()
                        .filter_map(|heard| self.detector.vouched(*heard, awake))
                        .map(Output::Note),
                );
            }
            Message::Probe => self.send(sender, self.heartbeat_now(), out),
            Message::Election if matches!(self.role, Role::Leading { .. }) => {
                self.send(sender, self.heartbeat_now(), out);
            }
            Message::Election if self.own > sender && !self.leaving => {
                self.send(sender, Message::Answer, out)
            }
            Message::Answer => self.patient_until = self.awake() + self.timeout,
            Message::Election | Message::Coordinator | Message::Leave => {}
        }
    }

    /// What a peer's stance means for the own one.
    fn weigh(&mut self, sender: NodeId, stance: &Stance) {
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
        let newer = term > self.pair.0 || (term, leader) == self.pair;
        match (stance, &self.role) {
            (
                Stance::Leads {
                    established, roster, ..
                },
                _,
            ) if newer && roster.contains(self.own) && !self.leaving => {
                self.pair = (term, leader);
                self.role = Role::Following {
                    leader: sender,
                    established: *established,
                    roster: roster.clone(),
                };
            }
            (_, Role::Following { leader, .. }) if *leader == sender => {
                self.bereaved |= established.is_none();
                self.resign();
            }
            (_, Role::Leading { .. }) => self.defend((term, leader), established.is_some()),
            _ => {}
        }
    }

    /// A leader hears of another pair, of a node that `has_leader` now or had. One term has one leader: a later one
    /// makes us yield, and whoever cannot follow us in this term gets a new one.
    fn defend(&mut self, (term, leader): (u64, Option<NodeId>), has_leader: bool) {
        if term < self.pair.0 || (term, leader) == self.pair {
            return;
        }
        let rival = leader.filter(|rival| has_leader && *rival != self.own);
        match rival {
            Some(rival) if !self.detector.is_present(rival) => {}
            Some(rival) if term > self.pair.0 || rival > self.own => self.resign(),
            _ => self.declare(),
        }
    }

    fn decide(&mut self) {
        let awake = self.awake();
        if let Role::Following { leader, .. } = self.role
            && self.detector.out_of_touch_at(leader).is_none_or(|at| at <= awake)
        {
            self.bereaved = true;
            self.resign();
        }
        self.incumbent_since = self.incumbent().map(|_| self.incumbent_since.unwrap_or(awake));
        if self.takeover_at().is_some_and(|at| at <= awake) {
            self.declare();
        }
    }

    /// When this node may lead, if nothing changes: it is the highest, has listened, and has let an established
    /// leader work for a while.
    fn takeover_at(&self) -> Option<Duration> {
        let highest = self.detector.present().all(|id| id < self.own);
        if !highest || self.leaving || matches!(self.role, Role::Leading { .. }) {
            return None;
        }
        let listened = if self.detector.all_heard_after(self.listening_since) {
            self.listening_since
        } else {
            self.listening_since + self.timeout / 2
        };
        let established = self.incumbent().filter(|established| *established);
        let stable = established
            .and(self.incumbent_since)
            .map_or(Duration::ZERO, |since| since + STABLE);
        Some(listened.max(stable))
    }

    /// Whether a lower node is in office in the eyes of anybody present, and if so, whether it is established.
    fn incumbent(&self) -> Option<bool> {
        let claims = self
            .claims
            .iter()
            .filter(|(id, _)| self.detector.is_present(**id));
        let lower = claims
            .map(|(_, claim)| claim)
            .filter(|claim| claim.leader < self.own);
        lower
            .filter(|claim| self.detector.is_present(claim.leader))
            .map(|claim| claim.established)
            .max()
    }

    fn declare(&mut self) {
        self.horizon = self.horizon.max(self.pair.0).saturating_add(1);
        self.pair = (self.horizon, Some(self.own));
        self.role = Role::Leading { since: self.awake() };
    }

    fn resign(&mut self) {
        self.role = Role::Seeking;
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        self.leaving = true;
        self.resign();
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &Message::Leave, out);
    }

    /// Tells this node, and its followers if it leads, when the view has changed.
    fn publish(&mut self, out: &mut Vec<Output>) {
        let leader = self.leader();
        let roster = match &self.role {
            Role::Following { roster, .. } => roster.clone(),
            Role::Seeking | Role::Leading { .. } => Roster::new(self.own, self.detector.present()),
        };
        let term = self.pair.0;
        let before = &self.view;
        if (before.term, before.leader, &before.roster) == (term, leader, &roster) {
            return;
        }
        let new_term = before.term != term || before.leader != leader;
        self.view = View {
            term,
            leader,
            roster,
            since: self.clock,
        };
        if leader == Some(self.own) {
            let word = if new_term {
                Message::Coordinator
            } else {
                self.heartbeat_now()
            };
            let present: Vec<NodeId> = self.detector.present().collect();
            self.send_all(&present, &word, out);
        }
        out.push(Output::Publish(self.view.clone()));
    }

    fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Seeking => None,
            Role::Following { leader, .. } => Some(leader),
            Role::Leading { .. } => Some(self.own),
        }
    }

    fn stance(&self) -> Stance {
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
                established: self.bereaved || self.awake() >= since + STABLE,
                roster: Roster::new(self.own, self.detector.present()),
            },
        }
    }

    fn heartbeat_now(&self) -> Message {
        let lately = |(id, peer): (NodeId, &Peer)| {
            let silent = self.clock - peer.heard_clock.filter(|_| peer.state.is_present())?;
            (silent < self.timeout).then(|| Hears::new(id, silent))
        };
        Message::Heartbeat {
            hears: self.detector.peers().filter_map(lately).collect(),
        }
    }

    fn send_all(&mut self, to: &[NodeId], message: &Message, out: &mut Vec<Output>) {
        for id in to {
            self.send(*id, message.clone(), out);
        }
    }

    fn send(&mut self, to: NodeId, message: Message, out: &mut Vec<Output>) {
        let micros = u64::try_from(self.clock.as_micros()).expect("no process lives 500,000 years");
        self.stamp.sequence = micros.max(self.stamp.sequence + 1);
        let datagram = Datagram {
            sender: self.own,
            receiver: to,
            stamp: self.stamp,
            echo: self.detector.peer(to).map_or(Stamp::default(), |peer| peer.stamp),
            stance: self.stance(),
            message,
        };
        out.push(Output::Send {
            to,
            bytes: self.key.encode(&datagram),
        });
    }
}

impl Rejections {
    fn count(&mut self, rejection: Rejection) {
        let counter = match rejection {
            Rejection::Malformed => &mut self.malformed,
            Rejection::Foreign => &mut self.foreign,
            Rejection::Forged => &mut self.forged,
            Rejection::Misdirected => &mut self.misdirected,
            Rejection::Stranger => &mut self.stranger,
            Rejection::Replayed => &mut self.replayed,
            Rejection::Unproven => &mut self.unproven,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(1);

    fn alone(health_timeout: Duration) -> Election {
        let own = NodeId(2);
        let key = ClusterKey::new(&[7; 32]);
        let mut node = Election::new(Settings {
            own,
            members: vec![PEER, own],
            key,
            incarnation: 1,
            health_timeout,
        });
        let started = node.step(Duration::ZERO, Input::Tick);
        assert!(
            matches!(started[..], [Output::Send { to: PEER, .. }]),
            "{started:?}"
        );
        let mut last = Vec::new();
        while node.view().leader.is_none() {
            last = node.step(node.deadline(), Input::Tick);
        }
        assert!(matches!(&last[..], [.., Output::Publish(view)] if view == node.view()));
        node
    }

    /// Node 1 says where it stands, in answer to what node 2 said last.
    fn hear(node: &mut Election, stance: Stance) -> Vec<Output> {
        let now = node.clock + Duration::from_millis(1);
        let datagram = Datagram {
            sender: PEER,
            receiver: node.own,
            stamp: Stamp {
                incarnation: 1,
                sequence: u64::try_from(now.as_micros()).unwrap(),
            },
            echo: node.stamp,
            stance,
            message: Message::Probe,
        };
        let bytes = node.key.encode(&datagram);
        node.step(now, Input::Datagram(&bytes))
    }

    #[test]
    fn a_lone_node_listens_for_half_the_timeout_and_serves_alone() {
        let node = alone(HEALTH_TIMEOUT);
        let View {
            term,
            leader,
            roster,
            since,
        } = node.view();
        assert_eq!(
            (*term, *leader, roster.ids()),
            (1, Some(node.own), &[node.own][..])
        );
        assert_eq!(*since, HEALTH_TIMEOUT / 2);
    }

    #[test]
    fn a_leader_that_meets_a_later_term_goes_beyond_it_at_once() {
        let mut node = alone(HEALTH_TIMEOUT);
        hear(
            &mut node,
            Stance::Seeks {
                term: 1_000,
                last: Some(PEER),
            },
        );
        assert_eq!((node.view().term, node.view().leader), (1_001, Some(node.own)));
    }

    #[test]
    fn the_last_term_of_all_breaks_nothing() {
        let mut node = alone(HEALTH_TIMEOUT);
        hear(
            &mut node,
            Stance::Seeks {
                term: u64::MAX,
                last: Some(PEER),
            },
        );
        assert_eq!(node.view().term, u64::MAX);
    }

    #[test]
    fn who_leaves_does_not_come_back() {
        let mut node = alone(HEALTH_TIMEOUT);
        let roster = Roster::new(PEER, [node.own]);
        node.step(node.clock, Input::Leave);
        hear(
            &mut node,
            Stance::Leads {
                term: 9,
                established: true,
                roster,
            },
        );
        for _ in 0..50 {
            let said = node.step(node.deadline(), Input::Tick);
            assert_eq!(node.view().leader, None, "{said:?}");
        }
    }

    #[test]
    fn every_time_follows_from_the_timeout() {
        for (timeout, taken) in [
            (60, 60),
            (100, 100),
            (1, 60),
            (0, 60),
            (600, 600),
            (60_000, 60_000),
        ] {
            let mut node = alone(Duration::from_millis(timeout));
            hear(&mut node, Stance::Seeks { term: 0, last: None });
            let heard = node.clock;
            let mut steps = 0;
            while node.view().roster.contains(PEER) {
                node.step(node.deadline(), Input::Tick);
                steps += 1;
            }
            let dead_after = node.clock - heard;
            assert_eq!(
                dead_after,
                Duration::from_millis(taken),
                "--health-timeout {timeout}"
            );
            assert!(steps <= 2 + taken / 10, "{steps} ticks");
        }
    }
}
