//! Real servers in network namespaces of their own, and a network that fails between them.
//!
//! Each node has a namespace and a cable to this one, where this program passes its datagrams on, or not: so each
//! node knows the others by addresses at this end of its own cable. Needs root and `ip`, and leaves nothing behind.
//! Heartbeats only: no upload passes through here.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "drills run processes and sockets"
)]
#![allow(clippy::unwrap_used, reason = "a drill that cannot run stops")]

#[path = "drill/cables.rs"]
mod cables;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use cables::{Cables, Impairment};
use support::cluster::{TestCluster, TestNode};
use support::observer::Observer;

const NODES: u32 = 3;
/// Loss and delay are watched for this long.
const WATCH: Duration = Duration::from_secs(20);

fn main() {
    let cables = match Cables::connect(NODES) {
        Ok(cables) => cables,
        Err(why) => {
            println!("drill: not run: {why}");
            return;
        }
    };
    let mut cluster = TestCluster::prepare(NODES, &[]);
    for node in &mut cluster.nodes {
        node.prefix = cables.prefix(node.id);
        node.members = cables.members(node.id);
    }
    let mut drill = NetworkDrill {
        observer: cluster.observe(),
        cables: &cables,
    };
    cluster.nodes.iter_mut().for_each(TestNode::launch);
    drill.await_all(Some(NODES));
    drill.pulled_cable();
    drill.split();
    drill.one_way();
    drill.impairment(
        "30 % loss",
        Impairment {
            loss_percent: 30,
            ..Impairment::default()
        },
    );
    drill.impairment(
        "delay of 100 to 300 ms",
        Impairment {
            delay_ms: 100..300,
            ..Impairment::default()
        },
    );
    println!("drill: passed");
}

struct NetworkDrill<'a> {
    observer: Observer,
    cables: &'a Cables,
}

impl NetworkDrill<'_> {
    fn await_all(&mut self, leader: Option<u32>) -> Instant {
        let everyone: Vec<u32> = (1..=NODES).collect();
        self.observer.wait_for(&everyone, leader)
    }

    fn pulled_cable(&mut self) {
        let since = Instant::now();
        self.cables.pull(3);
        self.two_sides("node 3: cable pulled", since);
        self.cables.plug(3);
        self.healed();
    }

    fn split(&mut self) {
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2), (1, 3), (2, 3)]);
        self.two_sides("node 3 | nodes 1 and 2, both ways", since);
        self.cables.block(&[]);
        self.healed();
    }

    /// Node 3 still hears the others, and hears in their words that they do not hear it.
    fn one_way(&mut self) {
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2)]);
        self.two_sides("node 3 is not heard, but hears", since);
        self.cables.block(&[]);
        self.healed();
    }

    fn two_sides(&mut self, what: &str, since: Instant) {
        let majority = self.observer.wait_for(&[1, 2], Some(2)) - since;
        let alone = self.observer.wait_for(&[3], Some(3)) - since;
        println!(
            "{what}: 1 and 2 go on after {} ms, 3 alone after {} ms",
            majority.as_millis(),
            alone.as_millis()
        );
    }

    fn healed(&mut self) {
        let since = Instant::now();
        let agreed = self.await_all(None) - since;
        self.await_all(Some(3));
        println!(
            "    healed: one leader after {} ms, node 3 again after {} ms",
            agreed.as_millis(),
            since.elapsed().as_millis()
        );
        self.observer.detections.clear();
    }

    fn impairment(&mut self, what: &str, impairment: Impairment) {
        self.cables.set(impairment);
        self.observer.listen_until(Instant::now() + WATCH);
        let deaths = self
            .observer
            .detections
            .iter()
            .filter(|detection| detection.dead)
            .count();
        let suspicions = self.observer.detections.len() - deaths;
        println!(
            "{what} for {} s: {suspicions} false suspicions, {deaths} false deaths",
            WATCH.as_secs()
        );
        self.cables.set(Impairment::default());
        self.await_all(Some(3));
        self.observer.detections.clear();
    }
}
