//! Two processes with one id, and a node whose incarnation was lost.

use std::fs;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wait_for;
use crate::{await_log, await_ready_of, await_silence, await_warning, changes, logged};

/// The double ends by itself, says why, and with the code of a mistake.
fn await_gives_way(double: &mut TestNode) {
    assert_eq!(double.await_end().code(), Some(2), "{}", double.log());
    let log = double.log();
    assert!(
        log.contains("Node 1: another process has this id") && log.contains("Run each id once"),
        "{log}"
    );
}

/// One of the other nodes was shown both processes, and says where they are.
fn await_told_of(cluster: &TestCluster, double: &TestNode) {
    let (counted, other) = (cluster.node(1).address, double.address);
    let said = format!("the one at {counted} counts at present, the one at {other} does not: keep the one");
    let told = || [2, 3].map(|id| logged(cluster.node(id), &said));
    wait_for(&said, || (told() != [0, 0]).then_some(()));
    assert!(told().into_iter().all(|times| times <= 1), "{:?}", told());
}

/// Nobody has lost node 1, up to now, when nothing more is to be said.
fn assert_never_lost(cluster: &TestCluster) {
    cluster.nodes.iter().for_each(await_silence);
    for id in [2, 3] {
        let node = cluster.node(id);
        assert_eq!(changes(node, 1, "dead"), 0, "{}", node.log());
        assert_eq!(changes(node, 1, "left"), 0, "{}", node.log());
    }
    await_ready_of(cluster, &[1, 2, 3]);
}

#[test]
fn a_double_of_a_running_node_gives_way_and_the_right_one_stays() {
    let mut cluster = TestCluster::start(3);
    let mut double = cluster.double_of(1);
    double.launch();
    await_gives_way(&mut double);
    await_told_of(&cluster, &double);
    assert_never_lost(&cluster);
    cluster.node_mut(1).kill();
    cluster.node_mut(1).start();
    await_ready_of(&cluster, &[1, 2, 3]);
}

/// Its own cluster file has the double where it listens, so it does not know better at first.
#[test]
fn a_double_that_thinks_itself_at_home_gives_way_to_the_one_that_was_there() {
    let cluster = TestCluster::start(3);
    let mut double = cluster.double_of(1);
    let (right, wrong) = (cluster.node(1).address.to_string(), double.address.to_string());
    double.members = double.members.replace(&right, &wrong);
    double.launch();
    await_warning(
        cluster.node(1),
        &["knows another process with this node's id, and counts this one: run each id once."],
    );
    await_gives_way(&mut double);
    await_told_of(&cluster, &double);
    assert_never_lost(&cluster);
}

#[test]
fn a_double_that_was_there_first_gives_way_to_the_right_node() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let mut double = cluster.double_of(1);
    for id in [2, 3] {
        cluster.node_mut(id).start();
    }
    double.start();
    for id in [2, 3] {
        wait_for("the double is taken for node 1", || {
            (cluster.node(id).state()?["alive"] == serde_json::json!([1, 2, 3])).then_some(())
        });
    }
    cluster.node_mut(1).start();
    await_gives_way(&mut double);
    await_ready_of(&cluster, &[1, 2, 3]);
    cluster.nodes.iter().for_each(await_silence);
}

/// A first life whose number is of the year 3000, as if the clock had been wrong; then the file is gone.
fn lose_incarnation(end: impl FnOnce(&mut TestNode)) {
    const FUTURE: u64 = 32_503_680_000_000;
    let mut cluster = TestCluster::prepare(3, &[]);
    let file = cluster.node(1).images().join(".pixseal/1.incarnation");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{FUTURE}\n")).unwrap();
    cluster.start_all();
    end(cluster.node_mut(1));
    fs::remove_file(&file).unwrap();
    cluster.node_mut(1).start();
    await_ready_of(&cluster, &[1, 2, 3]);
    let taken = FUTURE + 2;
    await_log(
        cluster.node(1),
        &format!("its incarnation file was lost, or the clock went back; it goes on as incarnation {taken}"),
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{taken}\n"));
}

#[test]
fn a_node_that_was_stopped_and_lost_its_incarnation_comes_back_by_itself() {
    lose_incarnation(|node| assert!(node.stop().success()));
}

#[test]
fn a_node_that_was_killed_and_lost_its_incarnation_comes_back_by_itself() {
    lose_incarnation(TestNode::kill);
}
