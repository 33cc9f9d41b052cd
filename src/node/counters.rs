//! What a node counts while it works, for `/cluster` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters since the start of the node. They only grow.
#[derive(Default, Serialize)]
pub(crate) struct Counters {
    /// Connections that were accepted.
    pub(crate) connections_accepted: AtomicU64,
    /// Connections that were refused because a cap was reached.
    pub(crate) connections_refused: AtomicU64,
    /// Connections that were refused because the queue was full.
    pub(crate) queue_full: AtomicU64,
    /// Requests whose head was understood.
    pub(crate) requests: AtomicU64,
    /// Requests that were answered with 400 to 499.
    pub(crate) answers_4xx: AtomicU64,
    /// Requests that were answered with 500 to 599.
    pub(crate) answers_5xx: AtomicU64,
    /// Uploads that this node took and stored.
    pub(crate) images: AtomicU64,
    /// Plaintext bytes of those uploads.
    pub(crate) bytes: AtomicU64,
    /// Uploads that this node began to receive and did not store.
    pub(crate) uploads_failed: AtomicU64,
    /// Uploads that were assigned to another node.
    pub(crate) uploads_redirected: AtomicU64,
    /// Images that were sent.
    pub(crate) images_sent: AtomicU64,
    /// Plaintext bytes that were sent.
    pub(crate) bytes_sent: AtomicU64,
    /// Images that were removed.
    pub(crate) images_deleted: AtomicU64,
    /// Copies that were handed over to the node that they are assigned to.
    pub(crate) images_handed_over: AtomicU64,
    /// Stored files that did not open.
    pub(crate) images_damaged: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
