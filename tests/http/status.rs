//! What a node says about itself.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

#[test]
fn the_cluster_page_tells_who_leads_and_who_is_alive() {
    let cluster = TestCluster::start(3);
    for node in &cluster.nodes {
        let state = node.state().unwrap();
        assert_eq!(state["node"], json!(node.id));
        assert_eq!(
            (&state["leader"], &state["alive"]),
            (&json!(3), &json!([1, 2, 3]))
        );
        assert_eq!(state["durability"], json!("fsync"));
        assert!(state["term"].as_u64().unwrap() > 0);
        let peers: Vec<u64> = state["peers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|peer| peer["id"].as_u64().unwrap())
            .collect();
        let others: Vec<u64> = (1..=3).filter(|id| *id != u64::from(node.id)).collect();
        assert_eq!(peers, others);
    }
}

#[test]
fn counters_count() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::dot();
    node.put("/images/alice/cat.png", &image);
    node.put("/images/alice/dog.png", b"not an image");
    node.ask("GET", "/images/alice/cat.png");
    // What was sent is counted once it was, and by then the client may ask already.
    let counters = wait_for("what was answered is counted", || {
        let counters = node.state()?["counters"].clone();
        (counters["bytes_sent"] == image.len()).then_some(counters)
    });
    for (name, value) in [
        ("images", 1),
        ("bytes", image.len()),
        ("uploads_failed", 1),
        ("images_sent", 1),
        ("answers_4xx", 1),
        ("answers_5xx", 0),
    ] {
        assert_eq!(counters[name], json!(value), "{name}");
    }
    let metrics = node.ask("GET", "/metrics");
    assert_eq!(
        metrics.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    assert!(
        text.contains("\n# TYPE pixseal_images_total counter\npixseal_images_total 1\n"),
        "{text}"
    );
    let stored = "pixseal_request_duration_seconds_count{action=\"put\",outcome=\"done\"} 1\n";
    assert!(text.contains(stored), "{text}");
    assert_follows_conventions(&text);
}

/// What `promtool check metrics` looks at, for machines that do not have it.
fn assert_follows_conventions(text: &str) {
    let mut families = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').unwrap();
            assert!(sentence.ends_with('.'), "{line}");
            let kind = lines
                .next()
                .and_then(|next| next.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.unwrap_or_else(|| panic!("{name} has no type"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert_eq!(families.insert(name, kind), None, "{name} is told twice");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = sample.split('{').next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|family| families.get(family) == Some(&"histogram"));
        assert!(
            families.contains_key(of_histogram.unwrap_or(name)),
            "{name} is not described"
        );
        assert!(
            name.starts_with("pixseal_") || name.starts_with("process_"),
            "{name}"
        );
    }
    assert!(families.len() > 40, "{families:?}");
}

#[test]
fn a_node_says_what_it_holds_and_how_long_uploads_took() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::dot();
    for name in ["a", "b"] {
        let status = node.put(&format!("/images/alice/{name}.png"), &image).status;
        assert_eq!(status, 201);
    }
    assert_eq!(node.put("/images/alice/c.png", b"no picture").status, 415);
    let durations = wait_for("what is over is counted", || {
        let durations = node.state()?["upload_durations"].clone();
        (durations["count"] == 2).then_some(durations)
    });
    let bounds = durations["bounds"].as_array().unwrap();
    let counts = durations["counts"].as_array().unwrap();
    assert_eq!(counts.len(), bounds.len() + 1);
    assert_eq!(
        counts.iter().filter_map(serde_json::Value::as_u64).sum::<u64>(),
        2
    );
    assert!(durations["sum_seconds"].as_f64().unwrap() > 0.0);

    let state = node.state().unwrap();
    let disk = |part: &str| state["disk"][part].as_u64().unwrap();
    assert!(disk("free_bytes") <= disk("total_bytes") && disk("total_bytes") > 0);
    assert!(state["started_unix_ms"].as_u64().unwrap() > 1_700_000_000_000);
}

#[test]
fn alive_ready_and_what_this_is() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    assert_eq!(node.ask("GET", "/healthz").text(), "ok\n");
    assert_eq!(node.ask("GET", "/readyz").text(), "ready\n");
    let index = node.ask("GET", "/").text();
    assert!(
        index.contains("node 1 of 1; leader: Node 1; alive: [1]"),
        "{index}"
    );
    assert_eq!(node.ask("GET", "/favicon.ico").status, 404);
    for target in [
        "/healthz",
        "/readyz",
        "/cluster",
        "/metrics",
        "/",
        "/images/alice/",
    ] {
        let answer = node.ask("POST", target);
        assert_eq!(
            (answer.status, answer.field("allow")),
            (405, Some("GET, HEAD")),
            "{target}"
        );
    }
    let answer = node.ask("POST", "/images/alice/cat.png");
    assert_eq!(answer.field("allow"), Some("GET, HEAD, PUT, DELETE"));
}

#[test]
fn a_node_that_leaves_says_so_and_ends_well() {
    let mut cluster = TestCluster::start(3);
    assert!(cluster.node_mut(3).stop().success());
    assert_eq!(cluster.await_agreement(), 2);
    assert!(cluster.node(3).log().ends_with("Node 3: Stopped\n"));
}
