//! `GET /cluster?all`: what all members say, through any of them.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::{picture, wait_for};

fn all(node: &TestNode) -> Value {
    let answer = node.ask("GET", "/cluster?all");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/json"));
    answer.json()
}

fn ids(state: &Value) -> Vec<u64> {
    let nodes = state["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|status| status["node"].as_u64().unwrap())
        .collect()
}

#[test]
fn every_node_tells_what_all_of_them_say() {
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    for id in 1..=3 {
        let target = format!("/images/alice/{}", cluster.name_on(id, "alice"));
        assert_eq!(cluster.node(id).put(&target, &picture::dot()).status, 201);
    }
    for node in &cluster.nodes {
        // A survey of a moment ago may be from before the uploads.
        let state = wait_for("the uploads are told of", || {
            let state = all(node);
            let counted = |status: &Value| status["counters"]["images"] == 1;
            state["nodes"].as_array()?.iter().all(counted).then_some(state)
        });
        assert_eq!((&state["node"], ids(&state)), (&json!(node.id), vec![1, 2, 3]));
        assert_eq!(state["missing"], json!([]));
        for status in state["nodes"].as_array().unwrap() {
            assert_eq!(
                (&status["leader"], &status["alive"]),
                (&json!(3), &json!([1, 2, 3]))
            );
            assert_eq!(status["access"], "open");
            assert_eq!(status["peers"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn who_is_dead_or_does_not_answer_is_missing_and_the_others_are_told_of() {
    let mut cluster = TestCluster::start(3);
    cluster.node_mut(3).kill();
    wait_for("a dead node is missing", || {
        let state = all(cluster.node(1));
        (state["missing"] == json!([3]) && ids(&state) == [1, 2]).then_some(())
    });
    cluster.await_agreement();
    cluster.node(2).signal(Signal::STOP);
    wait_for("so is one that is stopped", || {
        let state = all(cluster.node(1));
        (state["missing"] == json!([2, 3]) && ids(&state) == [1]).then_some(())
    });
    cluster.node(2).signal(Signal::CONT);
    cluster.node_mut(3).start();
    wait_for("both are back", || {
        (ids(&all(cluster.node(1))) == [1, 2, 3]).then_some(())
    });
}

#[test]
fn many_who_ask_at_once_are_told_the_same() {
    let cluster = TestCluster::start(3);
    let asked = |node: &TestNode| node.state().unwrap()["counters"]["requests"].as_u64().unwrap();
    let before = asked(cluster.node(2));
    let askers = 40;
    std::thread::scope(|scope| {
        for _ in 0..askers {
            scope.spawn(|| assert_eq!(ids(&all(cluster.node(1))), [1, 2, 3]));
        }
    });
    let more = asked(cluster.node(2)) - before;
    assert!(more < askers, "{more} requests reached another node");
}

#[test]
fn with_tokens_users_see_who_the_nodes_are_and_admins_see_all() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let (user, admin) = (
        cluster.add_token("alice", "read"),
        cluster.add_token("ops", "admin"),
    );
    cluster.show_token(&admin);
    cluster.start_all();
    let node = cluster.node(1);
    for target in [
        "/cluster?all",
        "/cluster?all&ticket=AAAA",
        "/cluster?local&ticket=AAAA",
    ] {
        assert_eq!(node.ask_as(None, "GET", target).status, 401, "{target}");
    }
    let whole = all(node);
    let few = node.ask_as(Some(&user), "GET", "/cluster?all").json();
    assert_eq!((ids(&whole), ids(&few)), (vec![1, 2, 3], vec![1, 2, 3]));
    for (whole, few) in whole["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .zip(few["nodes"].as_array().unwrap())
    {
        assert!(whole["counters"]["requests"].is_u64(), "{whole}");
        assert_eq!((&whole["access"], &few["access"]), (&json!("tokens"), &json!("")));
        assert_eq!((&few["counters"], &few["history"]), (&json!(null), &json!([])));
        assert_eq!((&few["leader"], &few["alive"]), (&json!(3), &json!([1, 2, 3])));
        assert_eq!(few["peers"][0]["address"], whole["peers"][0]["address"]);
    }
}
