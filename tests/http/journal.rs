//! The lines a node prints: part of the interface, to the letter, and nothing a client sends can forge one.

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
    assert!(!log.contains("Image encrypted"), "{log}");
    assert!(
        log.bytes().all(|b| b == b'\n' || (b' '..127).contains(&b)),
        "{log:?}"
    );
    assert!(log.lines().all(|line| line.len() < 1100));
    assert!(log.lines().all(|line| line.starts_with("Node 1: ")), "{log}");
}
