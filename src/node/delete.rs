//! Removing an image.

use super::counters::Counters;
use super::error::Error;
use super::find::{self, Missing, Reach};
use super::shared::Node;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// What became of an image that was to be removed.
pub(crate) enum Deleted {
    Gone,
    /// Another node has it, whether this one did or not: ask that one, so that no older copy comes back.
    At(NodeId),
    Missing(Missing),
}

/// Removes this node's copy.
pub(crate) fn delete(node: &Node, id: &ImageId, reach: Reach) -> Result<Deleted, Error> {
    let removed = node.store.delete(id)?;
    if removed {
        Counters::add(&node.counters.images_deleted, 1);
        log::info!("Node {}: Image {id} deleted", node.id);
    }
    Ok(match (removed, reach) {
        (true, Reach::Local) => Deleted::Gone,
        (false, Reach::Local) => Deleted::Missing(Missing::Here),
        (_, Reach::Everywhere) => match find::elsewhere(node, id) {
            Ok(other) => Deleted::At(other),
            Err(_) if removed => Deleted::Gone,
            Err(missing) => Deleted::Missing(missing),
        },
    })
}
