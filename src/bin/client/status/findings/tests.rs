//! Findings of answers that are made up.

use super::*;

/// Node `id` at its address in the cluster file, with what it answers.
fn asked(id: u32, answer: Result<Status, ErrorKind>) -> AskedNode {
    let address = address(id);
    AskedNode {
        id: NodeId(id),
        in_file: true,
        answer: answer.map_err(|kind| Error {
            kind,
            text: format!("{address}: {kind}"),
        }),
        address,
    }
}

fn address(id: u32) -> String {
    format!("host:{id}")
}

/// Node `id` follows `leader`, knows `members`, and places uploads by `alive`.
fn status(id: u32, leader: u32, alive: &[u32], members: &[u32]) -> Status {
    let peer = |id: &u32| serde_json::json!({"id": id, "address": address(*id)});
    let peers: Vec<_> = members.iter().filter(|peer| **peer != id).map(peer).collect();
    let status = serde_json::json!({"node": id, "leader": leader, "term": 5, "alive": alive, "ready": true,
        "condition": "able", "peers": peers});
    serde_json::from_value(status).unwrap()
}

fn healthy(id: u32) -> Result<Status, ErrorKind> {
    Ok(status(id, 3, &[1, 2, 3], &[1, 2, 3]))
}

fn three() -> Vec<AskedNode> {
    (1..=3).map(|id| asked(id, healthy(id))).collect()
}

fn change(asked: &mut AskedNode, change: impl FnOnce(&mut Status)) {
    change(asked.answer.as_mut().unwrap());
}

/// The only sentence, which must contain all `words`.
fn assert_found(asked: &[AskedNode], words: &[&str]) {
    let found = judge(asked, "cluster.toml");
    let [sentence] = &found.sentences[..] else {
        panic!("{:?}", found.sentences);
    };
    assert!(!found.is_well);
    for word in words {
        assert!(sentence.contains(word), "{word:?} is missing: {sentence}");
    }
}

#[test]
fn nodes_that_are_ready_and_agree_are_well() {
    let found = judge(&three(), "cluster.toml");
    assert!(
        found.is_well && found.sentences.is_empty(),
        "{:?}",
        found.sentences
    );
}

#[test]
fn a_split_is_told_by_who_follows_whom() {
    let mut nodes = three();
    nodes[0] = asked(1, Ok(status(1, 2, &[1, 2], &[1, 2, 3])));
    nodes[1] = asked(2, Ok(status(2, 2, &[1, 2], &[1, 2, 3])));
    nodes[2] = asked(3, Ok(status(3, 3, &[3], &[1, 2, 3])));
    let told = "Nodes 1 and 2 follow Node 2 (term 5, alive 1 2), Node 3 follows itself (term 5, alive 3).";
    assert_found(&nodes, &[told, "let UDP through"]);
}

#[test]
fn each_difference_of_a_view_is_a_disagreement() {
    let differ: [fn(&mut Status); 4] = [
        |status| status.leader = None,
        |status| status.term = 6,
        |status| status.alive = vec![NodeId(3)],
        |status| status.reading = vec![NodeId(4)],
    ];
    for differ in differ {
        let mut nodes = three();
        change(&mut nodes[1], differ);
        assert!(!are_of_one_mind(&nodes));
        assert_found(
            &nodes,
            &["Nodes 1 and 3 follow Node 3 (term 5, alive 1 2 3), Node 2 follows "],
        );
    }
}

#[test]
fn a_node_that_is_not_ready_or_takes_no_images_is_not_well() {
    let mut nodes = three();
    change(&mut nodes[0], |status| status.condition = "draining".to_owned());
    assert!(!judge(&nodes, "").is_well);
    assert_eq!(why_not(nodes[0].answer.as_ref().unwrap()), Some("draining"));
    let mut nodes = three();
    change(&mut nodes[0], |status| status.ready = false);
    assert!(!judge(&nodes, "").is_well);
    let why = why_not(nodes[0].answer.as_ref().unwrap());
    assert_eq!(why, Some("not all nodes follow the leader"));
}

#[test]
fn a_node_that_does_not_answer_is_named_with_what_to_do() {
    for (kind, remedy) in [
        (ErrorKind::Unreachable, "server 2"),
        (ErrorKind::Silent, "--timeout"),
        (ErrorKind::Protocol, "another program has its port"),
        (ErrorKind::Busy, "ask again"),
        (ErrorKind::Lost, "log"),
    ] {
        let mut nodes = three();
        nodes[1] = asked(2, Err(kind));
        assert_found(&nodes, &["Node 2 (host:2) does not answer", remedy]);
    }
}

#[test]
fn a_cluster_of_which_no_node_answers_is_one_sentence() {
    let nodes: Vec<AskedNode> = (1..=3).map(|id| asked(id, Err(ErrorKind::Unreachable))).collect();
    assert_found(&nodes, &["No node answers", "cluster.toml"]);
    assert_found(&nodes[..1], &["Node 1 (host:1) does not answer"]);
}

#[test]
fn a_cluster_that_is_silent_is_not_told_to_be_started() {
    let nodes: Vec<AskedNode> = (1..=3).map(|id| asked(id, Err(ErrorKind::Silent))).collect();
    assert_found(
        &nodes,
        &["paused, overloaded or cut off", "--timeout", "cluster.toml"],
    );
}

#[test]
fn nodes_with_other_keys_are_not_told_to_let_udp_through() {
    let mut nodes = three();
    nodes[2] = asked(3, Ok(status(3, 3, &[3], &[1, 2, 3])));
    change(&mut nodes[2], |status| status.condition = "other keys".to_owned());
    assert_found(&nodes, &["Node 3 follows itself", "the same keys"]);
    let found = judge(&nodes, "cluster.toml");
    assert!(!found.sentences[0].contains("UDP"), "{:?}", found.sentences);
}

#[test]
fn where_no_node_takes_images_that_is_told() {
    let mut nodes = three();
    for (node, condition) in nodes
        .iter_mut()
        .zip(["draining", "disk full", "images folder lost"])
    {
        change(node, |status| status.condition = condition.to_owned());
    }
    assert_found(&nodes, &["No node that answers takes images"]);
    let reads: Vec<bool> = answers(&nodes).map(reads_images).collect();
    assert_eq!(reads, [true, true, false]);
    change(&mut nodes[0], |status| status.condition = "able".to_owned());
    assert!(judge(&nodes, "cluster.toml").sentences.is_empty());
}

#[test]
fn a_silent_node_that_has_moved_or_left_is_told_apart() {
    let mut nodes = three();
    nodes[1] = asked(2, Err(ErrorKind::Unreachable));
    change(&mut nodes[2], |status| {
        status.peers[1].address = "elsewhere:2".to_owned();
    });
    assert_found(&nodes, &["Node 3 has it at elsewhere:2: correct cluster.toml"]);
    let mut nodes = three();
    nodes.push(asked(4, Err(ErrorKind::Unreachable)));
    assert_found(
        &nodes,
        &["No node that answers knows it", "remove it from cluster.toml"],
    );
}

#[test]
fn a_node_at_the_address_of_another_is_a_wrong_file() {
    let mut nodes = three();
    nodes[0].answer = Ok(status(2, 3, &[1, 2, 3], &[1, 2, 3]));
    assert_found(
        &nodes,
        &["Node 2 answers at host:1, where cluster.toml has Node 1"],
    );
}

#[test]
fn members_that_the_file_does_not_name_are_told_and_no_fault() {
    let mut nodes = three();
    nodes[2].in_file = false;
    let found = judge(&nodes, "cluster.toml");
    assert!(found.is_well);
    assert_eq!(
        found.sentences,
        ["Node 3 (host:3) is a member that cluster.toml does not name: add it there."]
    );
    change(&mut nodes[2], |status| status.peers.truncate(1));
    let found = judge(&nodes, "cluster.toml");
    assert!(!found.is_well);
    assert!(
        found.sentences[0].contains("Nodes 1 and 2 have 1 2 3, Node 3 has 1 3."),
        "{:?}",
        found.sentences
    );
}

#[test]
fn a_node_that_lets_everybody_in_is_told_where_others_want_tokens() {
    let mut nodes = three();
    for node in &mut nodes {
        change(node, |status| "tokens".clone_into(&mut status.access));
    }
    assert!(judge(&nodes, "cluster.toml").is_well);
    change(&mut nodes[1], |status| "open".clone_into(&mut status.access));
    assert_found(
        &nodes,
        &["Node 2 lets everybody in", "Nodes 1 and 3 want tokens", "SIGHUP"],
    );
}

#[test]
fn whoever_may_not_see_the_state_is_told_what_to_show() {
    let refused: Vec<AskedNode> = (1..=3).map(|id| asked(id, Err(ErrorKind::Refused))).collect();
    assert_found(&refused, &["No node shows you its state", "PIXSEAL_TOKEN"]);
    let mut one = three();
    one[0] = asked(1, Err(ErrorKind::Refused));
    assert_found(&one, &["Node 1", "does not show its state", "admin right"]);
}
