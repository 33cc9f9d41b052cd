//! Which node's copy of an image counts, and where it is.
//!
//! Placement says where an image goes while the alive ids stay as they are. They do not, so an image may lie on a node
//! that would not get it today. A node looks beyond its own folder, and prefers the copy on the node that the image is
//! assigned to today.

use super::error::Error;
use super::peers;
use super::shared::Node;
use crate::balancer;
use crate::image_id::ImageId;
use crate::roster::NodeId;
use crate::store::sealed::Sealed;

/// Whether other nodes are asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The whole cluster.
    Everywhere,
    /// This node's folder only.
    Local,
}

/// Where the copy that counts is.
pub(crate) enum Found<'n> {
    Here(Sealed<'n>),
    At(NodeId),
    Missing(Missing),
}

/// Why an image was not found.
pub(crate) enum Missing {
    /// It is not in this node's folder, and no other node was to be asked.
    Here,
    /// No node has it.
    Everywhere,
    /// No node that could be asked has it; these could not be asked.
    Unknown(Vec<NodeId>),
}

/// Finds an image: this node's copy, unless the node that it is assigned to has one too.
pub(crate) fn find<'n>(node: &'n Node, id: &ImageId, reach: Reach) -> Result<Found<'n>, Error> {
    let held = node.store.find(id)?;
    let assigned = balancer::assigned(id.user(), id.name(), &node.cluster.view().roster);
    Ok(match held {
        // An older copy may have stayed here when the image was uploaded again under another view.
        Some(_)
            if reach == Reach::Everywhere
                && assigned != node.id
                && peers::has(node, assigned, id) == Some(true) =>
        {
            Found::At(assigned)
        }
        Some(sealed) => Found::Here(sealed),
        None if reach == Reach::Local => Found::Missing(Missing::Here),
        None => match elsewhere(node, id) {
            Ok(other) => Found::At(other),
            Err(missing) => Found::Missing(missing),
        },
    })
}

/// Another node that has `id`. The one that it is assigned to is asked first: its copy is the newest.
pub(crate) fn elsewhere(node: &Node, id: &ImageId) -> Result<NodeId, Missing> {
    let assigned = balancer::assigned(id.user(), id.name(), &node.cluster.view().roster);
    let mut others: Vec<NodeId> = node.others().collect();
    others.sort_by_key(|other| *other != assigned);
    let mut silent = Vec::new();
    for other in others {
        match peers::has(node, other, id) {
            Some(true) => return Ok(other),
            Some(false) => {}
            None => silent.push(other),
        }
    }
    Err(if silent.is_empty() {
        Missing::Everywhere
    } else {
        Missing::Unknown(silent)
    })
}
