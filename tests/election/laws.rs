//! What must hold after every step, whatever the network does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pixseal::election::datagram::Datagram;
use pixseal::election::message::Stance;
use pixseal::lease::facts::Heard;
use pixseal::roster::{NodeId, Roster, ViewId};
use pixseal::version::Time;

use crate::world::{SimulatedMachine, SimulatedProcess};

/// A process that has been gone for this long counts for nobody who was awake since. Twice the freshness of an
/// echo (once for the peer, once for whoever heard it last), the timeout, the slowest clock and the latest timers.
pub(crate) const GONE: Duration = Duration::from_secs(6);
/// Two nodes that have run for so long, with one of them in the list of the other, know of each other.
const ACQUAINTED: Duration = Duration::from_secs(1);

/// Leases allow clocks to run at speeds that differ by less than a lease and its expiry do.
const SPEED_MIN: u32 = 80;
/// Names of images; some are assigned to each node.
const PROBES: [&str; 6] = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"];

#[derive(Default)]
pub(crate) struct Laws {
    /// The last pair that each node followed in its present life.
    followed: BTreeMap<NodeId, (u64, NodeId)>,
    /// Every roster that a leader has sent to anybody.
    published: BTreeMap<(NodeId, u64), BTreeSet<Vec<NodeId>>>,
    /// The roster of each view that was sent to anybody.
    named: BTreeMap<ViewId, Roster>,
    /// The latest reserve of the second node that the first has heard of in its present life.
    reserves: BTreeMap<(NodeId, NodeId), Time>,
    /// The incarnation of the second node that the first heard last.
    lives: BTreeMap<(NodeId, NodeId), u64>,
}

impl Laws {
    /// A new life starts from nothing.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.followed.remove(&node);
        self.reserves.retain(|(hearer, _), _| *hearer != node);
    }

    /// Takes note of what a leader says.
    pub(crate) fn heard(&mut self, datagram: &Datagram) {
        if let Stance::Leads { term, roster, .. } = &datagram.stance {
            let view = datagram
                .stance
                .view(datagram.sender)
                .expect("a leader has a view");
            let named = self.named.entry(view).or_insert_with(|| roster.clone());
            assert_eq!(named, roster, "view {view} has two rosters");
            let rosters = self.published.entry((datagram.sender, *term)).or_default();
            if !rosters.contains(roster.ids()) {
                rosters.insert(roster.ids().to_vec());
            }
        }
    }

    /// `node` has just taken a step.
    pub(crate) fn check(
        &mut self,
        node: NodeId,
        now: Duration,
        machines: &BTreeMap<NodeId, SimulatedMachine>,
    ) {
        let process = machines[&node].process.as_ref().expect("a running node");
        let view = process.election.view();
        assert!(
            view.roster.contains(node),
            "the view of node {node} does not hold it: {}",
            view.roster
        );
        if let Some(leader) = view.leader {
            self.check_pair(node, (view.term, leader));
            assert!(
                view.roster.contains(leader),
                "node {node} follows node {leader}, which is not alive"
            );
            assert!(
                !(process.leaving && leader == node),
                "node {node} is leaving and leads"
            );
            if leader != node {
                let said = self.published.get(&(leader, view.term));
                assert!(
                    said.is_some_and(|rosters| rosters.contains(view.roster.ids())),
                    "node {node} holds a view that node {leader} never published: {}",
                    view.roster
                );
            }
        }
        if view.leader.is_none_or(|leader| leader == node) {
            let awake = process.speed_percent > 0 && now >= process.resumed + GONE;
            check_roster(node, now, awake, &view.roster, machines);
        }
    }

    /// `node` has heard of the reserve of a peer.
    pub(crate) fn reserve_arrived(&mut self, node: NodeId, peer: NodeId, reserve: Time) {
        let latest = self.reserves.entry((node, peer)).or_insert(reserve);
        *latest = reserve.max(*latest);
    }

    /// `node` has heard a peer.
    pub(crate) fn life_heard(&mut self, node: NodeId, heard: &Heard) {
        self.lives.insert((node, heard.peer), heard.incarnation);
    }

    /// `node` has just taken a step: what it may do now, nobody else may do. `whole`: also not on another side of a
    /// partition.
    pub(crate) fn check_leases(
        &self,
        node: NodeId,
        now: Duration,
        machines: &BTreeMap<NodeId, SimulatedMachine>,
        whole: bool,
    ) {
        let own = machines[&node].process.as_ref().expect("a running node");
        if !may_confirm(own, now) {
            return;
        }
        self.check_reserve(node, own, machines);
        for (id, machine) in machines.iter().filter(|(id, _)| **id != node) {
            let Some(other) = machine.process.as_ref().filter(|other| !other.paused) else {
                continue;
            };
            let (ours, theirs) = (&own.leaseholder.standing, &other.leaseholder.standing);
            let slow = own.speed_percent.min(other.speed_percent) < SPEED_MIN;
            if ours.view == theirs.view || slow || !may_confirm(other, now) {
                continue;
            }
            // Cut off from a node that it was told is no member, a node cannot know of it. Two that were told so of each other do
            // not exchange a word; if one of them was told otherwise, they do, after a while.
            let lists = |process: &SimulatedProcess, id| {
                let holder = &process.leaseholder;
                holder.members.contains(&id) && now >= holder.members_since + ACQUAINTED
            };
            let (we_list, they_list) = (lists(own, *id), lists(other, node));
            let have_met = whole
                && (we_list || they_list)
                && [own, other]
                    .iter()
                    .all(|process| now >= process.resumed + ACQUAINTED);
            if !(we_list && they_list || have_met) {
                continue;
            }
            let alone = ours.is_alone(own.clock(now)) || theirs.is_alone(other.clock(now));
            for name in PROBES {
                let both = ours.takes("u", name) && theirs.takes("u", name);
                assert!(
                    !(both && (alone || whole)),
                    "nodes {node} and {id} both take writes of {name}, one of them alone: {alone}: {ours:?} {theirs:?}"
                );
            }
        }
    }

    /// What `node` may confirm, all others of its view have heard of.
    fn check_reserve(
        &self,
        node: NodeId,
        own: &SimulatedProcess,
        machines: &BTreeMap<NodeId, SimulatedMachine>,
    ) {
        let standing = &own.leaseholder.standing;
        for peer in standing.roster.ids().iter().filter(|peer| **peer != node) {
            let Some(process) = &machines[peer].process else {
                continue;
            };
            // One that has started anew since has forgotten it, and takes for possible what its own clock says.
            let same_life = self.lives.get(&(node, *peer)) == Some(&machines[peer].incarnation);
            if !same_life || process.leaseholder.standing.view != standing.view {
                continue;
            }
            let heard = self.reserves.get(&(*peer, node));
            assert!(
                heard.is_some_and(|reserve| standing.confirmed <= *reserve),
                "node {node} confirms writes before {:?}, and node {peer} has heard of {heard:?}",
                standing.confirmed
            );
        }
    }

    fn check_pair(&mut self, node: NodeId, pair: (u64, NodeId)) {
        let before = self.followed.insert(node, pair);
        if let Some(before) = before {
            assert!(
                pair.0 > before.0 || pair == before,
                "node {node} went from {before:?} to {pair:?}"
            );
        }
    }
}

fn check_roster(
    node: NodeId,
    now: Duration,
    awake: bool,
    roster: &Roster,
    machines: &BTreeMap<NodeId, SimulatedMachine>,
) {
    for peer in roster.ids().iter().filter(|peer| **peer != node) {
        let machine = &machines[peer];
        assert!(
            machine.incarnation > 0,
            "node {node} counts node {peer}, which never lived"
        );
        let gone = machine.process.is_none() && machine.ended.is_some_and(|at| now >= at + GONE);
        assert!(
            !(gone && awake),
            "node {node} counts node {peer}, which is long gone"
        );
    }
}

/// Whether it is ready and has a lease.
fn may_confirm(process: &SimulatedProcess, now: Duration) -> bool {
    process
        .leaseholder
        .standing
        .confirms(process.clock(now), Time::default())
}
