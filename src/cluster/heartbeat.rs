//! The heartbeat thread: waits for a datagram or the deadline, drains the socket, steps the election and performs its
//! outputs.
//!
//! It never waits for a lock, a file, a resolver or a worker, and logs only when the membership changes, or what keeps
//! nodes apart.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the heartbeat needs a clock and a socket"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::report::{History, Report};
use super::route::Delivery;
use super::routes::Routes;
use super::settings::ClusterSettings;
use super::shared::Shared;
use super::time;
use super::warnings::Warnings;
use crate::condition::{Condition, ConditionSource};
use crate::election::Election;
use crate::election::datagram::DATAGRAM_BYTES_MAX;
use crate::election::detector::{Cause, PeerState, Transition};
use crate::election::event::{Announcement, Input, Output, View};
use crate::election::message::Rival;
use crate::lease::Leases;
use crate::lease::facts::{Facts, Heard};
use crate::members::Members;
use crate::roster::NodeId;
use crate::version::Clock;

/// Most datagrams read before timers are checked: more than a socket's buffer holds, unless it is flooded.
const DRAIN_MAX: usize = 1024;
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// A peer whose datagrams arrive for this long, and do not say that it hears this node, is not where they are sent to. The
/// address that they come from is tried only then: a host with several addresses may send from one and listen at another.
const UNHEARD: Duration = Duration::from_secs(2);
/// What recurs after a pause of this length begins anew.
const STORY_PAUSE: Duration = Duration::from_secs(1);
/// Of two processes with one id, both at the address that the members' list has, the later gives way after this: the
/// other one may be about to end.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(3);

pub(super) struct HeartbeatThread {
    own: NodeId,
    is_at_home: bool,
    /// The last list that was wanted.
    wanted: Members,
    socket: UdpSocket,
    routes: Routes,
    election: Election,
    leases: Leases,
    incarnation: u64,
    clock: Arc<Clock>,
    folder: u64,
    image_keys: Vec<u64>,
    warnings: Warnings,
    /// Since when, and until when, the datagrams of each peer arrive without proof that it hears this node.
    unheard_since: BTreeMap<NodeId, (Duration, Duration)>,
    /// Since when a peer counts another process with this node's id, and not this one.
    uncounted_since: Option<(Duration, Duration)>,
    /// Another process is this node, as this peer says.
    gives_way_to: Option<NodeId>,
    history: History,
    /// Peers whose port was found closed since the last round.
    refused: Vec<NodeId>,
    /// When the last report was made; `None`: something has changed since.
    reported: Option<Duration>,
    shared: Arc<Shared>,
}

impl HeartbeatThread {
    pub(super) fn new(
        settings: ClusterSettings,
        socket: UdpSocket,
        (election, leases): (Election, Leases),
        shared: Arc<Shared>,
    ) -> HeartbeatThread {
        let ClusterSettings { own, members, .. } = settings;
        HeartbeatThread {
            own,
            is_at_home: settings.is_at_home,
            routes: Routes::new(own, settings.listen.ip(), &members),
            wanted: members,
            socket,
            election,
            leases,
            incarnation: settings.incarnation,
            clock: settings.clock,
            folder: settings.folder,
            image_keys: settings.image_keys,
            warnings: Warnings::new(own),
            unheard_since: BTreeMap::new(),
            uncounted_since: None,
            gives_way_to: None,
            history: History::default(),
            refused: Vec::new(),
            reported: None,
            shared,
        }
    }

    pub(super) fn run(mut self) {
        let mut stop = false;
        while !stop {
            self.wait();
            self.drain();
            for peer in std::mem::take(&mut self.refused) {
                self.step(Input::Refused(peer));
            }
            self.take_orders();
            // Read before `leave`: whoever sets both sets `leave` first.
            stop = self.shared.stop.load(Ordering::Acquire);
            if self.shared.leave.swap(false, Ordering::AcqRel) {
                self.step(Input::Leave);
            }
            if self.shared.time.elapsed() >= self.election.deadline() {
                self.step(Input::Tick);
                self.routes.refresh(&self.election);
            }
            self.stand();
            self.report();
        }
    }

    /// Waits for a datagram, a wake-up or the deadline.
    fn wait(&self) {
        let left = self
            .election
            .deadline()
            .saturating_sub(self.shared.time.elapsed());
        let timeout = Timespec::try_from(left).expect("a deadline is never centuries away");
        let mut waiting = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.shared.wake, PollFlags::IN),
        ];
        // An interrupted wait is as good: whatever has arrived is read next.
        let _ = poll(&mut waiting, Some(&timeout));
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }

    fn drain(&mut self) {
        // One byte more than the longest datagram: a longer one is truncated to a length that the election refuses.
        let mut bytes = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..DRAIN_MAX {
            match self.socket.recv_from(&mut bytes) {
                Ok((length, source)) => self.step(Input::Datagram {
                    bytes: &bytes[..length],
                    source: Some(source),
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error of an earlier datagram, reported here: more datagrams may follow it.
                Err(_) => {}
            }
        }
    }

    /// Does what others have asked for since the last round.
    fn take_orders(&mut self) {
        if let Some(wanted) = self.shared.wanted.swap(None) {
            let older = self.shared.members.load_full();
            let both = wanted.and(&older);
            self.routes.set_members(self.own, &both);
            self.wanted = Members::clone(&wanted);
            let ids: Vec<NodeId> = wanted.ids().collect();
            self.publish_members(&older.ids().collect::<Vec<_>>());
            self.reported = None;
            self.step(Input::Members(&ids));
        }
        if let Some(incarnation) = self.shared.reincarnation.swap(None) {
            self.incarnation = *incarnation;
            self.step(Input::Reincarnate(*incarnation));
        }
    }

    fn step(&mut self, input: Input<'_>) {
        let now = self.shared.time.elapsed();
        self.announce(now);
        let outputs = self.election.step(now, input);
        // What is sent says that the view is installed.
        for output in &outputs {
            match output {
                Output::Members(ids) => self.change_members(ids),
                Output::Publish(view) => self.publish(view),
                _ => {}
            }
        }
        for output in outputs {
            self.perform(now, output);
        }
        // Only now: what was just sent proves to the peer that this process runs, so that the peer can tell people of both.
        if let Some(peer) = self.gives_way_to {
            self.give_way(peer);
        }
    }

    fn perform(&mut self, now: Duration, output: Output) {
        match output {
            Output::Send { to, bytes } => self.send(to, &bytes),
            Output::SendTo { address, bytes } => {
                // A full queue, no way to the host: whoever is to be answered asks again.
                let _ = self.socket.send_to(&bytes, address);
            }
            Output::Publish(_) | Output::Members(_) => {}
            Output::Arrived {
                peer,
                reserve,
                address,
                is_new_life,
            } => {
                self.leases.arrived(now, peer, reserve);
                if let Some(address) = address.filter(|_| is_new_life) {
                    self.routes.follow(peer, address);
                }
                self.find(now, peer, address);
            }
            Output::Left { peer, clock } => self.leases.left(peer, clock),
            Output::Heard(heard) => self.hear(now, heard),
            Output::Double { peer, counted, other } => self.warnings.note_double(peer, (counted, other), now),
            Output::Foreign { peer, source } => {
                if let Some(source) = self.routes.on_host_of(peer, source) {
                    self.warnings.note_foreign(peer, source, now);
                }
            }
            Output::Rival { peer, rival } => self.meet_rival(now, peer, rival),
            Output::Note(transition) => self.note(transition),
        }
    }

    /// A peer has sent something. If it has been doing so for a while without hearing this node, it has moved.
    fn find(&mut self, now: Duration, peer: NodeId, address: Option<SocketAddr>) {
        if self
            .election
            .silence_of(peer)
            .is_some_and(|silent| silent < UNHEARD)
        {
            self.unheard_since.remove(&peer);
            return;
        }
        let (since, last) = self.unheard_since.entry(peer).or_insert((now, now));
        if now >= *last + STORY_PAUSE {
            *since = now;
        }
        *last = now;
        if let Some(address) = address.filter(|_| now >= *since + UNHEARD) {
            self.routes.learn(peer, address);
        }
    }

    /// Others know another life of this node. If that has ended, this one needs a higher incarnation; if it has not, the one
    /// that is not where the members' list has it gives way.
    fn meet_rival(&mut self, now: Duration, peer: NodeId, rival: Rival) {
        self.warnings.note_rival(peer, rival, now);
        if Duration::from_millis(rival.silent_ms.into()) >= self.election.timeout() {
            if rival.incarnation > self.incarnation {
                self.shared.outlived_by.store(Some(Arc::new(rival.incarnation)));
            }
            return;
        }
        let since = match self.uncounted_since {
            _ if rival.is_receiver_counted => None,
            Some((since, last)) if now < last + STORY_PAUSE => Some(since),
            Some(_) | None => Some(now),
        };
        self.uncounted_since = since.map(|since| (since, now));
        let is_later = since.is_some_and(|since| now >= since + GIVES_WAY_AFTER);
        if !self.is_at_home || is_later {
            self.gives_way_to = Some(peer);
        }
    }

    /// Ends the process: another one is this node.
    fn give_way(&self, peer: NodeId) {
        let own = self.own;
        log::error!(
            "Node {own}: another process has this id, and Node {peer} hears it; this one gives way. Run each id once: stop the other \
             one first, or give this one an id of its own in the cluster file"
        );
        log::logger().flush();
        std::process::exit(2);
    }

    /// Renews what every datagram says about this node.
    fn announce(&mut self, now: Duration) {
        let wall_ms = time::wall_ms();
        let clock = self.clock.now(wall_ms);
        // Pauses are noticed before anything that was heard during one.
        self.leases.tick(now, clock, wall_ms);
        if self.election.is_apart() {
            self.leases.stay_apart(now);
        }
        let clean_in = self.shared.clean.load().as_deref().copied();
        self.leases.set_clean(clean_in);
        let reserve = Facts::reserve_at(clock, wall_ms);
        let reserve = self.leases.announce(self.election.next_stamp(now), reserve);
        self.election.announce(Announcement {
            facts: Facts {
                clock,
                reserve,
                stored: self.leases.stored(),
                wall_ms,
                is_clean: false,
                folder: self.folder,
                primary_key: self.image_keys.first().copied().unwrap_or_default(),
                condition: self.shared.condition.get(),
            },
            clean_in,
        });
    }

    fn hear(&mut self, now: Duration, heard: Heard) {
        // A clock that is too far ahead is not followed; `warnings` tells people.
        self.clock.observe(heard.facts.clock, time::wall_ms());
        self.leases.heard(now, heard);
        let is_known = self.image_keys.contains(&heard.facts.primary_key);
        self.warnings.note_key(heard.peer, is_known);
    }

    /// Publishes what this node may do.
    fn stand(&mut self) {
        let now = self.shared.time.elapsed();
        let wall_ms = time::wall_ms();
        self.leases.tick(now, self.clock.now(wall_ms), wall_ms);
        self.clock.observe(self.leases.floor(), wall_ms);
        let mut standing = self.leases.standing(now, wall_ms);
        if self.warnings.has_other_keys(&self.election) {
            standing.is_ready = false;
            standing.is_settled = false;
        }
        self.shared.standing.store(Arc::new(standing));
    }

    fn send(&mut self, to: NodeId, bytes: &[u8]) {
        if self.routes.send(to, bytes) == Delivery::PortClosed {
            self.refused.push(to);
        }
    }

    /// The list that was wanted is in force.
    fn change_members(&mut self, ids: &[NodeId]) {
        self.publish_members(ids);
        let members = self.shared.members.load();
        self.leases.set_members(ids.iter().copied());
        self.routes.set_members(self.own, &members);
        let listed: Vec<u32> = ids.iter().map(|id| id.0).collect();
        log::info!("Node {}: The members are {listed:?} from now on", self.own);
        self.reported = None;
    }

    /// These members, with the addresses of the newest list that names them.
    fn publish_members(&self, ids: &[NodeId]) {
        let older = self.shared.members.load_full();
        let members = self.wanted.and(&older).only(ids);
        self.shared
            .members
            .store(Arc::new(members.expect("this node is a member")));
    }

    fn publish(&mut self, view: &View) {
        let installed = view.id().map(|id| (id, view.roster.clone()));
        self.leases.install(installed, self.clock.now(time::wall_ms()));
        let before = self.shared.view.swap(Arc::new(view.clone()));
        self.stand();
        // Only now: until then workers went by the view before.
        self.leases.set_stored(self.clock.stored());
        if (before.term, before.leader, &before.roster) == (view.term, view.leader, &view.roster) {
            return;
        }
        match view.leader {
            Some(leader) => log::info!(
                "Node {}: Leader is Node {leader} (term {}, alive nodes: {})",
                self.own,
                view.term,
                view.roster
            ),
            None => log::info!("Node {}: No leader (alive nodes: {})", self.own, view.roster),
        }
        self.history.add_leader_change(&before, view);
        self.reported = None;
    }

    fn note(&mut self, transition: Transition) {
        let Transition { peer, to, cause, .. } = transition;
        match (to, cause) {
            (_, Cause::Slept(late)) => {
                log::info!("Node {}: was not running for {} ms", self.own, late.as_millis());
            }
            (PeerState::Left, _) => log::info!("Node {}: Node {peer} has left", self.own),
            _ => log::info!("Node {}: Node {peer} is {to} ({cause})", self.own),
        }
        self.history.add(transition);
        self.reported = None;
    }

    fn report(&mut self) {
        let now = self.shared.time.elapsed();
        if self.reported.is_some_and(|at| now < at + REPORT_EVERY) {
            return;
        }
        self.reported = Some(now);
        let members = self.shared.members.load_full();
        let standing = self.shared.standing.load_full();
        let known = self.wanted.and(&members);
        self.warnings.note_moved(self.routes.moved());
        let warnings = self
            .warnings
            .all(now, (&self.election, &known), &standing.clock_offsets);
        self.warnings.tell(now, &warnings);
        let keys = match self.warnings.has_other_keys(&self.election) {
            true => Condition::OtherKeys,
            false => Condition::Able,
        };
        self.shared.condition.set(ConditionSource::Keys, keys);
        let mut report = Report::of(&members, &self.election, &self.history);
        for (id, offset) in &standing.clock_offsets {
            if let Some(peer) = report.peers.iter_mut().find(|peer| peer.id == *id) {
                peer.clock_offset_ms = Some(*offset);
            }
        }
        report.warnings = warnings.into_iter().map(|warning| warning.text).collect();
        self.shared.report.store(Arc::new(report));
    }
}
