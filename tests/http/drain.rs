//! Draining a node by hand, and how many images it says it holds.

use std::process::Command;

use crate::disk::{await_condition, await_log, offered};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wire::{Wire, put_head};
use crate::support::{picture, wait_for};

const TARGET: &str = "/images/alice/cat.png";

/// What `server --drain` or `--undrain` prints.
pub(crate) fn drain(node: &TestNode, option: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args([option, &node.id.to_string(), "--images"]);
    let output = command.arg(node.images()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_drained_node_takes_no_images_and_gives_those_it_has_over_restarts_too() {
    let mut cluster = TestCluster::start(1);
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    let mut begun = Wire::connect(node.address);
    let image = picture::sized(10_000);
    let head = put_head(
        node.address,
        "/images/alice/begun.png",
        image.len(),
        "Expect: 100-continue\r\n",
    );
    begun.send(&head);
    assert_eq!(begun.answer().unwrap().status, 100);
    assert!(drain(node, "--drain").contains("--undrain 1"));
    await_condition(node, "draining");
    begun.send(&image);
    assert_eq!(begun.answer().unwrap().status, 201, "it had begun");
    drain(node, "--drain");
    let assert_drained = |node: &TestNode| {
        let refused = node.put("/images/alice/dog.png", &picture::dot());
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
        assert!(refused.text().contains("--undrain 1"), "{}", refused.text());
        assert_eq!(offered(node), 503, "before the body");
        assert_eq!(node.ask("GET", "/readyz").status, 503);
        assert_eq!(node.ask("GET", TARGET).body, picture::dot());
    };
    assert_drained(node);
    cluster.node_mut(1).stop();
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.state().unwrap()["condition"], "draining");
    assert_drained(node);
    await_log(node, "Node 1: takes no images: it is draining", 2);
    assert!(drain(node, "--undrain").contains("takes images again"));
    await_condition(node, "able");
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 201);
    await_log(node, "Node 1: takes images again", 1);
}

#[test]
fn images_are_counted_at_the_start() {
    let mut cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let mut bytes = 0;
    for name in ["a", "b", "c"] {
        let target = format!("/images/alice/{name}.png");
        let answer = node.put(&target, &picture::dot());
        assert_eq!(answer.status, 201);
        bytes += answer.json()["sealed_bytes"].as_u64().unwrap();
    }
    cluster.node_mut(1).stop();
    cluster.node_mut(1).start();
    let node = cluster.node(1);
    wait_for("the images are counted", || {
        let state = node.state()?;
        (state["images_held"] == 3 && state["bytes_held"] == bytes).then_some(())
    });
}
