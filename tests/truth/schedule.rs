//! Which node goes away when, how, and for how long: made from a seed, before anything runs.

use std::time::Duration;

use crate::support::random::Random;

/// How a node goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGTERM: it leaves and ends by itself.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Pause,
}

/// One node goes away and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// After the one before it began, if no more than the allowed number of nodes are away by then; later otherwise.
    pub(crate) gap: Duration,
    pub(crate) node: u32,
    pub(crate) fault: Fault,
    pub(crate) length: Duration,
    /// Only when nobody else is away: one step of a rolling restart.
    pub(crate) alone: bool,
}

/// Outages without end.
pub(crate) struct Schedule {
    random: Random,
    nodes: u32,
    /// The rest of a rolling restart.
    rolling: Vec<u32>,
}

impl Schedule {
    pub(crate) fn new(seed: u64, nodes: u32) -> Schedule {
        Schedule {
            random: Random::new(seed),
            nodes,
            rolling: Vec::new(),
        }
    }
}

impl Iterator for Schedule {
    type Item = Outage;

    fn next(&mut self) -> Option<Outage> {
        let random = &mut self.random;
        if self.rolling.is_empty() && random.chance(8) {
            self.rolling = (1..=self.nodes).collect();
        }
        if let Some(node) = self.rolling.pop() {
            let (gap, length) = (random.millis(0..1500), random.millis(50..600));
            return Some(Outage {
                gap,
                node,
                fault: Fault::Stop,
                length,
                alone: true,
            });
        }
        let node = u32::try_from(random.within(1..u64::from(self.nodes) + 1)).unwrap();
        let fault = *random.pick(&[Fault::Stop, Fault::Kill, Fault::Pause]).unwrap();
        let longest = if fault == Fault::Pause { 4000 } else { 5000 };
        let length = if random.chance(50) {
            random.millis(100..1000)
        } else {
            random.millis(1000..longest)
        };
        // Mostly in quick succession; sometimes time enough for everything to settle.
        let gap = if random.chance(8) {
            random.millis(4000..9000)
        } else {
            random.millis(50..1500)
        };
        Some(Outage {
            gap,
            node,
            fault,
            length,
            alone: false,
        })
    }
}

#[test]
fn a_seed_replays_its_schedule() {
    let outages = |seed| Schedule::new(seed, 3).take(200).collect::<Vec<_>>();
    assert_eq!(outages(7), outages(7));
    assert_ne!(outages(7), outages(8));
    for fault in [Fault::Stop, Fault::Kill, Fault::Pause] {
        for node in 1..=3 {
            assert!(
                outages(7)
                    .iter()
                    .any(|outage| outage.node == node && outage.fault == fault)
            );
        }
    }
    let rolls = outages(7).windows(3).any(|three| {
        three.iter().all(|outage| outage.alone) && three.iter().map(|outage| outage.node).eq([3, 2, 1])
    });
    assert!(rolls, "a rolling restart is among them");
}
