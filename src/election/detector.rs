//! Who is alive, as one node hears it: silence makes a suspect, and silence to everybody makes a dead one.
//!
//! A peer that we have not heard for a while becomes a suspect and stays in the roster. It is dead when nobody
//! who told us lately has heard it for the whole timeout either (the second opinion), or sooner if its host says
//! that the port is closed. Such a refusal is not authentic, so it shortens the wait but never replaces the
//! silence: who still talks cannot be refused to death.
//!
//! Time comes in as the time this node was awake: a node that was not running has not waited for anybody.
//! Knows nothing of leaders.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::datagram::Stamp;
use super::message::Hears;
use crate::roster::NodeId;

/// What a node holds of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not heard since this node started.
    Unknown,
    /// Heard, and it hears us.
    Alive,
    /// Silent to us, but not long enough, or others still hear it. Counts as alive.
    Suspect,
    /// Silent to all, refused, or replaced by its next life.
    Dead,
    /// It said that it stops.
    Left,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Unknown => "unknown",
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Dead => "dead",
            State::Left => "left",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Heard => write!(f, "heard"),
            Cause::Hearsay => write!(f, "heard by others"),
            Cause::Silent(silent) => write!(f, "silent for {} ms", silent.as_millis()),
            Cause::Refused(silent) => write!(f, "port closed, silent for {} ms", silent.as_millis()),
            Cause::Restarted => write!(f, "restarted"),
            Cause::Left => write!(f, "it said so"),
            Cause::Slept(slept) => write!(f, "this node was not running for {} ms", slept.as_millis()),
        }
    }
}

impl State {
    /// Whether the peer counts: uploads are placed on it.
    pub fn is_present(self) -> bool {
        matches!(self, State::Alive | State::Suspect)
    }
}

/// Why a peer's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An authentic, fresh datagram.
    Heard,
    /// Others hear it.
    Hearsay,
    /// Nothing for so long.
    Silent(Duration),
    /// Its host said that nobody listens there, and it was silent for so long.
    Refused(Duration),
    /// Its next life was heard.
    Restarted,
    /// It said so.
    Left,
    /// This node itself was not running for so long.
    Slept(Duration),
}

/// A peer's change from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Who changed.
    pub peer: NodeId,
    /// Before.
    pub from: State,
    /// Now.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// The times of the detector, all from one setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) suspect_after: Duration,
    pub(super) dead_after: Duration,
    pub(super) refused_after: Duration,
    /// Hearsay does not raise the dead before this: what others say may have been said before the death.
    pub(super) hearsay_after: Duration,
}

pub(super) struct Detector {
    pace: Pace,
    peers: BTreeMap<NodeId, Peer>,
}

pub(super) struct Peer {
    pub(super) state: State,
    /// The newest stamp from it.
    pub(super) stamp: Stamp,
    /// When we last heard it, in the time that this node was awake: the time that peers are judged by.
    heard: Duration,
    /// The same on the clock: the truth that others are told.
    pub(super) heard_clock: Option<Duration>,
    /// When somebody last heard it.
    vouched: Duration,
    /// When it last stopped counting, or this node started.
    ended: Duration,
    refused: bool,
}

impl Detector {
    pub(super) fn new(pace: Pace, peers: impl IntoIterator<Item = NodeId>) -> Detector {
        let unknown = || Peer {
            state: State::Unknown,
            stamp: Stamp::default(),
            heard: Duration::ZERO,
            heard_clock: None,
            vouched: Duration::ZERO,
            ended: Duration::ZERO,
            refused: false,
        };
        Detector {
            pace,
            peers: peers.into_iter().map(|id| (id, unknown())).collect(),
        }
    }

    /// Every peer in rising order of id, in every state.
    pub(super) fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub(super) fn present(&self) -> impl Iterator<Item = NodeId> {
        self.peers()
            .filter(|(_, peer)| peer.state.is_present())
            .map(|(id, _)| id)
    }

    pub(super) fn is_present(&self, id: NodeId) -> bool {
        self.peer(id).is_some_and(|peer| peer.state.is_present())
    }

    /// Whether every peer was heard after `since`.
    pub(super) fn all_heard_after(&self, since: Duration) -> bool {
        self.peers
            .values()
            .all(|peer| peer.state == State::Alive && peer.heard > since)
    }

    /// When a present peer that stays silent to us, whatever others say, has been so for the whole timeout.
    pub(super) fn out_of_touch_at(&self, id: NodeId) -> Option<Duration> {
        let peer = self.peer(id).filter(|peer| peer.state.is_present())?;
        Some(peer.heard + self.pace.dead_after)
    }

    /// Takes note of a newer stamp. A new incarnation proves that the life before it is over.
    pub(super) fn stamped(&mut self, id: NodeId, stamp: Stamp, awake: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&id)?;
        let restarted = stamp.incarnation > peer.stamp.incarnation;
        peer.stamp = stamp;
        let to = match peer.state {
            State::Alive | State::Suspect if restarted => State::Dead,
            // Nobody lost it: it had said good-bye, and now it is new.
            State::Left if restarted => State::Unknown,
            _ => return None,
        };
        Some(peer.end(id, to, Cause::Restarted, awake))
    }

    /// The peer lives and hears us.
    pub(super) fn heard(&mut self, id: NodeId, awake: Duration, clock: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&id).filter(|peer| peer.state != State::Left)?;
        peer.heard = awake;
        peer.heard_clock = Some(clock);
        peer.refused = false;
        (peer.state != State::Alive).then(|| peer.become_present(id, State::Alive, Cause::Heard))
    }

    /// Another peer told us what it hears.
    pub(super) fn vouched(&mut self, hears: Hears, awake: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&hears.peer)?;
        let when = awake.saturating_sub(Duration::from_millis(hears.silent_ms.into()));
        if peer.state.is_present() {
            peer.vouched = peer.vouched.max(when);
            return None;
        }
        if when <= peer.ended + self.pace.hearsay_after || when + self.pace.suspect_after <= awake {
            return None;
        }
        peer.vouched = when;
        Some(peer.become_present(hears.peer, State::Suspect, Cause::Hearsay))
    }

    /// The peer's host said that nobody listens on its port.
    pub(super) fn refused(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.refused = true;
        }
    }

    /// The peer said that it stops.
    pub(super) fn left(&mut self, id: NodeId, awake: Duration) -> Option<Transition> {
        let peer = self.peers.get_mut(&id).filter(|peer| peer.state.is_present())?;
        Some(peer.end(id, State::Left, Cause::Left, awake))
    }

    /// Who has been silent for too long.
    pub(super) fn judge(&mut self, awake: Duration) -> Vec<Transition> {
        let pace = self.pace;
        self.peers
            .iter_mut()
            .filter_map(|(id, peer)| peer.judge(*id, pace, awake))
            .collect()
    }

    /// When somebody will have been silent for too long, if nothing is heard before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.peers
            .values()
            .filter_map(|peer| peer.deadline(self.pace))
            .min()
    }
}

impl Peer {
    fn judge(&mut self, id: NodeId, pace: Pace, awake: Duration) -> Option<Transition> {
        if self.deadline(pace)? > awake {
            return None;
        }
        let silent = awake - self.heard;
        if self.dead_at(pace) <= awake {
            let cause = if self.refused {
                Cause::Refused(silent)
            } else {
                Cause::Silent(silent)
            };
            return Some(self.end(id, State::Dead, cause, awake));
        }
        let from = std::mem::replace(&mut self.state, State::Suspect);
        Some(Transition {
            peer: id,
            from,
            to: self.state,
            cause: Cause::Silent(silent),
        })
    }

    fn deadline(&self, pace: Pace) -> Option<Duration> {
        match self.state {
            State::Alive => Some(self.dead_at(pace).min(self.heard + pace.suspect_after)),
            State::Suspect => Some(self.dead_at(pace)),
            State::Unknown | State::Dead | State::Left => None,
        }
    }

    fn dead_at(&self, pace: Pace) -> Duration {
        let patience = if self.refused {
            pace.refused_after
        } else {
            pace.dead_after
        };
        self.heard.max(self.vouched) + patience
    }

    fn become_present(&mut self, peer: NodeId, to: State, cause: Cause) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        Transition {
            peer,
            from,
            to,
            cause,
        }
    }

    fn end(&mut self, peer: NodeId, to: State, cause: Cause, awake: Duration) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.ended = awake;
        self.refused = false;
        Transition {
            peer,
            from,
            to,
            cause,
        }
    }
}
