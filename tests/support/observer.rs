//! What nodes say of membership, read from the lines they print, each with the moment at which it was read.
//!
//! No request has to wait in a queue to find it out, and no view is missed because nobody asked at that moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// What a node places uploads by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    pub leader: Option<u32>,
    /// As it is printed: `[1, 2, 3]`.
    pub alive: String,
    /// When the line that said so was read.
    pub since: Instant,
}

/// Node `by` said that node `peer` is suspect or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    pub by: u32,
    pub peer: u32,
    pub dead: bool,
    /// How long the peer was silent, if the node says so.
    pub silent: Option<Duration>,
}

/// Listens to the nodes of one cluster.
pub struct Observer {
    /// What each running node said last.
    pub views: BTreeMap<u32, NodeView>,
    /// Every view that was said since somebody last looked, oldest first.
    pub history: Vec<(u32, NodeView)>,
    /// Who found whom suspect or dead, since somebody last looked.
    pub detections: Vec<Detection>,
    events: Receiver<NodeEvent>,
    sender: Sender<NodeEvent>,
}

enum NodeEvent {
    Line {
        node: u32,
        read: Instant,
        text: String,
    },
    /// The node has ended and everything it printed was read.
    End {
        node: u32,
    },
}

/// Where one node prints to.
pub struct Tap {
    node: u32,
    sender: Sender<NodeEvent>,
}

/// Reads what one process prints, until its end.
pub struct OutputReader(thread::JoinHandle<()>);

impl Default for Observer {
    fn default() -> Observer {
        let (sender, events) = channel();
        Observer {
            views: BTreeMap::new(),
            history: Vec::new(),
            detections: Vec::new(),
            events,
            sender,
        }
    }
}

impl Observer {
    pub(super) fn tap(&self, node: u32) -> Tap {
        Tap {
            node,
            sender: self.sender.clone(),
        }
    }

    /// Waits until all of `alive` follow one leader, `leader` if it is given, and count exactly `alive`. Returns when
    /// the last of them said so.
    pub fn wait_for(&mut self, alive: &[u32], leader: Option<u32>) -> Instant {
        let roster = format!("{alive:?}");
        self.wait_until(&format!("no agreement on {leader:?} and {roster}"), |seen| {
            let views: Vec<&NodeView> = alive.iter().filter_map(|node| seen.views.get(node)).collect();
            let followed = leader.or_else(|| views.first().and_then(|view| view.leader));
            let agree = views.len() == alive.len()
                && views
                    .iter()
                    .all(|view| view.leader.is_some() && view.leader == followed && view.alive == roster);
            agree.then(|| views.iter().map(|view| view.since).max().unwrap())
        })
    }

    /// Waits until the history since `start` has a view that `node` held under `leader`.
    pub fn wait_for_leader(&mut self, node: u32, leader: u32) {
        self.wait_until(&format!("node {node} never followed {leader}"), |seen| {
            seen.leaders_named_by(node).contains(&leader).then_some(())
        });
    }

    /// The leaders that `node` has named in the history, each once in a row.
    pub fn leaders_named_by(&self, node: u32) -> Vec<u32> {
        let own = self.history.iter().filter(|(by, _)| *by == node);
        let mut leaders: Vec<u32> = own.filter_map(|(_, view)| view.leader).collect();
        leaders.dedup();
        leaders
    }

    fn wait_until<T>(&mut self, or_else: &str, condition: impl Fn(&Observer) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        self.take_pending();
        loop {
            if let Some(outcome) = condition(self) {
                return outcome;
            }
            assert!(Instant::now() < deadline, "{or_else}: {:?}", self.views);
            self.listen(deadline);
        }
    }

    /// Takes the lines that come until `end`.
    pub fn listen_until(&mut self, end: Instant) {
        while Instant::now() < end {
            self.listen(end);
        }
    }

    /// Takes what has come so far.
    pub fn take_pending(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
    }

    /// Takes one event, if one comes before `end`.
    fn listen(&mut self, end: Instant) {
        match self
            .events
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("this end keeps a sender"),
        }
    }

    fn take(&mut self, event: NodeEvent) {
        let (node, read, text) = match event {
            NodeEvent::Line { node, read, text } => (node, read, text),
            NodeEvent::End { node } => {
                self.views.remove(&node);
                return;
            }
        };
        let Some(said) = text.strip_prefix(&format!("Node {node}: ")) else {
            return;
        };
        if let Some(view) = view(said, read) {
            self.history.push((node, view.clone()));
            self.views.insert(node, view);
        }
        self.detections.extend(detection(node, said));
    }
}

impl Tap {
    /// Reads `stdout` in a thread of its own, and writes it to `log` too.
    pub(super) fn read(&self, stdout: ChildStdout, mut log: File) -> OutputReader {
        let (node, sender) = (self.node, self.sender.clone());
        let read = move || {
            // Whether somebody still listens or not: a node whose pipe is full stands still.
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                let read = Instant::now();
                let _ = writeln!(log, "{text}");
                let _ = sender.send(NodeEvent::Line { node, read, text });
            }
            let _ = sender.send(NodeEvent::End { node });
        };
        let thread = thread::Builder::new().name(format!("node {node}"));
        OutputReader(thread.spawn(read).unwrap())
    }
}

impl OutputReader {
    /// Waits until everything was read that the process printed.
    pub(super) fn finish(self) {
        self.0.join().unwrap();
    }
}

fn view(said: &str, since: Instant) -> Option<NodeView> {
    let (head, alive) = said.strip_suffix(')')?.split_once("alive nodes: ")?;
    let leader = match head.strip_prefix("Leader is Node ") {
        Some(rest) => Some(rest.split(' ').next()?.parse().ok()?),
        None if head.starts_with("No leader") => None,
        None => return None,
    };
    Some(NodeView {
        leader,
        alive: alive.to_owned(),
        since,
    })
}

fn detection(by: u32, said: &str) -> Option<Detection> {
    let (peer, state) = said.strip_prefix("Node ")?.split_once(" is ")?;
    let dead = state.starts_with("dead");
    if !dead && !state.starts_with("suspect") {
        return None;
    }
    let silent = state
        .split_once("silent for ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    Some(Detection {
        by,
        peer: peer.parse().ok()?,
        dead,
        silent: silent.map(Duration::from_millis),
    })
}
