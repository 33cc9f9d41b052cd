//! What is wrong with a cluster, from what its nodes say of it, in sentences that say what to do. Pure.
//!
//! What a node says of itself and its peers it says in its warnings; here is what only shows when answers are compared
//! with each other and with the cluster file.

use std::collections::BTreeSet;

use pixseal::client::error::{Error, ErrorKind};
use pixseal::condition::Condition;
use pixseal::report::Status;
use pixseal::roster::NodeId;

/// A node that was asked, and what came of it.
pub(super) struct AskedNode {
    /// As the cluster file has it, or the node that named it.
    pub(super) id: NodeId,
    pub(super) address: String,
    /// Whether the cluster file names it.
    pub(super) in_file: bool,
    pub(super) answer: Result<Status, Error>,
}

/// The judgement of a survey.
pub(super) struct ClusterFindings {
    pub(super) sentences: Vec<String>,
    /// All answered, all are ready, and all agree.
    pub(super) is_well: bool,
}

/// Compares the answers. `file` is the name of the cluster file.
pub(super) fn judge(asked: &[AskedNode], file: &str) -> ClusterFindings {
    let faults: Vec<String> = silent(asked, file)
        .into_iter()
        .chain(misnamed(asked, file))
        .chain(disagreement(asked))
        .chain(different_members(asked))
        .chain(nobody_takes_images(asked))
        .chain(open_nodes(asked))
        .collect();
    let is_well = faults.is_empty() && are_of_one_mind(asked);
    ClusterFindings {
        sentences: faults.into_iter().chain(unnamed(asked, file)).collect(),
        is_well,
    }
}

/// Whether all that have answered are ready, take images, and follow one leader with one view.
pub(super) fn are_of_one_mind(asked: &[AskedNode]) -> bool {
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

/// Whether a node knows what its folder holds. Older nodes do not say.
pub(super) fn reads_images(status: &Status) -> bool {
    let is_that = |condition: &Condition| condition.to_string() == status.condition;
    Condition::ALL
        .into_iter()
        .find(is_that)
        .is_none_or(Condition::reads_images)
}

fn answers(asked: &[AskedNode]) -> impl Iterator<Item = &Status> {
    asked.iter().filter_map(|node| node.answer.as_ref().ok())
}

/// The nodes that do not answer; if that is all of several, in one sentence.
fn silent(asked: &[AskedNode], file: &str) -> Vec<String> {
    let all_are = |kind| {
        let fails_so = |node: &AskedNode| node.answer.as_ref().is_err_and(|error| error.kind == kind);
        asked.len() > 1 && asked.iter().all(fails_so)
    };
    if all_are(ErrorKind::Unreachable) {
        return vec![format!(
            "No node answers: start the cluster (make cluster, or server ID for each node), or correct {file}."
        )];
    }
    if all_are(ErrorKind::Silent) {
        return vec![format!(
            "No node answers in time: all are paused, overloaded or cut off from here; look at their logs, wait longer with \
             --timeout SECS, or correct {file}."
        )];
    }
    if all_are(ErrorKind::Refused) {
        return vec![
            "No node shows you its state: show them a token with the admin right, in PIXSEAL_TOKEN or with --token-file.".to_owned(),
        ];
    }
    let silence = |node: &AskedNode| Some(silence(node, node.answer.as_ref().err()?, asked, file));
    asked.iter().filter_map(silence).collect()
}

/// A node that does not answer: what may be wrong, and what to do.
fn silence(node: &AskedNode, error: &Error, asked: &[AskedNode], file: &str) -> String {
    let AskedNode { id, address, .. } = node;
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
        ErrorKind::Untrusted => {
            "compare --ca here with the certificate that it was started with (--cert there), and see docs/tls.md".to_owned()
        }
        ErrorKind::Refused => {
            "show it a token with the admin right, in PIXSEAL_TOKEN or with --token-file".to_owned()
        }
        _ => "look at its log".to_owned(),
    };
    let what = match error.kind {
        ErrorKind::Refused => "does not show its state",
        _ => "does not answer",
    };
    let named = |status: &&Status| status.peers.iter().any(|peer| peer.id == *id);
    let mut text = format!("Node {id} ({address}) {what}: {why}; {remedy}.");
    if let Some((elsewhere, names)) = other_address(node, asked) {
        text += &format!(" {names} it at {elsewhere}: correct {file}, if that is right.");
    } else if node.in_file && answers(asked).next().is_some() && answers(asked).find(named).is_none() {
        text +=
            &format!(" No node that answers knows it: if it has left the cluster, remove it from {file}.");
    }
    text
}

/// Another address that nodes have for one, and "Node 1 has" or "Nodes 1 and 2 have".
fn other_address(node: &AskedNode, asked: &[AskedNode]) -> Option<(String, String)> {
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
fn misnamed(asked: &[AskedNode], file: &str) -> impl Iterator<Item = String> {
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
fn minds(asked: &[AskedNode]) -> Vec<(Mind<'_>, BTreeSet<NodeId>)> {
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

fn disagreement(asked: &[AskedNode]) -> Option<String> {
    let minds = minds(asked);
    if minds.len() < 2 {
        return None;
    }
    let parts: Vec<String> = minds.iter().map(|(mind, nodes)| follows(mind, nodes)).collect();
    let has_other_keys = |status: &Status| status.condition == Condition::OtherKeys.to_string();
    let why = if answers(asked).any(has_other_keys) {
        "They do not all have the same keys: do what the warnings say."
    } else {
        "Right after a change that is natural; if it lasts, they do not hear each other: look at their logs, and let UDP \
         through between them. Both sides take images; the newest of each name wins when they meet."
    };
    Some(format!("The nodes disagree: {}. {why}", parts.join(", ")))
}

/// Nobody is left whom uploads could be placed on.
fn nobody_takes_images(asked: &[AskedNode]) -> Option<String> {
    let takes_none = |status: &Status| !matches!(status.condition.as_str(), "" | "able");
    let is_nobody = answers(asked).next().is_some() && answers(asked).all(takes_none);
    is_nobody.then(|| {
        "No node that answers takes images: uploads are refused until one of them does, as the warnings say.".to_owned()
    })
}

/// Nodes that let everybody in, although others ask for tokens: what lies there can be read and removed.
fn open_nodes(asked: &[AskedNode]) -> Option<String> {
    let with = |access: &str| {
        let nodes = answers(asked).filter(|status| status.access == access);
        nodes.map(|status| status.node).collect::<BTreeSet<NodeId>>()
    };
    let (open, closed) = (with("open"), with("tokens"));
    let verb = if open.len() == 1 { "lets" } else { "let" };
    (!open.is_empty() && !closed.is_empty()).then(|| {
        format!(
            "{} {verb} everybody in, while {} want tokens: copy secrets/tokens to where it is missing, and send SIGHUP.",
            names(&open),
            names(&closed)
        )
    })
}

/// What the parentheses in the table mean, if there are some.
pub(super) fn legend(asked: &[AskedNode]) -> Option<String> {
    let is_told = answers(asked).any(|status| !status.reading.is_empty());
    is_told.then(|| "In parentheses: nodes that are alive and take no images.".to_owned())
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
fn different_members(asked: &[AskedNode]) -> Option<String> {
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
fn unnamed(asked: &[AskedNode], file: &str) -> impl Iterator<Item = String> {
    let new = asked.iter().filter(|node| !node.in_file);
    new.map(move |AskedNode { id, address, .. }| {
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
mod tests;
