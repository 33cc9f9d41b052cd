//! Watches the cluster during a run: its views, leaders and processes, as the nodes describe them.
//!
//! A thread for each node asks it for `/cluster` a few times a second; a node that hangs delays no other.

#![allow(clippy::disallowed_methods, reason = "an edge: threads and clocks")]

mod node_usage;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use pixseal::client::nodes::Patience;
use pixseal::report::Status;
use pixseal::roster::NodeId;

use crate::config::RunConfig;
use crate::membership::{Membership, MembershipSeen};
use crate::stop_signal::StopSignal;
use crate::summary;
use node_usage::NodeUsage;

const PERIOD: Duration = Duration::from_millis(150);
const EVENTS_MAX: usize = 1000;
/// `/cluster` is answered at once or not at all.
pub(crate) const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(500),
    offer: Duration::from_secs(1),
    body: Duration::from_secs(1),
};

/// Shared by all threads of a run.
#[derive(Default)]
pub(crate) struct Watch {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    membership: Membership,
    events: Vec<(Instant, String)>,
    answering: BTreeMap<NodeId, bool>,
    processes: BTreeMap<NodeId, NodeUsage>,
}

impl Watch {
    /// Starts watching, until `done`.
    pub(crate) fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        config: &'env RunConfig,
        done: &'env StopSignal,
    ) -> std::io::Result<()> {
        for (id, _) in config.members.iter() {
            thread::Builder::new()
                .name(format!("watch-{id}"))
                .spawn_scoped(scope, move || {
                    let mut client = config.client(PATIENCE);
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

    /// Takes in what a node says.
    pub(crate) fn heard(&self, status: &Status) {
        let mut known = self.lock();
        if known.answering.insert(status.node, true) == Some(false) {
            known.event(format!("node {} answers again", status.node));
        }
        if let Some(process) = status.process {
            known.processes.entry(status.node).or_default().add(process);
        }
        if let Some(news) = known.membership.update(status, Instant::now()) {
            known.event(news);
        }
    }

    fn silent(&self, id: NodeId) {
        let mut known = self.lock();
        if known.answering.insert(id, false) == Some(true) {
            known.event(format!("node {id} does not answer"));
            known.membership.note_change(Instant::now());
        }
    }

    /// Notes something that the run itself did to the cluster.
    pub(crate) fn note(&self, text: String) {
        let mut known = self.lock();
        known.event(text);
        known.membership.note_change(Instant::now());
    }

    /// The alive ids that went with `term`; empty if no node has named them yet.
    pub(crate) fn views(&self, term: u64) -> Vec<Vec<NodeId>> {
        self.lock().membership.views(term)
    }

    /// The leader of the newest view.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.lock().membership.leader()
    }

    /// The newest event, for the live view.
    pub(crate) fn last_event(&self) -> Option<String> {
        self.lock().events.last().map(|(_, text)| text.clone())
    }

    /// What nodes said about the membership, with times since `origin`.
    pub(crate) fn membership(&self, origin: Instant) -> MembershipSeen {
        self.lock().membership.seen(origin)
    }

    /// Everything that happened, with seconds since `origin`.
    pub(crate) fn events(&self, origin: Instant) -> Vec<summary::Event> {
        let seconds = |at: Instant| match at.checked_duration_since(origin) {
            Some(after) => after.as_secs_f64(),
            None => -origin.duration_since(at).as_secs_f64(),
        };
        let row = |(at, text): &(Instant, String)| summary::Event {
            at_seconds: seconds(*at),
            text: text.clone(),
        };
        self.lock().events.iter().map(row).collect()
    }

    /// Processor time since the watch began, and memory, of each node that reports them.
    pub(crate) fn servers(&self) -> Vec<summary::ServerUsage> {
        let row = |(id, usage): (&NodeId, &NodeUsage)| summary::ServerUsage {
            node: id.0,
            cpu_seconds: usage.cpu_seconds(),
            rss_bytes_max: usage.rss_bytes_max(),
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
