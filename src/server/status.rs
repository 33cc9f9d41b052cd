//! What a node says about itself: `/cluster`, `/metrics`, `/readyz` and `/`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a process reads about itself in /proc"
)]

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;
use serde_json::{Value, json};

use super::Node;
use super::front::busy;
use crate::http::answer::Answer;

/// The kernel counts processor time in these, whatever its own tick: USER_HZ, fixed for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process takes from its machine.
#[derive(Serialize)]
struct Process {
    pid: u32,
    rss_bytes: u64,
    rss_peak_bytes: u64,
    cpu_seconds: f64,
}

impl Process {
    fn read() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|l| l.trim_end_matches("kB").trim().parse().ok())
                .unwrap_or(0)
        };
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses, which may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|t| t.parse::<f64>().ok())
            .sum();
        Process {
            pid: std::process::id(),
            rss_bytes: kib("VmRSS:") << 10,
            rss_peak_bytes: kib("VmHWM:") << 10,
            cpu_seconds: ticks / TICKS_PER_SECOND,
        }
    }
}

/// `GET /cluster`.
pub fn cluster(node: &Node) -> Answer {
    let (view, report) = (node.cluster.view(), node.cluster.report());
    let json = json!({
        "node": node.id,
        "leader": view.leader,
        "term": view.term,
        "alive": view.roster,
        "peers": report.peers,
        "counters": &*node.counters,
        "connections": node.seats.taken(),
        "durability": node.store.durability().to_string(),
        "rejections": report.rejections,
        "history": report.history,
        "process": Process::read(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    Answer::json(200, format!("{json:#}\n"))
}

/// `GET /readyz`: knows a leader and can write.
pub fn readyz(node: &Node) -> Answer {
    if node.desk.is_closing() {
        return busy("This node is leaving.");
    }
    if node.cluster.view().leader.is_none() {
        return busy("This node knows no leader yet.");
    }
    match node.store.probe() {
        Ok(()) => Answer::text(200, "ready"),
        Err(e) => busy(&format!("This node cannot write: {e}")),
    }
}

/// `GET /metrics`, in the Prometheus text format 0.0.4.
pub fn metrics(node: &Node) -> Answer {
    let (view, report) = (node.cluster.view(), node.cluster.report());
    let process = Process::read();
    let mut text = String::new();
    let counters = serde_json::to_value(&*node.counters).expect("counters are plain numbers");
    for (name, value) in counters.as_object().into_iter().flatten() {
        sample(&mut text, "counter", &format!("{name}_total"), "", value);
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
    sample(
        &mut text,
        "gauge",
        "alive_nodes",
        "",
        &json!(view.roster.ids().len()),
    );
    sample(&mut text, "gauge", "term", "", &json!(view.term));
    sample(
        &mut text,
        "gauge",
        "leader",
        "",
        &json!(view.leader.map_or(0, |id| id.0)),
    );
    sample(&mut text, "gauge", "connections", "", &json!(node.seats.taken()));
    sample(
        &mut text,
        "gauge",
        "resident_memory_bytes",
        "",
        &json!(process.rss_bytes),
    );
    sample(
        &mut text,
        "counter",
        "cpu_seconds_total",
        "",
        &json!(process.cpu_seconds),
    );
    Answer::empty(200).content("text/plain; version=0.0.4; charset=utf-8", text)
}

fn sample(text: &mut String, kind: &str, name: &str, labels: &str, value: &Value) {
    let _ = writeln!(
        text,
        "# TYPE pixseal_{name} {kind}\npixseal_{name}{labels} {value}"
    );
}

/// `GET /`.
pub fn index(node: &Node) -> Answer {
    let view = node.cluster.view();
    let leader = view
        .leader
        .map_or_else(|| "none yet".to_owned(), |id| format!("Node {id}"));
    Answer::text(
        200,
        format_args!(
            "pixseal {}, node {} of {}; leader: {leader}; alive: {}\n\n\
             Seals each image on exactly one node.\n\n\
             curl -LT cat.png http://HOST:PORT/images/alice/cat.png    upload\n\
             curl -LO http://HOST:PORT/images/alice/cat.png            download\n\
             GET /images/alice/   list      GET /cluster   state      GET /metrics   counters",
            env!("CARGO_PKG_VERSION"),
            node.id,
            node.members.count(),
            view.roster,
        ),
    )
}
