//! What happens when workers, connections or file descriptors run out.

use std::fs;
use std::process::Command;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{Wire, put_head};
use crate::support::{process, wait_for};

const TARGET: &str = "/images/alice/cat.png";

fn get(node: &TestNode, target: &str) -> Wire {
    let mut wire = Wire::connect(node.address);
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
    wire
}

/// An upload that has been let in and whose body is awaited.
fn begun(node: &TestNode, length: usize) -> Wire {
    let mut wire = Wire::connect(node.address);
    wire.send(&put_head(
        node.address,
        TARGET,
        length,
        "Expect: 100-continue\r\n",
    ));
    assert_eq!(wire.answer().unwrap().status, 100);
    wire
}

#[test]
fn a_full_queue_is_told_at_once_and_health_is_told_all_the_same() {
    let cluster = TestCluster::with(1, &["--workers", "1", "--queue", "1"]);
    let node = cluster.node(1);
    let image = picture::dot();
    let mut served = begun(node, image.len());
    let mut queued = get(node, "/");
    // Answered by the accept thread, in whose order the queued request came first.
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    let refused = node.ask("GET", "/");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert!(refused.closes());
    served.send(&image);
    assert_eq!(served.answer().unwrap().status, 201);
    assert_eq!(queued.answer().unwrap().status, 200);
    assert_eq!(node.ask("GET", "/").status, 200);
}

#[test]
fn connections_are_capped_per_address() {
    let cluster = TestCluster::with(1, &["--connections-per-address", "3"]);
    let node = cluster.node(1);
    // The places of connections that were just closed come back when the server has seen that.
    let take = |_| {
        wait_for("a place is free", || {
            let mut wire = get(node, "/healthz");
            (wire.answer()?.status == 200).then_some(wire)
        })
    };
    let held: Vec<Wire> = (0..3).map(take).collect();
    let refused = get(node, "/healthz").answer().unwrap();
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    drop(held);
    wait_for("the places are free again", || {
        (get(node, "/healthz").answer()?.status == 200).then_some(())
    });
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_loses_the_listener() {
    const DESCRIPTORS: &str = "64";
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node_mut(1);
    // The node raises its soft limit to the hard one, so both are lowered.
    let plain = node.command();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", DESCRIPTORS])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(&node.root);
    let log = fs::File::create(node.root.join("log")).unwrap();
    limited.stdout(log.try_clone().unwrap()).stderr(log);
    let child = limited.spawn().unwrap();
    node.adopt(child);
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    let idle: Vec<Wire> = (0..150).map(|_| Wire::connect(node.address)).collect();
    wait_for("the descriptors run out", || {
        node.log().contains("no file descriptors are left").then_some(())
    });
    let before = process::cpu(node.pid()).unwrap();
    // Those that were idle for longest make room, so a client that waits its turn is served all the same.
    let image = picture::sized(100_000);
    for i in 0..3 {
        let answer = node.put(&format!("/images/alice/{i}.png"), &image);
        assert!(
            [201, 503].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    drop(idle);
    wait_for("everything is as before", || {
        (node.put(TARGET, &image).status == 200).then_some(())
    });
    assert_eq!(node.ask("GET", TARGET).body, image);
    // All of this takes a blink of processor time; a thread that spins takes all there is.
    let used = process::cpu(node.pid()).unwrap() - before;
    assert!(used.seconds() < 2.0, "{used:?}");
}
