//! What nodes say of themselves in every datagram, apart from the election.

use std::time::Duration;

use crate::condition::Condition;
use crate::roster::{NodeId, ViewId};
use crate::version::Time;

/// How far ahead of the wall clock a node announces what times its writes may have. Less than [`EXPIRY`](super::EXPIRY): a
/// node that takes the names of a silent one need not set its clock forward.
pub const RESERVE_MS: u64 = 500;
/// The same where its clock is ahead of the wall clock.
const RESERVE_AHEAD_MS: u64 = 200;

/// What a node says of itself in every datagram, apart from the election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its hybrid logical clock.
    pub clock: Time,
    /// Its wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// No write that it confirms is later than this, until it says otherwise.
    pub reserve: Time,
    /// No write that it stored in an earlier view than the one that it has installed is later.
    pub stored: Time,
    /// Nothing of what it holds belongs elsewhere, in the view that it says it has installed.
    pub is_clean: bool,
    /// Names the images folder; equal for nodes that share one.
    pub folder: u64,
    /// Fingerprint of the key that it seals with.
    pub primary_key: u64,
    /// Whether it can take images.
    pub condition: Condition,
}

impl Facts {
    /// The reserve of a node whose clock shows `clock`, by a wall clock of `wall_ms`.
    pub fn reserve_at(clock: Time, wall_ms: u64) -> Time {
        Time::from_ms(wall_ms)
            .plus_ms(RESERVE_MS)
            .max(clock.plus_ms(RESERVE_AHEAD_MS))
    }
}

/// A peer was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who.
    pub peer: NodeId,
    /// Grows with each start of the peer.
    pub incarnation: u64,
    /// The view that it has installed; none while it has no leader.
    pub view: Option<ViewId>,
    /// When this node sent the newest datagram that the peer had by then.
    pub echo: Duration,
    /// What it says of itself.
    pub facts: Facts,
}
