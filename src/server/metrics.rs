//! `/metrics`: what is counted, for Prometheus.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::process;
use super::service::Service;
use crate::http::answer::Answer;
use crate::report::Peer;

/// `GET /metrics`, in the Prometheus text format 0.0.4.
pub(crate) fn metrics(service: &Service) -> Answer {
    let node = &service.node;
    let (view, report) = (node.cluster.view(), node.cluster.report());
    let process = process::read();
    let mut text = String::new();
    for counters in [
        serde_json::to_value(&node.counters),
        serde_json::to_value(report.changes),
    ] {
        let counters = counters.expect("counters are plain numbers");
        for (name, value) in counters.as_object().into_iter().flatten() {
            sample(&mut text, "counter", &format!("{name}_total"), "", value);
        }
    }
    let rejections = serde_json::to_value(report.rejections).expect("counters are plain numbers");
    for (i, (cause, value)) in rejections.as_object().into_iter().flatten().enumerate() {
        let name = "datagrams_rejected_total";
        if i == 0 {
            sample(
                &mut text,
                "counter",
                name,
                &format!("{{cause=\"{cause}\"}}"),
                value,
            );
        } else {
            let _ = writeln!(text, "pixseal_{name}{{cause=\"{cause}\"}} {value}");
        }
    }
    of_peers(&mut text, "peer_last_heard_seconds", &report.peers, |peer| {
        peer.last_heard_ms.map(|ms| json!(ms as f64 / 1000.0))
    });
    of_peers(&mut text, "peer_clock_offset_seconds", &report.peers, |peer| {
        peer.clock_offset_ms.map(|ms| json!(ms as f64 / 1000.0))
    });
    for (kind, name, value) in [
        ("gauge", "alive_nodes", json!(view.roster.ids().len())),
        ("gauge", "term", json!(view.term)),
        (
            "gauge",
            "ready",
            json!(u8::from(node.cluster.standing().is_ready)),
        ),
        ("gauge", "leader", json!(view.leader.map_or(0, |id| id.0))),
        (
            "gauge",
            "takes_images",
            json!(u8::from(node.condition.get().takes_images())),
        ),
        ("gauge", "connections", json!(service.connections.used())),
        ("gauge", "resident_memory_bytes", json!(process.rss_bytes)),
        ("counter", "cpu_seconds_total", json!(process.cpu_seconds)),
    ] {
        sample(&mut text, kind, name, "", &value);
    }
    Answer::empty(200).content("text/plain; version=0.0.4; charset=utf-8", text)
}

/// A gauge with a value for each peer that has one.
fn of_peers(text: &mut String, name: &str, peers: &[Peer], value: impl Fn(&Peer) -> Option<Value>) {
    let _ = writeln!(text, "# TYPE pixseal_{name} gauge");
    for peer in peers {
        if let Some(value) = value(peer) {
            let _ = writeln!(text, "pixseal_{name}{{peer=\"{}\"}} {value}", peer.id);
        }
    }
}

fn sample(text: &mut String, kind: &str, name: &str, labels: &str, value: &Value) {
    let _ = writeln!(
        text,
        "# TYPE pixseal_{name} {kind}\npixseal_{name}{labels} {value}"
    );
}
