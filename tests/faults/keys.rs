//! Keys that were not copied to all nodes, or half of them.

use std::fs;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wait_for;
use crate::{await_ready_of, await_unready, await_warning, logged, takers};

const REMEDY: &str =
    "copy the folder secrets/ of one node to all others, and restart those that had another.";
/// A sentence about a datagram is in the log once although so many of them came.
const DATAGRAMS: u64 = 60;

/// The sentence about `peer`.
fn of_cluster_key(peer: &TestNode) -> [String; 3] {
    [
        format!("Node {} ({}) at ", peer.id, peer.address),
        "has another cluster key (cluster.key)".to_owned(),
        REMEDY.to_owned(),
    ]
}

fn await_told_of(node: &TestNode, peer: &TestNode) {
    let parts = of_cluster_key(peer);
    await_warning(node, &[&parts[0], &parts[1], &parts[2]]);
}

/// The node refuses an image, whosever it would be, with the reason.
fn assert_refuses(node: &TestNode) {
    for name in ["a", "b", "c"] {
        let answer = node.put(&format!("/images/alice/{name}.png"), &picture::dot());
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            answer.text().contains("does not have the keys"),
            "{}",
            answer.text()
        );
    }
}

/// Copies the keys of node `from`, which runs, to node `to`, and starts that anew.
fn copy_keys(cluster: &mut TestCluster, from: u32, to: u32) {
    let (source, target) = (cluster.node(from).secrets(), cluster.node(to).secrets());
    for file in ["cluster.key", "keyset.json"] {
        fs::copy(source.join(file), target.join(file)).unwrap();
    }
    cluster.node_mut(to).stop();
    cluster.node_mut(to).start();
}

#[test]
fn without_a_common_cluster_key_no_node_is_ready_and_each_is_told_once() {
    let mut cluster = TestCluster::prepare(3, &[]);
    for node in &mut cluster.nodes {
        node.has_own_secrets(true);
        node.start();
    }
    for node in &cluster.nodes {
        let others = || cluster.nodes.iter().filter(|other| other.id != node.id);
        others().for_each(|other| await_told_of(node, other));
        await_unready(
            node,
            &["does not have the keys", "has another cluster key", REMEDY],
        );
        assert_refuses(node);
        assert_eq!(node.state().unwrap()["ready"], false);
        wait_for("many datagrams are refused", || {
            let refused = node.state()?["rejections"]["foreign"].as_u64()?;
            (refused >= DATAGRAMS).then_some(())
        });
        for other in others() {
            assert_eq!(logged(node, &of_cluster_key(other)[0]), 1, "{}", node.log());
        }
    }
    copy_keys(&mut cluster, 1, 2);
    copy_keys(&mut cluster, 1, 3);
    await_ready_of(&cluster, &[1, 2, 3]);
}

#[test]
fn a_node_with_another_cluster_key_is_not_ready_and_the_others_serve() {
    let mut cluster = TestCluster::prepare(3, &[]);
    cluster.node_mut(2).has_own_secrets(true);
    cluster.nodes.iter_mut().for_each(TestNode::start);
    await_ready_of(&cluster, &[1, 3]);
    let (odd, right) = (cluster.node(2), [cluster.node(1), cluster.node(3)]);
    for node in right {
        await_told_of(node, odd);
        await_told_of(odd, node);
    }
    await_unready(odd, &["does not have the keys", REMEDY]);
    assert_refuses(odd);
    for taken in takers(&right, "alice") {
        assert_eq!(taken.len(), 1);
    }
    copy_keys(&mut cluster, 1, 2);
    await_ready_of(&cluster, &[1, 2, 3]);
}

#[test]
fn a_node_with_other_image_keys_takes_no_images_and_the_others_take_them() {
    let mut cluster = TestCluster::prepare(3, &[]);
    cluster.node_mut(1).start();
    let odd = cluster.node_mut(3);
    odd.has_own_secrets(true);
    fs::create_dir(odd.secrets()).unwrap();
    let (common, own) = (cluster.root().join("secrets"), cluster.node(3).secrets());
    fs::copy(common.join("cluster.key"), own.join("cluster.key")).unwrap();
    for id in [2, 3] {
        cluster.node_mut(id).start();
    }
    await_ready_of(&cluster, &[1, 2]);
    let (odd, right) = (cluster.node(3), [cluster.node(1), cluster.node(2)]);
    for (node, peer) in [(right[0], odd), (right[1], odd), (odd, right[0]), (odd, right[1])] {
        let about = format!("Node {} ({}) seals with a key", peer.id, peer.address);
        await_warning(node, &[&about, "(keyset.json)", REMEDY]);
    }
    await_unready(odd, &["does not have the keys", REMEDY]);
    let state = odd.state().unwrap();
    assert_eq!(state["condition"], "other keys");
    assert_eq!(right[0].state().unwrap()["reading"], serde_json::json!([3]));
    for taken in takers(&[right[0], right[1], odd], "alice") {
        assert!(taken == [1] || taken == [2], "{taken:?}");
    }
    copy_keys(&mut cluster, 1, 3);
    await_ready_of(&cluster, &[1, 2, 3]);
}
