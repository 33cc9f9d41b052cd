//! What membership costs as the cluster grows: datagrams, bytes and processor time, per node and second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pixseal::election::datagram::ClusterKey;
use pixseal::election::event::{Input, Output, Settings};
use pixseal::election::{Election, HEALTH_TIMEOUT};
use pixseal::roster::NodeId;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::process;
use crate::{Observed, WATCH};

const PROCESSES: [u32; 3] = [3, 9, 30];
const SIMULATED: [u32; 5] = [3, 9, 30, 60, 120];
/// Simulated seconds before anything is counted: all have agreed by then.
const WARM: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(1);
/// What the network adds to every datagram: IPv4 and UDP headers.
const HEADERS_BYTES: usize = 28;

pub(crate) fn measure() {
    println!(
        "idle, per node and second         datagrams sent   bytes sent   processor time of the thread's work"
    );
    SIMULATED.into_iter().for_each(simulate);
    println!("real processes, the whole server");
    PROCESSES.into_iter().for_each(run);
}

/// The pure part alone: encode, authenticate, decode, step. No system call.
fn simulate(count: u32) {
    let members: Vec<NodeId> = (1..=count).map(NodeId).collect();
    let mut nodes: BTreeMap<NodeId, Election> =
        members.iter().map(|own| (*own, node(*own, &members))).collect();
    let mut timers: BTreeSet<(Duration, NodeId)> =
        nodes.iter().map(|(id, node)| (node.deadline(), *id)).collect();
    let mut arrivals: BTreeMap<(Duration, u64), (NodeId, Vec<u8>)> = BTreeMap::new();
    let (mut datagrams, mut bytes_sent, mut sequence) = (0, 0, 0);
    // Enough datagrams for the coarse clock of processor time.
    let seconds = (20_000 / (count * count)).max(2);
    let end = WARM + Duration::from_secs(seconds.into());
    let mut seconds_before = None;
    loop {
        let tick = *timers.first().unwrap();
        let arrival = arrivals
            .first_key_value()
            .map(|(key, _)| key.0)
            .filter(|at| *at <= tick.0);
        let now = arrival.unwrap_or(tick.0);
        if now >= WARM && seconds_before.is_none() {
            (datagrams, bytes_sent, seconds_before) = (0, 0, Some(own_seconds()));
        }
        if now >= end {
            break;
        }
        let received = arrival.and_then(|_| arrivals.pop_first());
        let (id, input) = match &received {
            Some((_, (to, bytes))) => (*to, Input::Datagram { bytes, source: None }),
            None => (tick.1, Input::Tick),
        };
        let node = nodes.get_mut(&id).unwrap();
        timers.remove(&(node.deadline(), id));
        let outputs = node.step(now, input);
        timers.insert((node.deadline(), id));
        for output in outputs {
            if let Output::Send { to, bytes } = output {
                datagrams += 1;
                bytes_sent += bytes.len() + HEADERS_BYTES;
                sequence += 1;
                arrivals.insert((now + LATENCY, sequence), (to, bytes));
            }
        }
    }
    let node_seconds = f64::from(seconds * count);
    let used = own_seconds() - seconds_before.unwrap();
    println!(
        "{count:>4} nodes, simulated {:>25.0} {:>12.0} {:>10.2} ms",
        f64::from(datagrams) / node_seconds,
        bytes_sent as f64 / node_seconds,
        used * 1000.0 / node_seconds,
    );
}

fn own_seconds() -> f64 {
    process::cpu(std::process::id()).unwrap().seconds()
}

fn node(own: NodeId, members: &[NodeId]) -> Election {
    Election::new(Settings {
        own,
        members: members.to_vec(),
        key: ClusterKey::new(&[7; 32]),
        incarnation: 1,
        health_timeout: HEALTH_TIMEOUT,
        port: 0,
    })
}

fn run(count: u32) {
    let Observed {
        cluster,
        mut observer,
    } = Observed::start(count);
    observer.listen_until(Instant::now() + Duration::from_secs(1));
    observer.detections.clear();
    let before = cost(&cluster);
    observer.listen_until(Instant::now() + WATCH);
    let after = cost(&cluster);
    let node_seconds = WATCH.as_secs_f64() * f64::from(count);
    println!(
        "{count:>4} nodes, processes {:>25.0} {:>12} {:>10.2} ms, {:.2} % of one core together, {} false suspicions",
        (after.1 - before.1) as f64 / node_seconds,
        "",
        (after.0 - before.0) * 1000.0 / node_seconds,
        (after.0 - before.0) / WATCH.as_secs_f64() * 100.0,
        observer.detections.len(),
    );
}

/// Seconds of processor time of all nodes, and datagrams received by this machine.
fn cost(cluster: &TestCluster) -> (f64, u64) {
    let used = |node: &TestNode| process::cpu(node.pid()).unwrap().seconds();
    (cluster.running().map(used).sum(), datagrams_received())
}

/// By this machine's kernel, of everybody.
fn datagrams_received() -> u64 {
    let snmp = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let line = snmp
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .nth(1)
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
