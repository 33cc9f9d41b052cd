//! What must hold after every step, whatever the network does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pixseal::election::datagram::Datagram;
use pixseal::election::message::Stance;
use pixseal::roster::{NodeId, Roster, ViewId};

use crate::world::SimulatedMachine;

/// A process that has been gone for this long counts for nobody who was awake since. Twice the freshness of an
/// echo (once for the peer, once for whoever heard it last), the timeout, the slowest clock and the latest timers.
pub(crate) const GONE: Duration = Duration::from_secs(6);

#[derive(Default)]
pub(crate) struct Laws {
    /// The last pair that each node followed in its present life.
    followed: BTreeMap<NodeId, (u64, NodeId)>,
    /// Every roster that a leader has sent to anybody.
    published: BTreeMap<(NodeId, u64), BTreeSet<Vec<NodeId>>>,
    /// The roster of each view that was sent to anybody.
    named: BTreeMap<ViewId, Roster>,
}

impl Laws {
    /// A new life starts from nothing.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.followed.remove(&node);
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
