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

mod bully;
pub mod datagram;
pub mod detector;
pub mod message;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use self::bully::Bully;
use self::datagram::{ClusterKey, Datagram, Rejection, Rejections, Stamp};
use self::detector::{Cause, Detector, Pace, Peer, State, Transition};
use self::message::{Hears, Message};
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
    clock: Duration,
    /// How long this node was not running when it should have been. The time it was awake is the clock less this.
    slept: Duration,
    next_heartbeat: Duration,
    /// A higher node answered: no more elections until then.
    patient_until: Duration,
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
            bully: Bully::new(own, timeout / 2),
            rejections: Rejections::default(),
            view: View {
                term: 0,
                leader: None,
                roster: Roster::new(own, []),
                since: Duration::ZERO,
            },
            clock: Duration::ZERO,
            slept: Duration::ZERO,
            next_heartbeat: Duration::ZERO,
            patient_until: Duration::ZERO,
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
        self.bully.decide(&self.detector, self.awake());
        self.publish(&mut out);
        out
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
            self.bully.woke(self.awake());
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
        let word = if self.bully.is_leaving() {
            Message::Leave
        } else {
            self.heartbeat_now()
        };
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &word, out);
        if self.bully.leader().is_none() && !self.bully.is_leaving() && awake >= self.patient_until {
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
        if datagram.stamp.incarnation > known.incarnation && !self.bully.is_leaving() {
            // Its echo is what proves a peer alive, and it has nothing to echo before this.
            self.send(sender, self.heartbeat_now(), out);
        }
        if !self.is_fresh(datagram.echo) {
            return Err(Rejection::Unproven);
        }
        out.extend(self.detector.heard(sender, awake, self.clock).map(Output::Note));
        if self.detector.is_present(sender) {
            self.bully.weigh(sender, &datagram.stance, &self.detector, awake);
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
            Message::Election if self.bully.leader() == Some(self.own) => {
                self.send(sender, self.heartbeat_now(), out);
            }
            Message::Election if self.own > sender && !self.bully.is_leaving() => {
                self.send(sender, Message::Answer, out)
            }
            Message::Answer => self.patient_until = self.awake() + self.timeout,
            Message::Election | Message::Coordinator | Message::Leave => {}
        }
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        self.bully.leave();
        let everyone: Vec<NodeId> = self.detector.peers().map(|(id, _)| id).collect();
        self.send_all(&everyone, &Message::Leave, out);
    }

    /// Tells this node, and its followers if it leads, when the view has changed.
    fn publish(&mut self, out: &mut Vec<Output>) {
        let (term, leader) = (self.bully.term(), self.bully.leader());
        let roster = self.bully.roster(&self.detector);
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
            stance: self.bully.stance(&self.detector, self.awake()),
            message,
        };
        out.push(Output::Send {
            to,
            bytes: self.key.encode(&datagram),
        });
    }
}
