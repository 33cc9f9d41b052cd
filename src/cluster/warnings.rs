//! What keeps nodes apart, in sentences with peer, address and remedy: for the log once and then rarely, for `/cluster`
//! as long as it lasts.
//!
//! Also whether this node may serve at all: one that has another cluster key, or other image keys, than as many members
//! as it agrees with must not take images that the others cannot read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::election::Election;
use crate::election::detector::PeerState;
use crate::election::message::Rival;
use crate::members::Members;
use crate::roster::NodeId;

/// How often people are told of something that lasts.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// A difference of clocks that is told to people.
const CLOCK_OFF_MS: i64 = 2000;
/// What is natural for a moment, while nodes are told of a change one after the other, is told if it lasts for so long.
const NATURAL_FOR: Duration = Duration::from_secs(5);
/// What was not seen again for this long is over.
const OVER_AFTER: Duration = Duration::from_secs(2);

/// What a sentence is about. One about the same thing and the same node is told once in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    ClusterKey,
    ImageKey,
    TakesNoPart,
    List,
    Stranger,
    Double,
    Rival,
    Moved,
    Timeout,
    Clock,
}

impl Topic {
    /// Whether nodes that are told of new members one after the other pass through it.
    fn is_natural_for_a_moment(self) -> bool {
        matches!(self, Topic::List | Topic::Stranger | Topic::TakesNoPart)
    }
}

/// A sentence for people.
pub(super) struct Warning {
    topic: Topic,
    /// The node that it is about.
    about: NodeId,
    pub(super) text: String,
}

/// What was noticed, with the time of the last time.
pub(super) struct Warnings {
    own: NodeId,
    /// Members whose datagrams have another cluster key, with where they came from.
    foreign: BTreeMap<NodeId, (SocketAddr, Duration)>,
    /// Two processes with the id of a peer: the one that counts, and the other.
    doubles: BTreeMap<NodeId, (SocketAddr, SocketAddr, Duration)>,
    /// Another process has this node's id, as a peer knows.
    rival: Option<(NodeId, Rival, Duration)>,
    /// Members that are heard from elsewhere than the members' list has them.
    moved: Vec<(NodeId, SocketAddr)>,
    /// Whether this node has the key that each peer seals with.
    keys: BTreeMap<NodeId, bool>,
    lasting: BTreeMap<(Topic, NodeId), Lasting>,
}

/// A warning that holds, or was told a while ago.
struct Lasting {
    since: Duration,
    seen: Duration,
    told: Option<Duration>,
}

impl Warnings {
    pub(super) fn new(own: NodeId) -> Warnings {
        Warnings {
            own,
            foreign: BTreeMap::new(),
            doubles: BTreeMap::new(),
            rival: None,
            moved: Vec::new(),
            keys: BTreeMap::new(),
            lasting: BTreeMap::new(),
        }
    }

    /// A datagram with another cluster key, from where a member is or pretends to be.
    pub(super) fn note_foreign(&mut self, peer: NodeId, source: SocketAddr, now: Duration) {
        self.foreign.insert(peer, (source, now));
    }

    pub(super) fn note_double(
        &mut self,
        peer: NodeId,
        (counted, other): (SocketAddr, SocketAddr),
        now: Duration,
    ) {
        self.doubles.insert(peer, (counted, other, now));
    }

    pub(super) fn note_rival(&mut self, peer: NodeId, rival: Rival, now: Duration) {
        self.rival = Some((peer, rival, now));
    }

    /// These members, if they are heard, are heard from elsewhere than the members' list has them.
    pub(super) fn note_moved(&mut self, moved: impl Iterator<Item = (NodeId, SocketAddr)>) {
        self.moved = moved.collect();
    }

    /// A peer was heard, and seals with a key that this node has or not.
    pub(super) fn note_key(&mut self, peer: NodeId, is_known: bool) {
        self.keys.insert(peer, is_known);
    }

    /// Whether fewer members have this node's keys than have others. A datagram with another cluster key can be written by
    /// anybody, so it counts only as long as the member that it names is not heard.
    pub(super) fn has_other_keys(&self, election: &Election) -> bool {
        let present = || election.peers().filter(|(_, state, _)| state.is_present());
        let knows = |known: bool| {
            present()
                .filter(|(id, ..)| self.keys.get(id) == Some(&known))
                .count()
        };
        let other_cluster_key = !self.foreign.is_empty() && self.foreign.len() > present().count();
        let other_image_keys = knows(false) > knows(true);
        other_cluster_key || other_image_keys
    }

    /// What holds now; what is over is forgotten.
    pub(super) fn all(
        &mut self,
        now: Duration,
        (election, members): (&Election, &Members),
        clock_offsets: &[(NodeId, i64)],
    ) -> Vec<Warning> {
        self.forget(now, election);
        let peer = |id: NodeId| match members.address(id) {
            Some(address) => format!("Node {id} ({address})"),
            None => format!("Node {id}"),
        };
        let mut all = self.of_keys(election, &peer);
        all.extend(self.of_lists(election, &peer));
        all.extend(self.of_doubles(election.timeout(), &peer));
        all.extend(self.of_moved(election, &peer));
        let (own, others) = election.other_timeouts();
        all.extend(others.into_iter().map(|(id, other)| {
            let text = format!(
                "{} runs with --health-timeout {}, this node with {}: the longest of all counts; give all nodes the same.",
                peer(id),
                other.as_millis(),
                own.as_millis()
            );
            Warning::new(Topic::Timeout, id, text)
        }));
        let far = clock_offsets
            .iter()
            .filter(|(_, offset)| offset.abs() >= CLOCK_OFF_MS);
        all.extend(far.map(|(id, off)| {
            let text = format!(
                "The clock of {} is {off} ms away from this node's: set both by NTP.",
                peer(*id)
            );
            Warning::new(Topic::Clock, *id, text)
        }));
        all
    }

    /// Logs what was not told lately.
    pub(super) fn tell(&mut self, now: Duration, warnings: &[Warning]) {
        let lately = |at: Duration, time: Duration| now < at + time;
        self.lasting.retain(|_, lasting| {
            lately(lasting.seen, OVER_AFTER) || lasting.told.is_some_and(|told| lately(told, TELL_EVERY))
        });
        for Warning { topic, about, text } in warnings {
            let lasting = self.lasting.entry((*topic, *about)).or_insert(Lasting {
                since: now,
                seen: now,
                told: None,
            });
            if !lately(lasting.seen, OVER_AFTER) {
                lasting.since = now;
            }
            lasting.seen = now;
            let is_new = topic.is_natural_for_a_moment() && lately(lasting.since, NATURAL_FOR);
            if !is_new && !lasting.told.is_some_and(|told| lately(told, TELL_EVERY)) {
                lasting.told = Some(now);
                log::warn!("Node {}: {text}", self.own);
            }
        }
    }

    fn forget(&mut self, now: Duration, election: &Election) {
        let alive = election
            .peers()
            .filter(|(_, state, _)| *state == PeerState::Alive);
        let alive: BTreeSet<NodeId> = alive.map(|(id, ..)| id).collect();
        self.foreign
            .retain(|id, (_, at)| now < *at + OVER_AFTER && !alive.contains(id));
        self.doubles.retain(|_, (.., at)| now < *at + OVER_AFTER);
        self.rival = self.rival.take().filter(|(.., at)| now < *at + OVER_AFTER);
    }

    fn of_keys(&self, election: &Election, peer: &dyn Fn(NodeId) -> String) -> Vec<Warning> {
        let remedy =
            "copy the folder secrets/ of one node to all others, and restart those that had another.";
        let foreign = self.foreign.iter().map(|(id, (source, _))| {
            // Not the port: it is another one at each of its starts, and for each node that it talks to.
            let text = format!(
                "{} at {} has another cluster key (cluster.key): {remedy}",
                peer(*id),
                source.ip()
            );
            Warning::new(Topic::ClusterKey, *id, text)
        });
        let unknown = election
            .peers()
            .filter(|(id, state, _)| state.is_present() && self.keys.get(id) == Some(&false))
            .map(|(id, ..)| {
                let text = format!(
                    "{} seals with a key that this node does not have (keyset.json): {remedy}",
                    peer(id)
                );
                Warning::new(Topic::ImageKey, id, text)
            });
        foreign.chain(unknown).collect()
    }

    fn of_lists(&self, election: &Election, peer: &dyn Fn(NodeId) -> String) -> Vec<Warning> {
        let strangers: BTreeMap<NodeId, Option<SocketAddr>> = election.strangers().into_iter().collect();
        let name = |id: NodeId| match strangers.get(&id) {
            Some(Some(address)) => format!("Node {id} at {address}"),
            Some(None) => format!("Node {id}"),
            None => peer(id),
        };
        let above: Vec<String> = election.gives_way_to().into_iter().map(name).collect();
        let mut all = Vec::new();
        if !above.is_empty() {
            let text = format!(
                "This node takes no part: its cluster file and that of {} do not name each other: give all nodes the same file \
                 and send each SIGHUP, or stop this node.",
                above.join(", ")
            );
            all.push(Warning::new(Topic::TakesNoPart, self.own, text));
        }
        all.extend(election.differing().into_iter().map(|id| {
            let text = format!(
                "{} has another list of members in its cluster file than this node: give all nodes the same file and send each \
                 SIGHUP.",
                peer(id)
            );
            Warning::new(Topic::List, id, text)
        }));
        all.extend(strangers.keys().map(|id| {
            let text = format!(
                "{} has the cluster key and is not in this node's cluster file: add it to the file of every node and send each \
                 SIGHUP, or stop it.",
                name(*id)
            );
            Warning::new(Topic::Stranger, *id, text)
        }));
        all
    }

    fn of_moved(&self, election: &Election, peer: &dyn Fn(NodeId) -> String) -> Vec<Warning> {
        let heard = |id: NodeId| {
            election
                .peers()
                .any(|(other, state, _)| other == id && state.is_present())
        };
        let moved = self.moved.iter().filter(|(id, _)| heard(*id));
        let warning = |(id, at): &(NodeId, SocketAddr)| {
            let text = format!(
                "{} was not heard from there and is heard from {at}: if it has moved, correct its address in the cluster file of \
                 every node and send each SIGHUP; until then requests for its images are sent where it was.",
                peer(*id)
            );
            Warning::new(Topic::Moved, *id, text)
        };
        moved.map(warning).collect()
    }

    fn of_doubles(&self, timeout: Duration, peer: &dyn Fn(NodeId) -> String) -> Vec<Warning> {
        let doubles = self.doubles.iter().map(|(id, (counted, other, _))| {
            let text = format!(
                "Two processes say that they are {}: the one at {counted} counts at present, the one at {other} does not: keep \
                 the one that is where the cluster file has it, and stop the other.",
                peer(*id)
            );
            Warning::new(Topic::Double, *id, text)
        });
        let rival = self.rival.iter().map(|(by, rival, _)| {
            let text = if Duration::from_millis(rival.silent_ms.into()) >= timeout {
                format!(
                    "{} knows a later life of this node, which has ended: the incarnation file of this node was lost, or its \
                     clock went back; it takes a higher incarnation by itself.",
                    peer(*by)
                )
            } else {
                let counted = match rival.is_receiver_counted {
                    true => "this one",
                    false => "that one",
                };
                format!(
                    "{} knows another process with this node's id, and counts {counted}: run each id once.",
                    peer(*by)
                )
            };
            Warning::new(Topic::Rival, *by, text)
        });
        doubles.chain(rival).collect()
    }
}

impl Warning {
    fn new(topic: Topic, about: NodeId, text: String) -> Warning {
        Warning { topic, about, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(warnings: &Warnings, topic: Topic) -> Option<Duration> {
        warnings.lasting.get(&(topic, NodeId(2)))?.told
    }

    fn warning(topic: Topic) -> Vec<Warning> {
        vec![Warning::new(topic, NodeId(2), "Node 2 is odd.".to_owned())]
    }

    #[test]
    fn what_lasts_is_told_once_and_then_every_ten_minutes() {
        let mut warnings = Warnings::new(NodeId(1));
        let second = Duration::from_secs(1);
        for seconds in 0..1300 {
            warnings.tell(second * seconds, &warning(Topic::Clock));
            let last = second * (seconds - seconds % 600);
            assert_eq!(told(&warnings, Topic::Clock), Some(last), "{seconds} s");
        }
    }

    #[test]
    fn what_is_natural_for_a_moment_is_told_if_it_lasts() {
        let mut warnings = Warnings::new(NodeId(1));
        for millis in (0..10_000).step_by(100) {
            let now = Duration::from_millis(millis);
            // It ends after four seconds, and begins again three seconds later.
            let holds = !(4_000..7_000).contains(&millis);
            let now_holding = if holds { warning(Topic::List) } else { Vec::new() };
            warnings.tell(now, &now_holding);
            assert_eq!(told(&warnings, Topic::List), None, "{millis} ms");
        }
        warnings.tell(Duration::from_secs(12), &warning(Topic::List));
        assert_eq!(told(&warnings, Topic::List), None);
        for millis in (12_000..=17_100).step_by(100) {
            warnings.tell(Duration::from_millis(millis), &warning(Topic::List));
        }
        assert_eq!(told(&warnings, Topic::List), Some(Duration::from_secs(17)));
    }
}
