//! Nodes that go away one right after the other: one comes back, and in the same moment the next one is paused.
//!
//! Nobody who is left has seen all that the absent node did. What they have seen together is enough: an image that it did
//! not write is served, and one that it wrote is not taken for gone.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::old_faults::{assert_only, await_alive, path_of, put, send};
use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

/// In this time nodes say several times what they know.
const SOME_HEARTBEATS: Duration = Duration::from_millis(1500);

/// What node `id` answers to a GET.
fn get(cluster: &TestCluster, id: u32, path: &str) -> Option<(u16, Vec<u8>)> {
    let answer = send(cluster, (id, "GET"), path, "", None)?;
    Some((answer.status, answer.body))
}

fn await_image(cluster: &TestCluster, through: [u32; 2], path: &str, image: &[u8]) {
    for id in through {
        wait_for("an image that the absent node did not write is served", || {
            let (status, body) = get(cluster, id, path)?;
            assert!([200, 503].contains(&status), "node {id}: {status}");
            (status == 200).then(|| assert_eq!(body, image))
        });
    }
}

/// `back` goes on, and `gone` stands still.
fn relieve(cluster: &TestCluster, back: u32, gone: u32) {
    cluster.node(back).signal(Signal::CONT);
    cluster.node(gone).signal(Signal::STOP);
}

#[test]
fn what_the_second_one_did_not_write_is_served_without_it() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    // Both belong to node 2 while node 1 is away, and it writes one of them.
    let unwritten = path_of(&[(&[1, 2, 3], 3), (&[2, 3], 2), (&[1, 3], 1)]);
    let written = path_of(&[(&[1, 2, 3], 1), (&[2, 3], 2), (&[1, 3], 1)]);
    put(&cluster, 3, &unwritten, &first);
    put(&cluster, 3, &written, &first);
    cluster.node(1).signal(Signal::STOP);
    await_alive(&cluster, [2, 3]);
    put(&cluster, 3, &written, &second);
    relieve(&cluster, 1, 2);
    await_alive(&cluster, [1, 3]);
    await_image(&cluster, [1, 3], &unwritten, &first);
    for id in [1, 3] {
        let answer = get(&cluster, id, &written).map(|(status, _)| status);
        assert_eq!(answer, Some(503), "only node 2 has the newest copy");
    }
    cluster.node(2).signal(Signal::CONT);
    assert_only(&cluster, &unwritten, Some(&first));
    assert_only(&cluster, &written, Some(&second));
}

#[test]
fn a_node_that_was_restarted_in_peace_knows_what_it_knew() {
    let image = picture::noise(9, 9, 1);
    let mut cluster = TestCluster::start(3);
    cluster.await_settled();
    // It belongs to node 3 while node 1 is away, and that writes nothing. Node 2 has seen it, and is restarted.
    let path = path_of(&[(&[1, 2, 3], 1), (&[2, 3], 3), (&[1, 3], 3), (&[1, 2], 2)]);
    put(&cluster, 3, &path, &image);
    cluster.node(1).signal(Signal::STOP);
    await_alive(&cluster, [2, 3]);
    cluster.node(1).signal(Signal::CONT);
    cluster.node_mut(2).stop();
    await_alive(&cluster, [1, 3]);
    thread::sleep(SOME_HEARTBEATS);
    cluster.node_mut(2).start();
    cluster.node(3).signal(Signal::STOP);
    await_alive(&cluster, [1, 2]);
    await_image(&cluster, [1, 2], &path, &image);
    cluster.node(3).signal(Signal::CONT);
    assert_only(&cluster, &path, Some(&image));
}

#[test]
fn what_the_third_one_did_not_write_is_served_without_it() {
    let image = picture::noise(9, 9, 1);
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    // It belongs to node 3 while one of the others is away, and that writes nothing.
    let path = path_of(&[(&[1, 2, 3], 1), (&[2, 3], 3), (&[1, 3], 3), (&[1, 2], 2)]);
    put(&cluster, 3, &path, &image);
    cluster.node(1).signal(Signal::STOP);
    await_alive(&cluster, [2, 3]);
    relieve(&cluster, 1, 2);
    await_alive(&cluster, [1, 3]);
    thread::sleep(SOME_HEARTBEATS);
    relieve(&cluster, 2, 3);
    await_alive(&cluster, [1, 2]);
    await_image(&cluster, [1, 2], &path, &image);
    cluster.node(3).signal(Signal::CONT);
    assert_only(&cluster, &path, Some(&image));
}
