//! `/metrics`: what is counted, for Prometheus. docs/monitoring.md has the table, and what to watch.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::Exposition;
use super::exposition::FamilyType::{Counter, Gauge, Histogram};
use super::process;
use super::service::Service;
use super::status;
use super::traffic::{DURATION_BOUNDS_US, Ending, Kind, SIZE_BOUNDS, Traffic, seconds};
use crate::http::answer::Answer;
use crate::node::counters::Counters;
use crate::report::Peer;

/// `GET /metrics`, in the Prometheus text format 0.0.4.
pub(crate) fn metrics(service: &Service) -> Answer {
    let mut text = Exposition::default();
    of_requests(&mut text, &service.traffic);
    of_counters(&mut text, &service.node.counters);
    of_images(&mut text, &service.node.counters);
    of_cluster(&mut text, service);
    of_standing(&mut text, service);
    of_store(&mut text, service);
    of_capacity(&mut text, service);
    of_process(&mut text, service);
    Answer::empty(200).content("text/plain; version=0.0.4; charset=utf-8", text.finish())
}

fn of_requests(text: &mut Exposition, traffic: &Traffic) {
    let bounds = DURATION_BOUNDS_US.map(seconds);
    let help = "How long requests took, from the first byte of the head to the end of the answer.";
    let mut family = text.family(Histogram, "request_duration_seconds", help);
    for kind in Kind::ALL {
        for ending in Ending::ALL {
            let durations = traffic.durations(kind, ending);
            let counts = durations.counts();
            // What never happened is left out, but for what people look for first.
            if counts.iter().sum::<u64>() > 0 || ending == Ending::Done {
                let labels = format!("action=\"{}\",outcome=\"{}\"", kind.name(), ending.name());
                family.histogram(&labels, &bounds, &counts, seconds(durations.sum()));
            }
        }
    }
    of_sizes(text, traffic);
}

#[allow(clippy::cast_precision_loss, reason = "sizes below 2^53 are exact")]
fn of_sizes(text: &mut Exposition, traffic: &Traffic) {
    let bounds = SIZE_BOUNDS.map(|bound| bound as f64);
    let help = "Bytes of uploads that came to this node.";
    let mut family = text.family(Histogram, "upload_size_bytes", help);
    for ending in Ending::ALL {
        let sizes = traffic.received(ending);
        let labels = format!("outcome=\"{}\"", ending.name());
        family.histogram(&labels, &bounds, &sizes.counts(), sizes.sum() as f64);
    }
    let help = "Bytes of answers to downloads.";
    let mut family = text.family(Histogram, "download_size_bytes", help);
    for ending in Ending::ALL {
        let sizes = traffic.sent(ending);
        let labels = format!("outcome=\"{}\"", ending.name());
        family.histogram(&labels, &bounds, &sizes.counts(), sizes.sum() as f64);
    }
}

fn of_counters(text: &mut Exposition, counters: &Counters) {
    let mut count = |name, help, counter: &AtomicU64| {
        text.single(Counter, name, help, counter.load(Ordering::Relaxed));
    };
    count(
        "connections_accepted_total",
        "Connections that were accepted.",
        &counters.connections_accepted,
    );
    count(
        "connections_refused_total",
        "Connections that were refused because a limit was reached.",
        &counters.connections_refused,
    );
    count(
        "queue_full_total",
        "Connections that were refused because the queue for a worker was full.",
        &counters.queue_full,
    );
    count(
        "requests_total",
        "Requests whose head was understood.",
        &counters.requests,
    );
    count(
        "answers_4xx_total",
        "Requests answered with 400 to 499.",
        &counters.answers_4xx,
    );
    count(
        "answers_5xx_total",
        "Requests answered with 500 to 599.",
        &counters.answers_5xx,
    );
}

fn of_images(text: &mut Exposition, counters: &Counters) {
    let mut count = |name, help, counter: &AtomicU64| {
        text.single(Counter, name, help, counter.load(Ordering::Relaxed));
    };
    count(
        "images_total",
        "Uploads that this node took and stored.",
        &counters.images,
    );
    count(
        "bytes_total",
        "Bytes of the uploads that this node stored.",
        &counters.bytes,
    );
    count(
        "uploads_failed_total",
        "Uploads that this node began to receive and did not store.",
        &counters.uploads_failed,
    );
    count(
        "uploads_redirected_total",
        "Uploads that were assigned to another node.",
        &counters.uploads_redirected,
    );
    count(
        "images_sent_total",
        "Images that were sent.",
        &counters.images_sent,
    );
    count(
        "bytes_sent_total",
        "Bytes of images that were sent.",
        &counters.bytes_sent,
    );
    count(
        "images_deleted_total",
        "Images that were removed.",
        &counters.images_deleted,
    );
    count(
        "images_handed_over_total",
        "Copies that were handed over to the node that they are assigned to.",
        &counters.images_handed_over,
    );
    count(
        "images_damaged_total",
        "Attempts to read a stored image that did not open.",
        &counters.images_damaged,
    );
}

fn of_cluster(text: &mut Exposition, service: &Service) {
    let node = &service.node;
    let report = node.cluster.report();
    for (name, help, value) in [
        (
            "leader_changes_total",
            "How often this node followed another leader, or a new term.",
            report.changes.leader_changes,
        ),
        (
            "suspicions_total",
            "How often a peer became suspect.",
            report.changes.suspicions,
        ),
        (
            "deaths_total",
            "How often a peer was found dead.",
            report.changes.deaths,
        ),
    ] {
        text.single(Counter, name, help, value);
    }
    let mut family = text.family(
        Counter,
        "datagrams_rejected_total",
        "Datagrams between nodes that were dropped, by cause.",
    );
    let rejections = serde_json::to_value(report.rejections).expect("counters are plain numbers");
    for (cause, value) in rejections.as_object().into_iter().flatten() {
        family.sample(&format!("cause=\"{cause}\""), value);
    }
    of_peers(text, &report.peers);
}

fn of_standing(text: &mut Exposition, service: &Service) {
    let node = &service.node;
    let (view, report) = (node.cluster.view(), node.cluster.report());
    let standing = node.cluster.standing();
    let is_leader = view.leader == Some(node.id);
    for (name, help, value) in [
        (
            "alive_nodes",
            "Nodes that this node counts as alive.",
            view.roster.ids().len() as u64,
        ),
        (
            "members",
            "Nodes that the cluster file names.",
            node.members().ids().count() as u64,
        ),
        ("term", "Term of the view that this node follows.", view.term),
        (
            "leader",
            "Id of the leader that this node follows; 0 if it knows none.",
            view.leader.map_or(0, |id| id.0.into()),
        ),
        ("is_leader", "1 on the node that leads.", is_leader.into()),
        (
            "ready",
            "1 if the node takes writes: it knows a leader that all nodes follow.",
            standing.is_ready.into(),
        ),
        (
            "settled",
            "1 if every image is on the node that it is assigned to, as far as this node knows.",
            standing.is_settled.into(),
        ),
        (
            "takes_images",
            "1 if the node can take images; 0 while its disk is full, read-only, failing or lost, or it is drained.",
            node.condition.get().takes_images().into(),
        ),
        (
            "warnings",
            "Sentences in the warnings of /cluster: what a person has to know.",
            status::warnings(service, &standing, &report.warnings).len() as u64,
        ),
    ] {
        text.single(Gauge, name, help, value);
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds below 2^53 are exact")]
fn of_peers(text: &mut Exposition, peers: &[Peer]) {
    let help = "Seconds since a peer was heard last.";
    let mut family = text.family(Gauge, "peer_last_heard_seconds", help);
    for (peer, ms) in peers
        .iter()
        .filter_map(|peer| Some((peer.id, peer.last_heard_ms?)))
    {
        family.sample(&format!("peer=\"{peer}\""), ms as f64 / 1000.0);
    }
    let help = "How far the clock of a peer is ahead of this node's.";
    let mut family = text.family(Gauge, "peer_clock_offset_seconds", help);
    for (peer, ms) in peers
        .iter()
        .filter_map(|peer| Some((peer.id, peer.clock_offset_ms?)))
    {
        family.sample(&format!("peer=\"{peer}\""), ms as f64 / 1000.0);
    }
}

/// What is not known is left out.
fn of_store(text: &mut Exposition, service: &Service) {
    let node = &service.node;
    if let Some(held) = *node.held.lock().unwrap_or_else(PoisonError::into_inner) {
        text.single(
            Gauge,
            "images_held",
            "Images in the folder, counted about every minute.",
            held.images,
        );
        text.single(
            Gauge,
            "held_bytes",
            "Bytes of the sealed images in the folder.",
            held.bytes,
        );
    }
    if let Some(room) = *node.room.lock().unwrap_or_else(PoisonError::into_inner) {
        text.single(
            Gauge,
            "disk_free_bytes",
            "Room for images on the disk under the folder.",
            room.bytes.free,
        );
        text.single(
            Gauge,
            "disk_size_bytes",
            "Size of the disk under the folder.",
            room.bytes.total,
        );
    }
    let standing = node.cluster.standing();
    if let Some(misplaced) = standing.view.and_then(|view| node.misplaced.in_view(view)) {
        let help = "Images and tombstones in the folder that are assigned to other nodes.";
        text.single(Gauge, "misplaced_images", help, misplaced);
    }
}

/// What is in use of what there is, by the limits of the node.
fn of_capacity(text: &mut Exposition, service: &Service) {
    let limits = &service.limits;
    let waiting = service.waiting.load(Ordering::Relaxed);
    for (name, help, value) in [
        ("connections", "Open connections.", service.connections.used()),
        (
            "connections_max",
            "Open connections, at most (--connections).",
            limits.connections_max,
        ),
        (
            "workers_busy",
            "Connections that a worker serves, or that are about to be.",
            service.workers.used(),
        ),
        (
            "workers_max",
            "Threads that serve requests, at most (--workers).",
            limits.workers,
        ),
        ("queue_length", "Connections that wait for a worker.", waiting),
        (
            "queue_max",
            "Connections that may wait for a worker (--queue).",
            limits.queue,
        ),
        (
            "blocks_in_use",
            "Buffers of 1 MiB that transfers hold.",
            limits.blocks - service.node.blocks.free(),
        ),
        (
            "blocks_max",
            "Buffers of 1 MiB for transfers (--blocks).",
            limits.blocks,
        ),
    ] {
        text.single(Gauge, name, help, value);
    }
}

fn of_process(text: &mut Exposition, service: &Service) {
    let process = process::read();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.family(Gauge, "build_info", "1, with the version of the program.")
        .sample(&version, 1);
    let help = "When the process started, in seconds since 1970.";
    text.single(
        Gauge,
        "process_start_time_seconds",
        help,
        seconds(service.started_ms * 1000),
    );
    let help = "Processor time of the process, user and system.";
    text.single(Counter, "process_cpu_seconds_total", help, process.cpu_seconds);
    let help = "Resident memory of the process.";
    text.single(Gauge, "process_resident_memory_bytes", help, process.rss_bytes);
}
