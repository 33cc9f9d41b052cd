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
pub mod event;
mod lists;
pub mod message;
mod strangers;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use self::bully::Bully;
use self::datagram::{ClusterKey, Datagram, LinkState, Rejection, Rejections, Stamp};
use self::detector::{Cause, Detector, PeerState, Timeouts, TrackedPeer, Transition};
use self::event::{Announcement, Input, Output, Settings, View};
use self::lists::Lists;
use self::message::{Hears, Message, Rival};
use self::strangers::Strangers;
use crate::condition::Condition;
use crate::lease::facts::{Facts, Heard};
use crate::roster::{NodeId, Roster, ViewId};

/// The default of [`Settings::health_timeout`]: six heartbeats. A shorter one finds deaths earlier, but on a machine
/// that shares its cores with other work it also finds deaths that did not happen.
pub const HEALTH_TIMEOUT: Duration = Duration::from_millis(600);
/// A shorter timeout is raised to this: a late timer and a round trip have to fit into it six times.
pub(crate) const HEALTH_TIMEOUT_MIN: Duration = Duration::from_millis(60);
/// A longer one of another node does not count.
pub(crate) const HEALTH_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The longest pause between heartbeats, however long the timeout is.
const HEARTBEAT_MAX: Duration = Duration::from_millis(100);
const HEARTBEATS_PER_TIMEOUT: u32 = 6;
/// A timer may fire this late on a busy machine. If it fires later, this node was not running.
const LATENESS: Duration = Duration::from_millis(10);

/// One node's membership, from start to stop.
pub struct Election {
    own: NodeId,
    key: ClusterKey,
    stamp: Stamp,
    port: u16,
    heartbeat: Duration,
    own_timeout: Duration,
    /// The longest of all nodes.
    timeout: Duration,
    lists: Lists,
    detector: Detector,
    strangers: Strangers,
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
            port,
        } = settings;
        let timeout = health_timeout.max(HEALTH_TIMEOUT_MIN);
        let lists = Lists::new(own, members);
        Election {
            own,
            key,
            stamp: Stamp {
                incarnation,
                sequence: 0,
            },
            port,
            heartbeat: HEARTBEAT_MAX.min(timeout / HEARTBEATS_PER_TIMEOUT),
            own_timeout: timeout,
            timeout,
            detector: Detector::new(Timeouts::of(timeout), lists.peers()),
            lists,
            strangers: Strangers::default(),
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
            Input::Datagram { bytes, source } => {
                if let Err(rejection) = self.receive(bytes, source, &mut out) {
                    self.rejections.count(rejection);
                }
            }
            Input::Refused(peer) => self.detector.record_refusal(peer),
            Input::Leave => self.leave(&mut out),
            Input::Members(members) => {
                self.lists.want(members);
                self.detector.track(&self.lists.peers());
            }
            Input::Reincarnate(incarnation) => {
                self.stamp.incarnation = self.stamp.incarnation.max(incarnation);
            }
        }
        self.compare_lists(&mut out);
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
        self.strangers
            .forget(awake, |id| self.detector.peer(id).is_some());
        self.adapt_timeout();
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

    fn receive(
        &mut self,
        bytes: &[u8],
        source: Option<SocketAddr>,
        out: &mut Vec<Output>,
    ) -> Result<(), Rejection> {
        let datagram = self.key.decode(bytes).inspect_err(|rejection| {
            if let Some((source, peer)) = source.zip(datagram::claimed_sender(bytes, self.own))
                && *rejection == Rejection::Foreign
                && self.detector.peer(peer).is_some()
            {
                out.push(Output::Foreign { peer, source });
            }
        })?;
        if datagram.receiver != self.own {
            return Err(Rejection::Misdirected);
        }
        let sender = datagram.sender;
        let address = source.map(|source| listening(source, datagram.link.port));
        let Some(known) = self.detector.peer(sender).map(|peer| peer.stamp) else {
            self.meet_stranger(&datagram, address, out);
            return Err(Rejection::Stranger);
        };
        // Its echo proves that it is said now, whatever life of its sender this node goes by: two nodes may have lost their
        // incarnations, and each has to learn it from the other.
        if let Message::Rival(rival) = datagram.message
            && self.is_fresh(datagram.echo)
        {
            out.push(Output::Rival { peer: sender, rival });
        }
        self.check_life(&datagram, address, out)?;
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
        let is_new_life = datagram.stamp.incarnation > known.incarnation;
        let state = self.detector.peer(sender).map(|peer| peer.state);
        if state != Some(PeerState::Left) {
            out.push(Output::Arrived {
                peer: sender,
                reserve: datagram.facts.reserve,
                address,
                is_new_life,
            });
        }
        if is_new_life && !self.bully.is_leaving() {
            // A peer proves by its echo that it is alive. A new one can echo nothing until we have sent to it.
            self.send(sender, self.heartbeat_now(), out);
        }
        if !self.is_fresh(datagram.echo) {
            return Err(Rejection::Unproven);
        }
        self.hear(&datagram, address, out);
        Ok(())
    }

    /// A peer says this, and has proved that it hears this node.
    fn hear(&mut self, datagram: &Datagram, address: Option<SocketAddr>, out: &mut Vec<Output>) {
        let sender = datagram.sender;
        let awake = self.awake();
        let has_left = self.detector.peer(sender).map(|peer| peer.state) == Some(PeerState::Left);
        if matches!(datagram.message, Message::Rival(rival) if !rival.is_receiver_counted) {
            return;
        }
        if !has_left {
            self.detector.record_contact(sender, awake, address, datagram);
        }
        if datagram.link.is_apart {
            // It is there, and has no leader: nobody has to wait until its lease expires.
            out.push(Output::Left {
                peer: sender,
                clock: datagram.facts.clock,
            });
        }
        if !self.counts(sender, &datagram.link) {
            out.extend(self.detector.record_apart(sender, awake).map(Output::Note));
            return;
        }
        let echo = Duration::from_micros(datagram.echo.sequence);
        out.extend(
            self.detector
                .record_heard(sender, awake, self.clock, echo)
                .map(Output::Note),
        );
        if self.detector.is_present(sender) {
            let members = (&self.detector, self.lists.in_force());
            self.bully.hear_stance(sender, &datagram.stance, members, awake);
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
            Message::Election | Message::Coordinator | Message::Leave | Message::Rival(_) => {}
        }
    }

    /// Whether a peer that says this is counted: each of the two has the other in its list, and it takes part.
    fn counts(&self, peer: NodeId, said: &LinkState) -> bool {
        self.lists.in_force().contains(&peer) && said.counts_receiver && !said.is_apart
    }

    /// Whether a datagram is of the life of its sender that this node goes by, or of a later one that takes its place. A
    /// later life from the same address does as soon as it has proved that it runs, since no two processes listen at one;
    /// from another address only when the known life is silent. Otherwise both are told of each other.
    fn check_life(
        &mut self,
        datagram: &Datagram,
        address: Option<SocketAddr>,
        out: &mut Vec<Output>,
    ) -> Result<(), Rejection> {
        let Datagram { sender, stamp, .. } = *datagram;
        let awake = self.awake();
        let Some(peer) = self.detector.peer(sender) else {
            return Err(Rejection::Stranger);
        };
        let known = peer.stamp;
        if stamp.incarnation == known.incarnation || known.incarnation == 0 {
            let is_newer = stamp > known;
            return is_newer.then_some(()).ok_or(Rejection::Replayed);
        }
        // Only what was proved counts: anybody can play what an ended life has said.
        let silent = peer.contact.map_or(Duration::MAX, |at| awake.saturating_sub(at));
        let elsewhere = peer.address.zip(address).is_some_and(|(known, now)| known != now);
        let both = elsewhere && silent < self.timeout && peer.state != PeerState::Left;
        let is_later = stamp.incarnation > known.incarnation;
        if is_later && !both {
            let is_in_contact = silent < self.timeout && peer.state != PeerState::Left;
            if is_in_contact && !self.is_fresh(datagram.echo) {
                return Err(self.ask_for_proof(datagram, address, out));
            }
            return Ok(());
        }
        self.tell_of_rival(datagram, address, (silent, both), out);
        Err(if both {
            Rejection::Double
        } else {
            Rejection::Replayed
        })
    }

    /// Answers what may be the first datagram of a later life, and may be one of a life that has ended, which anybody can
    /// play: the next one proves that it is said now. That life has heard of this node by then.
    fn ask_for_proof(
        &mut self,
        datagram: &Datagram,
        address: Option<SocketAddr>,
        out: &mut Vec<Output>,
    ) -> Rejection {
        let Datagram { sender, stamp, .. } = *datagram;
        let peer = self.detector.peer_mut(sender).expect("the caller knows the peer");
        if stamp <= peer.claimed {
            return Rejection::Replayed;
        }
        peer.claimed = stamp;
        out.push(Output::Arrived {
            peer: sender,
            reserve: datagram.facts.reserve,
            address,
            is_new_life: false,
        });
        if !self.bully.is_leaving() {
            let message = self.heartbeat_now();
            self.reply(sender, stamp, address, message, out);
        }
        Rejection::Unproven
    }

    /// Tells a life of a node that does not count of the one that does, which has been `silent` for so long; and if `both`
    /// run, as the first has proved, the other one and people as well. Each at most once in the time between two heartbeats.
    fn tell_of_rival(
        &mut self,
        datagram: &Datagram,
        address: Option<SocketAddr>,
        (silent, both): (Duration, bool),
        out: &mut Vec<Output>,
    ) {
        let Datagram { sender, stamp, .. } = *datagram;
        let (awake, heartbeat) = (self.awake(), self.heartbeat);
        // Anybody can play what an earlier life has said: only one that answers is worth a word to the counted one.
        let is_proven = self.is_fresh(datagram.echo);
        let peer = self.detector.peer_mut(sender).expect("the caller knows the peer");
        let (known, counted) = (peer.stamp, peer.address);
        let is_due = |told: &mut Option<Duration>| {
            let is_due = told.is_none_or(|at| awake >= at + heartbeat);
            if is_due {
                *told = Some(awake);
            }
            is_due
        };
        let tells_sender = is_due(&mut peer.told_of_rival);
        let tells_counted = both && is_proven && is_due(&mut peer.told_of_double);
        let rival = |incarnation, silent: Duration, is_receiver_counted| {
            Message::Rival(Rival {
                incarnation,
                silent_ms: u32::try_from(silent.as_millis()).unwrap_or(u32::MAX),
                is_receiver_counted,
            })
        };
        if tells_sender {
            let message = rival(known.incarnation, silent, false);
            self.reply(sender, stamp, address, message, out);
        }
        if tells_counted {
            let message = rival(stamp.incarnation, Duration::ZERO, true);
            self.reply(sender, known, counted, message, out);
            if let Some((counted, other)) = counted.zip(address) {
                out.push(Output::Double {
                    peer: sender,
                    counted,
                    other,
                });
            }
        }
    }

    fn meet_stranger(&mut self, datagram: &Datagram, address: Option<SocketAddr>, out: &mut Vec<Output>) {
        if datagram.sender == self.own {
            return;
        }
        let moment = (self.is_fresh(datagram.echo), self.awake());
        if self.strangers.meet(datagram, address, moment, self.heartbeat) {
            let message = self.heartbeat_now();
            self.reply(datagram.sender, datagram.stamp, address, message, out);
        }
    }

    /// Brings the list of members into force that all others want too, and finds out whether this node gives way.
    fn compare_lists(&mut self, out: &mut Vec<Output>) {
        let awake = self.awake();
        let members = self.detector.in_contact(awake).map(|(id, peer)| (id, &peer.link));
        if self.lists.switch(members) {
            let kept = self.lists.peers();
            for (id, peer) in self
                .detector
                .in_contact(awake)
                .filter(|(id, _)| !kept.contains(id))
            {
                self.strangers.adopt(id, peer, awake);
            }
            self.detector.track(&kept);
            out.push(Output::Members(self.lists.in_force().iter().copied().collect()));
        }
        let members = self.detector.in_contact(awake).map(|(id, peer)| (id, &peer.link));
        let is_uncounted = members
            .clone()
            .any(|(id, said)| self.lists.in_force().contains(&id) && !said.counts_receiver);
        let is_apart = !self.gives_way_to().is_empty();
        self.bully.set_standing(is_apart, is_uncounted, awake);
    }

    /// The nodes because of which this one takes no part: their lists of members prevail.
    pub(crate) fn gives_way_to(&self) -> Vec<NodeId> {
        let awake = self.awake();
        let members = self.detector.in_contact(awake).map(|(id, peer)| (id, &peer.link));
        let strangers = self.strangers.in_contact(awake, self.timeout);
        self.lists.gives_way_to(members.chain(strangers))
    }

    /// Whether this node takes no part at present.
    pub fn is_apart(&self) -> bool {
        self.bully.is_apart()
    }

    /// The peers in contact that want other members than this node.
    pub(crate) fn differing(&self) -> Vec<NodeId> {
        let contact = self.detector.in_contact(self.awake());
        let differs = contact.filter(|(_, peer)| self.lists.differs(&peer.link));
        differs.map(|(id, _)| id).collect()
    }

    /// The nodes in contact that are in no list of this node, with where they listen.
    pub(crate) fn strangers(&self) -> Vec<(NodeId, Option<SocketAddr>)> {
        let heard = self.strangers.in_contact(self.awake(), self.timeout);
        heard
            .map(|(id, _)| (id, self.strangers.get(id).and_then(|stranger| stranger.address)))
            .collect()
    }

    /// The health timeout of this node, and those of peers in contact that differ from it.
    pub(crate) fn other_timeouts(&self) -> (Duration, Vec<(NodeId, Duration)>) {
        let contact = self.detector.in_contact(self.awake());
        let theirs = contact.map(|(id, peer)| (id, Duration::from_millis(peer.link.timeout_ms.into())));
        let others = theirs.filter(|(_, timeout)| *timeout != self.own_timeout);
        (self.own_timeout, others.collect())
    }

    /// How long ago this node heard a peer itself, if ever.
    pub(crate) fn silence_of(&self, peer: NodeId) -> Option<Duration> {
        let heard = self.detector.peer(peer)?.heard_clock?;
        Some(self.clock - heard)
    }

    /// A peer that nobody has heard for this long is dead: the longest health timeout of all nodes.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The condition that a peer told of last.
    pub(crate) fn condition_of(&self, peer: NodeId) -> Condition {
        self.detector
            .peer(peer)
            .map_or(Condition::default(), |peer| peer.condition)
    }

    /// The longest timeout of all nodes that are there counts.
    fn adapt_timeout(&mut self) {
        let awake = self.awake();
        let others = self
            .detector
            .in_contact(awake)
            .map(|(_, peer)| Duration::from_millis(peer.link.timeout_ms.into()));
        let longest = others.fold(Duration::ZERO, Duration::max).min(HEALTH_TIMEOUT_MAX);
        let longest = longest.max(self.own_timeout);
        if longest != self.timeout {
            self.timeout = longest;
            self.detector.set_timeouts(Timeouts::of(longest));
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
        let roster = self.roster();
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

    /// The ids that are alive, and those of them that take images: the leader's list, or what this node hears itself.
    fn roster(&self) -> Roster {
        if let Some(roster) = self.bully.followed_roster() {
            return roster.clone();
        }
        Roster::new(self.own, self.detector.present()).placed_on(|id| {
            let condition = match self.detector.peer(id) {
                Some(peer) => peer.condition,
                None => self.announcement.facts.condition,
            };
            condition.takes_images()
        })
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
        let echo = self.detector.peer(to).map_or(Stamp::default(), |peer| peer.stamp);
        let bytes = self.encode(to, echo, message);
        out.push(Output::Send { to, bytes });
    }

    /// Answers a datagram with the stamp `echo` where it came from.
    fn reply(
        &mut self,
        to: NodeId,
        echo: Stamp,
        address: Option<SocketAddr>,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        let bytes = self.encode(to, echo, message);
        out.push(match address {
            Some(address) => Output::SendTo { address, bytes },
            None => Output::Send { to, bytes },
        });
    }

    fn encode(&mut self, to: NodeId, echo: Stamp, message: Message) -> Vec<u8> {
        self.stamp.sequence = self.sequence_at(self.clock);
        let View { number, roster, .. } = &self.view;
        let stance = self.bully.stance(*number, roster, self.awake());
        let Announcement { facts, clean_in } = self.announcement;
        let datagram = Datagram {
            sender: self.own,
            receiver: to,
            stamp: self.stamp,
            echo,
            facts: Facts {
                is_clean: stance.view(self.own).is_some_and(|view| clean_in == Some(view)),
                ..facts
            },
            link: LinkState {
                timeout_ms: u32::try_from(self.own_timeout.as_millis()).unwrap_or(u32::MAX),
                port: self.port,
                is_apart: self.bully.is_apart(),
                ..self.lists.said_to(to)
            },
            stance,
            message,
        };
        self.key.encode(&datagram)
    }
}

/// Where a node listens that sent from `source` and listens at `port`; it sends from other ports.
fn listening(source: SocketAddr, port: u16) -> SocketAddr {
    match port {
        0 => source,
        port => SocketAddr::new(source.ip(), port),
    }
}

/// The clock as datagrams carry it.
fn micros(clock: Duration) -> u64 {
    u64::try_from(clock.as_micros()).expect("no process lives 500,000 years")
}
