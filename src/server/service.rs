//! What the acceptor and all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::acceptor_handle::AcceptorHandle;
use super::authorize::Access;
use super::config::Limits;
use super::gate::Gate;
use super::quota::Quota;
use super::relay::Relays;
use super::survey::Surveys;
use super::traffic::Traffic;
use crate::node::shared::Node;
use crate::socket::pressure::Pressure;
use crate::tls::settings::ServerTls;

pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    /// Which requests are let in; another one when the members change.
    pub(crate) gate: ArcSwap<Gate>,
    /// Who may do what; another one when the tokens change.
    pub(crate) access: ArcSwap<Access>,
    /// What is shown to whoever connects; none: plain HTTP. Another one when the certificates change.
    pub(crate) tls: Option<ArcSwap<ServerTls>>,
    /// What people have to know of this node's certificate, in sentences.
    pub(crate) certificate_complaints: ArcSwap<Vec<String>>,
    /// Open connections.
    pub(crate) connections: Arc<Quota>,
    pub(crate) acceptor: AcceptorHandle,
    /// Connections that wait for a worker, because their clients have as many as they may.
    pub(crate) waiting: AtomicUsize,
    /// Connections that a worker serves or that are in the queue for one.
    pub(crate) workers: Arc<Quota>,
    /// What clients can make this node spend.
    pub(crate) limits: Limits,
    /// How scarce workers are.
    pub(crate) pressure: Arc<Pressure>,
    /// Requests that are passed on to the nodes that take them.
    pub(crate) relays: Arc<Relays>,
    /// All of them are, and not only those that ask for it: clients are sent nowhere.
    pub(crate) relays_all: bool,
    /// What the members said of themselves last.
    pub(crate) surveys: Surveys,
    /// Others than this machine can connect.
    pub(crate) is_remote: bool,
    /// No connection is accepted, and no further request is read.
    pub(crate) closed: AtomicBool,
    /// What came of requests.
    pub(crate) traffic: Traffic,
    /// When the node started, in milliseconds since 1970.
    pub(crate) started_ms: u64,
}

impl Service {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether everybody who can reach this node from elsewhere may do everything.
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.is_remote && self.access.load().tokens.is_none()
    }

    /// Whether a worker that is free would be given a connection at once.
    pub(crate) fn do_others_wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Closes the door: what a worker has begun to serve goes on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.acceptor.wake();
    }
}
