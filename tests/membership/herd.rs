//! Real server processes on free ports, watched through the lines they print, killed when dropped.
//!
//! What a node places uploads by is taken from its own event lines, with the time at which they were read: no
//! request has to wait in a queue to find it out.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "runs and watches real processes; where it fails, the test or the benchmark does"
)]
#![allow(dead_code, reason = "the tests use one part of it, the benchmark another")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::members::Members;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long to wait for what should take a second, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PORTS: Range<u32> = 21_000..32_000;

pub(crate) struct Herd {
    pub(crate) members: Members,
    pub(crate) folder: TempDir,
    /// What each running node last said that it places by.
    pub(crate) views: BTreeMap<u32, View>,
    /// Who found whom suspect or dead, since somebody last looked.
    pub(crate) findings: Vec<Finding>,
    homes: BTreeMap<u32, Home>,
    children: BTreeMap<u32, Child>,
    lines: Receiver<Line>,
    speaker: Sender<Line>,
}

/// Where and how a node runs.
pub(crate) struct Home {
    /// What comes before the server's own command line, if anything.
    pub(crate) prefix: Vec<String>,
    /// The text of the cluster file that it is given.
    pub(crate) cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) leader: Option<u32>,
    pub(crate) alive: String,
    /// When the line that said so was read.
    pub(crate) since: Instant,
}

/// Node `by` said that node `peer` is suspect or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) by: u32,
    pub(crate) peer: u32,
    pub(crate) dead: bool,
}

struct Line {
    read: Instant,
    node: u32,
    text: String,
}

impl Herd {
    /// `count` nodes on loopback, with folders of their own, once they agree on the highest.
    pub(crate) fn start(server: &Path, count: u32) -> Herd {
        let held: Vec<(TcpListener, UdpSocket)> = (0..count).map(|_| free_port()).collect();
        let addresses = held.iter().map(|(tcp, _)| tcp.local_addr().unwrap());
        let nodes: String = (1..)
            .zip(addresses)
            .map(|(id, address)| format!("{id} = \"{address}\"\n"))
            .collect();
        let cluster = format!("[nodes]\n{nodes}");
        let home = |id| {
            (
                id,
                Home {
                    prefix: Vec::new(),
                    cluster: cluster.clone(),
                },
            )
        };
        let homes = (1..=count).map(home).collect();
        drop(held);
        Herd::launch(server, homes)
    }

    /// Nodes 1 to n in their homes, once they agree on the highest.
    pub(crate) fn launch(server: &Path, homes: BTreeMap<u32, Home>) -> Herd {
        let (speaker, lines) = channel();
        let mut herd = Herd {
            members: Members::parse(&homes[&1].cluster).unwrap(),
            folder: TempDir::new().unwrap(),
            views: BTreeMap::new(),
            findings: Vec::new(),
            homes,
            children: BTreeMap::new(),
            lines,
            speaker,
        };
        let nodes: Vec<u32> = herd.homes.keys().copied().collect();
        nodes.iter().for_each(|node| herd.spawn(server, *node));
        herd.wait_for_all(nodes.last().copied());
        herd
    }

    /// Starts `node` again, or for the first time.
    pub(crate) fn spawn(&mut self, server: &Path, node: u32) {
        let folder = self.folder.path();
        let home = &self.homes[&node];
        let cluster = folder.join(format!("{node}.toml"));
        std::fs::write(&cluster, &home.cluster).unwrap();
        let words: Vec<&OsStr> = home
            .prefix
            .iter()
            .map(OsStr::new)
            .chain([server.as_os_str()])
            .collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(node.to_string())
            .arg("--cluster")
            .arg(cluster)
            .arg("--images")
            .arg(folder.join(node.to_string()))
            .arg("--secrets")
            .arg(folder.join("secrets"))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let speaker = self.speaker.clone();
        let read = move || {
            for text in stdout.lines().map_while(Result::ok) {
                let line = Line {
                    read: Instant::now(),
                    node,
                    text,
                };
                if speaker.send(line).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name(format!("node {node}"))
            .spawn(read)
            .unwrap();
        self.views.remove(&node);
        self.children.insert(node, child);
    }

    pub(crate) fn pid(&self, node: u32) -> Pid {
        Pid::from_child(&self.children[&node])
    }

    pub(crate) fn running(&self) -> Vec<u32> {
        self.children.keys().copied().collect()
    }

    pub(crate) fn signal(&self, node: u32, signal: Signal) {
        kill_process(self.pid(node), signal).unwrap();
    }

    /// As the machine would: nobody is told.
    pub(crate) fn kill(&mut self, node: u32) {
        let mut child = self.children.remove(&node).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.views.remove(&node);
    }

    /// Asks it to stop and waits until it has; returns whether it went with exit code 0.
    pub(crate) fn terminate(&mut self, node: u32) -> bool {
        self.signal(node, Signal::TERM);
        let went_well = self.children.remove(&node).unwrap().wait().unwrap().success();
        self.views.remove(&node);
        went_well
    }

    /// Until every running node follows `leader` (or all the same one) and counts all nodes.
    pub(crate) fn wait_for_all(&mut self, leader: Option<u32>) -> Instant {
        let everyone: Vec<u32> = self.homes.keys().copied().collect();
        self.wait_for(&everyone, leader)
    }

    /// Until all of `alive` follow one leader, `leader` if it is given, and count exactly `alive`. Returns when the
    /// last of them said so.
    pub(crate) fn wait_for(&mut self, alive: &[u32], leader: Option<u32>) -> Instant {
        let roster = format!("{alive:?}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let views: Vec<&View> = alive.iter().filter_map(|node| self.views.get(node)).collect();
            let followed = leader.or_else(|| views.first().and_then(|view| view.leader));
            let agrees =
                |view: &&View| view.leader.is_some() && view.leader == followed && view.alive == roster;
            if views.len() == alive.len() && views.iter().all(agrees) {
                return views.iter().map(|view| view.since).max().unwrap();
            }
            assert!(
                Instant::now() < deadline,
                "no agreement on {leader:?} and {roster}: {:?}",
                self.views
            );
            self.listen(deadline);
        }
    }

    /// Takes the lines that come until `end`.
    pub(crate) fn listen_until(&mut self, end: Instant) {
        while Instant::now() < end {
            self.listen(end);
        }
    }

    /// Takes one line, if one comes before `end`.
    fn listen(&mut self, end: Instant) {
        match self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(line) if self.children.contains_key(&line.node) => self.take(&line),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("this end keeps a speaker"),
        }
    }

    fn take(&mut self, line: &Line) {
        let Some(said) = line.text.strip_prefix(&format!("Node {}: ", line.node)) else {
            return;
        };
        if let Some(view) = view(said, line.read) {
            self.views.insert(line.node, view);
        }
        if let Some((peer, dead)) = finding(said) {
            self.findings.push(Finding {
                by: line.node,
                peer,
                dead,
            });
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that is free for both kinds of socket, below those that the kernel hands out by itself: nodes take many of
/// these for their own sending, and one could be the port of a node that starts later.
fn free_port() -> (TcpListener, UdpSocket) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(101) % 1_000_000;
    let next = || {
        u16::try_from(
            PORTS.start + (begin + COUNT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start),
        )
        .unwrap()
    };
    let both = || {
        let address = (Ipv4Addr::LOCALHOST, next());
        Some((TcpListener::bind(address).ok()?, UdpSocket::bind(address).ok()?))
    };
    std::iter::repeat_with(both).flatten().next().unwrap()
}

fn view(said: &str, since: Instant) -> Option<View> {
    let (head, alive) = said.strip_suffix(')')?.split_once("alive nodes: ")?;
    let alive = alive.to_owned();
    if head.starts_with("No leader") {
        return Some(View {
            leader: None,
            alive,
            since,
        });
    }
    let leader = head
        .strip_prefix("Leader is Node ")?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    Some(View {
        leader: Some(leader),
        alive,
        since,
    })
}

fn finding(said: &str) -> Option<(u32, bool)> {
    let (peer, state) = said.strip_prefix("Node ")?.split_once(" is ")?;
    let dead = state.starts_with("dead");
    (dead || state.starts_with("suspect")).then_some((peer.parse().ok()?, dead))
}
