//! What membership costs as the cluster grows: datagrams, bytes and processor time, per node and second.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use pixseal::election::datagram::ClusterKey;
use pixseal::election::{Election, HEALTH_TIMEOUT, Input, Output, Settings};
use pixseal::roster::NodeId;

use crate::WATCH;
use crate::herd::Herd;

const PROCESSES: [u32; 3] = [3, 9, 30];
const SIMULATED: [u32; 5] = [3, 9, 30, 60, 120];
/// Simulated seconds before anything is counted: all have agreed by then.
const WARM: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(1);
/// What the network adds to every datagram: IPv4 and UDP headers.
const HEADERS_BYTES: usize = 28;

pub(crate) fn measure(server: &Path) {
    println!(
        "idle, per node and second         datagrams sent   bytes sent   processor time of the thread's work"
    );
    SIMULATED.into_iter().for_each(simulate);
    println!("real processes, the whole server");
    PROCESSES.into_iter().for_each(|count| run(server, count));
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
    let mut ticks_before = None;
    loop {
        let tick = *timers.first().unwrap();
        let arrival = arrivals
            .first_key_value()
            .map(|(key, _)| key.0)
            .filter(|at| *at <= tick.0);
        let now = arrival.unwrap_or(tick.0);
        if now >= WARM && ticks_before.is_none() {
            (datagrams, bytes_sent, ticks_before) = (0, 0, Some(own_ticks()));
        }
        if now >= end {
            break;
        }
        let received = arrival.and_then(|_| arrivals.pop_first());
        let (id, input) = match &received {
            Some((_, (to, bytes))) => (*to, Input::Datagram(bytes)),
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
    let ticks = own_ticks() - ticks_before.unwrap();
    println!(
        "{count:>4} nodes, simulated {:>25.0} {:>12.0} {:>10.2} ms",
        f64::from(datagrams) / node_seconds,
        bytes_sent as f64 / node_seconds,
        ticks as f64 * 10.0 / node_seconds,
    );
}

fn own_ticks() -> u64 {
    processor_ticks(std::process::id().try_into().unwrap())
}

fn node(own: NodeId, members: &[NodeId]) -> Election {
    Election::new(Settings {
        own,
        members: members.to_vec(),
        key: ClusterKey::new(&[7; 32]),
        incarnation: 1,
        health_timeout: HEALTH_TIMEOUT,
    })
}

fn run(server: &Path, count: u32) {
    let mut herd = Herd::start(server, count);
    herd.listen_until(Instant::now() + Duration::from_secs(1));
    herd.findings.clear();
    let before = cost(&herd);
    herd.listen_until(Instant::now() + WATCH);
    let after = cost(&herd);
    let node_seconds = WATCH.as_secs_f64() * f64::from(count);
    println!(
        "{count:>4} nodes, processes {:>25.0} {:>12} {:>10.2} ms, {:.2} % of one core together, {} false suspicions",
        (after.1 - before.1) as f64 / node_seconds,
        "",
        (after.0 - before.0) * 1000.0 / node_seconds,
        (after.0 - before.0) / WATCH.as_secs_f64() * 100.0,
        herd.findings.len(),
    );
}

/// Seconds of processor time of all nodes, and datagrams received by this machine.
fn cost(herd: &Herd) -> (f64, u64) {
    let pids = herd
        .running()
        .into_iter()
        .map(|node| herd.pid(node).as_raw_nonzero().get());
    let ticks: u64 = pids.map(processor_ticks).sum();
    (ticks as f64 / 100.0, datagrams_received())
}

/// In hundredths of a second, user and system (proc(5), fields 14 and 15).
fn processor_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
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
