//! Requests without a body, and their answers, read whole.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::connection::NodeConnection;
use super::error::{Error, ErrorKind, wants_tls};
use super::nodes::Nodes;
use super::round_robin::RoundRobin;
use crate::http::response::Response;
use crate::report::Status;
use crate::roster::NodeId;

/// The longest answer that is read into memory: a list of a million images.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// An answer that was read whole.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The node that gave it, after redirects.
    pub(crate) node: NodeId,
    pub(crate) response: Response,
    pub(crate) content: Vec<u8>,
}

impl Answered {
    /// The content as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).trim_end().to_owned()
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.content).map_err(|e| Error {
            kind: ErrorKind::Protocol,
            text: format!(
                "node {} answered with JSON that is not understood: {e}",
                self.node
            ),
        })
    }

    /// A final answer that is no success, as an error.
    pub(super) fn error(&self) -> Error {
        let status = self.response.status;
        Error {
            kind: ErrorKind::of_status(status),
            text: format!("node {} answered {status}: {}", self.node, self.text()),
        }
    }
}

impl Nodes {
    /// What one node says about itself and the cluster.
    pub(super) fn status(&mut self, id: NodeId) -> Result<Status, Error> {
        let answered = self.ask(id, "GET", "/cluster")?;
        match answered.response.status {
            200 => answered.json(),
            status if wants_tls(status, self.tls.is_none()) => Err(Error {
                kind: ErrorKind::Untrusted,
                ..answered.error()
            }),
            _ => Err(answered.error()),
        }
    }

    /// Asks one node and reads the whole answer, whatever its status.
    pub(super) fn ask(&mut self, id: NodeId, method: &str, target: &str) -> Result<Answered, Error> {
        self.ask_within(id, method, target, self.patience.body)
    }

    /// The same, with another patience.
    pub(super) fn ask_within(
        &mut self,
        id: NodeId,
        method: &str,
        target: &str,
        patience: Duration,
    ) -> Result<Answered, Error> {
        let deadline = Instant::now() + patience;
        let (mut connection, response) = self.request(id, method, target, "", patience)?;
        let content = match method {
            "HEAD" => Vec::new(),
            _ => connection.read_all(&response, ANSWER_BYTES_MAX, deadline)?,
        };
        self.keep(id, connection, &response);
        Ok(Answered {
            node: id,
            response,
            content,
        })
    }

    /// Asks `first` (or any node), follows redirects, goes on with the next node while one is busy or does not
    /// answer, and repeats that until the deadline.
    pub(super) fn fetch(
        &mut self,
        first: Option<NodeId>,
        method: &str,
        target: &str,
        deadline: Instant,
    ) -> Result<Answered, Error> {
        let mut nodes = RoundRobin::new(self, first, target);
        loop {
            let (id, target) = nodes.next();
            match self.ask(id, method, &target) {
                Ok(answered) if answered.response.status == 307 => {
                    nodes.redirect(self, id, &answered.response)?;
                }
                Ok(answered) if answered.response.status != 503 => return Ok(answered),
                Ok(answered) => nodes.record_failure(deadline, answered.error())?,
                Err(error) => nodes.record_failure(deadline, error)?,
            }
        }
    }

    /// Sends a request without a body and reads the head of the answer. A kept connection that turns out to be
    /// closed is replaced once, at once: nodes close idle ones.
    pub(super) fn request(
        &mut self,
        id: NodeId,
        method: &str,
        target: &str,
        fields: &str,
        patience: Duration,
    ) -> Result<(NodeConnection, Response), Error> {
        loop {
            let mut connection = self.take(id)?;
            let reused = connection.is_reused();
            let deadline = Instant::now() + patience;
            let sent = connection.send_head(method, target, fields, &[], deadline);
            match sent.and_then(|()| connection.head(deadline)) {
                Ok(response) => return Ok((connection, response)),
                Err(error) if reused && error.kind == ErrorKind::Lost => {}
                Err(error) => return Err(error),
            }
        }
    }
}
