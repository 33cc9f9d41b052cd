//! Cluster files that differ, found at the start and mended by SIGHUP.

use std::fs;

use crate::support::cluster::{TestCluster, TestNode};
use crate::{
    await_log, await_ready, await_ready_of, await_silence, await_unready, await_warning, logged, takers,
};

/// The sentence that `node` says of another list.
fn await_differs(node: &TestNode, peer: &TestNode) {
    let about = format!("Node {} ({}) has another list of members", peer.id, peer.address);
    await_warning(
        node,
        &[&about, "give all nodes the same file and send each SIGHUP."],
    );
}

fn await_takes_no_part(node: &TestNode, others: &[&TestNode]) {
    await_unready(
        node,
        &["This node takes no part", "send each SIGHUP, or stop this node."],
    );
    for other in others {
        let (name, address) = (format!("Node {} ", other.id), other.address.to_string());
        await_warning(node, &["takes no part", &name, &address]);
    }
}

/// Each image that is offered to all of `nodes` is taken once.
fn assert_taken_once(nodes: &[&TestNode], user: &str) {
    for taken in takers(nodes, user) {
        assert_eq!(taken.len(), 1, "{taken:?}");
    }
}

/// All have said everything that there was to say, and none was started twice.
fn assert_healed(cluster: &TestCluster) {
    for node in cluster.running() {
        await_silence(node);
        assert_eq!(logged(node, ": Serving http://"), 1, "{}", node.log());
    }
}

/// Node `odd` of three has a file with these members alone; the other two have the right one.
fn is_kept_apart(odd: u32, members: &[u32]) {
    let mut cluster = TestCluster::prepare(3, &[]);
    let right = cluster.file_of(&[1, 2, 3]);
    cluster.node_mut(odd).members = cluster.file_of(members);
    cluster.nodes.iter_mut().for_each(TestNode::start);
    let others: Vec<u32> = (1..=3).filter(|id| *id != odd).collect();
    await_ready_of(&cluster, &others);
    let unknown: Vec<&TestNode> = others
        .iter()
        .filter(|id| !members.contains(id))
        .map(|id| cluster.node(*id))
        .collect();
    await_takes_no_part(cluster.node(odd), &unknown);
    for id in others {
        await_differs(cluster.node(id), cluster.node(odd));
    }
    let all: Vec<&TestNode> = cluster.nodes.iter().collect();
    assert_taken_once(&all, "alice");
    cluster.node_mut(odd).reload(&right);
    await_ready_of(&cluster, &[1, 2, 3]);
    assert_healed(&cluster);
    let all: Vec<&TestNode> = cluster.nodes.iter().collect();
    assert_taken_once(&all, "bob");
}

#[test]
fn the_highest_node_without_one_of_the_others_takes_no_part() {
    is_kept_apart(3, &[1, 3]);
}

#[test]
fn a_node_that_knows_only_itself_takes_no_part() {
    is_kept_apart(1, &[1]);
}

#[test]
fn a_member_that_only_one_node_knows_takes_no_part_until_all_know_it() {
    let mut cluster = TestCluster::prepare(4, &[]);
    let three = cluster.file_of(&[1, 2, 3]);
    for id in [1, 3] {
        cluster.node_mut(id).members = three.clone();
    }
    for id in [1, 2, 3] {
        cluster.node_mut(id).start();
    }
    await_ready_of(&cluster, &[1, 2, 3]);
    for (node, peer) in [(1, 2), (3, 2), (2, 1), (2, 3)] {
        await_differs(cluster.node(node), cluster.node(peer));
    }
    assert_taken_once(&[1, 2, 3].map(|id| cluster.node(id)), "alice");
    cluster.node_mut(4).start();
    let fourth = cluster.node(4);
    let [first, second, third] = [1, 2, 3].map(|id| cluster.node(id));
    await_takes_no_part(fourth, &[first, third]);
    for node in [first, third] {
        let about = format!("Node 4 at {} has the cluster key and is not in", fourth.address);
        await_warning(
            node,
            &[&about, "add it to the file of every node and send each SIGHUP"],
        );
    }
    await_ready(&[first, second, third], &[1, 2, 3]);
    assert_taken_once(&[first, second, third, fourth], "bob");
    let four = cluster.file_of(&[1, 2, 3, 4]);
    for id in [1, 3] {
        cluster.node_mut(id).reload(&four);
    }
    await_ready_of(&cluster, &[1, 2, 3, 4]);
    assert_healed(&cluster);
    let all: Vec<&TestNode> = cluster.nodes.iter().collect();
    assert_taken_once(&all, "carol");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let mut cluster = TestCluster::start(2);
    let without_it = cluster.file_of(&[2]);
    let node = cluster.node_mut(1);
    node.reload("[nodes");
    await_log(node, "error: Node 1: SIGHUP: ");
    await_log(node, "not a cluster file");
    node.reload(&without_it);
    await_log(
        node,
        "does not name this node, so nothing has changed: to take a node out, drain it",
    );
    fs::remove_file(node.cluster_file()).unwrap();
    node.signal(rustix::process::Signal::HUP);
    await_log(node, "SIGHUP: cannot read ");
    let peers = node.state().unwrap()["peers"].clone();
    let ids: Vec<&serde_json::Value> = peers.as_array().unwrap().iter().map(|peer| &peer["id"]).collect();
    assert_eq!(ids, [2]);
    await_ready_of(&cluster, &[1, 2]);
    assert_healed(&cluster);
}
