//! The simulated world: machines that run the real election, a clock that jumps from event to event, and a
//! network that loses, delays, doubles, reorders and blocks.
//!
//! Everything that happens is decided by the seed and the script, so that every run can be had again. The laws
//! are checked after every step of every machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use pixseal::election::datagram::{ClusterKey, Datagram};
use pixseal::election::event::{Input, Output, Settings};
use pixseal::election::message::{Message, Rival};
use pixseal::election::{Election, HEALTH_TIMEOUT};
use pixseal::roster::NodeId;

use crate::laws::Laws;
use crate::leaseholder::{Leaseholder, Moment};
use crate::support::random::Random;

pub(crate) const SECRET: [u8; 32] = [7; 32];
/// Every process listens at this port of its machine.
pub(crate) const PORT: u16 = 8001;
/// Incarnations of a machine's processes grow by so much: between two of them are some that nobody has had.
const LIFE: u64 = 1000;
/// What a socket holds while its process is stopped: small datagrams fill a default buffer about so.
const INBOX_MAX: usize = 256;
/// How long a node that wakes takes to read a datagram that waited.
const READING: Duration = Duration::from_micros(3);

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) network: Network,
    pub(crate) machines: BTreeMap<NodeId, SimulatedMachine>,
    pub(crate) random: Random,
    /// Every datagram sent of late, delivered or not: what an eavesdropper has.
    pub(crate) overheard: VecDeque<(NodeId, Vec<u8>)>,
    pub(crate) steps: u64,
    /// The member list that new processes start with.
    members: Vec<NodeId>,
    /// Second processes with the id of a member, by where they listen.
    doubles: BTreeMap<SocketAddr, Double>,
    key: ClusterKey,
    scheduled: BTreeMap<(Duration, u64), ScheduledEvent>,
    count: u64,
    laws: Laws,
    pub(crate) transcript: Transcript,
}

/// Where the lines go that tell what happens.
pub(crate) enum Transcript {
    None,
    Kept(String),
    /// Printed at once, since what is told may end in a panic.
    Told,
}

/// What the network does to a datagram.
pub(crate) struct Network {
    pub(crate) loss_percent: u64,
    pub(crate) double_percent: u64,
    pub(crate) delay: std::ops::Range<u64>,
    /// One-way: from, to.
    pub(crate) blocked: BTreeSet<(NodeId, NodeId)>,
    /// Whether the hosts of dead processes say so.
    pub(crate) refuses: bool,
    /// How late timers fire, in milliseconds.
    pub(crate) lateness: std::ops::Range<u64>,
    /// In all of this world's time, whoever runs is heard by all others within a fraction of the timeout.
    pub(crate) whole: bool,
}

/// A second process with the id of a member, started elsewhere by mistake. It is no part of the cluster, whatever it
/// thinks itself.
struct Double {
    election: Election,
    started: Duration,
    timer: u64,
    /// Whether it ends when it is told of the other, as the real program does.
    gives_way: bool,
}

#[derive(Default)]
pub(crate) struct SimulatedMachine {
    pub(crate) process: Option<SimulatedProcess>,
    pub(crate) incarnation: u64,
    /// When the last process of this machine ended.
    pub(crate) ended: Option<Duration>,
    /// Whom its processes have heard.
    pub(crate) met: BTreeSet<NodeId>,
    /// The health timeout of its processes, if it is not the default.
    pub(crate) timeout: Option<Duration>,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) wall_off_ms: i64,
    /// How often it has lost its incarnation: so that no two lives have the same one.
    losses: u64,
    /// How often a second process was started, for the same reason.
    doubled: u64,
}

pub(crate) struct SimulatedProcess {
    pub(crate) election: Election,
    pub(crate) leaseholder: Leaseholder,
    pub(crate) started: Duration,
    /// Its clock counts so many percent of the time that passes.
    pub(crate) speed_percent: u32,
    pub(crate) paused: bool,
    /// When it last stood still, or the beginning.
    pub(crate) resumed: Duration,
    pub(crate) leaving: bool,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    timer: u64,
}

enum ScheduledEvent {
    Arrive {
        at: SocketAddr,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    Refuse {
        node: NodeId,
        peer: NodeId,
    },
    Timer {
        node: NodeId,
        timer: u64,
    },
    DoubleTimer {
        at: SocketAddr,
        timer: u64,
    },
}

/// Where the machine of a node is.
fn home(node: NodeId) -> SocketAddr {
    let [_, _, high, low] = node.0.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], PORT))
}

/// Where a second process with the same id is.
fn elsewhere(node: NodeId) -> SocketAddr {
    let [_, _, high, low] = node.0.to_be_bytes();
    SocketAddr::from(([10, 1, high, low], PORT))
}

/// Where an attacker sends from.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 9))
}

fn datagram(source: SocketAddr, bytes: &[u8]) -> Input<'_> {
    Input::Datagram {
        bytes,
        source: Some(source),
    }
}

impl SimulatedProcess {
    /// The time on its own clock.
    pub(crate) fn clock(&self, now: Duration) -> Duration {
        (now - self.started) * self.speed_percent / 100
    }

    /// This moment, for its leases.
    pub(crate) fn moment(&self, now: Duration) -> Moment {
        Moment {
            own: self.clock(now),
            world: now,
        }
    }

    /// When its clock will show `clock`, rounded up.
    fn when(&self, clock: Duration) -> Duration {
        self.started + clock * 100 / self.speed_percent + Duration::from_micros(1)
    }
}

impl World {
    /// Machines for `members`, all of them off, on a network without faults.
    pub(crate) fn new(seed: u64, members: &[NodeId]) -> World {
        World {
            now: Duration::ZERO,
            network: Network {
                loss_percent: 0,
                double_percent: 0,
                delay: 1..2,
                blocked: BTreeSet::new(),
                refuses: true,
                lateness: 0..1,
                whole: false,
            },
            machines: members
                .iter()
                .map(|id| (*id, SimulatedMachine::default()))
                .collect(),
            random: Random::new(seed),
            overheard: VecDeque::new(),
            steps: 0,
            members: members.to_vec(),
            doubles: BTreeMap::new(),
            key: ClusterKey::new(&SECRET),
            scheduled: BTreeMap::new(),
            count: 0,
            laws: Laws::default(),
            transcript: Transcript::None,
        }
    }

    /// A line of the transcript.
    pub(crate) fn say(&mut self, line: &str) {
        let now = self.now.as_millis();
        match &mut self.transcript {
            Transcript::None => {}
            Transcript::Kept(text) => writeln!(text, "{now:>6} ms  {line}").unwrap(),
            Transcript::Told => println!("{now:>6} ms  {line}"),
        }
    }

    pub(crate) fn start(&mut self, node: NodeId, speed_percent: u32) {
        let machine = self.machines.get_mut(&node).expect("a member");
        machine.incarnation += LIFE;
        let election = Election::new(Settings {
            own: node,
            members: self.members.clone(),
            key: self.key.clone(),
            incarnation: machine.incarnation,
            health_timeout: machine.timeout.unwrap_or(HEALTH_TIMEOUT),
            port: PORT,
        });
        machine.process = Some(SimulatedProcess {
            election,
            leaseholder: Leaseholder::new(node, &self.members, &machine.met, machine.wall_off_ms),
            started: self.now,
            speed_percent,
            paused: false,
            resumed: self.now,
            leaving: false,
            inbox: VecDeque::new(),
            timer: 0,
        });
        self.say(&format!("-- node {node} starts"));
        self.step(node, Input::Tick);
    }

    /// A machine that is off has lost the file that counts its lives, and its clock is behind.
    pub(crate) fn lose_incarnation(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("a member");
        if machine.process.is_none() && machine.incarnation > LIFE {
            machine.losses += 1;
            machine.incarnation = machine.losses;
            self.say(&format!("-- node {node} forgets its incarnation"));
        }
    }

    /// New processes start with this list of members from now on.
    pub(crate) fn list_members(&mut self, members: &[NodeId]) {
        self.members = members.to_vec();
    }

    /// A running node is given another list of members.
    pub(crate) fn reload(&mut self, node: NodeId, members: &[NodeId]) {
        let listed: Vec<u32> = members.iter().map(|id| id.0).collect();
        self.say(&format!("-- node {node} is given the members {listed:?}"));
        self.step(node, Input::Members(members));
    }

    /// A second process with the id of a running node starts elsewhere.
    pub(crate) fn start_double(&mut self, node: NodeId, gives_way: bool) {
        let machine = self.machines.get_mut(&node).expect("a member");
        machine.doubled += 1;
        let incarnation = machine.incarnation + LIFE / 2 + machine.doubled;
        let election = Election::new(Settings {
            own: node,
            members: self.members.clone(),
            key: self.key.clone(),
            incarnation,
            health_timeout: HEALTH_TIMEOUT,
            port: PORT,
        });
        let double = Double {
            election,
            started: self.now,
            timer: 0,
            gives_way,
        };
        self.doubles.insert(elsewhere(node), double);
        self.say(&format!("-- a second node {node} starts elsewhere"));
        self.step_double(elsewhere(node), Input::Tick);
    }

    /// The second process of a node ends, if there is one.
    pub(crate) fn end_double(&mut self, node: NodeId) {
        if self.doubles.remove(&elsewhere(node)).is_some() {
            self.say(&format!("-- the second node {node} ends"));
        }
    }

    pub(crate) fn has_double(&self, node: NodeId) -> bool {
        self.doubles.contains_key(&elsewhere(node))
    }

    pub(crate) fn crash(&mut self, node: NodeId) {
        self.end(node);
        self.say(&format!("-- node {node} is killed"));
    }

    fn end(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("a member");
        machine.process = None;
        machine.ended = Some(self.now);
        self.laws.forget(node);
    }

    pub(crate) fn pause(&mut self, node: NodeId) {
        self.process(node).expect("a running node").paused = true;
        self.say(&format!("-- node {node} is stopped"));
    }

    /// As the shell does it: first everything that has arrived, one after the other, then the time.
    pub(crate) fn resume(&mut self, node: NodeId) {
        self.say(&format!("-- node {node} continues"));
        let now = self.now;
        let process = self.process(node).expect("a running node");
        process.paused = false;
        process.resumed = now;
        let inbox = std::mem::take(&mut process.inbox);
        for (source, bytes) in inbox {
            self.now += READING;
            self.step(node, datagram(source, &bytes));
        }
        self.step(node, Input::Tick);
    }

    pub(crate) fn leave(&mut self, node: NodeId) {
        self.say(&format!("-- node {node} is asked to stop"));
        self.process(node).expect("a running node").leaving = true;
        self.step(node, Input::Leave);
    }

    /// No datagram passes between the two sides, in the directions given.
    pub(crate) fn split(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.network
            .blocked
            .extend(from.iter().flat_map(|a| to.iter().map(|b| (*a, *b))));
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.machines
            .iter()
            .filter(|(_, machine)| machine.process.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn process(&mut self, node: NodeId) -> Option<&mut SimulatedProcess> {
        self.machines.get_mut(&node)?.process.as_mut()
    }

    /// Lets happen whatever happens until `end`.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while let Some(next) = self.scheduled.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Bytes from nowhere, at once.
    pub(crate) fn inject(&mut self, to: NodeId, bytes: Vec<u8>) {
        self.happen(ScheduledEvent::Arrive {
            at: home(to),
            source: nowhere(),
            bytes,
        });
    }

    /// A refusal from nowhere, at once.
    pub(crate) fn inject_refusal(&mut self, node: NodeId, peer: NodeId) {
        self.happen(ScheduledEvent::Refuse { node, peer });
    }

    fn happen(&mut self, event: ScheduledEvent) {
        match event {
            ScheduledEvent::Arrive { at, source, bytes } => self.arrive(at, source, bytes),
            ScheduledEvent::DoubleTimer { at, timer } => {
                if self.doubles.get(&at).is_some_and(|double| double.timer == timer) {
                    self.step_double(at, Input::Tick);
                }
            }
            ScheduledEvent::Refuse { node, peer } => {
                if self.process(node).is_some_and(|process| !process.paused) {
                    self.step(node, Input::Refused(peer));
                }
            }
            ScheduledEvent::Timer { node, timer } => {
                if self
                    .process(node)
                    .is_some_and(|process| process.timer == timer && !process.paused)
                {
                    self.step(node, Input::Tick);
                }
            }
        }
    }

    fn arrive(&mut self, at: SocketAddr, source: SocketAddr, bytes: Vec<u8>) {
        let Some(node) = self.machines.keys().copied().find(|node| home(*node) == at) else {
            return self.step_double(at, datagram(source, &bytes));
        };
        match self.process(node) {
            Some(process) if !process.paused => self.step(node, datagram(source, &bytes)),
            Some(process) if process.inbox.len() < INBOX_MAX => process.inbox.push_back((source, bytes)),
            Some(_) | None => {}
        }
    }

    fn step_double(&mut self, at: SocketAddr, input: Input<'_>) {
        let now = self.now;
        let Some(double) = self.doubles.get_mut(&at) else {
            return;
        };
        let outputs = double.election.step(now - double.started, input);
        double.timer += 1;
        let timer = double.timer;
        let due = (double.started + double.election.deadline()).max(now) + Duration::from_micros(1);
        self.schedule(due, ScheduledEvent::DoubleTimer { at, timer });
        for output in outputs {
            match output {
                Output::Send { to, bytes } => self.carry(at, home(to), bytes),
                Output::SendTo { address, bytes } => self.carry(at, address, bytes),
                Output::Rival { .. } if self.doubles.get(&at).is_some_and(|double| double.gives_way) => {
                    self.doubles.remove(&at);
                    self.say("-- the second process is told of the first, and ends");
                }
                _ => {}
            }
        }
    }

    fn carry(&mut self, source: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let datagram = self
            .key
            .decode(&bytes)
            .expect("our own datagrams are well-formed");
        self.laws.heard(&datagram);
        self.tell(&datagram);
        if !self.random.chance(self.network.loss_percent) {
            let at = self.now + self.random.millis(self.network.delay.clone());
            let event = ScheduledEvent::Arrive {
                at: to,
                source,
                bytes,
            };
            self.schedule(at, event);
        }
    }

    fn step(&mut self, node: NodeId, input: Input<'_>) {
        self.steps += 1;
        let now = self.now;
        let process = self.process(node).expect("a running node");
        let clock = process.clock(now);
        let stamp = process.election.next_stamp(clock);
        let moment = process.moment(now);
        let is_apart = process.election.is_apart();
        let announcement = process.leaseholder.announce(moment, stamp, is_apart);
        process.election.announce(announcement);
        let outputs = process.election.step(clock, input);
        let deadline = process.election.deadline();
        assert!(
            !matches!(input, Input::Tick) || deadline > clock,
            "node {node} would spin"
        );
        self.feed_leases(node, &outputs);
        self.laws.check(node, now, &self.machines);
        self.laws
            .check_leases(node, now, &self.machines, self.network.whole);
        let mut reborn = None;
        for output in outputs {
            match output {
                Output::Send { to, bytes } => self.send(node, to, &bytes),
                Output::SendTo { address, bytes } => self.carry(home(node), address, bytes),
                Output::Arrived { .. }
                | Output::Left { .. }
                | Output::Heard(_)
                | Output::Double { .. }
                | Output::Foreign { .. } => {}
                Output::Rival { rival, .. } => reborn = reborn.max(self.reborn(node, &rival)),
                Output::Members(ids) => {
                    let listed: Vec<u32> = ids.iter().map(|id| id.0).collect();
                    self.say(&format!("node {node}: the members are {listed:?}"));
                }
                Output::Note(transition) => self.say(&format!(
                    "node {node}: node {} from {} to {} ({})",
                    transition.peer, transition.from, transition.to, transition.cause
                )),
                Output::Publish(view) => {
                    let leader = view
                        .leader
                        .map_or("nobody".to_owned(), |leader| format!("node {leader}"));
                    self.say(&format!(
                        "node {node}: {leader} leads in term {}, alive {}",
                        view.term, view.roster
                    ));
                }
            }
        }
        let late = self.random.millis(self.network.lateness.clone());
        let process = self.process(node).expect("a running node");
        process.timer += 1;
        let (at, timer) = (process.when(deadline).max(now) + late, process.timer);
        self.schedule(at, ScheduledEvent::Timer { node, timer });
        if let Some(incarnation) = reborn {
            self.step(node, Input::Reincarnate(incarnation));
        }
    }

    /// The incarnation that a node takes when it hears of a later life of itself that has ended.
    fn reborn(&mut self, node: NodeId, rival: &Rival) -> Option<u64> {
        let machine = self.machines.get_mut(&node).expect("a member");
        let ended = Duration::from_millis(rival.silent_ms.into()) >= HEALTH_TIMEOUT;
        let later = ended && rival.incarnation > machine.incarnation;
        later.then(|| {
            machine.incarnation = (rival.incarnation / LIFE + 1) * LIFE + machine.losses;
            machine.incarnation
        })
    }

    /// As the heartbeat thread does it: views first.
    fn feed_leases(&mut self, node: NodeId, outputs: &[Output]) {
        let now = self.now;
        let machine = self.machines.get_mut(&node).expect("a member");
        let process = machine.process.as_mut().expect("a running node");
        let moment = process.moment(now);
        let holder = &mut process.leaseholder;
        for output in outputs {
            match output {
                Output::Members(ids) => holder.set_members(moment, ids),
                Output::Publish(view) => holder.install(moment, view),
                _ => {}
            }
        }
        for output in outputs {
            match output {
                Output::Arrived { peer, reserve, .. } => {
                    holder.arrived(moment, *peer, *reserve);
                    self.laws.reserve_arrived(node, *peer, *reserve);
                }
                Output::Heard(heard) => {
                    machine.met.insert(heard.peer);
                    holder.hear(moment, *heard);
                    self.laws.life_heard(node, heard);
                }
                Output::Left { peer, clock } => holder.left(*peer, *clock),
                _ => {}
            }
        }
        holder.stand(moment);
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        let datagram = self.key.decode(bytes).expect("our own datagrams are well-formed");
        self.laws.heard(&datagram);
        self.tell(&datagram);
        if self.overheard.len() == INBOX_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back((to, bytes.to_vec()));
        if self.network.blocked.contains(&(from, to)) || self.random.chance(self.network.loss_percent) {
            return;
        }
        if self.machines[&to].process.is_none() {
            if self.network.refuses && !self.network.blocked.contains(&(to, from)) {
                let at = self.now + self.random.millis(self.network.delay.clone()) * 2;
                self.schedule(at, ScheduledEvent::Refuse { node: from, peer: to });
            }
            return;
        }
        let copies = if self.random.chance(self.network.double_percent) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let at = self.now + self.random.millis(self.network.delay.clone());
            self.schedule(
                at,
                ScheduledEvent::Arrive {
                    at: home(to),
                    source: home(from),
                    bytes: bytes.to_vec(),
                },
            );
        }
    }

    /// Heartbeats are too many to read.
    fn tell(&mut self, datagram: &Datagram) {
        let word = match datagram.message {
            Message::Heartbeat { .. } => return,
            Message::Probe => "are you there?",
            Message::Election => "election",
            Message::Answer => "answer",
            Message::Coordinator => "coordinator",
            Message::Leave => "leave",
            Message::Rival(_) => "there is another one of you",
        };
        self.say(&format!(
            "node {} to node {}: {word}",
            datagram.sender, datagram.receiver
        ));
    }

    fn schedule(&mut self, at: Duration, event: ScheduledEvent) {
        self.count += 1;
        self.scheduled.insert((at, self.count), event);
    }
}
