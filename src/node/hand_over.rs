//! Giving a copy to the node that it belongs to: sealed bytes as they are, durable there before they go here.
//!
//! A ticket shows that a node asks. The other node verifies every tag, and keeps what is newer than its own copy; either
//! way the copy is of no use here any more.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: deadlines for what is sent to others"
)]

use std::time::{Duration, Instant};

use super::received::Received;
use super::shared::Node;
use crate::client::connection::NodeConnection;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::report::TakenOver;
use crate::roster::NodeId;
use crate::store;
use crate::store::held::Held;
use crate::ticket::{Claims, Purpose, Scope};
use crate::version::WriteOutcome;

/// A node that takes nothing for this long, or gives no receipt, has failed.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// How much is read and sent at a time.
const PIECE_BYTES: usize = 256 << 10;
/// The longest receipt.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Reads bytes at an offset into a buffer, and says how many; 0 at the end.
type ReadAt<'c> = &'c dyn Fn(u64, &mut [u8]) -> Result<usize, store::error::Error>;

/// What is handed over.
enum Cargo<'c> {
    /// A sealed file of so many bytes.
    Sealed(u64, ReadAt<'c>),
    Tombstone,
}

/// What became of a hand-over.
pub(crate) enum Given {
    Taken(NodeId, WriteOutcome),
    /// No node takes it at the moment, and none has it.
    Refused,
    /// A node was sent all of it and has not answered: it may have it or not.
    Unknown,
}

/// Gives an upload that is received, but not stored, to the node that takes it.
pub(crate) fn upload(node: &Node, id: &ImageId, received: &mut Received, standing: &Standing) -> Given {
    let to = standing.assigned(id.user(), id.name());
    let claims = node.claims(to, Purpose::Upload, (received.version(), received.view));
    received.draft.prepare_to_read();
    let draft = &received.draft;
    let read = |offset, buf: &mut [u8]| draft.read(offset, buf);
    let cargo = Cargo::Sealed(draft.bytes(), &read);
    give(node, id, &claims, &cargo)
}

/// Gives this node's copy of a name to the node that it is assigned to, and forgets it here. `false`: that node does not
/// take it at the moment.
pub(crate) fn copy(node: &Node, to: NodeId, id: &ImageId) -> Result<bool, store::error::Error> {
    let Some(held) = node.store.held(id)? else {
        return Ok(true);
    };
    let version = held.copy().version;
    let view = node.cluster.standing().view.unwrap_or_default();
    let claims = node.claims(to, Purpose::HandOver, (version, view));
    let outcome = match &held {
        Held::Tombstone(_) => give(node, id, &claims, &Cargo::Tombstone),
        Held::Image(sealed) => {
            let read = |offset, buf: &mut [u8]| sealed.read_piece(offset, buf);
            give(node, id, &claims, &Cargo::Sealed(sealed.bytes(), &read))
        }
    };
    if !matches!(outcome, Given::Taken(..)) {
        return Ok(false);
    }
    let _lock = node.names.lock(id);
    node.store.forget(id, version)?;
    Ok(true)
}

fn give(node: &Node, id: &ImageId, claims: &Claims, cargo: &Cargo<'_>) -> Given {
    let method = match cargo {
        Cargo::Sealed(..) => "PUT",
        Cargo::Tombstone => "DELETE",
    };
    let ticket = node.tickets.sign(claims, Scope::image(method, id));
    let target = format!("{}?ticket={ticket}", id.target());
    // A kept connection may have been closed meanwhile; a new one tells the truth.
    let attempt = || send(node, claims.node, (method, &target), cargo);
    match attempt().or_else(attempt) {
        None => Given::Refused,
        // Asked again, the node says whether it has it.
        Some(Given::Unknown) => match attempt() {
            // It may have been there before the later one.
            Some(Given::Taken(_, WriteOutcome::Superseded)) if claims.purpose == Purpose::Upload => {
                Given::Unknown
            }
            Some(Given::Taken(to, outcome)) => Given::Taken(to, outcome),
            Some(Given::Refused | Given::Unknown) | None => Given::Unknown,
        },
        Some(given) => given,
    }
}

/// `None`: the connection failed before all of it was sent.
fn send(node: &Node, to: NodeId, (method, target): (&str, &str), cargo: &Cargo<'_>) -> Option<Given> {
    let deadline = || Instant::now() + STEP_TIME_MAX;
    let mut connection = node.peers.connect(&node.members(), to)?;
    let bytes = match cargo {
        Cargo::Sealed(bytes, _) => *bytes,
        Cargo::Tombstone => 0,
    };
    let fields = match cargo {
        // The body goes out only once the node has said that it takes it.
        Cargo::Sealed(..) => {
            format!("Content-Length: {bytes}\r\nExpect: 100-continue\r\nConnection: offer\r\n")
        }
        Cargo::Tombstone => String::new(),
    };
    connection
        .send_head(method, target, &fields, &[], deadline())
        .ok()?;
    if let Cargo::Sealed(_, read) = cargo {
        let response = connection.head(deadline()).ok()?;
        if response.status != 100 {
            connection
                .read_all(&response, ANSWER_BYTES_MAX, deadline())
                .ok()?;
            if response.keep_alive {
                node.peers.keep(to, connection);
            }
            return Some(Given::Refused);
        }
        send_body(&mut connection, bytes, read, &deadline)?;
    }
    Some(answer(node, to, connection, &deadline).unwrap_or(Given::Unknown))
}

fn send_body(
    connection: &mut NodeConnection,
    bytes: u64,
    read: ReadAt<'_>,
    deadline: &impl Fn() -> Instant,
) -> Option<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut sent = 0;
    while sent < bytes {
        let wanted = usize::try_from(bytes - sent).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let count = read(sent, &mut piece[..wanted]).ok().filter(|count| *count > 0)?;
        connection.send(&piece[..count], deadline()).ok()?;
        sent += count as u64;
    }
    Some(())
}

/// What the node says once it has all; `None` if it says nothing that is understood.
fn answer(
    node: &Node,
    to: NodeId,
    mut connection: NodeConnection,
    deadline: &impl Fn() -> Instant,
) -> Option<Given> {
    let response = connection.head(deadline()).ok()?;
    let content = connection
        .read_all(&response, ANSWER_BYTES_MAX, deadline())
        .ok()?;
    if response.keep_alive {
        node.peers.keep(to, connection);
    }
    match response.status {
        200 => {
            let taken: TakenOver = serde_json::from_slice(&content).ok()?;
            Some(Given::Taken(to, taken.outcome))
        }
        // Its disk, or the confirmation of its disk, failed.
        500..=599 if response.status != 503 => None,
        _ => Some(Given::Refused),
    }
}
