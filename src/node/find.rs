//! Which node's copy of an image counts, and where it is.
//!
//! In a settled cluster the node that is assigned a name has the only copy, and knows that. Otherwise the nodes are
//! asked (`lookup`).

use super::admit::{Referred, refer};
use super::error::Error;
use super::lookup::{holding, lookup};
use super::shared::Node;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::report::Holding;
use crate::roster::NodeId;
use crate::store::held::Held;
use crate::store::sealed::Sealed;
use crate::ticket::{Claims, Scope};
use crate::version::Newest;

/// A copy that was found elsewhere may be handed over before it is asked for, and one that was found here as well.
const ATTEMPTS: usize = 3;

/// Whether other nodes are asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The whole cluster.
    Everywhere,
    /// This node's folder only.
    Local,
}

/// Where the copy that counts is.
pub(crate) enum Found {
    Here(Sealed),
    At(Referred),
    Missing(Missing),
}

/// Why an image was not found.
pub(crate) enum Missing {
    /// It is not in this node's folder, and no other node was to be asked.
    Here,
    /// No node has it.
    Everywhere,
    /// It cannot be known: these nodes could not be asked. None: the nodes go by different views.
    Unknown(Vec<NodeId>),
}

/// Finds the copy that counts.
pub(crate) fn find(
    node: &Node,
    id: &ImageId,
    reach: Reach,
    referral: Option<&Claims>,
) -> Result<Found, Error> {
    if reach == Reach::Local {
        return Ok(own_image(node, id)?.map_or(Found::Missing(Missing::Here), Found::Here));
    }
    let standing = node.cluster.standing();
    if let Some(found) = find_settled(node, id, &standing, referral)? {
        return Ok(found);
    }
    for _ in 0..ATTEMPTS {
        let lookup = lookup(node, id, None)?;
        match lookup.newest {
            Newest::Image {
                version,
                node: holder,
            } if holder == node.id => {
                // A later copy may have come meanwhile; none at all was handed over.
                match own_image(node, id)? {
                    Some(sealed) if sealed.version() >= version => return Ok(Found::Here(sealed)),
                    Some(_) | None => {}
                }
            }
            Newest::Image { node: to, .. } => {
                let view = lookup.view.unwrap_or_default();
                return refer(to, view, referral).map(Found::At);
            }
            Newest::Deleted(_) | Newest::Absent => return Ok(Found::Missing(Missing::Everywhere)),
            Newest::Unknown(nodes) => return Ok(Found::Missing(Missing::Unknown(nodes))),
        }
    }
    Ok(Found::Missing(Missing::Unknown(Vec::new())))
}

/// In a settled cluster, or in a folder that the assigned node uses as well.
fn find_settled(
    node: &Node,
    id: &ImageId,
    standing: &Standing,
    referral: Option<&Claims>,
) -> Result<Option<Found>, Error> {
    let assigned = standing.assigned(id.user(), id.name());
    let is_shared = node.shares_with_all(standing);
    if standing.is_settled && standing.is_folder_of(assigned) || is_shared {
        let found = own_image(node, id)?.map_or(Found::Missing(Missing::Everywhere), Found::Here);
        return Ok((is_shared || node.is_alone(standing)).then_some(found));
    }
    if !standing.is_settled {
        return Ok(None);
    }
    let target = format!("{}?version", id.target());
    let answer = node
        .ask::<Holding>(&[assigned], (&target, Scope::image("GET", id)))
        .pop();
    let Some((_, Some(holding))) = answer else {
        return Ok(None);
    };
    // What it holds is all there is only as long as the view in which that was so.
    if holding.view != standing.view || !node.is_alone(standing) {
        return Ok(None);
    }
    match holding.copy.filter(|copy| !copy.deleted) {
        None => Ok(Some(Found::Missing(Missing::Everywhere))),
        Some(_) => {
            let view = standing.view.unwrap_or_default();
            refer(assigned, view, referral).map(|referred| Some(Found::At(referred)))
        }
    }
}

fn own_image(node: &Node, id: &ImageId) -> Result<Option<Sealed>, Error> {
    Ok(match node.store.held(id)? {
        Some(Held::Image(sealed)) => Some(sealed),
        Some(Held::Tombstone(_)) | None => None,
    })
}

/// What this node tells another one of a name.
pub(crate) fn tell(node: &Node, id: &ImageId) -> Result<Holding, Error> {
    Ok(holding(node, id)?)
}
