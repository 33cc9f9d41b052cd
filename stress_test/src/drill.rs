//! A drill: kills, pauses or restarts nodes in the middle of a run, and measures how soon the others notice.

#![allow(clippy::disallowed_methods, reason = "an edge: it waits and measures")]

pub(crate) mod step;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::report::Status;
use pixseal::roster::NodeId;
use rustix::process::Signal;

use crate::spawned_cluster::SpawnedCluster;
use crate::stop_signal::StopSignal;
use crate::summary;
use crate::watch::{PATIENCE, Watch};
use step::{DrillAction, DrillStep, DrillTarget};

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the drill waits for the other nodes to notice.
const DETECTION_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Drill<'a> {
    /// Only spawned nodes are touched.
    pub(crate) cluster: &'a SpawnedCluster,
    /// Gets a note of everything the drill does.
    pub(crate) watch: &'a Watch,
    pub(crate) stop: &'a StopSignal,
    /// Uploads that have ended.
    pub(crate) finished: &'a AtomicU64,
    /// All uploads of the run.
    pub(crate) images: u64,
    /// When the uploads began.
    pub(crate) origin: Instant,
}

impl Drill<'_> {
    /// Takes each step at its time and returns the results. A step whose time never comes has none.
    pub(crate) fn run(&self, steps: &[DrillStep]) -> Vec<summary::DrillResult> {
        let mut steps = steps.to_vec();
        steps.sort_by(|a, b| a.from.total_cmp(&b.from));
        let mut results = Vec::new();
        for step in steps {
            if !self.await_share(step.from) {
                break;
            }
            let leader = self.watch.leader();
            let node = match step.target {
                DrillTarget::Node(id) => id,
                DrillTarget::Leader => match leader {
                    Some(id) => id,
                    None => continue,
                },
            };
            match self.take(&step, node, leader == Some(node)) {
                Ok(row) => results.push(row),
                Err(e) => self.watch.note(format!("drill {step}: {e}")),
            }
        }
        results
    }

    fn take(&self, step: &DrillStep, node: NodeId, leads: bool) -> std::io::Result<summary::DrillResult> {
        let (signal, what) = match step.action {
            DrillAction::Kill => (Signal::KILL, "is killed"),
            DrillAction::Pause => (Signal::STOP, "is paused"),
            DrillAction::Restart => (Signal::TERM, "is told to leave"),
        };
        self.watch.note(format!("drill: node {node} {what}"));
        let struck = Instant::now();
        self.cluster.signal(node, signal)?;
        let (detected, elected) = self.await_detection(node, struck);
        match step.action {
            DrillAction::Kill => self.cluster.await_end(node)?,
            DrillAction::Pause => {
                self.await_share(step.until);
                self.cluster.signal(node, Signal::CONT)?;
                self.watch.note(format!("drill: node {node} goes on"));
            }
            DrillAction::Restart => {
                self.cluster.await_end(node)?;
                self.cluster.launch(node)?;
                self.watch.note(format!("drill: node {node} is started again"));
                self.cluster.agree().map_err(std::io::Error::other)?;
            }
        }
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        Ok(summary::DrillResult {
            step: step.to_string(),
            node: node.0,
            at_seconds: struck.saturating_duration_since(self.origin).as_secs_f64(),
            detected_ms: detected.map(milliseconds),
            elected_ms: elected.filter(|_| leads).map(milliseconds),
        })
    }

    /// The time until no other node's view had `node` in it, and the time until all followed a leader again.
    fn await_detection(&self, node: NodeId, struck: Instant) -> (Option<Duration>, Option<Duration>) {
        let others: Vec<NodeId> = self
            .cluster
            .members
            .iter()
            .map(|(id, _)| id)
            .filter(|id| *id != node)
            .collect();
        let mut client = Client::new(&self.cluster.members, PATIENCE);
        let (mut detected, mut elected) = (None, None);
        while struck.elapsed() < DETECTION_MAX && (detected.is_none() || elected.is_none()) {
            let answers: Vec<Status> = others.iter().filter_map(|id| client.status(*id).ok()).collect();
            let now = struck.elapsed();
            let all =
                |holds: &dyn Fn(&Status) -> bool| answers.len() == others.len() && answers.iter().all(holds);
            if detected.is_none() && all(&|status| !status.alive.contains(&node)) {
                detected = Some(now);
            }
            if elected.is_none() && all(&|status| status.leader.is_some_and(|leader| leader != node)) {
                elected = Some(now);
            }
            thread::sleep(LOOK_EVERY);
        }
        (detected, elected)
    }

    /// Waits until this share of the uploads has ended; `false` if the run ends first.
    fn await_share(&self, share: f64) -> bool {
        let enough = (share * self.images as f64).ceil();
        loop {
            let finished = self.finished.load(Ordering::Relaxed);
            if finished as f64 >= enough {
                return true;
            }
            if self.stop.is_raised() {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}
