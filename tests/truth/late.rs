//! An upload that ends in another view than it began in, when a write with conditions was taken in between by a node that
//! knew nothing of it.
//!
//! The two are concurrent, and the delete was judged by the image before the upload: so the upload comes after it.

use crate::old_faults::{assert_only, await_alive, path_of, put, send};
use crate::support::cluster::TestCluster;
use crate::support::wire::{Wire, put_head};
use crate::support::{picture, wait_for};

/// Four nodes, one of which has stopped, so that nothing is handed over; and the path of an image that goes to node 1, and
/// to node 2 while node 3 is away, too. It is there.
fn three_of_four(image: &[u8]) -> (TestCluster, String, String) {
    let mut cluster = TestCluster::start(4);
    cluster.await_settled();
    cluster.node_mut(4).stop();
    cluster.await_agreement();
    let path = path_of(&[(&[1, 2, 3, 4], 2), (&[1, 2, 3], 1), (&[1, 2], 2)]);
    let receipt = put(&cluster, 3, &path, image);
    let tag = receipt.field("etag").unwrap().to_owned();
    (cluster, path, tag)
}

/// An upload to `node`, which has admitted it and has not got all of it.
fn begin_upload(cluster: &TestCluster, node: u32, path: &str, image: &[u8]) -> Wire {
    let address = cluster.node(node).address;
    wait_for("the node admits the upload", || {
        let mut wire = Wire::connect(address);
        let fields = "Expect: 100-continue\r\nConnection: close\r\n";
        wire.send(&put_head(address, path, image.len(), fields));
        let answer = wire.answer()?;
        (answer.status == 100).then_some(wire)
    })
}

fn delete_if(cluster: &TestCluster, path: &str, tag: &str) {
    let condition = format!("If-Match: {tag}\r\n");
    let status = wait_for("the delete is decided", || {
        let answer = send(cluster, (1, "DELETE"), path, &condition, None)?;
        (answer.status != 503).then_some(answer.status)
    });
    assert_eq!(status, 204, "the image is as the condition demands");
}

fn bring_back_node_3(cluster: &mut TestCluster) {
    cluster.node_mut(3).start();
    cluster.await_agreement();
}

fn end_upload(mut wire: Wire, image: &[u8]) {
    wire.send(image);
    let answer = wire.answer().expect("an upload is answered");
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

#[test]
fn it_comes_after_the_delete_on_the_node_where_it_began() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (mut cluster, path, tag) = three_of_four(&first);
    let upload = begin_upload(&cluster, 1, &path, &second);
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    delete_if(&cluster, &path, &tag);
    bring_back_node_3(&mut cluster);
    end_upload(upload, &second);
    assert_only(&cluster, &path, Some(&second));
}

#[test]
fn it_comes_after_the_delete_on_the_node_that_it_is_handed_over_to() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (mut cluster, path, tag) = three_of_four(&first);
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    let upload = begin_upload(&cluster, 2, &path, &second);
    delete_if(&cluster, &path, &tag);
    bring_back_node_3(&mut cluster);
    end_upload(upload, &second);
    assert_only(&cluster, &path, Some(&second));
}
