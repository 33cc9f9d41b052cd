//! What becomes of images while nodes are killed and paused and the network is parted: maps in memory instead of folders.
//!
//! Whoever takes and confirms writes of a name writes it; a view of all members hands over. Moves are at once and whole:
//! what a kill in the middle of one does is a matter of real processes.

use std::collections::BTreeMap;
use std::time::Duration;

use pixseal::lease::times::Times;
use pixseal::roster::NodeId;
use pixseal::version::{Copy, Newest, Time, Version, newest};

use crate::world::{SimulatedProcess, World};

const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const USER: &str = "u";
const NAMES: [&str; 8] = [
    "a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g.png", "h.png",
];
const SEEDS: u64 = 60;
/// Longer than any agreement, and than what is needed to hand over.
const CALM: Duration = Duration::from_secs(9);

struct Images {
    world: World,
    held: BTreeMap<(&'static str, NodeId), Copy>,
    /// The newest write of each name that was confirmed.
    confirmed: BTreeMap<&'static str, Copy>,
    is_parted: bool,
    confirmations: u64,
    answers: u64,
}

impl Images {
    fn new(seed: u64) -> Images {
        let mut world = World::new(seed, &MEMBERS);
        world.network.delay = 0..5;
        for node in MEMBERS {
            world.start(node, 100);
        }
        Images {
            world,
            held: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            is_parted: false,
            confirmations: 0,
            answers: 0,
        }
    }

    fn process(&self, node: NodeId) -> Option<&SimulatedProcess> {
        self.world.machines[&node].process.as_ref()
    }

    /// It runs, and does something now.
    fn running(&self, node: NodeId) -> Option<&SimulatedProcess> {
        self.process(node).filter(|process| !process.paused)
    }

    fn write(&mut self, node: NodeId, name: &'static str, deleted: bool) {
        let Some(process) = self.running(node) else {
            return;
        };
        let moment = process.moment(self.world.now);
        let holder = &process.leaseholder;
        let time = holder.next_time(moment);
        let may = holder.standing.takes(USER, name) && holder.standing.confirms(moment.own, time);
        if !may || !self.declare(node, name, time) {
            return;
        }
        let version = Version { time, node };
        let copy = Copy { version, deleted };
        self.held.insert((name, node), copy);
        let newest = self.confirmed.entry(name).or_insert(copy);
        assert!(
            self.is_parted || newest.version <= version,
            "{name}: {version} after {}",
            newest.version
        );
        if newest.version < version {
            *newest = copy;
        }
        self.confirmations += 1;
    }

    /// Every node of the view of `node` that is not known to be clean notes what it is about to write; none that cannot be
    /// asked, or goes by another view.
    fn declare(&self, node: NodeId, name: &str, time: Time) -> bool {
        let holder = &self.process(node).expect("it runs").leaseholder;
        let are_noted = holder.standing.declared_to.iter().all(|&other| {
            let asked = self
                .running(other)
                .filter(|_| !self.world.network.blocked.contains(&(node, other)));
            asked.is_some_and(|asked| {
                let theirs = &asked.leaseholder.standing;
                theirs.note(node, USER, name, time);
                theirs.view == holder.standing.view
            })
        });
        if are_noted {
            holder.store(time);
        }
        are_noted
    }

    /// What `node` answers, which asks all nodes of its view.
    fn read(&self, node: NodeId, name: &str) -> Newest {
        let unknown = Newest::Unknown(Vec::new());
        let is_present = |process: &&SimulatedProcess| {
            process.clock(self.world.now) < process.leaseholder.standing.present_until
        };
        let Some(process) = self.running(node).filter(is_present) else {
            return unknown;
        };
        let standing = &process.leaseholder.standing;
        if standing.view.is_none() {
            return unknown;
        }
        let mut copies = Vec::new();
        let mut silent: BTreeMap<NodeId, Times> = BTreeMap::new();
        let mut knowing = Vec::new();
        for other in MEMBERS {
            let asked = self.running(other).filter(|_| standing.roster.contains(other));
            match asked {
                Some(asked) if asked.leaseholder.standing.view > standing.view => return unknown,
                Some(asked) => {
                    copies.extend(self.held.get(&(name, other)).map(|copy| (other, *copy)));
                    knowing.extend(Some(asked).filter(is_present));
                }
                None => {
                    silent.insert(other, standing.times_on(other, USER, name));
                }
            }
        }
        for theirs in knowing.iter().map(|asked| &asked.leaseholder.standing) {
            for other in theirs.away() {
                if let Some(times) = silent
                    .get_mut(&other)
                    .filter(|_| !standing.roster.contains(other))
                {
                    *times = times.common(&theirs.times_on(other, USER, name));
                }
            }
        }
        let away: Vec<_> = silent
            .into_iter()
            .map(|(other, times)| (other, times.latest()))
            .collect();
        newest(&copies, &away, standing.assigned(USER, name))
    }

    /// Without a partition, who knows an answer knows the newest confirmed write.
    fn check_reads(&mut self) {
        for node in MEMBERS {
            for name in NAMES {
                let answer = self.read(node, name);
                if matches!(answer, Newest::Unknown(_)) {
                    continue;
                }
                self.answers += 1;
                assert!(
                    self.is_parted || self.is_right(name, &answer),
                    "{name} through node {node}: {answer:?}, not {:?}",
                    self.confirmed.get(name)
                );
            }
        }
    }

    fn is_right(&self, name: &str, answer: &Newest) -> bool {
        let found = match answer {
            Newest::Image { version, .. } => Some((*version, false)),
            Newest::Deleted(version) => Some((*version, true)),
            Newest::Absent => None,
            Newest::Unknown(_) => return false,
        };
        found == self.confirmed.get(name).map(|copy| (copy.version, copy.deleted))
    }

    /// Everybody whose view holds all members hands over what belongs elsewhere; nothing older replaces what is there.
    fn hand_over(&mut self) {
        let held: Vec<(&'static str, NodeId)> = self.held.keys().copied().collect();
        for (name, giver) in held {
            let Some(from) = self.running(giver).map(|process| &process.leaseholder.standing) else {
                continue;
            };
            let taker = from.assigned(USER, name);
            let whole = from.is_ready && from.roster.ids() == MEMBERS;
            let takes = self.running(taker).is_some_and(|process| {
                let to = &process.leaseholder.standing;
                to.view == from.view && to.takes(USER, name)
            });
            if !whole || !takes || taker == giver {
                continue;
            }
            let time = self.held[&(name, giver)].version.time;
            if !self.declare(taker, name, time) {
                continue;
            }
            let copy = self.held.remove(&(name, giver)).expect("it was held");
            let kept = self.held.entry((name, taker)).or_insert(copy);
            if kept.version < copy.version {
                *kept = copy;
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            let wait = self.world.random.millis(1..30);
            self.world.run_for(wait);
            self.hand_over();
            let name = *self.world.random.pick(&NAMES).unwrap();
            let deleted = self.world.random.chance(30);
            for node in MEMBERS {
                self.write(node, name, deleted);
            }
            self.check_reads();
        }
    }

    fn fault(&mut self, parts: bool) {
        let node = *self.world.random.pick(&MEMBERS).unwrap();
        let others: Vec<NodeId> = MEMBERS.into_iter().filter(|other| *other != node).collect();
        match self.world.random.within(0..4) {
            0 if parts => {
                self.is_parted = true;
                self.world.split(&[node], &others);
                self.world.split(&others, &[node]);
            }
            1 if parts => self.world.network.blocked.clear(),
            _ if self.process(node).is_some_and(|process| process.paused) => self.world.resume(node),
            2 if self.process(node).is_some() => self.world.pause(node),
            _ if self.process(node).is_some() => self.world.crash(node),
            _ => self.world.start(node, 100),
        }
    }

    fn calm(&mut self) {
        self.world.network.blocked.clear();
        for node in MEMBERS {
            match self.process(node) {
                None => self.world.start(node, 100),
                Some(process) if process.paused => self.world.resume(node),
                Some(_) => {}
            }
        }
        let end = self.world.now + CALM;
        while self.world.now < end {
            self.world.run_for(Duration::from_millis(50));
            self.hand_over();
        }
        for name in NAMES {
            let holders = MEMBERS
                .iter()
                .filter(|node| self.held.contains_key(&(name, **node)));
            let expected = usize::from(self.confirmed.contains_key(name));
            assert_eq!(holders.count(), expected, "copies of {name}");
            for node in MEMBERS {
                let answer = self.read(node, name);
                assert!(
                    self.is_right(name, &answer),
                    "{name} through node {node}: {answer:?}"
                );
            }
        }
    }
}

fn live(seed: u64, parts: bool) {
    let mut images = Images::new(seed);
    images.run_for(Duration::from_secs(2));
    for _ in 0..8 {
        let wait = images.world.random.millis(100..2_500);
        images.run_for(wait);
        images.fault(parts);
    }
    images.run_for(Duration::from_secs(1));
    images.calm();
    assert!(
        images.confirmations > 20 && images.answers > 20,
        "nothing was tried"
    );
}

#[test]
fn nodes_that_are_killed_undo_nothing_and_a_deleted_image_stays_deleted() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        live(seed, false);
    }
}

#[test]
fn after_a_partition_the_newest_version_wins_on_both_sides() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        live(seed, true);
    }
}
