//! What the acceptor and all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::acceptor_handle::AcceptorHandle;
use super::authorize::Access;
use super::gate::Gate;
use super::quota::Quota;
use crate::node::shared::Node;

pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    /// Which requests are let in; another one when the members change.
    pub(crate) gate: ArcSwap<Gate>,
    /// Who may do what; another one when the tokens change.
    pub(crate) access: ArcSwap<Access>,
    /// Open connections.
    pub(crate) connections: Arc<Quota>,
    pub(crate) acceptor: AcceptorHandle,
    /// Others than this machine can connect.
    pub(crate) is_remote: bool,
    /// No connection is accepted, and no further request is read.
    pub(crate) closed: AtomicBool,
}

impl Service {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether everybody who can reach this node from elsewhere may do everything.
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.is_remote && self.access.load().tokens.is_none()
    }

    /// Closes the door: what a worker has begun to serve goes on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.acceptor.wake();
    }
}
