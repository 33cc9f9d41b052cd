//! Kills the node that hands over, or the one that takes over, at any moment of it: nothing is lost, nothing is twice.

use std::thread;
use std::time::{Duration, Instant};

use pixseal::image_id::ImageId;

use crate::old_faults::{await_alive, put, send};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::random::Random;
use crate::support::{picture, wait_for};

const USER: &str = "alice";
const IMAGES: u64 = 60;
const SEED: u64 = 13;
/// Node 3 goes and returns so often; each time one of these is killed. Node 3 takes what nodes 1 and 2 give.
const KILLED: [u32; 4] = [3, 1, 3, 2];
/// No further round begins after this.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Measured from the moment at which a node says that it hands over.
const KILLED_WITHIN_MS: u64 = 60;

fn image(round: u64, number: u64) -> Vec<u8> {
    picture::noise(9, 9, round * IMAGES + number)
}

fn path(number: u64) -> String {
    format!("/images/{USER}/{}", name(number))
}

fn name(number: u64) -> String {
    format!("{number}.png")
}

/// Every image is the right one, and lies on one node.
fn assert_whole(cluster: &TestCluster, round: u64) {
    for number in 0..IMAGES {
        for node in &cluster.nodes {
            let answer = wait_for("an answer other than 503", || {
                send(cluster, (node.id, "GET"), &path(number), "", None).filter(|answer| answer.status != 503)
            });
            assert_eq!(
                answer.status,
                200,
                "round {round}: {} through node {}",
                name(number),
                node.id
            );
            assert!(
                answer.body == image(round, number),
                "round {round}: {} is another image",
                name(number)
            );
        }
        let file = ImageId::new(USER, &name(number)).unwrap().file_name();
        let holders: Vec<u32> = cluster
            .nodes
            .iter()
            .filter(|node| node.images().join(&file).exists())
            .map(|node| node.id)
            .collect();
        assert_eq!(
            holders.len(),
            1,
            "round {round}: {} lies on {holders:?}",
            name(number)
        );
    }
}

/// Waits until a node says that it hands over, which it had not said `before`.
fn await_hand_over(cluster: &TestCluster, before: &[usize]) {
    wait_for("images are handed over", || {
        let moved = |(node, before): (&TestNode, &usize)| times_told(node) > *before;
        cluster.nodes.iter().zip(before).any(moved).then_some(())
    });
}

fn times_told(node: &TestNode) -> usize {
    node.log().matches("Handing over").count()
}

#[test]
fn a_hand_over_that_is_cut_short_loses_nothing_and_leaves_nothing_twice() {
    let mut random = Random::new(SEED);
    let mut cluster = TestCluster::start(3);
    let start = Instant::now();
    for (round, killed) in (0..).zip(KILLED) {
        if start.elapsed() >= TIME_MAX {
            break;
        }
        cluster.node_mut(3).stop();
        await_alive(&cluster, [1, 2]);
        for number in 0..IMAGES {
            put(&cluster, 1, &path(number), &image(round, number));
        }
        let before: Vec<usize> = cluster.nodes.iter().map(times_told).collect();
        cluster.node_mut(3).launch();
        await_hand_over(&cluster, &before);
        thread::sleep(random.millis(0..KILLED_WITHIN_MS));
        cluster.node_mut(killed).kill();
        cluster.node_mut(killed).start();
        cluster.await_settled();
        assert_whole(&cluster, round);
    }
}
