//! The state of membership as `/cluster` shows it: every peer, and the last changes.
//!
//! The history has wall-clock times for people to read; nothing is decided by them.
#![allow(clippy::disallowed_methods, reason = "people read wall-clock times")]

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::election::Election;
use crate::election::datagram::Rejections;
use crate::election::detector::{PeerState, Transition};
use crate::election::event::View;
use crate::members::Members;
use crate::report::{Change, Peer};
use crate::roster::NodeId;

/// Older changes are forgotten.
const HISTORY_MAX: usize = 64;

/// The state of membership at one moment, as one node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Every other member, in rising order of id.
    pub(crate) peers: Vec<Peer>,
    /// Dropped datagrams since the start, by reason.
    pub(crate) rejections: Rejections,
    /// Oldest first.
    pub(crate) history: Vec<Change>,
    /// How often each kind of change happened since the start.
    pub(crate) changes: Changes,
    /// What a person has to know, in sentences.
    pub(crate) warnings: Vec<String>,
}

/// Changes of membership since the start, by kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Changes {
    /// Another leader, or another term.
    pub(crate) leader_changes: u64,
    /// Peers that became suspect.
    pub(crate) suspicions: u64,
    /// Peers that were found dead.
    pub(crate) deaths: u64,
}

#[derive(Default)]
pub(super) struct History {
    last: VecDeque<Change>,
    changes: Changes,
}

impl Report {
    pub(super) fn of(members: &Members, election: &Election, history: &History) -> Report {
        let peers = election.peers().map(|(id, state, silent)| Peer {
            id,
            address: members.address(id).unwrap_or_default().to_owned(),
            url: members.url(id).map(str::to_owned),
            state: state.to_string(),
            condition: election.condition_of(id).to_string(),
            clock_offset_ms: None,
            last_heard_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        });
        Report {
            peers: peers.collect(),
            rejections: election.rejections(),
            history: history.last.iter().cloned().collect(),
            changes: history.changes,
            warnings: Vec::new(),
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
        match to {
            PeerState::Suspect => self.changes.suspicions += 1,
            PeerState::Dead => self.changes.deaths += 1,
            _ => {}
        }
        self.push(peer, from.to_string(), to.to_string(), cause.to_string());
    }

    /// Records a new leader, and the loss of one.
    pub(super) fn add_leader_change(&mut self, before: &View, now: &View) {
        if (before.term, before.leader) == (now.term, now.leader) {
            return;
        }
        self.changes.leader_changes += 1;
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
        if self.last.len() == HISTORY_MAX {
            self.last.pop_front();
        }
        self.last.push_back(Change {
            unix_ms,
            peer,
            from,
            to,
            cause,
        });
    }
}
