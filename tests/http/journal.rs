//! The lines a node prints: part of the interface, to the letter, and nothing a client sends can forge one.

use serde_json::{Value, json};

use crate::support::cluster::TestCluster;
use crate::support::picture;
use crate::support::wait_for;
use crate::support::wire::{Wire, put_head};

#[test]
fn an_upload_is_told_in_three_lines_and_a_redirect_in_one() {
    let cluster = TestCluster::start(3);
    let image = picture::dot();
    let target = format!("/images/alice/{}", cluster.name_on(1, "alice"));
    assert_eq!(cluster.node(2).put(&target, &image).status, 307);
    assert_eq!(cluster.node(1).put(&target, &image).status, 201);
    let bytes = image.len();
    wait_for("node 1 tells of the upload", || {
        let log = cluster.node(1).log();
        log.contains(&format!(
            "Node 1: Assigned to me via load balancing (alive nodes: [1, 2, 3])\n\
             Node 1: Processing image upload...\n\
             Node 1: Image encrypted ({bytes} bytes -> {bytes} bytes)\n"
        ))
        .then_some(())
    });
    wait_for("node 2 tells of the redirect", || {
        let log = cluster.node(2).log();
        log.contains("Node 2: Request assigned to Node 1 (round-robin), rejecting\n")
            .then_some(())
    });
}

/// Names and fields that try to write a line of their own, to move the cursor, or to fill the log.
#[test]
fn what_clients_send_cannot_forge_a_line() {
    let mut cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let forged = "Node 1: Image encrypted (1 bytes -> 1 bytes)";
    let escaped: String = forged.bytes().map(|b| format!("%{b:02x}")).collect();
    let (long, dot) = ("a".repeat(6000), picture::dot());
    for target in [
        format!("/images/alice/x%0a{escaped}.png"),
        format!("/images/alice/x%0d%0a{escaped}%0d%0a.png"),
        format!("/images/al%0aice{escaped}/x.png"),
        "/images/alice/%1b%5b2Jx.png".to_owned(),
        "/images/alice/%00.png".to_owned(),
        "/images/alice/%e2%80%aegnp.png".to_owned(),
        "/images/alice/%c2%9b31m.png".to_owned(),
        format!("/images/alice/{long}.png"),
        format!("/{long}?{long}"),
        format!("/images/alice/?after=%0a{escaped}"),
    ] {
        for method in ["GET", "DELETE"] {
            let status = node.ask(method, &target).status;
            assert!((200..500).contains(&status), "{status} for {method} {target}");
        }
        let mut wire = Wire::connect(node.address);
        let fields = format!("User-Agent: {forged}\r\nReferer: {forged}\r\n");
        wire.send(&put_head(node.address, &target, dot.len(), &fields));
        wire.send(&dot);
        let status = wire.answer().unwrap().status;
        assert!((400..500).contains(&status), "{status} for PUT {target}");
    }
    cluster.node_mut(1).stop();
    let log = cluster.node(1).log();
    // It may be quoted as a reason, behind the time and the client of a line of our own.
    assert!(!log.contains("\nNode 1: Image encrypted"), "{log}");
    assert!(
        log.bytes().all(|b| b == b'\n' || (b' '..127).contains(&b)),
        "{log:?}"
    );
    assert!(log.lines().all(|line| line.len() < 1100));
    assert!(log.lines().all(|line| line.starts_with("Node 1: ")), "{log}");
}

/// The line about a request that is over, without its time and its milliseconds.
fn lines_about(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter(|line| line.contains(" 127.") && line.contains(" ms"));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let ms = words.iter().position(|word| word.starts_with("ms")).unwrap();
            assert!(words[ms - 1].parse::<f64>().is_ok(), "{line}");
            assert!(words[2].len() == "2026-12-01T00:00:00.000Z".len(), "{line}");
            assert!(words[2].ends_with('Z'), "{line}");
            [&words[4..ms - 1], &words[ms + 1..]].concat().join(" ")
        })
        .collect()
}

#[test]
fn every_request_that_is_over_has_its_line() {
    let mut cluster = TestCluster::start(1);
    let (node, image) = (cluster.node(1), picture::dot());
    let bytes = image.len();
    assert_eq!(node.put("/images/alice/my%20cat.PNG", &image).status, 201);
    assert_eq!(node.ask("GET", "/images/alice/my%20cat.PNG").status, 200);
    assert_eq!(node.ask("GET", "/images/alice/dog.png").status, 404);
    let list = node.ask("GET", "/images/alice/").body.len();
    assert_eq!(node.put("/images/alice/x.png", b"GIF89a").status, 415);
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    assert_eq!(node.ask("GET", "/nowhere%0a?token=x").status, 404);
    assert_eq!(node.ask("DELETE", "/images/alice/my%20cat.PNG").status, 204);
    cluster.node_mut(1).stop();
    let log = cluster.node(1).log();
    let told = lines_about(&log);
    let expected = [
        ("PUT alice/my cat.PNG 201, ", "stored on node 1"),
        (&format!("GET alice/my cat.PNG 200, 0 in, {bytes} out,")[..], ""),
        (
            "GET alice/dog.png 404, 0 in, ",
            "No node holds an image of this name.",
        ),
        (&format!("GET alice/ 200, 0 in, {list} out,")[..], ""),
        ("PUT alice/x.png 415, ", "not a PNG image"),
        ("GET /nowhere%0a 404, ", "Nothing here"),
        ("DELETE alice/my cat.PNG 204, 0 in, 0 out,", ""),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    // Each is told once the client has its answer, so the next request's line may come first.
    for (begin, end) in expected {
        let is_told = told
            .iter()
            .any(|line| line.starts_with(begin) && line.contains(end));
        assert!(is_told, "{begin}…{end} is not in {told:#?}");
    }
    let put = told.iter().find(|line| line.contains("201")).unwrap();
    assert!(put.contains(&format!(" {bytes} in, ")), "{put}");
}

#[test]
fn each_line_can_be_a_json_object() {
    let mut cluster = TestCluster::with(1, &["--log", "json"]);
    let (node, image) = (cluster.node(1), picture::dot());
    assert_eq!(node.put("/images/alice/%E6%97%A5.png", &image).status, 201);
    assert_eq!(node.ask("GET", "/images/alice/%1b.png").status, 400);
    cluster.node_mut(1).stop();
    let log = cluster.node(1).log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        assert_eq!(line["node"], json!(1), "{line}");
        for field in ["time", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    let put = lines.iter().find(|line| line["method"] == json!("PUT")).unwrap();
    assert_eq!(put["what"], json!("alice/日.png"));
    assert_eq!(
        (&put["status"], &put["received"]),
        (&json!(201), &json!(image.len()))
    );
    assert!(
        put["ms"].is_f64() && put["outcome"] == json!("stored on node 1"),
        "{put}"
    );
    let refused = lines.iter().find(|line| line["status"] == json!(400)).unwrap();
    assert_eq!(refused["what"], json!("/images/alice/%1b.png"));
    let said = "Assigned to me via load balancing (alive nodes: [1])";
    assert!(
        lines
            .iter()
            .any(|line| line["message"] == json!(format!("Node 1: {said}")))
    );
}

/// A ticket is good for 30 s, and some put a token into the address.
#[test]
fn what_follows_the_path_of_a_refused_request_is_in_no_line() {
    let mut cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let dot = picture::dot();
    let mut wire = Wire::connect(node.address);
    let target = "/images/alice/cat.png?ticket=secret1";
    wire.send(&put_head(
        node.address,
        target,
        dot.len(),
        "Content-Encoding: gzip\r\n",
    ));
    wire.send(&dot);
    assert_eq!(wire.answer().unwrap().status, 415);
    for (target, status) in [
        ("/nowhere?token=secret2", 404),
        ("/images/alice/odd?secret3", 400),
        ("http://user:secret4@127.0.0.1/", 400),
        ("/images/alice/cat.png#secret5", 400),
    ] {
        assert_eq!(node.ask("GET", target).status, status, "{target}");
    }
    cluster.node_mut(1).stop();
    let log = cluster.node(1).log();
    assert!(log.contains(" PUT /images/alice/cat.png 415, "), "{log}");
    assert!(log.contains(" GET /nowhere 404, "), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
