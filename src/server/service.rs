//! What the acceptor and all workers share.

use std::sync::Arc;

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
}
