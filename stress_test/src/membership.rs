//! What nodes say about the membership: alive ids and leaders by term, and when they changed. Each view is kept once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pixseal::report::Status;
use pixseal::roster::NodeId;

const TERMS_MAX: usize = 10_000;

/// The membership as the nodes' answers show it.
#[derive(Default)]
pub(crate) struct Membership {
    views: BTreeMap<u64, Vec<Vec<NodeId>>>,
    latest: Option<Latest>,
    changes: Vec<Instant>,
}

struct Latest {
    term: u64,
    leader: Option<NodeId>,
    alive: Vec<NodeId>,
}

/// What nodes said about the membership during a run.
#[derive(Default)]
pub(crate) struct MembershipSeen {
    /// When it changed, since the run began.
    pub(crate) changes: Vec<Duration>,
    /// The alive ids of each term; several while two leaders meet.
    pub(crate) views: BTreeMap<u64, Vec<Vec<NodeId>>>,
}

impl Membership {
    /// Takes in what a node says; returns a sentence if it is news.
    pub(crate) fn update(&mut self, status: &Status, now: Instant) -> Option<String> {
        if self.views.len() >= TERMS_MAX {
            return None;
        }
        let views = self.views.entry(status.term).or_default();
        let new = !views.contains(&status.alive);
        if new {
            views.push(status.alive.clone());
        }
        let newer = self.latest.as_ref().is_none_or(|latest| {
            status.term > latest.term
                || (status.term == latest.term && new)
                || (latest.leader.is_none() && status.leader.is_some() && latest.alive == status.alive)
        });
        if !newer {
            return None;
        }
        if self.latest.is_some() {
            self.changes.push(now);
        }
        self.latest = Some(Latest {
            term: status.term,
            leader: status.leader,
            alive: status.alive.clone(),
        });
        let ids: Vec<u32> = status.alive.iter().map(|id| id.0).collect();
        let leader = status
            .leader
            .map_or("no leader".to_owned(), |id| format!("node {id} leads"));
        Some(format!("term {}: {leader}, alive {ids:?}", status.term))
    }

    /// Notes a moment from which on the membership may change.
    pub(crate) fn note_change(&mut self, now: Instant) {
        self.changes.push(now);
    }

    /// The alive ids that went with `term`; empty if no node has named them yet.
    pub(crate) fn views(&self, term: u64) -> Vec<Vec<NodeId>> {
        self.views.get(&term).cloned().unwrap_or_default()
    }

    /// The leader of the newest view.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.latest.as_ref().and_then(|latest| latest.leader)
    }

    /// Everything seen, with times since `origin`.
    pub(crate) fn seen(&self, origin: Instant) -> MembershipSeen {
        let since = |at: &Instant| at.saturating_duration_since(origin);
        MembershipSeen {
            changes: self.changes.iter().map(since).collect(),
            views: self.views.clone(),
        }
    }
}
