//! What is wrong with a cluster, from what its nodes say of it, in sentences that say what to do. Pure.
//!
//! What a node says of itself and its peers it says in its warnings; here is what only shows when answers are compared
//! with each other and with the cluster file.

use std::collections::BTreeSet;

use pixseal::client::error::{Error, ErrorKind};
use pixseal::report::Status;
use pixseal::roster::NodeId;

/// A node that was asked, and what came of it.
pub(super) struct Asked {
    /// As the cluster file has it, or the node that named it.
    pub(super) id: NodeId,
    pub(super) address: String,
    /// Whether the cluster file names it.
    pub(super) in_file: bool,
    pub(super) answer: Result<Status, Error>,
}

/// The judgement of a survey.
pub(super) struct Findings {
    pub(super) sentences: Vec<String>,
    /// All answered, all are ready, and all agree.
    pub(super) is_well: bool,
}

/// Compares the answers. `file` is the name of the cluster file.
pub(super) fn judge(asked: &[Asked], file: &str) -> Findings {
    let faults: Vec<String> = silent(asked, file)
        .into_iter()
        .chain(misnamed(asked, file))
        .chain(disagreement(asked))
        .chain(different_members(asked))
        .collect();
    let is_well = faults.is_empty() && are_of_one_mind(asked);
    Findings {
        sentences: faults.into_iter().chain(unnamed(asked, file)).collect(),
        is_well,
    }
}

/// Whether all that have answered are ready, take images, and follow one leader with one view.
pub(super) fn are_of_one_mind(asked: &[Asked]) -> bool {
    let usable = |status: &Status| status.ready && why_not(status).is_none();
    answers(asked).all(usable) && minds(asked).len() <= 1
}

/// Why a node does not take images, if it does not.
pub(super) fn why_not(status: &Status) -> Option<&str> {
    match status.condition.as_str() {
        // Older nodes do not say.
        "" | "able" => match (status.ready, status.leader) {
            (true, _) => None,
            (false, None) => Some("knows no leader"),
            (false, Some(_)) => Some("not all nodes follow the leader"),
        },
        condition => Some(condition),
    }
}

fn answers(asked: &[Asked]) -> impl Iterator<Item = &Status> {
    asked.iter().filter_map(|node| node.answer.as_ref().ok())
}

/// The nodes that do not answer; if that is all of several, in one sentence.
fn silent(asked: &[Asked], file: &str) -> Vec<String> {
    if asked.len() > 1 && answers(asked).next().is_none() {
        return vec![format!(
            "No node answers: start the cluster (make cluster, or server ID for each node), or correct {file}."
        )];
    }
    let silence = |node: &Asked| Some(silence(node, node.answer.as_ref().err()?, asked, file));
    asked.iter().filter_map(silence).collect()
}

/// A node that does not answer: what may be wrong, and what to do.
fn silence(node: &Asked, error: &Error, asked: &[Asked], file: &str) -> String {
    let Asked { id, address, .. } = node;
    let why = error
        .text
        .strip_prefix(&format!("{address}: "))
        .unwrap_or(&error.text);
    let remedy = match error.kind {
        ErrorKind::Unreachable => format!("if it is down, start it with: server {id}"),
        ErrorKind::Silent => {
            "it is paused, overloaded or cut off; look at its log, or wait longer with --timeout SECS"
                .to_owned()
        }
        ErrorKind::Busy => {
            "ask again; if it stays so, look at its log for who takes its connections".to_owned()
        }
        ErrorKind::Protocol => format!("another program has its port, or {file} has a wrong address for it"),
        _ => "look at its log".to_owned(),
    };
    let named = |status: &&Status| status.peers.iter().any(|peer| peer.id == *id);
    let mut text = format!("Node {id} ({address}) does not answer: {why}; {remedy}.");
    if let Some((elsewhere, names)) = other_address(node, asked) {
        text += &format!(" {names} it at {elsewhere}: correct {file}, if that is right.");
    } else if node.in_file && answers(asked).next().is_some() && answers(asked).find(named).is_none() {
        text +=
            &format!(" No node that answers knows it: if it has left the cluster, remove it from {file}.");
    }
    text
}

/// Another address that nodes have for one, and "Node 1 has" or "Nodes 1 and 2 have".
fn other_address(node: &Asked, asked: &[Asked]) -> Option<(String, String)> {
    let place = |status: &Status| {
        let peer = status.peers.iter().find(|peer| peer.id == node.id)?;
        (peer.address != node.address && !peer.address.is_empty()).then(|| peer.address.clone())
    };
    let elsewhere = answers(asked).find_map(place)?;
    let tellers = answers(asked).filter(|status| place(status).as_ref() == Some(&elsewhere));
    let tellers: BTreeSet<NodeId> = tellers.map(|status| status.node).collect();
    let have = if tellers.len() == 1 { "has" } else { "have" };
    Some((elsewhere, format!("{} {have}", names(&tellers))))
}

/// Nodes that answer with another id than the one they were asked by.
fn misnamed(asked: &[Asked], file: &str) -> impl Iterator<Item = String> {
    asked.iter().filter_map(move |node| {
        let status = node.answer.as_ref().ok()?;
        (status.node != node.id).then(|| {
            format!(
                "Node {} answers at {}, where {file} has Node {}: correct {file}.",
                status.node, node.address, node.id
            )
        })
    })
}

/// What nodes place uploads by.
#[derive(PartialEq)]
struct Mind<'a> {
    leader: Option<NodeId>,
    term: u64,
    alive: &'a [NodeId],
    reading: &'a [NodeId],
}

/// Each mind with the nodes that are of it: most nodes first, then by their ids.
fn minds(asked: &[Asked]) -> Vec<(Mind<'_>, BTreeSet<NodeId>)> {
    let mut minds: Vec<(Mind<'_>, BTreeSet<NodeId>)> = Vec::new();
    for status in answers(asked) {
        let mind = Mind {
            leader: status.leader,
            term: status.term,
            alive: &status.alive,
            reading: &status.reading,
        };
        match minds.iter_mut().find(|(known, _)| *known == mind) {
            Some((_, nodes)) => {
                nodes.insert(status.node);
            }
            None => minds.push((mind, BTreeSet::from([status.node]))),
        }
    }
    minds.sort_by_key(|(_, nodes)| (usize::MAX - nodes.len(), nodes.first().copied()));
    minds
}

fn disagreement(asked: &[Asked]) -> Option<String> {
    let minds = minds(asked);
    if minds.len() < 2 {
        return None;
    }
    let parts: Vec<String> = minds.iter().map(|(mind, nodes)| follows(mind, nodes)).collect();
    Some(format!(
        "The nodes disagree: {}. Right after a change that is natural; if it lasts, they do not hear each other: look \
         at their logs, and let UDP through between them. Both sides take images; the newest of each name wins when \
         they meet.",
        parts.join(", ")
    ))
}

/// "Nodes 1 and 2 follow Node 2 (term 5, alive 1 2)".
fn follows(mind: &Mind<'_>, nodes: &BTreeSet<NodeId>) -> String {
    let whom = match mind.leader {
        None => "nobody".to_owned(),
        Some(leader) if nodes.len() == 1 && nodes.contains(&leader) => "itself".to_owned(),
        Some(leader) => format!("Node {leader}"),
    };
    let verb = if nodes.len() == 1 { "follows" } else { "follow" };
    let alive = list(mind.alive, mind.reading);
    format!(
        "{} {verb} {whom} (term {}, alive {alive})",
        names(nodes),
        mind.term
    )
}

/// Nodes that were given different cluster files.
fn different_members(asked: &[Asked]) -> Option<String> {
    let mut lists: Vec<(BTreeSet<NodeId>, BTreeSet<NodeId>)> = Vec::new();
    for status in answers(asked) {
        let peers = status.peers.iter().map(|peer| peer.id);
        let members: BTreeSet<NodeId> = peers.chain([status.node]).collect();
        match lists.iter_mut().find(|(known, _)| *known == members) {
            Some((_, nodes)) => {
                nodes.insert(status.node);
            }
            None => lists.push((members, BTreeSet::from([status.node]))),
        }
    }
    let part = |(members, nodes): &(BTreeSet<NodeId>, BTreeSet<NodeId>)| {
        let verb = if nodes.len() == 1 { "has" } else { "have" };
        let members: Vec<NodeId> = members.iter().copied().collect();
        format!("{} {verb} {}", names(nodes), list(&members, &[]))
    };
    (lists.len() > 1).then(|| {
        let parts: Vec<String> = lists.iter().map(part).collect();
        format!(
            "The nodes have different members: {}. Give all of them the same cluster file.",
            parts.join(", ")
        )
    })
}

/// Members that nodes name and the cluster file does not: no fault of the cluster.
fn unnamed(asked: &[Asked], file: &str) -> impl Iterator<Item = String> {
    let new = asked.iter().filter(|node| !node.in_file);
    new.map(move |Asked { id, address, .. }| {
        format!("Node {id} ({address}) is a member that {file} does not name: add it there.")
    })
}

/// "Node 1", "Nodes 1 and 2", "Nodes 1, 2 and 3".
pub(super) fn names(nodes: &BTreeSet<NodeId>) -> String {
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    match &ids[..] {
        [] => "No node".to_owned(),
        [only] => format!("Node {only}"),
        [first @ .., last] => format!("Nodes {} and {last}", first.join(", ")),
    }
}

/// "1 2 3", and in parentheses the nodes that are alive and take no images: "1 2 (3)".
pub(super) fn list(alive: &[NodeId], reading: &[NodeId]) -> String {
    let alive = alive.iter().map(ToString::to_string);
    let reading = reading.iter().map(|id| format!("({id})"));
    let ids: Vec<String> = alive.chain(reading).collect();
    if ids.is_empty() {
        "-".to_owned()
    } else {
        ids.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node `id` at its address in the cluster file, with what it answers.
    fn asked(id: u32, answer: Result<Status, ErrorKind>) -> Asked {
        let address = address(id);
        Asked {
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

    fn three() -> Vec<Asked> {
        (1..=3).map(|id| asked(id, healthy(id))).collect()
    }

    fn change(asked: &mut Asked, change: impl FnOnce(&mut Status)) {
        change(asked.answer.as_mut().unwrap());
    }

    /// The only sentence, which must contain all `words`.
    fn assert_found(asked: &[Asked], words: &[&str]) {
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
        let told =
            "Nodes 1 and 2 follow Node 2 (term 5, alive 1 2), Node 3 follows itself (term 5, alive 3).";
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
        let nodes: Vec<Asked> = (1..=3).map(|id| asked(id, Err(ErrorKind::Unreachable))).collect();
        assert_found(&nodes, &["No node answers", "cluster.toml"]);
        assert_found(&nodes[..1], &["Node 1 (host:1) does not answer"]);
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
}
