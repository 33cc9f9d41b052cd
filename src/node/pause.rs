//! Waiting for the cluster: for a leader, for a view that all have installed, for nodes that do not answer.

#![allow(clippy::disallowed_methods, reason = "an edge: looks again after a while")]

use std::time::Duration;

/// How often a worker that waits for the cluster looks again.
const INTERVAL: Duration = Duration::from_millis(5);

pub(crate) fn pause() {
    std::thread::sleep(INTERVAL);
}
