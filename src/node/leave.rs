//! How a node goes, so that nobody loses an upload by it and its images can be read for as long as possible.
//!
//! ```text
//! takes no more ─► what is in progress ends, others place without this node ─► tells the others ─► closes its door
//!                  (it answers reads, and is in the view)
//! ```
//!
//! Telling the others comes last. A node that is in the view confirms what it has received, or hands it over to the
//! node that takes it by now, and its images can be read through all nodes. All of it is bounded by the grace that the
//! node was given, whatever clients do.

use std::sync::TryLockError;
use std::time::Duration;

use super::pause::pause;
use super::shared::Node;
use crate::condition::{Condition, ConditionSource};
use crate::version::Time;

/// How long a node that leaves waits until uploads are placed without it. Where nobody else takes them, as when all
/// nodes of a cluster are stopped at once, they stay placed on it.
const PLACEMENT_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the thread of the cluster may take to tell the others.
const TELL_TIME_MAX: Duration = Duration::from_secs(1);

/// Takes no more writes, and waits until what is in progress has ended, and until uploads are placed without this node; at most for `grace`. Returns when the grace ends, on the clock of the cluster.
pub(crate) fn drain(node: &Node, grace: Duration) -> Duration {
    let start = node.cluster.now();
    let deadline = start.saturating_add(grace);
    node.transfers.end();
    node.condition.set(ConditionSource::Leaving, Condition::Draining);
    let awaited = node.transfers.awaited();
    log::info!(
        "Node {}: Leaving; {awaited} {} being finished (at most {} s)",
        node.id,
        awaited.verb(),
        grace.as_secs()
    );
    while node.cluster.now() < deadline {
        let placement_is_awaited = node.cluster.now() < start + PLACEMENT_TIME_MAX && is_placed_on(node);
        if node.transfers.awaited().is_empty() && !placement_is_awaited {
            break;
        }
        pause();
    }
    deadline
}

/// Tells the others that this node is gone. Waits for writes that are being confirmed before, until `deadline`.
pub(crate) fn tell(node: &Node, deadline: Duration) {
    let confirmed = loop {
        match node.confirmations.try_write() {
            Ok(confirmed) => break Some(confirmed),
            Err(TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if node.cluster.now() >= deadline => break None,
            Err(TryLockError::WouldBlock) => pause(),
        }
    };
    let clock = node.clock.now(node.wall_ms());
    node.cluster.leave();
    drop(confirmed);
    let until = node.cluster.now() + TELL_TIME_MAX;
    // The process may end as soon as this returns.
    while node.cluster.standing().view.is_some() && node.cluster.now() < until {
        pause();
    }
    keep_known(node, clock);
}

/// Writes down what this node knows of the others, for its next life; `clock` is from before it told them.
fn keep_known(node: &Node, clock: Time) {
    let standing = node.cluster.standing();
    let knowledge = standing.knowledge(clock, node.clock.stored());
    // It may note and be told more as long as it is in a view.
    if standing.view.is_some() || knowledge.is_of_nobody() {
        return;
    }
    let text = serde_json::to_string(&knowledge).expect("it has only plain fields");
    if let Err(error) = node.store.keep_known(&text) {
        log::warn!(
            "Node {}: {error}: after its next start it has to ask others what they know",
            node.id
        );
    }
}

/// Whether some other node may still place uploads on this one.
fn is_placed_on(node: &Node) -> bool {
    let roster = &node.cluster.view().roster;
    let is_alone = roster.ids() == [node.id];
    !is_alone && (roster.places_on(node.id) || !node.cluster.standing().is_ready)
}
