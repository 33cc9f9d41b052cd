//! Removing an image: asks first, and removes then.

use super::admit::{Referred, assign};
use super::commit;
use super::conditions::Conditions;
use super::counters::Counters;
use super::error::Error;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::ticket::Claims;

/// What became of an image that was to be removed.
pub(crate) enum Deleted {
    Gone,
    /// Another node takes writes of this name.
    At(Referred),
    Missing,
}

/// Removes an image in the whole cluster, if the conditions hold. Whatever else it ends with, nothing was removed,
/// except with [`Error::Unconfirmed`] and errors of the folder's sync.
pub(crate) fn delete(
    node: &Node,
    id: &ImageId,
    conditions: &Conditions,
    referral: Option<&Claims>,
) -> Result<Deleted, Error> {
    if let Err(referred) = assign(node, id, referral)? {
        return Ok(Deleted::At(referred));
    }
    if !commit::bury(node, id, conditions)? {
        return Ok(Deleted::Missing);
    }
    Counters::add(&node.counters.images_deleted, 1);
    log::info!("Node {}: Image {id} deleted", node.id);
    Ok(Deleted::Gone)
}
