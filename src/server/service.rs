//! What the acceptor and all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::acceptor_handle::AcceptorHandle;
use super::gate::Gate;
use super::quota::Quota;
use crate::node::shared::Node;

pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    /// Which requests are let in; another one when the members change.
    pub(crate) gate: ArcSwap<Gate>,
    /// Open connections.
    pub(crate) connections: Arc<Quota>,
    pub(crate) acceptor: AcceptorHandle,
    /// No connection is accepted, and no further request is read.
    pub(crate) closed: AtomicBool,
}

impl Service {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Closes the door: what a worker has begun to serve goes on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.acceptor.wake();
    }
}
