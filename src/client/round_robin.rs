//! Which node a request goes to next: the one that a redirect names, otherwise the members in turn.

use std::time::Instant;

use super::backoff;
use super::error::{Error, ErrorKind};
use super::nodes::Nodes;
use crate::http::response::Response;
use crate::roster::NodeId;

/// The most redirects followed for one request: the cluster itself gives up after two.
pub(super) const HOPS_MAX: u32 = 3;

pub(super) struct RoundRobin {
    order: Vec<NodeId>,
    turn: usize,
    target: String,
    redirected: Option<(NodeId, String)>,
    hops: u32,
}

impl RoundRobin {
    /// Begins with `first`, if it is a member.
    pub(super) fn new(nodes: &Nodes, first: Option<NodeId>, target: &str) -> RoundRobin {
        let mut order: Vec<NodeId> = nodes.members().map(|(id, _)| id).collect();
        if let Some(at) = first.and_then(|first| order.iter().position(|id| *id == first)) {
            order.rotate_left(at);
        }
        RoundRobin {
            order,
            turn: 0,
            target: target.to_owned(),
            redirected: None,
            hops: 0,
        }
    }

    /// The next node, and the target to ask it for.
    pub(super) fn next(&mut self) -> (NodeId, String) {
        let in_turn = || (self.order[self.turn % self.order.len()], self.target.clone());
        self.redirected.take().unwrap_or_else(in_turn)
    }

    /// `sender` has answered with a redirect. Members that become known by it take their turns too.
    pub(super) fn redirect(
        &mut self,
        nodes: &mut Nodes,
        sender: NodeId,
        response: &Response,
    ) -> Result<(), Error> {
        self.hops += 1;
        let location = response.location.as_deref().unwrap_or_default();
        self.redirected = nodes.locate(sender, location);
        let new = nodes
            .members()
            .map(|(id, _)| id)
            .filter(|id| !self.order.contains(id));
        self.order.extend(new.collect::<Vec<_>>());
        if self.redirected.is_none() || self.hops > HOPS_MAX {
            return Err(Error {
                kind: ErrorKind::Protocol,
                text: format!("was sent to {location:?}, which is no member of this cluster, or in circles"),
            });
        }
        Ok(())
    }

    /// Goes on with the next member; after a whole round, pauses. Returns the error when a round ends after the
    /// deadline.
    pub(super) fn record_failure(&mut self, deadline: Instant, error: Error) -> Result<(), Error> {
        self.turn += 1;
        self.hops = 0;
        if self.turn.is_multiple_of(self.order.len()) {
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(backoff::pause(self.turn as u64));
        }
        Ok(())
    }
}
