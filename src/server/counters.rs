//! What a node counts while it works, for `/cluster` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters since the start of the node. They only grow.
#[derive(Default, Serialize)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections_accepted: AtomicU64,
    /// Connections that were refused because a cap was reached.
    pub connections_refused: AtomicU64,
    /// Connections that were refused because the queue was full.
    pub queue_full: AtomicU64,
    /// Requests whose head was understood.
    pub requests: AtomicU64,
    /// Requests that were answered with 400 to 499.
    pub answers_4xx: AtomicU64,
    /// Requests that were answered with 500 to 599.
    pub answers_5xx: AtomicU64,
    /// Uploads that this node took and stored.
    pub images: AtomicU64,
    /// Plaintext bytes of those uploads.
    pub bytes: AtomicU64,
    /// Uploads that this node began to receive and did not store.
    pub uploads_failed: AtomicU64,
    /// Uploads that were assigned to another node.
    pub uploads_redirected: AtomicU64,
    /// Images that were sent.
    pub images_sent: AtomicU64,
    /// Plaintext bytes that were sent.
    pub bytes_sent: AtomicU64,
    /// Images that were removed.
    pub images_deleted: AtomicU64,
    /// Stored files that did not open.
    pub images_damaged: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
