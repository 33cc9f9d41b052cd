//! Membership of real processes: killed, stopped and continued, asked to leave, restarted one after the other.
#![allow(
    clippy::disallowed_methods,
    reason = "measures how long a process was stopped"
)]

mod support;

use std::time::Instant;

use pixseal::election::HEALTH_TIMEOUT;
use rustix::process::Signal;
use support::cluster::TestCluster;
use support::observer::{Detection, NodeView, Observer};

/// `count` nodes that follow the highest of them.
fn observed(count: u32, options: &[&str]) -> (TestCluster, Observer) {
    let mut cluster = TestCluster::prepare(count, options);
    let mut observer = cluster.observe();
    cluster.start_all();
    observer.wait_for(&(1..=count).collect::<Vec<u32>>(), Some(count));
    (cluster, observer)
}

/// Node 3 has returned: it follows node 2 for a while, and leads in the end. The others may see this late, and
/// need not have seen the middle of it at the same time.
fn await_leader_3_after_2(observer: &mut Observer) {
    observer.wait_for_leader(3, 2);
    observer.wait_for(&[1, 2, 3], Some(3));
    assert_eq!(observer.leaders_named_by(3), [2, 3], "{:?}", observer.history);
    let counted_by_2 =
        |(by, view): &(u32, NodeView)| *by == 2 && view.leader == Some(2) && view.alive.contains('3');
    assert!(
        observer.history.iter().any(counted_by_2),
        "{:?}",
        observer.history
    );
}

#[test]
fn killed_leader_is_replaced_and_waits_when_it_returns() {
    let (mut cluster, mut observer) = observed(3, &[]);
    cluster.node_mut(3).kill();
    observer.wait_for(&[1, 2], Some(2));
    observer.history.clear();
    cluster.node_mut(3).launch();
    await_leader_3_after_2(&mut observer);
}

#[test]
fn killed_follower_is_counted_out() {
    let (mut cluster, mut observer) = observed(3, &[]);
    cluster.node_mut(1).kill();
    observer.wait_for(&[2, 3], Some(3));
    cluster.node_mut(1).launch();
    observer.wait_for(&[1, 2, 3], Some(3));
}

#[test]
fn stopped_leader_continues_as_a_follower_and_then_leads() {
    let (cluster, mut observer) = observed(3, &[]);
    cluster.node(3).signal(Signal::STOP);
    let stopped = Instant::now();
    observer.wait_for(&[1, 2], Some(2));
    // So long that nothing counts any more of what it was sent before the others gave it up.
    observer.listen_until(stopped + 3 * HEALTH_TIMEOUT);
    observer.history.clear();
    observer.detections.clear();
    let slept = stopped.elapsed();
    cluster.node(3).signal(Signal::CONT);
    await_leader_3_after_2(&mut observer);
    // On a busy machine a peer may be late for a moment. That is not for as long as node 3 slept.
    let blamed =
        |detection: &&Detection| detection.by == 3 && detection.silent.is_none_or(|silent| silent >= slept);
    assert_eq!(
        observer.detections.iter().find(blamed),
        None,
        "it slept, the others did not"
    );
}

#[test]
fn stopped_follower_is_counted_out_and_in_again() {
    let (cluster, mut observer) = observed(3, &[]);
    cluster.node(1).signal(Signal::STOP);
    observer.wait_for(&[2, 3], Some(3));
    cluster.node(1).signal(Signal::CONT);
    observer.wait_for(&[1, 2, 3], Some(3));
}

/// Silence may last ten seconds here, so that nobody is found dead for being late on a busy machine.
#[test]
fn leaving_nodes_are_never_found_dead() {
    let (mut cluster, mut observer) = observed(3, &["--health-timeout", "10000"]);
    for (node, rest, leader) in [(3, [1, 2], 2), (1, [2, 3], 3)] {
        let status = cluster.node_mut(node).stop();
        assert!(status.success(), "node {node}: {status}");
        observer.wait_for(&rest, Some(leader));
        cluster.node_mut(node).launch();
        observer.wait_for(&[1, 2, 3], Some(3));
    }
    assert!(
        !observer.detections.iter().any(|detection| detection.dead),
        "{:?}",
        observer.detections
    );
}

#[test]
fn the_last_node_serves_alone() {
    let (mut cluster, mut observer) = observed(3, &[]);
    cluster.node_mut(3).kill();
    cluster.node_mut(2).kill();
    observer.wait_for(&[1], Some(1));
}

#[test]
fn nine_nodes_agree_after_losing_three() {
    let (mut cluster, mut observer) = observed(9, &[]);
    for node in [9, 8, 4] {
        cluster.node_mut(node).kill();
    }
    observer.wait_for(&[1, 2, 3, 5, 6, 7], Some(7));
}
