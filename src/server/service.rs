//! What the acceptor and all workers share.

use std::sync::Arc;

use super::acceptor_handle::AcceptorHandle;
use super::gate::Gate;
use super::quota::Quota;
use crate::node::shared::Node;

pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    pub(crate) gate: Gate,
    /// Open connections.
    pub(crate) connections: Arc<Quota>,
    pub(crate) acceptor: AcceptorHandle,
}
