//! Real servers in network namespaces of their own, and a network that fails between them.
//!
//! Each node has a namespace and a cable to this one, where this program passes its datagrams on, or not: so each
//! node knows the others by addresses at this end of its own cable. Needs root and `ip`, and leaves nothing behind.
//! Heartbeats only: no upload passes through here. Exit codes: 0 passed, 1 a bound was exceeded, 2 could not run.

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
#[path = "drill/verdict.rs"]
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cables::{Cables, Impairment};
use support::cluster::{TestCluster, TestNode};
use support::observer::Observer;
use verdict::Verdict;

const NODES: u32 = 3;
/// Loss and delay are watched for this long.
const WATCH: Duration = Duration::from_secs(20);
/// What is promised: whoever can still talk goes on in under a second.
const FAIL_OVER_MAX: Duration = Duration::from_secs(1);
/// A node that is not heard, but hears, gives the others up one after the other, when they have left it out: three times
/// as long.
const ONE_WAY_MAX: Duration = Duration::from_secs(3);
/// A route to a silent peer is renewed every 2 s. After that, a few heartbeats are enough to agree.
const AGREEMENT_MAX: Duration = Duration::from_secs(3);
/// What is promised of the end of every fault, 2 s of patience of a higher id included.
const CALM_MAX: Duration = Duration::from_secs(6);
/// A lossy or slow network may make a node a suspect, which stays in. Nobody who is heard by anybody is found dead.
const FALSE_DEATHS_MAX: usize = 0;

fn main() -> ExitCode {
    let cables = match Cables::connect(NODES) {
        Ok(cables) => cables,
        Err(why) => {
            println!("drill: not run: {why}");
            return ExitCode::from(2);
        }
    };
    Verdict::of("drill", |verdict| run(&cables, verdict))
}

fn run(cables: &Cables, verdict: &mut Verdict) {
    let mut cluster = TestCluster::prepare(NODES, &[]);
    cables.clean_up_on_signal(cluster.root().to_owned());
    for node in &mut cluster.nodes {
        node.prefix = cables.prefix(node.id);
        node.members = cables.members(node.id);
    }
    let mut drill = NetworkDrill {
        observer: cluster.observe(),
        cables,
        verdict,
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
}

struct NetworkDrill<'a> {
    observer: Observer,
    cables: &'a Cables,
    verdict: &'a mut Verdict,
}

impl NetworkDrill<'_> {
    fn await_all(&mut self, leader: Option<u32>) -> Instant {
        let everyone: Vec<u32> = (1..=NODES).collect();
        self.observer.wait_for(&everyone, leader)
    }

    fn pulled_cable(&mut self) {
        println!("node 3: cable pulled");
        let since = Instant::now();
        self.cables.pull(3);
        self.two_sides(since, FAIL_OVER_MAX);
        self.cables.plug(3);
        self.healed();
    }

    fn split(&mut self) {
        println!("node 3 | nodes 1 and 2, both ways");
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2), (1, 3), (2, 3)]);
        self.two_sides(since, FAIL_OVER_MAX);
        self.cables.block(&[]);
        self.healed();
    }

    /// Node 3 still hears the others, and hears in their words that they do not hear it.
    fn one_way(&mut self) {
        println!("node 3 is not heard, but hears");
        let since = Instant::now();
        self.cables.block(&[(3, 1), (3, 2)]);
        self.two_sides(since, ONE_WAY_MAX);
        self.cables.block(&[]);
        self.healed();
    }

    fn two_sides(&mut self, since: Instant, alone_max: Duration) {
        let majority = self.observer.wait_for(&[1, 2], Some(2)) - since;
        let alone = self.observer.wait_for(&[3], Some(3)) - since;
        self.verdict.time("1 and 2 go on after", majority, FAIL_OVER_MAX);
        self.verdict.time("3 goes on alone after", alone, alone_max);
    }

    fn healed(&mut self) {
        let since = Instant::now();
        let agreed = self.await_all(None) - since;
        let calm = self.await_all(Some(NODES)) - since;
        self.verdict
            .time("healed: all follow one leader after", agreed, AGREEMENT_MAX);
        self.verdict.time("node 3 leads again after", calm, CALM_MAX);
        self.observer.detections.clear();
    }

    fn impairment(&mut self, what: &str, impairment: Impairment) {
        println!("{what} for {} s", WATCH.as_secs());
        self.observer.history.clear();
        self.cables.set(impairment);
        self.observer.listen_until(Instant::now() + WATCH);
        let seen = &self.observer.detections;
        let deaths = seen.iter().filter(|detection| detection.dead).count();
        println!(
            "    suspicions: {}, changed views: {} (no bound: a suspect stays in)",
            seen.len() - deaths,
            self.observer.history.len()
        );
        self.verdict.count("false deaths", deaths, FALSE_DEATHS_MAX);
        self.cables.set(Impairment::default());
        let since = Instant::now();
        let calm = self.await_all(Some(NODES)).saturating_duration_since(since);
        self.verdict.time("then all follow node 3 after", calm, CALM_MAX);
        self.observer.detections.clear();
    }
}
