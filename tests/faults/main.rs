//! Mistakes of the people who run a cluster: one id given twice, keys that were not copied, cluster files that differ, a
//! node that moved. Real processes. Each mistake is told in a sentence, keeps the right node from taking images, and
//! heals without a restart of the others.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod doubles;
mod keys;
mod lists;
mod members;
mod moves;
mod timeouts;

use serde_json::{Value, json};
use support::cluster::{TestCluster, TestNode};
use support::picture;
use support::wait_for;

/// Waits until all of these are ready, follow one leader and place by exactly these nodes.
fn await_ready(nodes: &[&TestNode], alive: &[u32]) {
    wait_for(&format!("all are ready with {alive:?}"), || {
        let states: Option<Vec<Value>> = nodes.iter().map(|node| node.state()).collect();
        let states = states?;
        let agree = |state: &Value| state["alive"] == json!(alive) && state["view"] == states[0]["view"];
        let ready = |node: &&TestNode| node.ask("GET", "/readyz").status == 200;
        (states.iter().all(agree) && nodes.iter().all(ready)).then_some(())
    });
}

/// The same for the nodes of a cluster by their ids, which are all that they place by.
fn await_ready_of(cluster: &TestCluster, ids: &[u32]) {
    let nodes: Vec<&TestNode> = ids.iter().map(|id| cluster.node(*id)).collect();
    await_ready(&nodes, ids);
}

/// The sentences that the node says in `/cluster`.
fn warnings(node: &TestNode) -> Vec<String> {
    let state = node.state().unwrap();
    let sentences = state["warnings"].as_array().unwrap().iter();
    sentences
        .map(|sentence| sentence.as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the node says a sentence with all of these parts.
fn await_warning(node: &TestNode, parts: &[&str]) -> String {
    wait_for(&format!("node {} says {parts:?}", node.id), || {
        let has_all = |sentence: &String| parts.iter().all(|part| sentence.contains(part));
        warnings(node).into_iter().find(has_all)
    })
}

/// Waits until the node says nothing any more.
fn await_silence(node: &TestNode) {
    wait_for(&format!("node {} has nothing to say", node.id), || {
        warnings(node).is_empty().then_some(())
    });
}

/// The node is not ready, and says why with all of these parts.
fn await_unready(node: &TestNode, parts: &[&str]) {
    wait_for(&format!("node {} is not ready: {parts:?}", node.id), || {
        let answer = node.ask("GET", "/readyz");
        let said = answer.text();
        (answer.status == 503 && parts.iter().all(|part| said.contains(part))).then_some(())
    });
}

/// How often this is in the log so far.
fn logged(node: &TestNode, text: &str) -> usize {
    node.log().matches(text).count()
}

/// Waits until it is in the log: lines are written a moment after they were said.
fn await_log(node: &TestNode, text: &str) {
    wait_for(text, || (logged(node, text) > 0).then_some(()));
}

/// The changes of `peer` to `state` that the node remembers.
fn changes(node: &TestNode, peer: u32, state: &str) -> usize {
    let history = node.state().unwrap()["history"].clone();
    let is_one = |change: &&Value| change["peer"] == peer && change["to"] == state;
    history.as_array().unwrap().iter().filter(is_one).count()
}

/// Offers images of `user` to each of `nodes`, all at the same time, and returns who took each: 201 or 200.
fn takers(nodes: &[&TestNode], user: &str) -> Vec<Vec<u32>> {
    let targets: Vec<String> = (0..OFFERED)
        .map(|i| format!("/images/{user}/picture_{i}.png"))
        .collect();
    let offer = |node: &&TestNode, target: &str| {
        let status = node.put(target, &picture::dot()).status;
        assert!(
            [200, 201, 307, 503].contains(&status),
            "{target} to node {}: {status}",
            node.id
        );
        matches!(status, 200 | 201).then_some(node.id)
    };
    std::thread::scope(|scope| {
        let offers: Vec<_> = targets
            .iter()
            .map(|target| {
                nodes
                    .iter()
                    .map(move |node| scope.spawn(move || offer(node, target)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let taken = |offers: Vec<std::thread::ScopedJoinHandle<'_, Option<u32>>>| {
            offers
                .into_iter()
                .filter_map(|offer| offer.join().unwrap())
                .collect()
        };
        offers.into_iter().map(taken).collect()
    })
}

/// How many images are offered to all nodes: three nodes have some of them each.
const OFFERED: usize = 12;
