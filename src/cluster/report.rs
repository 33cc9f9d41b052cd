//! What people see of membership: the state of every peer, and the history of the last changes.
//!
//! Times of the history are wall-clock times, for people; nothing is decided by them.
#![allow(clippy::disallowed_methods, reason = "people read wall-clock times")]

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::election::datagram::Rejections;
use crate::election::detector::{PeerState, Transition};
use crate::election::{Election, View};
use crate::members::Members;
use crate::roster::NodeId;

/// Older changes are forgotten.
const HISTORY_MAX: usize = 64;

/// The state of membership at one moment, as one node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whose view this is.
    pub node: NodeId,
    /// The view itself.
    pub view: View,
    /// Every other member, in rising order of id.
    pub peers: Vec<PeerReport>,
    /// Dropped datagrams by cause, since the start.
    pub rejections: Rejections,
    /// The last changes, oldest first.
    pub history: Vec<Entry>,
}

/// One other member.
#[derive(Clone, Debug, Serialize)]
pub struct PeerReport {
    /// Its id.
    pub id: NodeId,
    /// Its `host:port`.
    pub address: String,
    /// What this node holds of it.
    pub state: PeerState,
    /// Milliseconds since this node heard it; `None` if never.
    pub last_heard_ms: Option<u64>,
}

/// One change: of a peer, or of the leader.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When, in milliseconds since 1970 by this machine's clock.
    pub unix_ms: u64,
    /// Who changed.
    pub peer: NodeId,
    /// Its state before.
    pub from: String,
    /// Its state after.
    pub to: String,
    /// Why.
    pub cause: String,
}

#[derive(Default)]
pub(super) struct History(VecDeque<Entry>);

impl Report {
    pub(super) fn of(node: NodeId, members: &Members, election: &Election, history: &History) -> Report {
        let peers = election.peers().map(|(id, state, silent)| PeerReport {
            id,
            address: members.address(id).unwrap_or_default().to_owned(),
            state,
            last_heard_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        });
        Report {
            node,
            view: election.view().clone(),
            peers: peers.collect(),
            rejections: election.rejections(),
            history: history.0.iter().cloned().collect(),
        }
    }
}

impl History {
    pub(super) fn add(&mut self, transition: Transition) {
        let Transition {
            peer,
            from,
            to,
            cause,
        } = transition;
        self.push(peer, from.to_string(), to.to_string(), cause.to_string());
    }

    /// Takes note of a new leader, and of having lost one.
    pub(super) fn led(&mut self, before: &View, now: &View) {
        if (before.term, before.leader) == (now.term, now.leader) {
            return;
        }
        let cause = format!("term {}", now.term);
        if let Some(old) = before.leader.filter(|old| Some(*old) != now.leader) {
            self.push(old, "leader".to_owned(), "member".to_owned(), cause.clone());
        }
        if let Some(new) = now.leader {
            self.push(new, "member".to_owned(), "leader".to_owned(), cause);
        }
    }

    fn push(&mut self, peer: NodeId, from: String, to: String, cause: String) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Entry {
            unix_ms,
            peer,
            from,
            to,
            cause,
        });
    }
}
