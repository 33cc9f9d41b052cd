//! How fast membership sees what happens, and how often it sees what does not: real servers on this machine.
//!
//! ```text
//! cargo bench --bench failover                 kills and pauses, idle and saturated
//! cargo bench --bench failover -- soak 600     so many seconds of saturation: false suspicions and deaths
//! cargo bench --bench failover -- flood        heartbeats while each node gets 10,000 hostile datagrams a second
//! cargo bench --bench failover -- crowd        what 3, 9 and 30 idle nodes cost
//! ```
//!
//! Times are from the signal to the moment at which the last survivor's line about its new view was read. Saturated
//! means that clients upload as fast as the servers take it, in the same two cores, at normal priority. All but the last
//! one judge what they see, and exit with 1 when a bound is exceeded.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "measures time, runs processes"
)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run stops")]

#[path = "failover/crowd.rs"]
mod crowd;
#[path = "failover/load.rs"]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "drill/verdict.rs"]
mod verdict;

use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use load::{UploadLoad, Uploads};
use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::election::datagram::{ClusterKey, Datagram, LinkState, Stamp};
use pixseal::election::message::{Message, Stance};
use pixseal::lease::facts::Facts;
use pixseal::roster::NodeId;
use pixseal::secrets;
use rustix::process::Signal;
use support::cluster::TestCluster;
use support::observer::Observer;
use verdict::Verdict;

const TRIALS: usize = 50;
const NODES: u32 = 3;
/// Hostile datagrams in all: 10,000 a second for each of the nodes.
const FLOOD_PER_MILLISECOND: usize = 30;
const WATCH: Duration = Duration::from_secs(10);
/// A smaller part of the hostile datagrams that are to be sent would prove nothing.
const FLOOD_PERCENT_MIN: usize = 80;
/// What is promised: every survivor balances without the victim in under a second.
const FAIL_OVER_MAX: Duration = Duration::from_secs(1);
/// What is promised: a node that runs is not found dead or suspect, however busy the machine is.
const FALSE_MAX: usize = 0;
/// Our client tries again until the others have taken over, and what was acknowledged is durable.
const FAILED_OR_LOST_MAX: usize = 0;

/// A cluster of so many nodes, which agree, and what they say.
pub(crate) struct Observed {
    pub(crate) cluster: TestCluster,
    pub(crate) observer: Observer,
}

impl Observed {
    pub(crate) fn start(count: u32) -> Observed {
        let mut cluster = TestCluster::prepare(count, &[]);
        let mut observer = cluster.observe();
        cluster.start_all();
        observer.take_pending();
        Observed { cluster, observer }
    }

    /// Waits until all follow one leader.
    fn await_all(&mut self) -> Instant {
        let everyone: Vec<u32> = self.cluster.nodes.iter().map(|node| node.id).collect();
        self.observer.wait_for(&everyone, None)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => Verdict::of("failover", |verdict| failover(TRIALS, verdict)),
        ["trials", count] => {
            let count = count.parse().unwrap();
            Verdict::of("failover", |verdict| failover(count, verdict))
        }
        ["soak", seconds] => {
            let time = Duration::from_secs(seconds.parse().unwrap());
            Verdict::of("soak", |verdict| soak(time, verdict))
        }
        ["flood"] => Verdict::of("flood", flood),
        ["crowd"] => {
            crowd::measure();
            ExitCode::SUCCESS
        }
        _ => panic!("nothing, or: trials N | soak SECONDS | flood | crowd"),
    }
}

/// What happens to a node.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Pause,
}

#[derive(Default)]
struct Trials {
    times: Vec<Duration>,
    suspicions: usize,
    deaths: usize,
}

fn failover(trials: usize, verdict: &mut Verdict) {
    println!(
        "{trials} of each, half of them of the leader, until every survivor balances without the victim"
    );
    for saturated in [false, true] {
        let mut nodes = Observed::start(NODES);
        let load = saturated.then(|| UploadLoad::start(&nodes.cluster.members()));
        for (name, fault) in [("SIGKILL", Fault::Kill), ("SIGSTOP", Fault::Pause)] {
            let mut seen = Trials::default();
            (0..trials).for_each(|trial| inject_fault(&mut nodes, fault, trial, &mut seen));
            println!("{name}, {}", if saturated { "saturated" } else { "idle" });
            seen.judge(verdict);
        }
        if let Some(load) = load {
            println!("uploads meanwhile");
            judge_uploads(&load.stop(), verdict);
        }
    }
}

fn judge_uploads(uploads: &Uploads, verdict: &mut Verdict) {
    verdict.at_least("uploads", uploads.count, 1);
    verdict.count("failed uploads", uploads.failed, FAILED_OR_LOST_MAX);
    verdict.count("images acknowledged and lost", uploads.lost, FAILED_OR_LOST_MAX);
}

/// One fault, from a cluster at rest to a cluster at rest.
fn inject_fault(nodes: &mut Observed, fault: Fault, trial: usize, seen: &mut Trials) {
    nodes.await_all();
    // Another moment between two heartbeats each time.
    nodes
        .observer
        .listen_until(Instant::now() + Duration::from_millis(200 + 37 * trial as u64 % 100));
    seen.count(&mut nodes.observer, None);
    let leader = nodes.observer.views[&1].leader.unwrap();
    let victim = if trial.is_multiple_of(2) {
        leader
    } else {
        leader % NODES + 1
    };
    let survivors: Vec<u32> = (1..=NODES).filter(|node| *node != victim).collect();
    let injected = Instant::now();
    match fault {
        Fault::Kill => nodes.cluster.node_mut(victim).kill(),
        Fault::Pause => nodes.cluster.node(victim).signal(Signal::STOP),
    }
    let seen_at = nodes.observer.wait_for(&survivors, None);
    seen.times.push(seen_at.saturating_duration_since(injected));
    match fault {
        Fault::Kill => nodes.cluster.node_mut(victim).launch(),
        // A follower that stood still for a moment may say nothing: it holds the same view again.
        Fault::Pause => nodes.cluster.node(victim).signal(Signal::CONT),
    }
    nodes.await_all();
    seen.count(&mut nodes.observer, Some(victim));
}

impl Trials {
    /// Every detection of a node other than the victim is false.
    fn count(&mut self, observer: &mut Observer, victim: Option<u32>) {
        let (deaths, suspicions): (Vec<_>, Vec<_>) = std::mem::take(&mut observer.detections)
            .into_iter()
            .filter(|detection| Some(detection.peer) != victim)
            .partition(|detection| detection.dead);
        self.deaths += deaths.len();
        self.suspicions += suspicions.len();
    }

    fn judge(&mut self, verdict: &mut Verdict) {
        self.times.sort_unstable();
        let last = self.times.len() - 1;
        let at = |percent: usize| self.times[last * percent / 100];
        let [min, median, p95] = [0, 50, 95].map(|percent| at(percent).as_millis());
        println!("    min {min}, median {median}, p95 {p95} ms");
        verdict.time("slowest fail-over", at(100), FAIL_OVER_MAX);
        self.judge_detections(verdict);
    }

    fn judge_detections(&self, verdict: &mut Verdict) {
        verdict.count("false suspicions", self.suspicions, FALSE_MAX);
        verdict.count("false deaths", self.deaths, FALSE_MAX);
    }
}

fn soak(time: Duration, verdict: &mut Verdict) {
    let mut nodes = Observed::start(NODES);
    let load = UploadLoad::start(&nodes.cluster.members());
    let end = Instant::now() + time;
    let mut seen = Trials::default();
    while Instant::now() < end {
        nodes
            .observer
            .listen_until(end.min(Instant::now() + Duration::from_secs(60)));
        seen.count(&mut nodes.observer, None);
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        println!(
            "{left:>5} s left: {} false suspicions, {} false deaths",
            seen.suspicions, seen.deaths
        );
    }
    println!("{} s saturated", time.as_secs());
    judge_uploads(&load.stop(), verdict);
    seen.judge_detections(verdict);
}

/// How long ago each node last heard each other one, asked again and again.
fn flood(verdict: &mut Verdict) {
    let mut nodes = Observed::start(NODES);
    let calm = silences(&nodes.cluster);
    nodes.await_all();
    nodes.observer.history.clear();
    let flood = flood_from(&nodes.cluster);
    let flooded = silences(&nodes.cluster);
    let sent = flood.join().unwrap();
    let mut seen = Trials::default();
    nodes
        .observer
        .listen_until(Instant::now() + Duration::from_millis(500));
    seen.count(&mut nodes.observer, None);
    println!("ms since a peer was last heard    median     p99     max");
    println!("without hostile datagrams         {}", spread(calm));
    println!(
        "with {:>6.0} of them a second      {}",
        sent as f64 / WATCH.as_secs_f64(),
        spread(flooded)
    );
    let wanted = usize::try_from(WATCH.as_millis()).unwrap() * FLOOD_PER_MILLISECOND;
    verdict.at_least("hostile datagrams sent", sent, wanted * FLOOD_PERCENT_MIN / 100);
    seen.judge_detections(verdict);
    verdict.count("changed views", nodes.observer.history.len(), FALSE_MAX);
    let mut client = Client::new(&nodes.cluster.members(), Patience::default());
    let status = client.ask(NodeId(1), "GET", "/cluster").unwrap().text();
    let json: serde_json::Value = serde_json::from_str(&status).unwrap();
    println!("dropped by node 1: {}", json["rejections"]);
}

fn silences(cluster: &TestCluster) -> Vec<u64> {
    let mut client = Client::new(&cluster.members(), Patience::default());
    let end = Instant::now() + WATCH;
    let mut silences = Vec::new();
    while Instant::now() < end {
        for node in cluster.running() {
            let text = client.ask(NodeId(node.id), "GET", "/cluster").unwrap().text();
            let status: serde_json::Value = serde_json::from_str(&text).unwrap();
            let peers = status["peers"].as_array().unwrap();
            silences.extend(peers.iter().map(|peer| peer["last_heard_ms"].as_u64().unwrap()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    silences
}

fn spread(mut silences: Vec<u64>) -> String {
    silences.sort_unstable();
    let at = |percent: usize| silences[(silences.len() - 1) * percent / 100];
    format!("{:>6} {:>7} {:>7}", at(50), at(99), at(100))
}

/// Sends datagrams to all nodes in turn while they are watched: half of them cut off, half of them whole but for one
/// bit, which cost most to refuse.
fn flood_from(cluster: &TestCluster) -> thread::JoinHandle<usize> {
    let key = ClusterKey::new(
        &secrets::load_or_create(&cluster.root().join("secrets"))
            .unwrap()
            .cluster_key,
    );
    let targets: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
    let mut bytes = key.encode(&Datagram {
        sender: NodeId(1),
        receiver: NodeId(2),
        stamp: Stamp {
            incarnation: u64::MAX,
            sequence: u64::MAX,
        },
        echo: Stamp::default(),
        facts: Facts::default(),
        link: LinkState::default(),
        stance: Stance::Seeks {
            term: u64::MAX,
            last: None,
        },
        message: Message::Leave,
    });
    let flood = move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < WATCH {
            let due = usize::try_from(started.elapsed().as_millis()).unwrap() * FLOOD_PER_MILLISECOND;
            while sent < due {
                let place = 16 + sent % (bytes.len() - 16);
                bytes[place] ^= 0x10;
                let length = if sent.is_multiple_of(2) {
                    bytes.len()
                } else {
                    place
                };
                let _ = socket.send_to(&bytes[..length], targets[sent % targets.len()]);
                bytes[place] ^= 0x10;
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        sent
    };
    thread::Builder::new()
        .name("flood".to_owned())
        .spawn(flood)
        .unwrap()
}
