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
//! means that clients upload as fast as the servers take it, in the same two cores, at normal priority.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "measures time, runs processes"
)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run stops")]

#[path = "failover/crowd.rs"]
mod crowd;
#[path = "../tests/membership/herd.rs"]
mod herd;
#[path = "failover/load.rs"]
mod load;

use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use herd::Herd;
use load::Load;
use pixseal::client::{Client, Patience};
use pixseal::election::datagram::{ClusterKey, Datagram, Stamp};
use pixseal::election::message::{Message, Stance};
use pixseal::roster::NodeId;
use pixseal::secrets;
use rustix::process::Signal;

const TRIALS: usize = 50;
const NODES: u32 = 3;
/// Hostile datagrams in all: 10,000 a second for each of the nodes.
const FLOOD_PER_MILLISECOND: usize = 30;
const WATCH: Duration = Duration::from_secs(10);

fn server() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_server"))
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => failover(TRIALS),
        ["trials", count] => failover(count.parse().unwrap()),
        ["soak", seconds] => soak(Duration::from_secs(seconds.parse().unwrap())),
        ["flood"] => flood(),
        ["crowd"] => crowd::measure(server()),
        _ => panic!("nothing, or: trials N | soak SECONDS | flood | crowd"),
    }
}

/// What happens to a node.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Pause,
}

#[derive(Default)]
struct Trials {
    times: Vec<Duration>,
    suspicions: usize,
    deaths: usize,
}

fn failover(trials: usize) {
    println!(
        "{trials} of each, half of them of the leader; ms until every survivor balances without the victim"
    );
    println!("                       min  median     p95     max  over 1 s  false suspicions  false deaths");
    for saturated in [false, true] {
        let mut herd = Herd::start(server(), NODES);
        let load = saturated.then(|| Load::start(&herd.members));
        for (name, blow) in [("SIGKILL", Blow::Kill), ("SIGSTOP", Blow::Pause)] {
            let mut seen = Trials::default();
            (0..trials).for_each(|trial| strike(&mut herd, blow, trial, &mut seen));
            println!(
                "{name} {:<10} {}",
                if saturated { "saturated" } else { "idle" },
                seen.line()
            );
        }
        if let Some(load) = load {
            println!("meanwhile: {}", load.stop());
        }
    }
}

/// One blow, from a cluster at rest to a cluster at rest.
fn strike(herd: &mut Herd, blow: Blow, trial: usize, seen: &mut Trials) {
    herd.wait_for_all(None);
    // Another moment between two heartbeats each time.
    herd.listen_until(Instant::now() + Duration::from_millis(200 + 37 * trial as u64 % 100));
    seen.count(herd, None);
    let leader = herd.views[&1].leader.unwrap();
    let victim = if trial.is_multiple_of(2) {
        leader
    } else {
        leader % NODES + 1
    };
    let survivors: Vec<u32> = (1..=NODES).filter(|node| *node != victim).collect();
    let struck = Instant::now();
    match blow {
        Blow::Kill => herd.kill(victim),
        Blow::Pause => herd.signal(victim, Signal::STOP),
    }
    let seen_at = herd.wait_for(&survivors, None);
    seen.times.push(seen_at.saturating_duration_since(struck));
    match blow {
        Blow::Kill => herd.spawn(server(), victim),
        // A follower that stood still for a moment may say nothing: it holds the same view again.
        Blow::Pause => herd.signal(victim, Signal::CONT),
    }
    herd.wait_for_all(None);
    seen.count(herd, Some(victim));
}

impl Trials {
    /// Whoever was found suspect or dead, other than the victim, was neither.
    fn count(&mut self, herd: &mut Herd, victim: Option<u32>) {
        let (deaths, suspicions): (Vec<_>, Vec<_>) = std::mem::take(&mut herd.findings)
            .into_iter()
            .filter(|finding| Some(finding.peer) != victim)
            .partition(|finding| finding.dead);
        self.deaths += deaths.len();
        self.suspicions += suspicions.len();
    }

    fn line(&mut self) -> String {
        self.times.sort_unstable();
        let last = self.times.len() - 1;
        let at = |percent: usize| self.times[last * percent / 100].as_millis();
        let late = self
            .times
            .iter()
            .filter(|time| **time >= Duration::from_secs(1))
            .count();
        format!(
            "{:>6} {:>7} {:>7} {:>7} {late:>9} {:>17} {:>13}",
            at(0),
            at(50),
            at(95),
            at(100),
            self.suspicions,
            self.deaths
        )
    }
}

fn soak(time: Duration) {
    let mut herd = Herd::start(server(), NODES);
    let load = Load::start(&herd.members);
    let end = Instant::now() + time;
    let mut seen = Trials::default();
    while Instant::now() < end {
        herd.listen_until(end.min(Instant::now() + Duration::from_secs(60)));
        seen.count(&mut herd, None);
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        println!(
            "{left:>5} s left: {} false suspicions, {} false deaths",
            seen.suspicions, seen.deaths
        );
    }
    println!("{} s saturated: {}", time.as_secs(), load.stop());
}

/// How long ago each node last heard each other one, asked again and again.
fn flood() {
    let mut herd = Herd::start(server(), NODES);
    let calm = silences(&herd);
    let flood = flood_from(&herd);
    let flooded = silences(&herd);
    let sent = flood.join().unwrap();
    let mut seen = Trials::default();
    herd.listen_until(Instant::now() + Duration::from_millis(500));
    seen.count(&mut herd, None);
    println!("ms since a peer was last heard    median     p99     max");
    println!("without hostile datagrams         {}", spread(calm));
    println!(
        "with {:>6.0} of them a second      {}",
        sent as f64 / WATCH.as_secs_f64(),
        spread(flooded)
    );
    println!(
        "{} false suspicions, {} false deaths",
        seen.suspicions, seen.deaths
    );
    let mut client = Client::new(&herd.members, Patience::default());
    let status = client.ask(NodeId(1), "GET", "/cluster").unwrap().text();
    let json: serde_json::Value = serde_json::from_str(&status).unwrap();
    println!("dropped by node 1: {}", json["rejections"]);
}

fn silences(herd: &Herd) -> Vec<u64> {
    let mut client = Client::new(&herd.members, Patience::default());
    let end = Instant::now() + WATCH;
    let mut silences = Vec::new();
    while Instant::now() < end {
        for node in herd.running() {
            let text = client.ask(NodeId(node), "GET", "/cluster").unwrap().text();
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
/// bit, which are the dearest to refuse.
fn flood_from(herd: &Herd) -> thread::JoinHandle<usize> {
    let key = ClusterKey::new(
        &secrets::load_or_create(&herd.folder.path().join("secrets"))
            .unwrap()
            .cluster_key,
    );
    let targets: Vec<String> = herd
        .members
        .iter()
        .map(|(_, address)| address.to_owned())
        .collect();
    let mut bytes = key.encode(&Datagram {
        sender: NodeId(1),
        receiver: NodeId(2),
        stamp: Stamp {
            incarnation: u64::MAX,
            sequence: u64::MAX,
        },
        echo: Stamp::default(),
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
                let _ = socket.send_to(&bytes[..length], &targets[sent % targets.len()]);
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
