//! What a node says about itself and the others: `/cluster`, `/healthz`, `/readyz` and `/`.

use std::sync::PoisonError;

use super::answers;
use super::error::Error;
use super::process;
use super::service::Service;
use crate::http::answer::Answer;
use crate::lease::standing::Standing;
use crate::node::shared::Node;
use crate::node::unable::unable;
use crate::report::{ClusterState, DiskRoom, Peer, Status};

/// Told at the start as well.
pub(crate) const OPEN_TO_ALL: &str = "Whoever can reach this node can read, overwrite and delete every image \
    (--insecure-allow-remote, and no tokens): make tokens with seal token add USER, then send SIGHUP to the nodes.";

/// `GET /cluster`; of it, what a client has to know, unless it `is_whole`.
pub(crate) fn cluster(service: &Service, is_whole: bool) -> Answer {
    let status = match is_whole {
        true => whole(service),
        false => for_clients(whole(service)),
    };
    // By way of a value, which has its fields in alphabetical order.
    let json = serde_json::to_value(&status).expect("a status has only plain fields");
    Answer::json(200, format!("{json:#}\n"))
}

/// `GET /cluster?all`; of each node what `/cluster` would say.
pub(crate) fn survey(service: &Service, is_whole: bool) -> Answer {
    let found = service.surveys.recent(service);
    let status = |status: &Status| match is_whole {
        true => status.clone(),
        false => for_clients(status.clone()),
    };
    let state = ClusterState {
        node: found.node,
        nodes: found.nodes.iter().map(status).collect(),
        missing: found.missing.clone(),
    };
    let json = serde_json::to_value(&state).expect("a status has only plain fields");
    Answer::json(200, format!("{json}\n"))
}

/// Who the nodes are, where they are, and who of them takes what.
fn for_clients(status: Status) -> Status {
    let peers = status.peers.into_iter().map(|peer| Peer {
        id: peer.id,
        address: peer.address,
        url: peer.url,
        ..Peer::default()
    });
    Status {
        node: status.node,
        address: status.address,
        url: status.url,
        leader: status.leader,
        term: status.term,
        alive: status.alive,
        reading: status.reading,
        view: status.view,
        ready: status.ready,
        peers: peers.collect(),
        ..Status::default()
    }
}

pub(super) fn whole(service: &Service) -> Status {
    let node = &service.node;
    let (view, report) = (node.cluster.view(), node.cluster.report());
    let standing = node.cluster.standing();
    let held = *node.held.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = *node.room.lock().unwrap_or_else(PoisonError::into_inner);
    Status {
        node: node.id,
        address: node.members().address(node.id).unwrap_or_default().to_owned(),
        url: node.members().url(node.id).map(str::to_owned),
        leader: view.leader,
        term: view.term,
        alive: view.roster.placed().to_vec(),
        reading: view.roster.reading().collect(),
        condition: node.condition.get().to_string(),
        images_held: held.map(|held| held.images),
        bytes_held: held.map(|held| held.bytes),
        disk: disk.map(|room| DiskRoom {
            free_bytes: room.bytes.free,
            total_bytes: room.bytes.total,
        }),
        view: view.id().map_or_else(String::new, |view| view.to_string()),
        ready: standing.is_ready,
        settled: standing.is_settled,
        misplaced: standing.view.and_then(|view| node.misplaced.in_view(view)),
        warnings: warnings(service, &standing, &report.warnings),
        peers: report.peers.clone(),
        counters: serde_json::to_value(&node.counters).expect("counters are plain numbers"),
        connections: service.connections.used(),
        durability: Some(node.store.durability().to_string()),
        access: match service.access.load().tokens {
            Some(_) => "tokens".to_owned(),
            None => "open".to_owned(),
        },
        rejections: serde_json::to_value(report.rejections).expect("counters are plain numbers"),
        history: report.history.clone(),
        process: Some(process::read()),
        started_unix_ms: service.started_ms,
        upload_durations: service.traffic.upload_durations(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What a person has to know of the cluster, in sentences.
pub(super) fn warnings(service: &Service, standing: &Standing, of_cluster: &[String]) -> Vec<String> {
    let node = &service.node;
    let pressed = service.pressure.is_high().then(|| {
        format!(
            "Clients wait for a worker: transfers below {} kB/s are cut until that is over.",
            service.pressure.factor()
        )
    });
    let open = service.is_open_to_all().then(|| OPEN_TO_ALL.to_owned());
    let of_certificate = service.certificate_complaints.load();
    let unasked = node.peers.untrusted();
    let unasked = unasked
        .iter()
        .map(|(other, why)| format!("Node {other} cannot be asked: {why}."));
    let unable = unable(node).map(|(_, why)| format!("Node {} {why}.", node.id));
    let away = standing.away().map(|away| {
        format!(
            "Node {away} is away: what it alone holds cannot be read, and nothing is moved until it is back."
        )
    });
    let of_cluster = of_cluster.iter().cloned();
    open.into_iter()
        .chain(pressed)
        .chain(unable)
        .chain(of_certificate.iter().cloned())
        .chain(unasked)
        .chain(of_cluster)
        .chain(away)
        .collect()
}

/// `GET /healthz`: alive. Pages of every site may know: that of another node looks where it can go, and an answer that it may
/// not read could be a proxy's that this node is gone.
pub(crate) fn healthz() -> Answer {
    Answer::text(200, "ok").field("Access-Control-Allow-Origin", "*")
}

/// `GET /readyz`: knows a leader and can write.
pub(crate) fn readyz(service: &Service) -> Answer {
    let node = &service.node;
    let refuse = |why: String| answers::refusal(&Error::NotReady(why));
    if node.is_leaving() {
        return refuse("This node is leaving.".to_owned());
    }
    let warnings = || node.cluster.report().warnings.join(" ");
    if let Some((_, why)) = unable(node) {
        return refuse(format!("This node {why}. {}", warnings()).trim_end().to_owned());
    }
    let why = match node.cluster.view().leader {
        None => Some("This node knows no leader yet."),
        Some(_) if !node.cluster.standing().is_ready => Some("Not all nodes follow the leader yet."),
        Some(_) => None,
    };
    if let Some(why) = why {
        return refuse(format!("{why} {}", warnings()).trim_end().to_owned());
    }
    match node.store.probe() {
        Ok(()) => Answer::text(200, "ready"),
        Err(e) => refuse(format!("This node cannot write: {e}.")),
    }
}

/// Who this is, who leads and who is alive, in one line.
pub(super) fn summary(node: &Node) -> String {
    let view = node.cluster.view();
    let leader = view
        .leader
        .map_or_else(|| "none yet".to_owned(), |id| format!("Node {id}"));
    format!(
        "pixseal {}, node {} of {}; leader: {leader}; alive: {}",
        env!("CARGO_PKG_VERSION"),
        node.id,
        node.members().count(),
        view.roster
    )
}

/// `GET /`, for a person at a terminal.
pub(crate) fn index(service: &Service) -> Answer {
    let node = &service.node;
    let text = Answer::text(
        200,
        format_args!(
            "{}\n\n\
             Seals each image on exactly one node.\n\n\
             curl -LT cat.png {scheme}://HOST:PORT/images/alice/cat.png    upload\n\
             curl -LO {scheme}://HOST:PORT/images/alice/cat.png            download\n\
             GET /images/alice/   list      GET /cluster   state      GET /metrics   counters",
            summary(node),
            scheme = node.scheme(),
        ),
    );
    text.field("Vary", "Accept")
}
