//! What other nodes are asked: several at a time, over connections that are kept, and none for longer than a deadline.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: a deadline for what others answer"
)]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::client::connection::NodeConnection;
use crate::members::Members;
use crate::roster::NodeId;

/// A node that does not answer in this time could not be asked. A worker waits for it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// A node that cannot be connected to in this time could not be asked.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(300);
/// Idle connections that are kept to each node.
const IDLE_MAX: usize = 16;
/// The longest answer: a page of a listing.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Connections to the other nodes.
#[derive(Default)]
pub(crate) struct Peers {
    idle: Mutex<BTreeMap<NodeId, Vec<NodeConnection>>>,
}

/// A question that was sent.
struct Question {
    node: NodeId,
    connection: NodeConnection,
}

impl Peers {
    /// Asks all of `nodes` for `target` at once. `None`: it did not answer, or with something else.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        members: &Members,
        nodes: &[NodeId],
        target: &str,
    ) -> Vec<(NodeId, Option<T>)> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let asked: Vec<_> = nodes
            .iter()
            .map(|node| (*node, self.send(members, *node, target, deadline)))
            .collect();
        asked
            .into_iter()
            .map(|(node, asked)| {
                (
                    node,
                    asked.and_then(|asked| self.read(members, asked, target, deadline)),
                )
            })
            .collect()
    }

    /// A connection to a node: one that was kept, or a new one.
    pub(crate) fn connect(&self, members: &Members, node: NodeId) -> Option<NodeConnection> {
        self.kept(node).or_else(|| open(members, node))
    }

    /// Keeps a connection whose answer was read whole and that may be used again.
    pub(crate) fn keep(&self, node: NodeId, connection: NodeConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.entry(node).or_default();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    fn kept(&self, node: NodeId) -> Option<NodeConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(&node)?.pop()
    }

    fn send(&self, members: &Members, node: NodeId, target: &str, deadline: Instant) -> Option<Question> {
        let mut connection = self.connect(members, node)?;
        if connection.send_head("GET", target, "", &[], deadline).is_err() {
            connection = ask_anew(members, node, target, deadline)?;
        }
        Some(Question { node, connection })
    }

    fn read<T: DeserializeOwned>(
        &self,
        members: &Members,
        mut asked: Question,
        target: &str,
        deadline: Instant,
    ) -> Option<T> {
        let reused = asked.connection.is_reused();
        let response = match asked.connection.head(deadline) {
            Ok(response) => response,
            // Nodes close connections that were idle for long.
            Err(_) if reused && Instant::now() < deadline => {
                asked.connection = ask_anew(members, asked.node, target, deadline)?;
                asked.connection.head(deadline).ok()?
            }
            Err(_) => return None,
        };
        let content = asked
            .connection
            .read_all(&response, ANSWER_BYTES_MAX, deadline)
            .ok()?;
        if response.keep_alive {
            self.keep(asked.node, asked.connection);
        }
        (response.status == 200)
            .then(|| serde_json::from_slice(&content).ok())
            .flatten()
    }
}

fn ask_anew(members: &Members, node: NodeId, target: &str, deadline: Instant) -> Option<NodeConnection> {
    let mut connection = open(members, node)?;
    connection.send_head("GET", target, "", &[], deadline).ok()?;
    Some(connection)
}

fn open(members: &Members, node: NodeId) -> Option<NodeConnection> {
    NodeConnection::open(members.address(node)?, CONNECT_TIME_MAX).ok()
}
