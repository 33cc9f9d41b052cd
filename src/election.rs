//! Heartbeats and leader election: takes one event and returns all its effects. Holds no socket, clock, thread or
//! random number.
//!
//! The highest id alive leads (Bully, Garcia-Molina 1982). The leader's only task is to publish the view, which is
//! the list of ids that are alive, in its heartbeats. Every follower places uploads by that view alone, so that all
//! nodes place alike. A node without a leader places by what it hears itself; a lone node leads itself.
//!
//! These hold at every moment, and the simulation checks them after every step:
//!
//! - The term that a node follows never falls, and a node follows one leader in each term.
//! - A node adopts a view only from the leader itself, over a link that works both ways, and only if the view contains
//!   that node.
//! - A peer counts as alive only because of a fresh, authentic datagram: its own, or that of a node that heard it.
//! - A node that was not running declares nobody dead for the time it missed, and no longer claims to lead.
//!
//! What does not hold: during a partition each side has its own leader, and takes writes. Availability comes before
//! agreement here. When the sides meet, the newest version of each name wins ([`crate::version`]).
//!
//! A higher id that returns waits for `bully::STABLE` before it replaces an established leader. Paused nodes, broken
//! links and restarts differ only in how long they are silent; none has code of its own.

mod bully;
pub mod datagram;
pub mod detector;
pub mod message;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::bully::Bully;
use self::datagram::{ClusterKey, Datagram, Rejection, Rejections, Stamp};
use self::detector::{Cause, Detector, PeerState, Timeouts, TrackedPeer, Transition};
use self::message::{Hears, Message};
use crate::lease::{Facts, Heard};
use crate::roster::{NodeId, Roster, ViewId};
use crate::version::Time;

/// The default of [`Settings::health_timeout`]: six heartbeats. A shorter one finds deaths earlier, but on a machine
/// that shares its cores with other work it also finds deaths that did not happen.
pub const HEALTH_TIMEOUT: Duration = Duration::from_millis(600);
/// A shorter timeout is raised to this: a late timer and a round trip have to fit into it six times.
pub(crate) const HEALTH_TIMEOUT_MIN: Duration = Duration::from_millis(60);
/// The longest pause between heartbeats, however long the timeout is.
const HEARTBEAT_MAX: Duration = Duration::from_millis(100);
const HEARTBEATS_PER_TIMEOUT: u32 = 6;
/// A timer may fire this late on a busy machine. If it fires later, this node was not running.
const LATENESS: Duration = Duration::from_millis(10);

/// What a node knows when it starts.
pub struct Settings {
    /// Its own id.
    pub own: NodeId,
    /// Every configured node; its own id may be among them.
    pub members: Vec<NodeId>,
    /// The shared secret.
    pub key: ClusterKey,
    /// Greater than at every earlier start, and greater than 0.
    pub incarnation: u64,
    /// A peer that nobody has heard for this long is dead. Every other time is derived from it.
    pub health_timeout: Duration,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time has passed. Due at [`Election::deadline`], harmless at any time. The caller first passes in every datagram
    /// that has arrived, so that no peer is declared dead while its datagrams wait to be read.
    Tick,
    /// Bytes from the network, from anybody.
    Datagram(&'a [u8]),
    /// The host of a peer said that the port is closed (ICMP).
    Refused(NodeId),
    /// This node is stopping, and the others are to remove it from the roster. This cannot be undone.
    Leave,
}

/// What a node does in response, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to that member.
    Send {
        /// The member.
        to: NodeId,
        /// An encoded datagram.
        bytes: Vec<u8>,
    },
    /// Place uploads by this view from now on. To be done before anything is sent: the datagrams of this step say that it
    /// is done.
    Publish(View),
    /// An authentic datagram of a peer that has not left has arrived. What this node sends from now on tells the peer so, even if the
    /// peer is not heard, because it did not prove that it hears this node.
    Arrived {
        /// Who.
        peer: NodeId,
        /// See [`Facts::reserve`].
        reserve: Time,
    },
    /// A peer says that it stops, and what its clock shows.
    Left {
        /// Who.
        peer: NodeId,
        /// See [`Facts::clock`].
        clock: Time,
    },
    /// A peer was heard, in an authentic datagram that proves that the peer hears this node.
    Heard(Heard),
    /// A line for the log and the history.
    Note(Transition),
}

/// What uploads are placed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The term of the leader, or of the last leader; 0 before the first. Never falls.
    pub term: u64,
    /// The node that published this view. `None`: this node lists the peers that it hears itself.
    pub leader: Option<NodeId>,
    /// See [`ViewId::number`]; 0 without a leader.
    pub number: u64,
    /// The alive ids, among them this node and the leader.
    pub roster: Roster,
    /// When this node adopted it, on the clock of [`Election::step`].
    pub(crate) since: Duration,
}

impl View {
    /// Its name; none without a leader.
    pub fn id(&self) -> Option<ViewId> {
        self.leader.map(|leader| ViewId {
            term: self.term,
            leader,
            number: self.number,
        })
    }
}

/// What a node tells all others in every datagram; see [`lease`](crate::lease).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// All but [`Facts::is_clean`], which depends on the view.
    pub facts: Facts,
    /// The view in which nothing of this node lies elsewhere.
    pub clean_in: Option<ViewId>,
}

/// One node's membership, from start to stop.
pub struct Election {
    own: NodeId,
    key: ClusterKey,
    stamp: Stamp,
    heartbeat: Duration,
    timeout: Duration,
    detector: Detector,
    bully: Bully,
    rejections: Rejections,
    view: View,
    announcement: Announcement,
    clock: Duration,
    /// How long this node was not running when it should have been. Awake time is the clock minus this.
    slept: Duration,
    next_heartbeat: Duration,
    /// A higher node has answered that it takes over: this node asks for no election before this time.
    no_election_until: Duration,
}

impl Election {
    /// A node at time 0 that has heard nobody.
    pub fn new(settings: Settings) -> Election {
        let Settings {
            own,
            members,
            key,
            incarnation,
            health_timeout,
        } = settings;
        let timeout = health_timeout.max(HEALTH_TIMEOUT_MIN);
        let timeouts = Timeouts {
            suspect_after: timeout * 2 / 3,
            dead_after: timeout,
            refused_after: timeout / 3,
            hearsay_after: timeout * 2,
        };
        Election {
            own,
            key,
            stamp: Stamp {
                incarnation,
                sequence: 0,
            },
            heartbeat: HEARTBEAT_MAX.min(timeout / HEARTBEATS_PER_TIMEOUT),
            timeout,
            detector: Detector::new(timeouts, members.into_iter().filter(|id| *id != own)),
            bully: Bully::new(own, timeout / 2),
            rejections: Rejections::default(),
            view: View {
                term: 0,
                leader: None,
                number: 0,
                roster: Roster::new(own, []),
                since: Duration::ZERO,
            },
            announcement: Announcement::default(),
            clock: Duration::ZERO,
            slept: Duration::ZERO,
            next_heartbeat: Duration::ZERO,
            no_election_until: Duration::ZERO,
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
            Input::Refused(peer) => self.detector.record_refusal(peer),
            Input::Leave => self.leave(&mut out),
        }
        self.bully.decide(&self.detector, self.awake());
        self.publish(&mut out);
        out
    }

    /// The lowest stamp that a datagram sent from `now` on carries, as a time: whoever echoes it, or a later one, has what
    /// is announced now.
    pub fn next_stamp(&self, now: Duration) -> Duration {
        Duration::from_micros(self.sequence_at(now))
    }

    /// A sequence number is the time in microseconds, and higher than the one before.
    fn sequence_at(&self, now: Duration) -> u64 {
        micros(now).max(self.stamp.sequence + 1)
    }

    /// What every datagram says from now on.
    pub fn announce(&mut self, announcement: Announcement) {
        self.announcement = announcement;
    }

    /// When the next [`Input::Tick`] is due. After a tick, always later than that tick.
    pub fn deadline(&self) -> Duration {
        let others = self
            .detector
            .deadline()
            .into_iter()
            .chain(self.bully.deadline(&self.detector));
        others.fold(self.next_heartbeat, Duration::min) + self.slept
    }

    /// What uploads are placed by at present.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How many datagrams were dropped so far, by reason.
    pub fn rejections(&self) -> Rejections {
        self.rejections
    }

    /// Every peer in rising order of id, with its state and how long ago this node heard it, if ever.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (NodeId, PeerState, Option<Duration>)> {
        self.detector.peers().map(|(id, peer)| {
            let silent = peer.heard_clock.map(|at| self.clock - at);
            (id, peer.state, silent)
        })
    }

    /// How long this node has been awake since its start. Peers time out by this clock.
    fn awake(&self) -> Duration {
        self.clock - self.slept
    }

    /// A deadline that is met late moves every other deadline by the same time.
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
                from: PeerState::Alive,
                to: PeerState::Alive,
                cause,
            }));
            // A datagram counts its time in whole microseconds.
            let clock = Duration::from_micros(micros(self.clock));
            self.bully.resume_after_sleep(self.awake(), clock);
        }
    }

    fn tick(&mut self, out: &mut Vec<Output>) {
        let awake = self.awake();
        for transition in self.detector.time_out(awake) {
            out.push(Output::Note(transition));
            if transition.to == PeerState::Suspect {
                self.send(transition.peer, Message::Probe, out);
            }
        }
        if awake < self.next_heartbeat {
            return;
        }
        self.next_heartbeat = awake + self.heartbeat;
        let message = if self.bully.is_leaving() {
            Message::Leave
        } else {
            self.heartbeat_now()
        };
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &message, out);
        if self.bully.leader().is_none() && !self.bully.is_leaving() && awake >= self.no_election_until {
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
                .record_stamp(sender, datagram.stamp, awake)
                .map(Output::Note),
        );
        if datagram.message == Message::Leave {
            out.extend(self.detector.record_leave(sender, awake).map(Output::Note));
            out.push(Output::Left {
                peer: sender,
                clock: datagram.facts.clock,
            });
            return Ok(());
        }
        let state = self.detector.peer(sender).map(|peer| peer.state);
        if state != Some(PeerState::Left) {
            out.push(Output::Arrived {
                peer: sender,
                reserve: datagram.facts.reserve,
            });
        }
        if datagram.stamp.incarnation > known.incarnation && !self.bully.is_leaving() {
            // A peer proves by its echo that it is alive. A new one can echo nothing until we have sent to it.
            self.send(sender, self.heartbeat_now(), out);
        }
        if !self.is_fresh(datagram.echo) {
            return Err(Rejection::Unproven);
        }
        let echo = Duration::from_micros(datagram.echo.sequence);
        out.extend(
            self.detector
                .record_heard(sender, awake, self.clock, echo)
                .map(Output::Note),
        );
        if self.detector.is_present(sender) {
            self.bully
                .hear_stance(sender, &datagram.stance, &self.detector, awake);
            out.push(Output::Heard(Heard {
                peer: sender,
                incarnation: datagram.stamp.incarnation,
                view: datagram.stance.view(sender),
                echo,
                facts: datagram.facts,
            }));
            if self.bully.leader() == Some(self.own) {
                // It may lead since a moment ago, and a leader's datagrams carry the view that it has published.
                self.publish(out);
            }
            self.answer(sender, &datagram.message, out);
        }
        Ok(())
    }

    /// Whether the echo is recent and of this incarnation. Measured on the clock: datagrams age while a node sleeps.
    fn is_fresh(&self, echo: Stamp) -> bool {
        let sent = Duration::from_micros(echo.sequence);
        echo.incarnation == self.stamp.incarnation && self.clock.saturating_sub(sent) <= self.timeout * 2
    }

    fn answer(&mut self, sender: NodeId, message: &Message, out: &mut Vec<Output>) {
        match message {
            Message::Heartbeat { hears } => {
                let awake = self.awake();
                out.extend(
                    hears
                        .iter()
                        .filter_map(|heard| self.detector.record_hearsay(*heard, awake))
                        .map(Output::Note),
                );
            }
            Message::Probe => self.send(sender, self.heartbeat_now(), out),
            Message::Election if self.bully.leader() == Some(self.own) => {
                self.send(sender, self.heartbeat_now(), out);
            }
            Message::Election if self.own > sender && !self.bully.is_leaving() => {
                self.send(sender, Message::Answer, out)
            }
            Message::Answer => self.no_election_until = self.awake() + self.timeout,
            Message::Election | Message::Coordinator | Message::Leave => {}
        }
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        self.bully.leave();
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &Message::Leave, out);
    }

    /// If the view has changed: publishes it here, and sends it to the followers if this node leads.
    fn publish(&mut self, out: &mut Vec<Output>) {
        let (term, leader) = (self.bully.term(), self.bully.leader());
        let roster = self.bully.roster(&self.detector);
        let before = &self.view;
        assert!(term >= before.term, "term {term} after {}", before.term);
        assert!(roster.contains(self.own), "a view lacks its holder");
        assert!(
            leader.is_none_or(|leader| roster.contains(leader)),
            "a view lacks its leader"
        );
        let new_term = before.term != term || before.leader != leader;
        let number = match leader {
            Some(leader) if leader != self.own => self.bully.number(),
            Some(_) if new_term => ViewId::first_number(self.stamp.incarnation),
            Some(_) => before.number + u64::from(before.roster != roster),
            None => 0,
        };
        if !new_term && before.number == number && before.roster == roster {
            return;
        }
        self.view = View {
            term,
            leader,
            number,
            roster,
            since: self.clock,
        };
        if leader == Some(self.own) {
            let message = if new_term {
                Message::Coordinator
            } else {
                self.heartbeat_now()
            };
            let present: Vec<NodeId> = self.detector.present().collect();
            self.send_all(&present, &message, out);
        }
        out.push(Output::Publish(self.view.clone()));
    }

    fn heartbeat_now(&self) -> Message {
        let heard_recently = |(id, peer): (NodeId, &TrackedPeer)| {
            let silent = self.clock - peer.heard_clock.filter(|_| peer.state.is_present())?;
            (silent < self.timeout).then(|| Hears::new(id, silent))
        };
        Message::Heartbeat {
            hears: self.detector.peers().filter_map(heard_recently).collect(),
        }
    }

    fn send_all(&mut self, to: &[NodeId], message: &Message, out: &mut Vec<Output>) {
        for id in to {
            self.send(*id, message.clone(), out);
        }
    }

    fn send(&mut self, to: NodeId, message: Message, out: &mut Vec<Output>) {
        self.stamp.sequence = self.sequence_at(self.clock);
        let View { number, roster, .. } = &self.view;
        let stance = self.bully.stance(*number, roster, self.awake());
        let Announcement { facts, clean_in } = self.announcement;
        let datagram = Datagram {
            sender: self.own,
            receiver: to,
            stamp: self.stamp,
            echo: self.detector.peer(to).map_or(Stamp::default(), |peer| peer.stamp),
            facts: Facts {
                is_clean: stance.view(self.own).is_some_and(|view| clean_in == Some(view)),
                ..facts
            },
            stance,
            message,
        };
        out.push(Output::Send {
            to,
            bytes: self.key.encode(&datagram),
        });
    }
}

/// The clock as datagrams carry it.
fn micros(clock: Duration) -> u64 {
    u64::try_from(clock.as_micros()).expect("no process lives 500,000 years")
}
