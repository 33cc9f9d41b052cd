//! What the cluster says about itself while a run goes on: views, leaders, processes.
//!
//! A thread for each node asks it for `/cluster` a few times a second; a node that hangs holds up nobody else. What was
//! said is kept once, with the moment it was first heard.

#![allow(clippy::disallowed_methods, reason = "an edge: threads and clocks")]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use pixseal::client::answer::{Process, Status};
use pixseal::client::{Client, Patience};
use pixseal::members::Members;
use pixseal::roster::NodeId;

use crate::stop_signal::StopSignal;
use crate::summary;
use crate::tally::MembershipSeen;

const PERIOD: Duration = Duration::from_millis(150);
const EVENTS_MAX: usize = 1000;
const TERMS_MAX: usize = 10_000;
/// Nobody needs to think long about `/cluster`.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(500),
    offer: Duration::from_secs(1),
    body: Duration::from_secs(1),
};

/// What is known, shared by all threads of a run.
#[derive(Default)]
pub struct Watch {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    views: BTreeMap<u64, Vec<Vec<NodeId>>>,
    latest: Option<(u64, Option<NodeId>, Vec<NodeId>)>,
    events: Vec<(Instant, String)>,
    changes: Vec<Instant>,
    answering: BTreeMap<NodeId, bool>,
    processes: BTreeMap<NodeId, NodeUsage>,
}

/// What a node's processes used, one after the other if it was restarted.
#[derive(Clone, Copy, Default)]
struct NodeUsage {
    pid: u32,
    cpu_first: f64,
    cpu_last: f64,
    cpu_before: f64,
    rss_bytes_max: u64,
}

impl Watch {
    /// Starts watching, until `done`.
    pub fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        members: &'env Members,
        done: &'env StopSignal,
    ) -> std::io::Result<()> {
        for (id, _) in members.iter() {
            thread::Builder::new()
                .name(format!("watch-{id}"))
                .spawn_scoped(scope, move || {
                    let mut client = Client::new(members, PATIENCE);
                    while !done.is_raised() {
                        match client.status(id) {
                            Ok(status) => self.heard(&status),
                            Err(_) => self.silent(id),
                        }
                        thread::sleep(PERIOD);
                    }
                })?;
        }
        Ok(())
    }

    /// Takes note of what a node says.
    pub fn heard(&self, status: &Status) {
        let mut known = self.lock();
        if known.answering.insert(status.node, true) == Some(false) {
            known.event(format!("node {} answers again", status.node));
        }
        if let Some(process) = status.process {
            known.processes.entry(status.node).or_default().add(process);
        }
        let views = if known.views.len() < TERMS_MAX {
            Some(known.views.entry(status.term).or_default())
        } else {
            None
        };
        let Some(views) = views else { return };
        let new = !views.contains(&status.alive);
        if new {
            views.push(status.alive.clone());
        }
        let said = (status.term, status.leader, status.alive.clone());
        let newer = known.latest.as_ref().is_none_or(|latest| {
            status.term > latest.0
                || (status.term == latest.0 && new)
                || (latest.1.is_none() && status.leader.is_some() && latest.2 == status.alive)
        });
        if newer {
            let ids: Vec<u32> = status.alive.iter().map(|id| id.0).collect();
            let leader = status
                .leader
                .map_or("no leader".to_owned(), |id| format!("node {id} leads"));
            known.event(format!("term {}: {leader}, alive {ids:?}", status.term));
            if known.latest.is_some() {
                known.changes.push(Instant::now());
            }
            known.latest = Some(said);
        }
    }

    fn silent(&self, id: NodeId) {
        let mut known = self.lock();
        if known.answering.insert(id, false) == Some(true) {
            known.event(format!("node {id} does not answer"));
            known.changes.push(Instant::now());
        }
    }

    /// Something that the run itself did.
    pub fn note(&self, text: String) {
        let mut known = self.lock();
        known.event(text);
        known.changes.push(Instant::now());
    }

    /// The alive ids that went with `term`; empty if no node has told yet.
    pub fn views(&self, term: u64) -> Vec<Vec<NodeId>> {
        self.lock().views.get(&term).cloned().unwrap_or_default()
    }

    /// Who leads, by the newest view.
    pub fn leader(&self) -> Option<NodeId> {
        self.lock().latest.as_ref().and_then(|(_, leader, _)| *leader)
    }

    /// The newest event, for the live view.
    pub fn last_event(&self) -> Option<String> {
        self.lock().events.last().map(|(_, text)| text.clone())
    }

    /// What nodes told about their membership, with times since `origin`.
    pub fn told(&self, origin: Instant) -> MembershipSeen {
        let known = self.lock();
        MembershipSeen {
            changes: known
                .changes
                .iter()
                .map(|at| at.saturating_duration_since(origin))
                .collect(),
            views: known.views.clone(),
        }
    }

    /// Everything that happened, with seconds since `origin`.
    pub fn events(&self, origin: Instant) -> Vec<summary::Event> {
        let seconds = |at: Instant| match at.checked_duration_since(origin) {
            Some(after) => after.as_secs_f64(),
            None => -origin.duration_since(at).as_secs_f64(),
        };
        let known = self.lock();
        known
            .events
            .iter()
            .map(|(at, text)| summary::Event {
                at_seconds: seconds(*at),
                text: text.clone(),
            })
            .collect()
    }

    /// Processor time since the watch began, and memory, of each node that tells.
    pub fn servers(&self) -> Vec<summary::ServerUsage> {
        let row = |(id, usage): (&NodeId, &NodeUsage)| summary::ServerUsage {
            node: id.0,
            cpu_seconds: usage.cpu_before + usage.cpu_last - usage.cpu_first,
            rss_bytes_max: usage.rss_bytes_max,
        };
        self.lock().processes.iter().map(row).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn event(&mut self, text: String) {
        if self.events.len() < EVENTS_MAX {
            self.events.push((Instant::now(), text));
        }
    }
}

impl NodeUsage {
    fn add(&mut self, process: Process) {
        if self.pid != process.pid {
            let restarted = self.pid != 0;
            self.cpu_before += self.cpu_last - self.cpu_first;
            self.cpu_first = if restarted { 0.0 } else { process.cpu_seconds };
            self.pid = process.pid;
        }
        self.cpu_last = process.cpu_seconds;
        self.rss_bytes_max = self
            .rss_bytes_max
            .max(process.rss_bytes)
            .max(process.rss_peak_bytes);
    }
}
