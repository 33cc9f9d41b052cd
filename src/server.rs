//! The server: accept → bounded queue → workers → `handle`, which is the way of an image through the house.
//!
//! - [`front`]: the accept thread, and the connections that wait
//! - [`workers`]: the threads that serve, and their queue
//! - [`connection`]: one client's socket and how long it may take
//! - [`gate`]: who is let in
//! - [`request`]: what a head asks for
//! - [`upload`], [`download`], [`listing`], [`status`]: the answers
//! - [`placing`]: whose upload it is, and which copy of an image counts
//! - [`locate`]: what only the other nodes know
//! - [`opening`]: the way back, a segment at a time
//! - [`counters`]: what is counted

pub mod connection;
pub mod counters;
pub mod download;
pub mod front;
pub mod gate;
pub mod listing;
pub mod locate;
pub mod opening;
pub mod placing;
pub mod request;
pub mod status;
pub mod upload;
pub mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;

use self::connection::{Connection, Seats, is_stall};
use self::counters::Counters;
use self::download::{Reply, Sent};
use self::front::{Desk, Front, busy};
use self::gate::Gate;
use self::request::{Action, Put, Request};
use self::upload::{Failure, Place};
use self::workers::Workers;
use crate::cluster::{Cluster, ClusterSettings};
use crate::http::answer::{Answer, CONTINUE};
use crate::http::body::Body;
use crate::http::head::{self, Error as Fault, Method};
use crate::http::target::Target;
use crate::image_id::ImageId;
use crate::keyset::Keyset;
use crate::members::Members;
use crate::roster::NodeId;
use crate::sealing::blocks::Blocks;
use crate::sealing::pool;
use crate::secrets;
use crate::store::{self, Durability, Store};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id; a member.
    pub id: NodeId,
    /// Every node of the cluster.
    pub members: Members,
    /// Where to listen, TCP and UDP.
    pub listen: SocketAddr,
    /// Folder of the sealed images.
    pub images: PathBuf,
    /// Folder of the keys.
    pub secrets: PathBuf,
    /// When a silent peer is dead.
    pub health_timeout: Duration,
    /// What receipts promise.
    pub durability: Durability,
    /// Bounds on what clients can make this node spend.
    pub limits: Limits,
}

/// Bounds on what clients can make a node spend.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Worker threads, started as they are needed.
    pub workers: usize,
    /// Connections that may wait for a worker.
    pub queue: usize,
    /// The longest image, in bytes.
    pub body_bytes_max: u64,
    /// The most pixels an image may claim.
    pub pixels_max: u64,
    /// Open connections in total.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_address_max: usize,
    /// Blocks of 1 MiB that uploads and downloads share.
    pub blocks: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            workers: 640,
            queue: 640,
            body_bytes_max: 64 << 20,
            pixels_max: 1 << 28,
            connections_max: 4096,
            connections_per_address_max: 1024,
            blocks: 24,
        }
    }
}

/// What all threads of a node share.
pub struct Node {
    id: NodeId,
    members: Members,
    gate: Arc<Gate>,
    keyset: Arc<Keyset>,
    store: Store,
    cluster: Cluster,
    pool: pool::Pool,
    blocks: Blocks,
    counters: Arc<Counters>,
    seats: Arc<Seats>,
    desk: Desk,
    limits: Limits,
}

/// A running node.
pub struct Server {
    node: Arc<Node>,
    accept: thread::JoinHandle<()>,
}

impl Server {
    /// Takes the port, opens folder and keys, joins the cluster and begins to serve. An error is one sentence.
    pub fn start(config: Config) -> Result<Server, String> {
        let listen = config.listen;
        let taken = |e: io::Error| format!("cannot listen on {listen}: {e}");
        let secrets = secrets::load_or_create(&config.secrets).map_err(|e| e.to_string())?;
        let listener = listen_on(listen).map_err(taken)?;
        let store = Store::open(&config.images, config.id, config.durability).map_err(|e| e.to_string())?;
        let incarnation = store.next_incarnation(now()).map_err(|e| e.to_string())?;
        let cluster = Cluster::start(ClusterSettings {
            own: config.id,
            members: config.members.clone(),
            listen,
            key: secrets.cluster_key,
            incarnation,
            health_timeout: config.health_timeout,
        })
        .map_err(taken)?;
        let limits = config.limits;
        let seats = Seats::new(limits.connections_max, limits.connections_per_address_max);
        let counters = Arc::new(Counters::default());
        let turns = Seats::shared_fairly(limits.workers);
        let gate = Arc::new(Gate::new(&config.members, listen));
        let front = Front::new(
            listener,
            Arc::clone(&seats),
            turns,
            Arc::clone(&gate),
            Arc::clone(&counters),
        )
        .map_err(|e| format!("cannot watch connections: {e}"))?;
        let node = Arc::new(Node {
            id: config.id,
            gate,
            members: config.members,
            keyset: Arc::new(secrets.keyset),
            store,
            cluster,
            pool: pool::Pool::new().map_err(|e| format!("cannot start the pool that seals: {e}"))?,
            blocks: Blocks::new(limits.blocks),
            counters,
            seats,
            desk: front.desk(),
            limits,
        });
        let serving = Arc::clone(&node);
        let workers = Workers::new(limits.workers, limits.queue, move |connection, queue| {
            serve(&serving, connection, queue);
        });
        let accept = workers
            .and_then(|workers| front::start(front, workers))
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Server { node, accept })
    }

    /// Tells the others, finishes what is being served, and returns.
    pub fn stop(self) {
        self.node.cluster.leave();
        self.node.desk.close();
        let _ = self.accept.join();
    }
}

#[allow(clippy::disallowed_types, reason = "the only listener")]
fn listen_on(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    // The library asks for 128. When more come at once, the kernel drops them, and they come back after a second.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the edge tells the time to the rooms that must not look"
)]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Serves a connection until it has nothing to say, misbehaves or ends.
fn serve(node: &Node, mut connection: Connection, queue: &Receiver<Connection>) {
    loop {
        // While others wait in the queue, nobody waits for this client's next request.
        let wait = queue.is_empty() && !node.desk.is_closing();
        match next_request(node, &mut connection, wait) {
            Next::Request(request) => match handle(node, &mut connection, &request) {
                After::Reuse if !node.desk.is_closing() => {}
                After::Reuse | After::Close => return,
                After::Reset => return connection.reset(),
                After::Drain => return node.desk.drain(connection),
            },
            Next::Quiet => return node.desk.park(connection),
            Next::Refused(answer, head_only) => {
                if respond(node, &mut connection, answer, false, head_only).is_ok() {
                    node.desk.drain(connection);
                }
                return;
            }
            Next::Ended => return,
        }
    }
}

enum Next {
    Request(Box<Request>),
    /// No complete head yet.
    Quiet,
    /// Not understood or not let in, with whether the answer goes without its content.
    Refused(Answer, bool),
    Ended,
}

fn next_request(node: &Node, connection: &mut Connection, wait: bool) -> Next {
    loop {
        match head::parse(connection.inbox.unread()) {
            Err(fault) => return Next::Refused(fault_answer(fault), false),
            Ok(Some((head, length))) => {
                let (request, head_only) = (admit(node, &head), head.method == Method::Head);
                connection.inbox.consume(length);
                connection.head_since = None;
                return match request {
                    Ok(request) => Next::Request(Box::new(request)),
                    Err(answer) => Next::Refused(answer, head_only),
                };
            }
            Ok(None) => {}
        }
        if connection.is_head_late() {
            return Next::Refused(front::head_too_slow(), false);
        }
        match connection.fill(wait) {
            Ok(0) => return Next::Ended,
            Ok(_) => {}
            Err(e) if is_stall(&e) => return Next::Quiet,
            Err(_) => return Next::Ended,
        }
    }
}

fn admit(node: &Node, head: &head::Head<'_>) -> Result<Request, Answer> {
    let target = Target::parse(head.target).map_err(|why| Answer::text(400, format_args!("{}.", why.0)))?;
    node.gate.admit(head, target.authority)?;
    request::understand(head, &target)
}

fn fault_answer(fault: Fault) -> Answer {
    match fault {
        Fault::Malformed(why) => Answer::text(400, format_args!("Malformed request: {why}.")),
        Fault::TargetTooLong => Answer::text(414, "The request line is too long."),
        Fault::Expectation => Answer::text(417, "The only expectation met here is 100-continue."),
        Fault::TooLarge => Answer::text(431, "The head of the request is too large."),
        Fault::Coding => Answer::text(501, "The only transfer coding taken here is chunked."),
        Fault::Version => Answer::text(505, "This server speaks HTTP/1.1 and HTTP/1.0."),
    }
}

enum After {
    Reuse,
    Close,
    /// Part of an answer was sent, and the rest will not come.
    Reset,
    /// The body was not read: say so, and let the client finish sending.
    Drain,
}

/// The one place where more than two rooms meet.
fn handle(node: &Node, connection: &mut Connection, request: &Request) -> After {
    Counters::add(&node.counters.requests, 1);
    let mut body = Body::new(request.framing);
    let mut continued = false;
    let keep_alive = request.keep_alive && !node.desk.is_closing();
    // A connection may go on after a body that was not read only if that body will not come.
    let held_back = request.offer;
    let answer = match &request.action {
        Action::Put(id, put) => match placing::place(node, id, put, request) {
            Err(answer) => answer,
            Ok(place) => {
                log::info!("Node {}: Processing image upload...", node.id);
                continued = request.expects_continue;
                if continued && connection.write_all(CONTINUE).is_err() {
                    return After::Close;
                }
                match take_in(node, connection, &mut body, id, (put, place)) {
                    Some(answer) => answer,
                    None => return After::Close,
                }
            }
        },
        Action::Get(id, get) => {
            let reusable = keep_alive && body.is_done();
            let reply = Reply {
                head_only: request.head_only,
                keep_alive: reusable,
            };
            match placing::fetch(node, connection, id, get, &reply) {
                Sent::Answer(answer) => answer,
                Sent::Whole if reusable => return After::Reuse,
                Sent::Whole if connection.has_input() => return After::Drain,
                Sent::Whole => return After::Close,
                Sent::Cut => return After::Reset,
            }
        }
        Action::Delete(id, reach) => placing::delete(node, id, *reach),
        Action::List(list) => listing::answer(node, list),
        Action::Cluster => status::cluster(node),
        Action::Healthz => Answer::text(200, "ok"),
        Action::Readyz => status::readyz(node),
        Action::Metrics => status::metrics(node),
        Action::Index => status::index(node),
    };
    let read = body.is_done() || (held_back && !continued);
    match respond(node, connection, answer, keep_alive && read, request.head_only) {
        Err(_) => After::Close,
        Ok(()) if keep_alive && read => After::Reuse,
        // Closing on unread bytes resets the connection, and the answer may be lost with it.
        Ok(()) if !read || connection.has_input() => After::Drain,
        Ok(()) => After::Close,
    }
}

fn respond(
    node: &Node,
    connection: &mut Connection,
    answer: Answer,
    keep_alive: bool,
    head_only: bool,
) -> io::Result<()> {
    match answer.status.0 {
        400..=499 => Counters::add(&node.counters.answers_4xx, 1),
        500..=599 => Counters::add(&node.counters.answers_5xx, 1),
        _ => {}
    }
    let mut out = std::mem::take(&mut connection.outbox);
    out.clear();
    dated(answer).encode(&mut out, keep_alive, head_only);
    let sent = connection.write_all(&out);
    connection.outbox = out;
    sent
}

/// RFC 9110 section 6.6.1: a server with a clock says when it answered.
fn dated(answer: Answer) -> Answer {
    answer.field("Date", httpdate::HttpDate::from(now()))
}

/// Receives an image. `None`: the client is gone.
fn take_in(
    node: &Node,
    connection: &mut Connection,
    body: &mut Body,
    id: &ImageId,
    (put, place): (&Put, Place<'_>),
) -> Option<Answer> {
    match upload::receive(node, connection, body, id, put, place) {
        Ok(receipt) => {
            Counters::add(&node.counters.images, 1);
            Counters::add(&node.counters.bytes, receipt.bytes());
            Some(receipt.answer())
        }
        Err(failure) => {
            Counters::add(&node.counters.uploads_failed, 1);
            match failure {
                Failure::Refused(answer) => {
                    log::info!("Node {}: Upload of {id} refused ({})", node.id, answer.status.0);
                    Some(answer)
                }
                Failure::Lost(why) => {
                    log::info!("Node {}: Upload of {id} lost: {why}", node.id);
                    None
                }
            }
        }
    }
}

/// The single table from what went wrong in the store to what the client is told.
fn store_answer(error: &store::Error) -> Answer {
    match error {
        store::Error::Full(_) => Answer::text(507, "The disk is full; nothing was kept."),
        store::Error::Exhausted(_) => busy("Too many files and connections are open."),
        store::Error::Taken => Answer::text(412, "An image of this name exists."),
        store::Error::Io(text) => {
            log::error!("{text}");
            Answer::text(500, "The images folder cannot be used: see this node's log.")
        }
    }
}

impl Node {
    /// Every configured node but this one.
    fn others(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().map(|(id, _)| id).filter(|id| *id != self.id)
    }
}
