//! Namespaces, a cable to each, and the relay at this end that passes datagrams from cable to cable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::support::random::Random;

const SERVER_PORT: u32 = 7000;

pub(crate) struct Cables {
    /// How many are laid, and are removed in the end.
    nodes: u32,
    relay: Arc<Mutex<Relay>>,
}

/// What happens to every datagram.
#[derive(Clone)]
pub(crate) struct Impairment {
    pub(crate) loss_percent: u64,
    pub(crate) delay_ms: Range<u64>,
}

#[derive(Default)]
struct Relay {
    impairment: Impairment,
    /// From, to.
    blocked: BTreeSet<(u32, u32)>,
    /// Datagrams on their way, by arrival.
    waiting: BTreeMap<(Instant, u64), (u32, Vec<u8>)>,
    count: u64,
    random: Random,
}

impl Default for Impairment {
    fn default() -> Impairment {
        Impairment {
            loss_percent: 0,
            delay_ms: 0..1,
        }
    }
}

impl Cables {
    /// The reason, if this machine or user has no namespaces.
    pub(crate) fn connect(nodes: u32) -> Result<Cables, String> {
        let mut cables = Cables {
            nodes: 0,
            relay: Arc::default(),
        };
        for node in 1..=nodes {
            let (space, here, there) = (space(node), format!("pixdrill{node}"), format!("pixdrill{node}n"));
            ip(&["netns", "add", &space])?;
            cables.nodes = node;
            ip(&[
                "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &space,
            ])?;
            ip(&["address", "add", &format!("10.99.{node}.1/24"), "dev", &here])?;
            ip(&["link", "set", &here, "up"])?;
            ip(&[
                "-n",
                &space,
                "address",
                "add",
                &format!("10.99.{node}.2/24"),
                "dev",
                &there,
            ])?;
            ip(&["-n", &space, "link", "set", &there, "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        let pairs = || (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            let socket = UdpSocket::bind(at_this_end(from, to)).map_err(|e| e.to_string())?;
            let relay = Arc::clone(&cables.relay);
            named(&format!("{from} to {to}"), move || {
                receive(&socket, &relay, from, to)
            });
        }
        let relay = Arc::clone(&cables.relay);
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
        named("relay", move || deliver(&socket, &relay));
        Ok(cables)
    }

    /// Also when this program is interrupted, nothing is left: no process, no namespace, and not `folder`.
    pub(crate) fn clean_up_on_signal(&self, folder: PathBuf) {
        let nodes = self.nodes;
        let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
        named("signals", move || {
            if signals.forever().next().is_some() {
                (1..=nodes).for_each(end_processes);
                remove(nodes);
                let _ = std::fs::remove_dir_all(folder);
                println!("drill: interrupted");
                std::process::exit(1);
            }
        });
    }

    /// What runs a program in the namespace of `node`.
    pub(crate) fn prefix(&self, node: u32) -> Vec<String> {
        ["ip", "netns", "exec", &space(node)].map(str::to_owned).to_vec()
    }

    /// The cluster file of `node`: the others are at this end of its cable.
    pub(crate) fn members(&self, node: u32) -> String {
        let address = |from, to| {
            if from == to {
                at_that_end(to)
            } else {
                at_this_end(from, to)
            }
        };
        let lines = (1..=self.nodes).map(|peer| format!("{peer} = \"{}\"\n", address(node, peer)));
        format!("[nodes]\n{}", lines.collect::<String>())
    }

    pub(crate) fn pull(&self, node: u32) {
        ip(&["link", "set", &format!("pixdrill{node}"), "down"]).unwrap();
    }

    pub(crate) fn plug(&self, node: u32) {
        ip(&["link", "set", &format!("pixdrill{node}"), "up"]).unwrap();
    }

    /// From, to; what was blocked before is so no longer.
    pub(crate) fn block(&self, ways: &[(u32, u32)]) {
        self.relay.lock().unwrap().blocked = ways.iter().copied().collect();
    }

    pub(crate) fn set(&self, impairment: Impairment) {
        self.relay.lock().unwrap().impairment = impairment;
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        remove(self.nodes);
    }
}

impl Relay {
    fn take(&mut self, from: u32, to: u32, bytes: &[u8]) {
        let lost = self.random.chance(self.impairment.loss_percent);
        if lost || self.blocked.contains(&(from, to)) {
            return;
        }
        let Range { start, end } = self.impairment.delay_ms;
        let delay = self.random.millis(start..end);
        self.count += 1;
        let arrival = (Instant::now() + delay, self.count);
        self.waiting.insert(arrival, (to, bytes.to_vec()));
    }
}

fn receive(socket: &UdpSocket, relay: &Mutex<Relay>, from: u32, to: u32) {
    let mut bytes = [0; 65_536];
    loop {
        if let Ok(length) = socket.recv(&mut bytes) {
            relay.lock().unwrap().take(from, to, &bytes[..length]);
        }
    }
}

fn deliver(socket: &UdpSocket, relay: &Mutex<Relay>) {
    loop {
        thread::sleep(Duration::from_millis(1));
        let mut relay = relay.lock().unwrap();
        while let Some(next) = relay
            .waiting
            .first_entry()
            .filter(|next| next.key().0 <= Instant::now())
        {
            let (to, bytes) = next.remove();
            // A pulled cable loses it.
            let _ = socket.send_to(&bytes, at_that_end(to));
        }
    }
}

fn remove(nodes: u32) {
    for node in 1..=nodes {
        // The cable goes with its namespace.
        let _ = ip(&["netns", "delete", &space(node)]);
    }
}

fn end_processes(node: u32) {
    let listed = Command::new("ip").args(["netns", "pids", &space(node)]).output();
    let text = listed.map(|output| output.stdout).unwrap_or_default();
    for word in String::from_utf8_lossy(&text).split_whitespace() {
        if let Some(pid) = word.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn named(name: &str, work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
}

fn space(node: u32) -> String {
    format!("pixdrill{node}")
}

/// Where node `from` finds node `to`.
fn at_this_end(from: u32, to: u32) -> String {
    format!("10.99.{from}.1:{}", SERVER_PORT + to)
}

fn at_that_end(node: u32) -> String {
    format!("10.99.{node}.2:{SERVER_PORT}")
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
