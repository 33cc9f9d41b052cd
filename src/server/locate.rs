//! What only the other nodes know: who holds an image, and what they have of a user.
//!
//! Placement says where an image goes while the alive ids stay as they are. They do not, so an image may lie on a
//! node that would not get it today, and whoever is asked looks further.

use std::time::Duration;

use super::Node;
use crate::balancer;
use crate::client::Client;
use crate::client::answer::List;
use crate::client::ask::target_of;
use crate::client::nodes::Patience;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// A node that does not answer in this time could not be asked. Workers wait for it.
const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(300),
    offer: Duration::from_secs(1),
    body: Duration::from_secs(2),
};

/// Where an image is.
pub enum Found {
    /// Another node has it.
    At(NodeId),
    /// Every other node said no.
    Nowhere,
    /// Nobody has it who could be asked; these could not.
    Unknown(Vec<NodeId>),
}

/// Asks the other nodes for `id`: first the one it is assigned to, whose copy is the newest, then the rest.
pub fn holder(node: &Node, id: &ImageId) -> Found {
    let assigned = balancer::assigned(id.user(), id.name(), &node.cluster.view().roster);
    let mut others: Vec<NodeId> = node.others().collect();
    others.sort_by_key(|other| *other != assigned);
    let mut silent = Vec::new();
    for other in others {
        match has(node, other, id) {
            Some(true) => return Found::At(other),
            Some(false) => {}
            None => silent.push(other),
        }
    }
    if silent.is_empty() {
        Found::Nowhere
    } else {
        Found::Unknown(silent)
    }
}

/// Whether `other` has `id` in its own folder; `None` if it could not be asked.
pub fn has(node: &Node, other: NodeId, id: &ImageId) -> Option<bool> {
    let mut client = Client::new(&node.members, PATIENCE);
    let answered = client
        .ask(other, "HEAD", &format!("{}?local", target_of(id)))
        .ok()?;
    match answered.response.status {
        200 => Some(true),
        404 => Some(false),
        _ => None,
    }
}

/// One page of what `other` has of a user in its own folder; `None` if it could not be asked.
pub fn list(node: &Node, other: NodeId, user: &str, after: &str, limit: usize) -> Option<List> {
    let mut client = Client::new(&node.members, PATIENCE);
    let target = format!("/images/{user}/?local&limit={limit}&after={after}");
    let answered = client
        .ask(other, "GET", &target)
        .ok()
        .filter(|answered| answered.response.status == 200)?;
    serde_json::from_slice(&answered.content).ok()
}
