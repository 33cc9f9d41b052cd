//! Deleting.

use crate::support::cluster::TestCluster;
use crate::support::wire::Wire;
use crate::support::{picture, wait_for};

#[test]
fn what_is_deleted_is_gone_and_the_rest_stays() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for name in ["cat", "dog"] {
        assert_eq!(
            node.put(&format!("/images/alice/{name}.png"), &picture::dot())
                .status,
            201
        );
    }
    let gone = node.ask("DELETE", "/images/alice/cat.png");
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(node.ask("GET", "/images/alice/cat.png").status, 404);
    assert_eq!(node.ask("DELETE", "/images/alice/cat.png").status, 404);
    assert_eq!(node.files(), ["encrypted_dog.alice.png"]);
}

#[test]
fn a_download_in_progress_outlives_the_deletion() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(5_000_000);
    node.put("/images/alice/cat.png", &image);
    let mut wire = Wire::connect(node.address);
    let head = format!(
        "GET /images/alice/cat.png HTTP/1.1\r\nHost: {}\r\n\r\n",
        node.address
    );
    wire.send(head.as_bytes());
    wait_for("the download has begun", || {
        let mut byte = [0];
        wire.stream().peek(&mut byte).ok().filter(|count| *count > 0)
    });
    assert_eq!(node.ask("DELETE", "/images/alice/cat.png").status, 204);
    assert!(wire.answer().unwrap().body == image);
}

/// As after a power loss between the tombstone and the removal of the image.
#[test]
fn a_delete_that_was_cut_is_finished_when_the_node_is_back() {
    let mut cluster = TestCluster::start(1);
    let node = cluster.node_mut(1);
    let receipt = node.put("/images/alice/cat.png", &picture::dot()).json();
    node.stop();
    let version = receipt["version"].as_str().unwrap();
    let (ms, _) = version.split_once('.').unwrap();
    let later = format!("{}.0.1\n", ms.parse::<u64>().unwrap() + 1);
    let tombstones = node.images().join(".pixseal/tombstones");
    std::fs::write(tombstones.join("encrypted_cat.alice.png"), later).unwrap();
    node.start();
    assert_eq!(node.ask("GET", "/images/alice/cat.png").status, 404);
    wait_for("the image is gone", || node.files().is_empty().then_some(()));
}
