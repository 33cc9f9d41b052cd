//! What other nodes have said that they are about to write, while the cluster was not settled.
//!
//! A node gives nothing a name before every other node of its view that is not known to be clean has noted the name, under
//! that view. Whoever has listened to a node all the time, and was not clean, knows what it can hold once it is away:
//! nothing that it has not declared.
//!
//! Workers note and ask; what was noted before the cluster was last settled counts no more, and goes with the first note
//! after that.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::balancer;
use crate::roster::NodeId;
use crate::version::Time;

/// Names that are remembered of each node: some 2 MiB. One more, and it may have written any.
const NAMES_MAX: usize = 1 << 16;

/// What was noted since the cluster was settled.
#[derive(Debug, Default)]
pub struct Intents(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// Counts how often the cluster was settled before.
    generation: u64,
    /// The latest write of each name that each node has declared, by the hash of the name: two names with one hash count
    /// as one, which at worst has a name refused.
    nodes: BTreeMap<NodeId, HashMap<u64, Time>>,
}

impl Intents {
    /// `node` is about to write this name, with a version of `time`.
    pub(super) fn note(&self, generation: u64, node: NodeId, (user, name): (&str, &str), time: Time) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generation > noted.generation {
            *noted = Notes {
                generation,
                ..Notes::default()
            };
        }
        let names = noted.nodes.entry(node).or_default();
        if names.len() <= NAMES_MAX {
            let latest = names.entry(balancer::hash(user, name)).or_default();
            *latest = time.max(*latest);
        }
    }

    /// The latest write of this name that `node` has declared; `None`: it has declared none. [`Time::MAX`]: more was noted
    /// than is remembered, or the cluster has been settled since `generation`.
    pub(super) fn latest(&self, generation: u64, node: NodeId, (user, name): (&str, &str)) -> Option<Time> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.generation > generation {
            return Some(Time::MAX);
        }
        let names = noted
            .nodes
            .get(&node)
            .filter(|_| noted.generation == generation)?;
        if names.len() > NAMES_MAX {
            return Some(Time::MAX);
        }
        names.get(&balancer::hash(user, name)).copied()
    }

    /// All that `node` has declared, by the hashes of the names; `None`: more than is remembered.
    pub(super) fn all(&self, generation: u64, node: NodeId) -> Option<Vec<(u64, Time)>> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.generation != generation {
            return (noted.generation < generation).then(Vec::new);
        }
        let Some(names) = noted.nodes.get(&node) else {
            return Some(Vec::new());
        };
        let all = names.iter().map(|(hash, time)| (*hash, *time));
        (names.len() <= NAMES_MAX).then(|| all.collect())
    }

    /// What `node` had declared to an earlier life of this node.
    pub(super) fn recall(&self, node: NodeId, declared: &[(u64, Time)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.nodes.insert(node, declared.iter().copied().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    #[test]
    fn the_latest_of_each_name_and_node_is_remembered_until_the_cluster_is_settled() {
        let intents = Intents::default();
        let (a, b) = (("u", "a.png"), ("u", "b.png"));
        for time in [5, 7, 6] {
            intents.note(1, ONE, a, Time(time));
        }
        assert_eq!(intents.latest(1, ONE, a), Some(Time(7)));
        assert_eq!(intents.latest(1, ONE, b), None);
        assert_eq!(intents.latest(1, TWO, a), None);
        assert_eq!(intents.latest(2, ONE, a), None, "settled since");
        intents.note(2, TWO, b, Time(9));
        assert_eq!(
            intents.latest(1, ONE, b),
            Some(Time::MAX),
            "what was noted then is gone"
        );
        assert_eq!(intents.latest(2, ONE, a), None);
        assert_eq!(intents.latest(2, TWO, b), Some(Time(9)));
    }

    #[test]
    fn a_node_that_declares_more_than_is_remembered_may_have_written_anything() {
        let intents = Intents::default();
        let name = |i: usize| format!("{i}.png");
        for i in 0..NAMES_MAX {
            intents.note(0, ONE, ("u", &name(i)), Time(1));
        }
        let latest = || intents.latest(0, ONE, ("u", "other.png"));
        assert_eq!(latest(), None);
        for i in 0..9 {
            intents.note(0, ONE, ("u", &name(NAMES_MAX + i)), Time(1));
        }
        assert_eq!(latest(), Some(Time::MAX));
        let kept = intents.0.lock().unwrap().nodes[&ONE].len();
        assert_eq!(kept, NAMES_MAX + 1);
    }
}
