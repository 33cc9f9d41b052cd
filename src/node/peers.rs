//! What other nodes are asked: several at a time, over connections that are kept, and none for longer than a deadline, or
//! than it is believed to be there.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: a deadline for what others answer"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;

use crate::client::connection::NodeConnection;
use crate::client::error::{Error, ErrorKind, wants_tls};
use crate::http::response::Response;
use crate::members::Members;
use crate::roster::NodeId;
use crate::tls::settings::ClientTls;

/// A node that does not answer in this time could not be asked. A worker waits for it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether a node that has not answered is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// A node that cannot be connected to in this time could not be asked.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(300);
/// Idle connections that are kept to each node.
const IDLE_MAX: usize = 16;
/// The longest answer: a page of a listing.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Connections to the other nodes.
pub(crate) struct Peers {
    idle: Mutex<BTreeMap<NodeId, Vec<NodeConnection>>>,
    /// Whom this node believes, and what it shows; none: plain HTTP. Another one when the certificates change.
    tls: Option<ArcSwap<ClientTls>>,
    /// Nodes that could not be asked since they are not who they should be, or do not speak as this one does.
    untrusted: Mutex<BTreeMap<NodeId, String>>,
}

/// A question: method and target.
#[derive(Clone, Copy)]
struct Question<'q> {
    method: &'q str,
    target: &'q str,
}

/// A node that was asked.
struct AskedPeer<'q> {
    node: NodeId,
    question: Question<'q>,
    connection: NodeConnection,
}

impl Peers {
    pub(crate) fn new(tls: Option<ClientTls>) -> Peers {
        Peers {
            idle: Mutex::default(),
            tls: tls.map(ArcSwap::from_pointee),
            untrusted: Mutex::default(),
        }
    }

    /// Whether nodes are asked over TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The nodes that are not who they should be, and why.
    pub(crate) fn untrusted(&self) -> BTreeMap<NodeId, String> {
        let untrusted = self.untrusted.lock().unwrap_or_else(PoisonError::into_inner);
        untrusted.clone()
    }

    /// Notes whether a node is who it should be, and says so when that changes.
    fn note_trust(&self, node: NodeId, why_not: Option<&str>) {
        let mut untrusted = self.untrusted.lock().unwrap_or_else(PoisonError::into_inner);
        match why_not {
            Some(why) if untrusted.get(&node).is_none_or(|known| known != why) => {
                untrusted.insert(node, why.to_owned());
                log::warn!("Node {node} cannot be asked: {why}");
            }
            None if untrusted.remove(&node).is_some() => log::info!("Node {node} can be asked again"),
            Some(_) | None => {}
        }
    }

    /// What the head of an answer, or its absence, says of who has given it.
    fn judge(&self, node: NodeId, head: &Result<Response, Error>) {
        match head {
            Err(error) if error.kind == ErrorKind::Untrusted => self.note_trust(node, Some(&error.text)),
            Ok(response) if wants_tls(response.status, self.tls.is_none()) => {
                self.note_trust(node, Some("it speaks TLS, and this node does not"));
            }
            Ok(_) => self.note_trust(node, None),
            Err(_) => {}
        }
    }

    /// Believes others from now on, and shows something else.
    pub(crate) fn set_tls(&self, tls: ClientTls) {
        if let Some(current) = &self.tls {
            current.store(Arc::new(tls));
        }
        // Those that are kept were made by what was.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks all of `nodes` at once, each for its target, and waits for each as long as `is_there` holds for it. `None`: it did
    /// not answer, or with something else.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        members: &Members,
        nodes: &[NodeId],
        (method, target): (&str, &dyn Fn(NodeId) -> String),
        is_there: impl Fn(NodeId) -> bool,
    ) -> Vec<(NodeId, Option<T>)> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let targets: Vec<(NodeId, String)> = nodes.iter().map(|node| (*node, target(*node))).collect();
        let asked: Vec<_> = targets
            .iter()
            .map(|(node, target)| {
                let question = Question { method, target };
                (*node, self.send(members, *node, question, deadline))
            })
            .collect();
        asked
            .into_iter()
            .map(|(node, asked)| {
                let wait = || is_there(node) && Instant::now() < deadline;
                let read = |asked| self.read(members, asked, (deadline, &wait));
                (node, asked.and_then(read))
            })
            .collect()
    }

    /// A connection to a node: one that was kept, or a new one.
    pub(crate) fn connect(&self, members: &Members, node: NodeId) -> Option<NodeConnection> {
        self.connect_or_say(members, node).ok()
    }

    /// The same, or why there is none.
    pub(crate) fn connect_or_say(&self, members: &Members, node: NodeId) -> Result<NodeConnection, Error> {
        match self.kept(node) {
            Some(connection) => Ok(connection),
            None => self.open(members, node),
        }
    }

    fn open(&self, members: &Members, node: NodeId) -> Result<NodeConnection, Error> {
        let tls = self.tls.as_ref().map(ArcSwap::load);
        let address = members.address(node).unwrap_or_default();
        NodeConnection::open(address, tls.as_deref().map(Arc::as_ref), CONNECT_TIME_MAX)
    }

    fn ask_anew(
        &self,
        members: &Members,
        node: NodeId,
        question: Question<'_>,
        deadline: Instant,
    ) -> Option<NodeConnection> {
        let mut connection = self.open(members, node).ok()?;
        question.send(&mut connection, deadline).ok()?;
        Some(connection)
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

    fn send<'q>(
        &self,
        members: &Members,
        node: NodeId,
        question: Question<'q>,
        deadline: Instant,
    ) -> Option<AskedPeer<'q>> {
        let mut connection = self.connect(members, node)?;
        if question.send(&mut connection, deadline).is_err() {
            connection = self.ask_anew(members, node, question, deadline)?;
        }
        Some(AskedPeer {
            node,
            question,
            connection,
        })
    }

    fn read<T: DeserializeOwned>(
        &self,
        members: &Members,
        mut asked: AskedPeer<'_>,
        (deadline, wait): (Instant, &dyn Fn() -> bool),
    ) -> Option<T> {
        let reused = asked.connection.is_reused();
        let first = head(&mut asked.connection, deadline, wait)?;
        self.judge(asked.node, &first);
        let response = match first {
            Ok(response) => response,
            // Nodes close connections that were idle for long.
            Err(_) if reused && wait() => {
                asked.connection = self.ask_anew(members, asked.node, asked.question, deadline)?;
                let second = head(&mut asked.connection, deadline, wait)?;
                self.judge(asked.node, &second);
                second.ok()?
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

impl Question<'_> {
    fn send(self, connection: &mut NodeConnection, deadline: Instant) -> Result<(), Error> {
        let fields = match self.method {
            "POST" => "Content-Length: 0\r\n",
            _ => "",
        };
        connection.send_head(self.method, self.target, fields, &[], deadline)
    }
}

/// The head of the answer; `None` if it does not begin while there is reason to `wait`.
fn head(
    connection: &mut NodeConnection,
    deadline: Instant,
    wait: &dyn Fn() -> bool,
) -> Option<Result<Response, Error>> {
    while !connection.await_input(LOOK_AGAIN) {
        if !wait() {
            return None;
        }
    }
    Some(connection.head(deadline))
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "a listener stands for a node that hangs")]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_node_is_waited_for_only_while_it_is_there() {
        // The kernel accepts the connection, and nobody ever answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = format!("[nodes]\n1 = \"{}\"\n", silent.local_addr().unwrap());
        let members = Members::parse(&file).unwrap();
        let looks = Cell::new(0);
        let is_there = |_| {
            looks.set(looks.get() + 1);
            looks.get() < 3
        };
        let answers =
            Peers::new(None).ask::<u32>(&members, &[NodeId(1)], ("GET", &|_| "/".to_owned()), is_there);
        assert_eq!(answers, [(NodeId(1), None)]);
        assert_eq!(looks.get(), 3);
    }
}
