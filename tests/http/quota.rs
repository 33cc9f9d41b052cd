//! `--user-quota`: how much the images of one user may take.

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wire::{Wire, chunked, put_head};
use crate::support::{picture, wait_for};

const QUOTA: &str = "1000000";

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::prepare(1, &["--user-quota", QUOTA]);
    cluster.start_all();
    cluster
}

fn put(node: &TestNode, name: &str, bytes: usize) -> u16 {
    node.put(&format!("/images/{name}.png"), &picture::sized(bytes))
        .status
}

#[test]
fn a_user_gets_as_much_as_the_quota_and_no_more() {
    let mut cluster = cluster();
    let node = cluster.node(1);
    assert_eq!(put(node, "alice/one", 600_000), 201);
    let refused = node.put("/images/alice/two.png", &picture::sized(500_000));
    assert_eq!(refused.status, 507);
    assert!(refused.text().contains("--user-quota"), "{}", refused.text());
    assert_eq!(node.files(), ["encrypted_one.alice.png"]);
    assert_eq!(put(node, "bob/one", 900_000), 201, "users do not share");
    assert_eq!(
        put(node, "alice/one", 900_000),
        200,
        "it takes the place of the other"
    );
    assert_eq!(put(node, "alice/two", 200_000), 507);
    assert_eq!(put(node, "alice/one", 500_000), 200);
    assert_eq!(put(node, "alice/two", 400_000), 201);
    assert_eq!(put(node, "alice/three", 200_000), 507);
    assert_eq!(node.ask("DELETE", "/images/alice/one.png").status, 204);
    assert_eq!(put(node, "alice/three", 200_000), 201);
    assert!(cluster.node_mut(1).stop().success());
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(
        put(node, "alice/four", 500_000),
        507,
        "counted again at the start"
    );
    assert_eq!(put(node, "alice/four", 300_000), 201);
}

/// Before the body is asked for, if its length is known; otherwise once it is.
#[test]
fn what_has_no_room_is_refused_as_soon_as_that_is_known() {
    let cluster = cluster();
    let node = cluster.node(1);
    let mut wire = Wire::connect(node.address);
    let expects = "Expect: 100-continue\r\n";
    wire.send(&put_head(node.address, "/images/alice/a.png", 2_000_000, expects));
    assert_eq!(wire.answer().unwrap().status, 507);
    for (bytes, status) in [(1_100_000, 507), (900_000, 201), (200_000, 507)] {
        let image = picture::sized(bytes);
        let target = format!("/images/alice/{bytes}.png");
        let mut wire = Wire::connect(node.address);
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            node.address
        );
        wire.send(head.as_bytes());
        wire.send(&chunked(&image, 70_000));
        let answer = wire.answer().unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(node.files(), ["encrypted_900000.alice.png"]);
}

/// What is being received has its place already.
#[test]
fn uploads_at_the_same_time_do_not_take_the_same_room() {
    let cluster = cluster();
    let node = cluster.node(1);
    let image = picture::sized(600_000);
    let offer = |name: &str| {
        let mut wire = Wire::connect(node.address);
        let target = format!("/images/alice/{name}.png");
        wire.send(&put_head(
            node.address,
            &target,
            image.len(),
            "Expect: 100-continue\r\n",
        ));
        let status = wire.answer().unwrap().status;
        (wire, status)
    };
    let (mut first, status) = offer("first");
    assert_eq!(status, 100);
    assert_eq!(offer("second").1, 507);
    first.send(&image);
    assert_eq!(first.answer().unwrap().status, 201);
    assert_eq!(offer("second").1, 507);
    let (abandoned, status) = {
        assert_eq!(node.ask("DELETE", "/images/alice/first.png").status, 204);
        offer("third")
    };
    assert_eq!(status, 100);
    drop(abandoned);
    wait_for("the room of an upload that ended", || {
        (offer("fourth").1 == 100).then_some(())
    });
}
