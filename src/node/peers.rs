//! What other nodes are asked: whether they have an image, and what they have of a user.

use std::time::Duration;

use super::shared::Node;
use crate::client::Client;
use crate::client::ask::target_of;
use crate::client::nodes::Patience;
use crate::image_id::ImageId;
use crate::report::Page;
use crate::roster::NodeId;

/// A node that does not answer in this time could not be asked. A worker waits for it.
const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(300),
    offer: Duration::from_secs(1),
    body: Duration::from_secs(2),
};

/// Whether `other` has `id` in its own folder; `None` if it could not be asked.
pub(crate) fn has(node: &Node, other: NodeId, id: &ImageId) -> Option<bool> {
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
pub(crate) fn list(node: &Node, other: NodeId, user: &str, after: &str, limit: usize) -> Option<Page> {
    let mut client = Client::new(&node.members, PATIENCE);
    let target = format!("/images/{user}/?local&limit={limit}&after={after}");
    let answered = client
        .ask(other, "GET", &target)
        .ok()
        .filter(|answered| answered.response.status == 200)?;
    serde_json::from_slice(&answered.content).ok()
}
