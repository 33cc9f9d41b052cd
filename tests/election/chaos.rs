//! From a number, a cluster with every fault there is; then calm, in which it must come to agree.

use std::collections::BTreeSet;
use std::time::Duration;

use pixseal::election::datagram::ClusterKey;
use pixseal::election::event::{Input, Output, Settings};
use pixseal::election::{Election, HEALTH_TIMEOUT};
use pixseal::roster::NodeId;

use crate::world::{PORT, Transcript, World};

/// After the last fault, agreement within this, with the slowest clock: a heartbeat each way to be heard, the
/// timeout for whoever is gone, two seconds of watching the leader in office, a heartbeat to tell.
pub(crate) const CALM: Duration = Duration::from_secs(6);
/// Agreement must then last for this.
const QUIET: Duration = Duration::from_secs(1);
/// The slowest clock, in percent.
const SPEED_MIN: u64 = 60;

/// What one seed did.
pub(crate) struct SeedOutcome {
    pub(crate) simulated: Duration,
    pub(crate) steps: u64,
    pub(crate) calmed_in: Duration,
}

/// One cluster's life. Panics when a law is broken or calm does not bring agreement.
pub(crate) fn run(seed: u64, tell: bool) -> SeedOutcome {
    let mut chaos = Chaos::new(seed, tell);
    chaos.rage();
    let calmed_in = chaos.calm();
    let world = chaos.world;
    SeedOutcome {
        simulated: world.now,
        steps: world.steps,
        calmed_in,
    }
}

struct Chaos {
    world: World,
    /// Who may be started: one more may be configured that never is.
    real: Vec<NodeId>,
    /// All that are configured.
    members: Vec<NodeId>,
    /// Configured but never started, if there is one; the impostor claims to be it.
    impostor: Option<Impostor>,
    attacked: bool,
    /// Operators make mistakes: second processes, lost files, other lists, clocks that jump.
    mistaken: bool,
}

/// The real program with another key.
struct Impostor(Election);

impl Chaos {
    fn new(seed: u64, tell: bool) -> Chaos {
        let mut world = World::new(seed, &[]);
        let count = world.random.within(1..10);
        let mut ids = BTreeSet::new();
        while (ids.len() as u64) < count {
            ids.insert(NodeId(u32::try_from(world.random.within(1..60)).unwrap()));
        }
        let real: Vec<NodeId> = ids.iter().copied().collect();
        let ghost = world
            .random
            .chance(40)
            .then(|| NodeId(u32::try_from(world.random.within(1..80)).unwrap()));
        let ghost = ghost.filter(|ghost| ids.insert(*ghost));
        let members: Vec<NodeId> = ids.into_iter().collect();
        let mut world = World::new(world.random.number(), &members);
        if tell {
            world.transcript = Transcript::Told;
        }
        let attacked = world.random.chance(60);
        world.network.whole = world.random.chance(25);
        let mistaken = world.random.chance(50);
        let impostor = ghost.map(|own| {
            Impostor(Election::new(Settings {
                own,
                members: members.clone(),
                key: ClusterKey::new(&[8; 32]),
                incarnation: u64::MAX / 2,
                health_timeout: HEALTH_TIMEOUT,
                port: PORT,
            }))
        });
        Chaos {
            world,
            real,
            members,
            impostor,
            attacked,
            mistaken,
        }
    }

    /// Four to twelve seconds of faults, one after the other and some at once.
    fn rage(&mut self) {
        self.world.network.refuses = self.world.random.chance(50);
        if self.mistaken && self.world.random.chance(20) {
            let node = self.any_node();
            let timeout = self.world.random.millis(300..900);
            self.world.machines.get_mut(&node).expect("a machine").timeout = Some(timeout);
        }
        let gap = self.world.random.within(1..400);
        for node in self.real.clone() {
            let speed = self.speed();
            self.world.start(node, speed);
            let wait = self.world.random.millis(0..gap);
            self.world.run_for(wait);
        }
        let end = self.world.now + self.world.random.millis(4_000..12_000);
        let worst = self.world.random.within(60..1500);
        while self.world.now < end {
            let wait = self.world.random.millis(0..worst);
            self.run_for(wait);
            self.fault();
        }
    }

    fn speed(&mut self) -> u32 {
        let slow = self.world.random.chance(25);
        if slow {
            u32::try_from(self.world.random.within(SPEED_MIN..101)).unwrap()
        } else {
            100
        }
    }

    /// Lets time pass, under attack or not.
    fn run_for(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.attacked && self.world.now < end {
            let wait = self.world.random.millis(0..60).min(end - self.world.now);
            self.world.run_for(wait + Duration::from_micros(1));
            self.attack();
        }
        self.world.run_until(end.max(self.world.now));
    }

    fn any_node(&mut self) -> NodeId {
        *self.world.random.pick(&self.real).expect("at least one node")
    }

    fn fault(&mut self) {
        let node = self.any_node();
        if self.mistaken && self.world.random.chance(30) {
            return self.mistake(node);
        }
        let whole = self.world.network.whole;
        match self.world.random.within(0..12) {
            5..=8 if whole => self.crash_or_start(node),
            0 | 1 => self.crash_or_start(node),
            2 | 3 => self.pause_or_resume(node),
            4 => self.leave(node),
            5 => self.split(true),
            6 => self.split(false),
            7 => self.world.network.blocked.clear(),
            8 => self.world.network.loss_percent = self.world.random.within(0..51),
            9 => self.world.network.double_percent = self.world.random.within(0..30),
            10 if whole => self.world.network.delay = 0..self.world.random.within(1..100),
            10 => self.world.network.delay = 0..self.world.random.within(1..400),
            _ => self.world.network.lateness = 0..self.world.random.within(1..60),
        }
    }

    fn mistake(&mut self, node: NodeId) {
        let runs = self.world.process(node).is_some_and(|process| !process.paused);
        match self.world.random.within(0..6) {
            0 if runs && !self.world.has_double(node) => {
                let gives_way = self.world.random.chance(50);
                self.world.start_double(node, gives_way);
            }
            1 => self.world.end_double(node),
            2 => self.world.lose_incarnation(node),
            3 if runs => {
                let list = self.some_list(node);
                self.world.reload(node, &list);
            }
            4 if runs => {
                let members = self.members.clone();
                self.world.reload(node, &members);
            }
            5 => {
                let off = i64::try_from(self.world.random.within(0..2_000)).unwrap() - 1_000;
                self.world.machines.get_mut(&node).expect("a machine").wall_off_ms = off;
                if let Some(process) = self.world.process(node) {
                    process.leaseholder.wall_off_ms = off;
                }
            }
            _ => {}
        }
    }

    /// The members without some of them, but never without `own`.
    fn some_list(&mut self, own: NodeId) -> Vec<NodeId> {
        let members = self.members.clone();
        let kept = members
            .into_iter()
            .filter(|id| *id == own || self.world.random.chance(70));
        kept.collect()
    }

    fn crash_or_start(&mut self, node: NodeId) {
        let speed = self.speed();
        // A second process would be the only one.
        self.world.end_double(node);
        match self.world.process(node) {
            Some(_) => self.world.crash(node),
            None => self.world.start(node, speed),
        }
    }

    fn pause_or_resume(&mut self, node: NodeId) {
        self.world.end_double(node);
        match self.world.process(node) {
            Some(process) if process.paused => self.world.resume(node),
            Some(_) => self.world.pause(node),
            None => {}
        }
    }

    fn leave(&mut self, node: NodeId) {
        self.world.end_double(node);
        if self
            .world
            .process(node)
            .is_some_and(|process| !process.paused && !process.leaving)
        {
            self.world.leave(node);
        }
    }

    /// Any two sides, one of them possibly empty.
    fn split(&mut self, both_ways: bool) {
        let (left, right): (Vec<NodeId>, Vec<NodeId>) = self
            .real
            .clone()
            .into_iter()
            .partition(|_| self.world.random.chance(50));
        self.world.say(&format!(
            "-- split {left:?} from {right:?}, both ways: {both_ways}"
        ));
        self.world.split(&left, &right);
        if both_ways {
            self.world.split(&right, &left);
        }
    }

    fn attack(&mut self) {
        let target = *self.world.random.pick(&self.real).expect("at least one node");
        let Some((receiver, mut bytes)) = self.overheard() else {
            return;
        };
        match self.world.random.within(0..6) {
            0 => self.world.inject(receiver, bytes),
            1 => self.world.inject(target, bytes),
            2 => {
                let at = usize::try_from(self.world.random.within(0..bytes.len() as u64)).unwrap();
                bytes[at] ^= 1 << self.world.random.within(0..8);
                self.world.inject(receiver, bytes);
            }
            3 => {
                let length = self.world.random.within(0..300);
                let noise = (0..length)
                    .map(|_| self.world.random.number().to_le_bytes()[0])
                    .collect();
                self.world.inject(target, noise);
            }
            4 => {
                let peer = *self.world.random.pick(&self.real).expect("at least one node");
                self.world.inject_refusal(target, peer);
            }
            _ => self.impersonate(),
        }
    }

    fn overheard(&mut self) -> Option<(NodeId, Vec<u8>)> {
        let index = self
            .world
            .random
            .number()
            .checked_rem(self.world.overheard.len() as u64)?;
        self.world.overheard.get(usize::try_from(index).unwrap()).cloned()
    }

    fn impersonate(&mut self) {
        let now = self.world.now;
        let Some(Impostor(election)) = &mut self.impostor else {
            return;
        };
        for output in election.step(now, Input::Tick) {
            if let Output::Send { to, bytes } = output {
                self.world.inject(to, bytes);
            }
        }
    }

    /// Every fault ends, except that what is dead stays dead, slow clocks stay slow and an attacker goes on.
    /// Returns when they last disagreed.
    fn calm(&mut self) -> Duration {
        self.world.say("-- calm");
        self.world.network.blocked.clear();
        self.world.network.loss_percent = 0;
        self.world.network.double_percent = 0;
        self.world.network.delay = 0..5;
        self.world.network.lateness = 0..3;
        let members = self.members.clone();
        for node in self.world.running() {
            self.world.end_double(node);
            let process = self.world.process(node).expect("it runs");
            let (paused, leaving) = (process.paused, process.leaving);
            if leaving {
                self.world.crash(node);
            } else if paused {
                self.world.resume(node);
            }
            // Whoever was given another list gets the right one.
            if !leaving && self.mistaken {
                self.world.reload(node, &members);
            }
        }
        let since = self.world.now;
        let mut calmed_in = Duration::ZERO;
        while self.world.now < since + CALM + QUIET {
            self.run_for(Duration::from_millis(20));
            if let Err(reason) = self.agreed() {
                calmed_in = self.world.now - since;
                assert!(calmed_in <= CALM, "no agreement {CALM:?} after calm: {reason}");
            }
        }
        calmed_in
    }

    /// All that run follow the highest of them in one term, and count exactly those that run.
    fn agreed(&mut self) -> Result<(), String> {
        let alive = self.world.running();
        let mut term = None;
        for node in &alive {
            let view = self
                .world
                .process(*node)
                .expect("it runs")
                .election
                .view()
                .clone();
            let term = *term.get_or_insert(view.term);
            if view.leader != alive.last().copied() || view.roster.ids() != alive || view.term != term {
                return Err(format!("{alive:?} run, and node {node} holds {view:?}"));
            }
        }
        Ok(())
    }
}
