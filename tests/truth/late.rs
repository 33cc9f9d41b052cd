//! An upload that ends in another view than it began in, when a write with conditions was taken in between by a node that
//! knew nothing of it.
//!
//! The two are concurrent, and the delete was judged by the image before the upload: so the upload comes after it.
//!
//! Worse is an upload that gets its name after the view has changed, since its node stood still in between: it may appear
//! between the moment at which the conditions of another write are judged and that at which this one gets its name.

use std::thread;

use crate::old_faults::{assert_only, await_alive, path_of, put, send};
use crate::support::cluster::{Layout, TestCluster};
use crate::support::mount::say_skipped;
use crate::support::strace::Tracer;
use crate::support::wire::{Wire, put_head};
use crate::support::{picture, wait_for};

/// The calls by which an image gets its name.
const RENAMES: &str = "renameat,renameat2";

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

/// Node 2 stands still when an upload gets its name, until after node 3 is back and node 1 takes the name. Node 1 stands
/// still when a write gets its name whose conditions were judged before. Each rename takes this long, and replacing an
/// image is two of them.
fn one_of_two_succeeds(one_folder: bool, [late, judged]: [&str; 2]) {
    let [first, second, third] = [1, 2, 3].map(|seed| picture::noise(9, 9, seed));
    let layout = Layout {
        one_folder,
        ..Layout::default()
    };
    let mut cluster = TestCluster::lay_out(3, layout);
    cluster.start_all();
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    let path = path_of(&[(&[1, 2], 2), (&[1, 2, 3], 1)]);
    let receipt = put(&cluster, 2, &path, &first);
    let condition = format!("If-Match: {}\r\n", receipt.field("etag").unwrap());
    let Some(_slow) = Tracer::inject(cluster.node(2), (RENAMES, late)) else {
        return say_skipped("a_late_upload_and_a_condition…", "strace");
    };
    let mut upload = begin_upload(&cluster, 2, &path, &second);
    let upload = thread::spawn(move || {
        upload.send(&second);
        upload.answer().map(|answer| answer.status)
    });
    bring_back_node_3(&mut cluster);
    let _slow = Tracer::inject(cluster.node(1), (RENAMES, judged)).unwrap();
    let conditional = wait_for("the conditions are judged", || {
        let answer = send(&cluster, (1, "PUT"), &path, &condition, Some(&third))?;
        (answer.status != 503).then_some(answer.status)
    });
    let late = upload.join().unwrap();
    let is_late_in_doubt = late.is_none_or(|status| status == 504);
    assert!(
        is_late_in_doubt || conditional == 412,
        "late {late:?}, conditional {conditional}"
    );
}

#[test]
fn a_late_upload_and_a_condition_that_was_judged_without_it_do_not_both_succeed() {
    one_of_two_succeeds(false, ["delay_enter=2s", "delay_enter=5s"]);
}

#[test]
fn nor_do_they_in_one_folder() {
    one_of_two_succeeds(true, ["delay_enter=2s", "delay_enter=1s"]);
}
