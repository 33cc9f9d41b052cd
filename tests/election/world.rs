//! The simulated world: machines that run the real election, a clock that jumps from event to event, and a
//! network that loses, delays, doubles, reorders and blocks.
//!
//! Everything that happens is decided by the seed and the script, so that every run can be had again. The laws
//! are checked after every step of every machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use pixseal::election::datagram::{ClusterKey, Datagram};
use pixseal::election::message::Message;
use pixseal::election::{Election, HEALTH_TIMEOUT, Input, Output, Settings};
use pixseal::roster::NodeId;

use crate::laws::Laws;
use crate::leaseholder::{Leaseholder, Moment};
use crate::support::random::Random;

pub(crate) const SECRET: [u8; 32] = [7; 32];
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
    members: Vec<NodeId>,
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

#[derive(Default)]
pub(crate) struct SimulatedMachine {
    pub(crate) process: Option<SimulatedProcess>,
    pub(crate) incarnation: u64,
    /// When the last process of this machine ended.
    pub(crate) ended: Option<Duration>,
    /// Whom its processes have heard.
    pub(crate) met: BTreeSet<NodeId>,
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
    inbox: VecDeque<Vec<u8>>,
    timer: u64,
}

enum ScheduledEvent {
    Arrive { to: NodeId, bytes: Vec<u8> },
    Refuse { node: NodeId, peer: NodeId },
    Timer { node: NodeId, timer: u64 },
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
        machine.incarnation += 1;
        let election = Election::new(Settings {
            own: node,
            members: self.members.clone(),
            key: self.key.clone(),
            incarnation: machine.incarnation,
            health_timeout: HEALTH_TIMEOUT,
        });
        machine.process = Some(SimulatedProcess {
            election,
            leaseholder: Leaseholder::new(node, &self.members, &machine.met),
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
        for bytes in inbox {
            self.now += READING;
            self.step(node, Input::Datagram(&bytes));
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
        self.happen(ScheduledEvent::Arrive { to, bytes });
    }

    /// A refusal from nowhere, at once.
    pub(crate) fn inject_refusal(&mut self, node: NodeId, peer: NodeId) {
        self.happen(ScheduledEvent::Refuse { node, peer });
    }

    fn happen(&mut self, event: ScheduledEvent) {
        match event {
            ScheduledEvent::Arrive { to, bytes } => match self.process(to) {
                Some(process) if !process.paused => self.step(to, Input::Datagram(&bytes)),
                Some(process) if process.inbox.len() < INBOX_MAX => process.inbox.push_back(bytes),
                Some(_) | None => {}
            },
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

    fn step(&mut self, node: NodeId, input: Input<'_>) {
        self.steps += 1;
        let now = self.now;
        let process = self.process(node).expect("a running node");
        let clock = process.clock(now);
        let stamp = process.election.next_stamp(clock);
        let moment = process.moment(now);
        process
            .election
            .announce(process.leaseholder.announce(moment, stamp));
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
        for output in outputs {
            match output {
                Output::Send { to, bytes } => self.send(node, to, &bytes),
                Output::Arrived { .. } | Output::Left { .. } | Output::Heard(_) => {}
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
    }

    /// As the heartbeat thread does it: views first.
    fn feed_leases(&mut self, node: NodeId, outputs: &[Output]) {
        let now = self.now;
        let machine = self.machines.get_mut(&node).expect("a member");
        let process = machine.process.as_mut().expect("a running node");
        let moment = process.moment(now);
        let holder = &mut process.leaseholder;
        for output in outputs {
            if let Output::Publish(view) = output {
                holder.install(moment, view);
            }
        }
        for output in outputs {
            match output {
                Output::Arrived { peer, reserve } => {
                    holder.arrived(moment, *peer, *reserve);
                    self.laws.reserve_arrived(node, *peer, *reserve);
                }
                Output::Heard(heard) => {
                    machine.met.insert(heard.peer);
                    holder.hear(moment, *heard);
                    self.laws.life_heard(node, heard);
                }
                Output::Left { peer, clock } => holder.left(*peer, *clock),
                Output::Note(_) | Output::Publish(_) | Output::Send { .. } => {}
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
                    to,
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
