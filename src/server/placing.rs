//! Whose upload it is, and which copy of an image counts.
//!
//! Everything that follows from placement being computed by each node alone: refusing with a redirect, accepting what
//! another node sent on, and preferring the copy on the node that an image is assigned to today. Asking other nodes is
//! `locate`'s.

use std::fmt::Display;

use super::connection::Connection;
use super::counters::Counters;
use super::download::{self, Reply, Sent};
use super::front::busy;
use super::locate::{self, Found};
use super::request::{Get, Put, Reach, Request};
use super::upload::{self, Place};
use super::{Node, store_answer};
use crate::balancer::{self, Verdict};
use crate::http::answer::Answer;
use crate::http::head::Framing;
use crate::image_id::ImageId;
use crate::roster::NodeId;
use crate::store;

/// After this many redirects an upload is told to come back later: two nodes see different clusters.
const HOPS_MAX: u32 = 2;

/// Whose upload it is: this node's, and it may be sent to the place that is returned; or the answer that says
/// otherwise, before any of the body is read.
pub fn place<'n>(node: &'n Node, id: &ImageId, put: &Put, request: &Request) -> Result<Place<'n>, Answer> {
    let view = node.cluster.view();
    let referral = put.referral;
    match balancer::verdict(node.id, id.user(), id.name(), &view.roster) {
        // Whoever redirected knew at least as much as this node does.
        Verdict::Theirs(_) if (1..=HOPS_MAX).contains(&referral.hops) && referral.term >= view.term => {}
        Verdict::Theirs(_) if referral.hops >= HOPS_MAX => {
            return Err(busy("The nodes see different clusters at the moment."));
        }
        Verdict::Theirs(other) => {
            log::info!(
                "Node {}: Request assigned to Node {other} (round-robin), rejecting",
                node.id
            );
            Counters::add(&node.counters.uploads_redirected, 1);
            let query = format_args!("?term={}&hop={}", view.term, referral.hops + 1);
            return Err(redirect(
                node,
                other,
                id,
                query,
                format_args!("Request assigned to Node {other}"),
            ));
        }
        Verdict::Mine => {}
    }
    if node.desk.is_closing() {
        return Err(busy("This node is leaving."));
    }
    if let Framing::Length(length) = request.framing
        && length > node.limits.body_bytes_max
    {
        return Err(upload::too_large(node.limits.body_bytes_max));
    }
    match put.only_new.then(|| node.store.find(id)) {
        Some(Ok(Some(_))) => return Err(store_answer(&store::Error::Taken)),
        Some(Err(e)) => return Err(store_answer(&e)),
        Some(Ok(None)) | None => {}
    }
    // Before the client is asked for the body: a folder that cannot be written would have it sent for nothing.
    let draft = node.store.begin().map_err(|e| store_answer(&e))?;
    log::info!(
        "Node {}: Assigned to me via load balancing (alive nodes: {})",
        node.id,
        view.roster
    );
    Ok(Place { view, draft })
}

fn redirect(node: &Node, other: NodeId, id: &ImageId, query: impl Display, text: impl Display) -> Answer {
    let address = node.members.address(other).unwrap_or_default();
    Answer::text(307, text).field("Location", format_args!("http://{address}/images/{id}{query}"))
}

/// Answers GET and HEAD of an image: from this node's copy, unless the node that it is assigned to has one too.
pub fn fetch(node: &Node, connection: &Connection, id: &ImageId, get: &Get, reply: &Reply) -> Sent {
    let held = match node.store.find(id) {
        Ok(held) => held,
        Err(e) => return Sent::Answer(store_answer(&e)),
    };
    let assigned = balancer::assigned(id.user(), id.name(), &node.cluster.view().roster);
    match held {
        // An older copy may have stayed here when the image was uploaded again under another view.
        Some(_)
            if get.reach == Reach::Everywhere
                && assigned != node.id
                && locate::has(node, assigned, id) == Some(true) =>
        {
            Sent::Answer(redirect(
                node,
                assigned,
                id,
                local(get),
                format_args!("Held by Node {assigned}"),
            ))
        }
        Some(sealed) => download::send(node, connection, id, get, &sealed, reply),
        None if get.reach == Reach::Local => Sent::Answer(Answer::text(404, "This node does not hold it.")),
        None => Sent::Answer(match locate::holder(node, id) {
            Found::At(other) => redirect(node, other, id, local(get), format_args!("Held by Node {other}")),
            found => not_found(&found),
        }),
    }
}

/// The holder was found: it need not look further.
fn local(get: &Get) -> &'static str {
    if get.sealed { "?local&sealed" } else { "?local" }
}

/// Removes this node's copy. If another node has one too, the client is sent on, so that no older copy comes back.
pub fn delete(node: &Node, id: &ImageId, reach: Reach) -> Answer {
    let removed = match node.store.delete(id) {
        Ok(removed) => removed,
        Err(e) => return store_answer(&e),
    };
    if removed {
        Counters::add(&node.counters.images_deleted, 1);
        log::info!("Node {}: Image {id} deleted", node.id);
    }
    match (removed, reach) {
        (true, Reach::Local) => Answer::empty(204),
        (false, Reach::Local) => Answer::text(404, "This node does not hold it."),
        (_, Reach::Everywhere) => match locate::holder(node, id) {
            Found::At(other) => redirect(node, other, id, "", format_args!("Held by Node {other}")),
            _ if removed => Answer::empty(204),
            found => not_found(&found),
        },
    }
}

fn not_found(found: &Found) -> Answer {
    match found {
        Found::Unknown(silent) => {
            let names: Vec<String> = silent.iter().map(|id| format!("Node {id}")).collect();
            busy(&format!(
                "Not found, but {} could not be asked.",
                names.join(", ")
            ))
        }
        Found::Nowhere | Found::At(_) => Answer::text(404, "No node holds an image of this name."),
    }
}
