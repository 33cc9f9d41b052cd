//! A user's images, of this node or of the whole cluster, in pages.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::error::Error;
use super::find::Reach;
use super::peers;
use super::shared::Node;
use crate::balancer;
use crate::report::{Item, Page};
use crate::roster::NodeId;
use crate::seal;

/// The particulars of a listing.
pub(crate) struct List {
    /// Whose images.
    pub(crate) user: String,
    pub(crate) reach: Reach,
    /// Only names after this one.
    pub(crate) after: String,
    /// At most so many.
    pub(crate) limit: usize,
}

/// One page. It names the nodes that could not be asked.
pub(crate) fn list(node: &Node, list: &List) -> Result<Page, Error> {
    let (mut images, mut missing) = (own_images(node, list)?, Vec::new());
    if list.reach == Reach::Everywhere {
        for other in node.others() {
            match peers::list(node, other, &list.user, &list.after, list.limit) {
                Some(theirs) => merge(node, list, &mut images, (other, theirs)),
                None => missing.push(other),
            }
        }
    }
    // A full page may not be the last, and neither may one that merged another node's full page.
    let next = (images.len() >= list.limit)
        .then(|| images.keys().nth(list.limit - 1).cloned())
        .flatten();
    Ok(Page {
        user: list.user.clone(),
        images: images.into_values().take(list.limit).collect(),
        next,
        missing,
    })
}

fn own_images(node: &Node, list: &List) -> Result<BTreeMap<String, Item>, Error> {
    let stored = node.store.list(&list.user, &list.after, list.limit)?;
    let items = stored.into_iter().filter_map(|image| {
        let name = image.id.name().to_owned();
        // A file of an impossible size is damaged; reading it says so.
        let bytes = seal::plain_bytes(image.sealed_bytes)?;
        let since = image
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Some((
            name.clone(),
            Item {
                name,
                bytes,
                modified: since.as_secs(),
                node: Some(node.id),
            },
        ))
    });
    Ok(items.collect())
}

/// The newer of two copies is the image. Nodes that share a folder report the same file, which then counts as held by
/// the node that it is assigned to.
fn merge(node: &Node, list: &List, images: &mut BTreeMap<String, Item>, (other, theirs): (NodeId, Page)) {
    let alive = &node.cluster.view().roster;
    for item in theirs.images {
        let is_assigned = balancer::assigned(&list.user, &item.name, alive) == other;
        let better = images.get(&item.name).is_none_or(|held| {
            held.modified < item.modified || (held.modified == item.modified && is_assigned)
        });
        if better {
            let node = Some(other);
            images.insert(item.name.clone(), Item { node, ..item });
        }
    }
}
