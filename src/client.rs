//! The client's side of the cluster: offer, upload, read, list, remove, ask for the state.
//!
//! Holds one kept-alive connection to each node, blocks, and waits on nothing without a bound. A [`Client`] belongs to
//! one thread; threads that want to work at once have one each. Retries live here, not in the server: uploads are
//! idempotent, and a node that just died is unreachable until the others have noticed.
//!
//! - [`connection`]: one connection, a request out, an answer in
//! - [`answer`]: what nodes say in JSON: receipts, lists, their state
//! - [`upload`]: one image offered to the nodes and sent to the one that accepts it
//! - [`download`]: one image read back, wherever it lies

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: sockets, deadlines, and waiting before an offer is repeated"
)]

pub mod answer;
pub mod connection;
pub mod download;
pub mod error;
pub mod upload;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::balancer;
use crate::http::response::Response;
use crate::http::target::Target;
use crate::image_id::ImageId;
use crate::members::Members;
use crate::roster::{NodeId, Roster};
use answer::{List, Status};
use connection::NodeConnection;
use error::{Error, ErrorKind};

/// The longest answer that is read into memory: a list of a million images.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The most redirects followed for one request: the cluster itself gives up after two.
pub const HOPS_MAX: u32 = 3;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to an offer, which no node needs to think about.
    pub offer: Duration,
    /// For each read or write of a body, and for a receipt.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(1),
            offer: Duration::from_secs(2),
            body: Duration::from_secs(30),
        }
    }
}

/// Connections to the members of a cluster, and what is known about them.
pub struct Client {
    nodes: BTreeMap<NodeId, Member>,
    patience: Patience,
    /// Who is believed to be alive: decides only who is asked first.
    alive: Roster,
    /// Where pieces of files are read; grows to the largest so far.
    buf: Vec<u8>,
}

struct Member {
    address: String,
    connection: Option<NodeConnection>,
    /// Until then nobody bothers a node that did not answer.
    rests_until: Option<Instant>,
    /// How often in a row it did not answer.
    rests: u32,
}

/// An answer that was read whole.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who gave it, after redirects.
    pub node: NodeId,
    /// Its head.
    pub response: Response,
    /// Its content.
    pub content: Vec<u8>,
}

impl Answered {
    /// The content as text, for people.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).trim_end().to_owned()
    }
}

impl Client {
    /// A client that has not connected to anybody yet.
    pub fn new(members: &Members, patience: Patience) -> Client {
        let node = |address: &str| Member {
            address: address.to_owned(),
            connection: None,
            rests_until: None,
            rests: 0,
        };
        let nodes: BTreeMap<NodeId, Member> =
            members.iter().map(|(id, address)| (id, node(address))).collect();
        let first = *nodes.keys().next().expect("a cluster has at least one member");
        let alive = Roster::new(first, nodes.keys().copied());
        Client {
            nodes,
            patience,
            alive,
            buf: Vec::new(),
        }
    }

    /// The members, in rising order.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.nodes.iter().map(|(id, node)| (*id, node.address.as_str()))
    }

    /// What one node says about itself and the cluster.
    pub fn status(&mut self, id: NodeId) -> Result<Status, Error> {
        let answered = self.ask(id, "GET", "/cluster")?;
        parse_json(&answered)
    }

    /// A user's images, on the whole cluster, page after page. Any node that answers will do.
    pub fn list(&mut self, user: &str, deadline: Instant) -> Result<List, Error> {
        let mut whole = List::default();
        loop {
            let after = whole
                .next
                .take()
                .map_or_else(String::new, |name| format!("?after={name}"));
            let answered = self.fetch(None, "GET", &format!("/images/{user}/{after}"), deadline)?;
            if answered.response.status != 200 {
                return Err(error_of(&answered));
            }
            let page: List = parse_json(&answered)?;
            whole.images.extend(page.images);
            whole.missing.extend(
                page.missing
                    .iter()
                    .filter(|id| !whole.missing.contains(id))
                    .collect::<Vec<_>>(),
            );
            whole.next = page.next;
            if whole.next.is_none() {
                return Ok(whole);
            }
        }
    }

    /// Removes an image, wherever it lies. `false`: no node has it.
    pub fn remove(&mut self, image: &ImageId, deadline: Instant) -> Result<bool, Error> {
        let first = balancer::assigned(image.user(), image.name(), &self.alive);
        let answered = self.fetch(Some(first), "DELETE", &target_of(image), deadline)?;
        match answered.response.status {
            200 | 202 | 204 => Ok(true),
            404 => Ok(false),
            _ => Err(error_of(&answered)),
        }
    }

    /// Asks one node and reads the whole answer, whatever its status.
    pub fn ask(&mut self, id: NodeId, method: &str, target: &str) -> Result<Answered, Error> {
        let deadline = Instant::now() + self.patience.body;
        let (mut connection, response) = self.request(id, method, target, "")?;
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

    /// Asks `first` (or anybody), follows redirects, goes on with the next node while one is busy or does not
    /// answer, and repeats that until the deadline.
    pub fn fetch(
        &mut self,
        first: Option<NodeId>,
        method: &str,
        target: &str,
        deadline: Instant,
    ) -> Result<Answered, Error> {
        let mut route = RoundRobin::new(self, first, target);
        loop {
            let (id, target) = route.next(self);
            let outcome = self.ask(id, method, &target);
            match outcome {
                Ok(answered) if answered.response.status == 307 => {
                    route.redirect(self, &answered.response)?
                }
                Ok(answered) if answered.response.status != 503 => return Ok(answered),
                Ok(answered) => route.record_failure(deadline, error_of(&answered))?,
                Err(error) => route.record_failure(deadline, error)?,
            }
        }
    }

    /// Sends a request without a body and reads the head of the answer. A kept connection that turns out to be
    /// closed is replaced once, at once: nodes close idle ones.
    fn request(
        &mut self,
        id: NodeId,
        method: &str,
        target: &str,
        fields: &str,
    ) -> Result<(NodeConnection, Response), Error> {
        loop {
            let mut connection = self.take(id)?;
            let reused = connection.is_reused();
            let deadline = Instant::now() + self.patience.body;
            let sent = connection.send_head(method, target, fields, &[], deadline);
            match sent.and_then(|()| connection.head(deadline)) {
                Ok(response) => return Ok((connection, response)),
                Err(error) if reused && error.kind == ErrorKind::Lost => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The connection to a node, kept or new; whoever takes it gives it back with `keep`.
    fn take(&mut self, id: NodeId) -> Result<NodeConnection, Error> {
        let node = self.nodes.get_mut(&id).expect("only members are asked");
        match node.connection.take() {
            Some(connection) => Ok(connection),
            None => NodeConnection::open(&node.address, self.patience.connect),
        }
    }

    fn keep(&mut self, id: NodeId, connection: NodeConnection, response: &Response) {
        let node = self.nodes.get_mut(&id).expect("only members are asked");
        node.rests_until = None;
        node.rests = 0;
        if response.keep_alive {
            node.connection = Some(connection);
        }
    }

    /// Which member `Location` points at, and the target to ask it for.
    fn place(&self, location: &str) -> Option<(NodeId, String)> {
        let authority = Target::parse(location).ok()?.authority?;
        let (id, _) = self.members().find(|(_, address)| *address == authority)?;
        let path = location.split_once("://")?.1.strip_prefix(authority)?;
        Some((id, path.to_owned()))
    }
}

/// Whom a request goes to next: redirects first, then the members in turn.
struct RoundRobin {
    order: Vec<NodeId>,
    turn: usize,
    target: String,
    redirected: Option<(NodeId, String)>,
    hops: u32,
}

impl RoundRobin {
    fn new(client: &Client, first: Option<NodeId>, target: &str) -> RoundRobin {
        let mut order: Vec<NodeId> = client.nodes.keys().copied().collect();
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

    fn next(&mut self, client: &Client) -> (NodeId, String) {
        self.redirected
            .take()
            .filter(|(id, _)| client.nodes.contains_key(id))
            .unwrap_or_else(|| (self.order[self.turn % self.order.len()], self.target.clone()))
    }

    fn redirect(&mut self, client: &Client, response: &Response) -> Result<(), Error> {
        self.hops += 1;
        let location = response.location.as_deref().unwrap_or_default();
        self.redirected = client.place(location);
        if self.redirected.is_none() || self.hops > HOPS_MAX {
            return Err(Error {
                kind: ErrorKind::Protocol,
                text: format!("was sent to {location:?}, which is no member of this cluster, or in circles"),
            });
        }
        Ok(())
    }

    /// Goes on with the next member; after a whole round, waits a little. Hands the error back when time is up,
    /// or when the last round should have found somebody and did not.
    fn record_failure(&mut self, deadline: Instant, error: Error) -> Result<(), Error> {
        self.turn += 1;
        self.hops = 0;
        if self.turn.is_multiple_of(self.order.len()) {
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(upload::pause(self.turn as u64));
        }
        Ok(())
    }
}

/// The request target of an image. Users and names hold only characters that need no escaping.
pub fn target_of(image: &ImageId) -> String {
    format!("/images/{image}")
}

fn parse_json<T: serde::de::DeserializeOwned>(answered: &Answered) -> Result<T, Error> {
    serde_json::from_slice(&answered.content).map_err(|e| Error {
        kind: ErrorKind::Protocol,
        text: format!(
            "node {} answered with JSON that is not understood: {e}",
            answered.node
        ),
    })
}

/// A final answer that is no success, as a error.
fn error_of(answered: &Answered) -> Error {
    let status = answered.response.status;
    Error {
        kind: ErrorKind::of_status(status),
        text: format!("node {} answered {status}: {}", answered.node, answered.text()),
    }
}
