//! Nodes of one cluster that were started with different health timeouts.

use std::collections::BTreeSet;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wait_for;
use crate::{await_ready_of, await_warning, changes, logged};

const SHORT: &str = "60";
/// So long that nobody is suspect for being late on a busy machine.
const LONG: &str = "10000";
/// Twenty heartbeats and more.
const SECONDS: usize = 3;

/// Waits until so many seconds have begun on the clock of the node: all that time the nodes hear each other.
fn await_seconds(node: &TestNode) {
    let mut dates = BTreeSet::new();
    wait_for("time passes", || {
        dates.extend(node.ask("GET", "/cluster").field("date").map(str::to_owned));
        (dates.len() > SECONDS).then_some(())
    });
}

#[test]
fn nodes_with_different_health_timeouts_agree_and_suspect_nobody() {
    let mut cluster = TestCluster::prepare(3, &[]);
    for (node, timeout) in cluster.nodes.iter_mut().zip([SHORT, LONG, LONG]) {
        node.options = vec!["--health-timeout".to_owned(), timeout.to_owned()];
        node.start();
    }
    await_ready_of(&cluster, &[1, 2, 3]);
    let [first, second, third] = [1, 2, 3].map(|id| cluster.node(id));
    let suspicions = || {
        let of = |node: &TestNode| {
            let of = |peer| changes(node, peer, "suspect") + changes(node, peer, "dead");
            [1, 2, 3].map(of).iter().sum::<usize>()
        };
        [first, second, third].map(of)
    };
    let before = suspicions();
    let differs = |node: &TestNode, peer: &TestNode, (theirs, own): (&str, &str)| {
        let said = format!(
            "Node {} ({}) runs with --health-timeout {theirs}, this node with {own}: the longest of all counts; give all nodes the \
             same.",
            peer.id, peer.address
        );
        await_warning(node, &[&said]);
        said
    };
    let said = [
        (first, differs(first, second, (LONG, SHORT))),
        (first, differs(first, third, (LONG, SHORT))),
        (second, differs(second, first, (SHORT, LONG))),
        (third, differs(third, first, (SHORT, LONG))),
    ];
    await_seconds(first);
    assert_eq!(suspicions(), before, "{}", first.log());
    for (node, said) in said {
        assert_eq!(logged(node, &said), 1, "{}", node.log());
    }
    await_ready_of(&cluster, &[1, 2, 3]);
}
