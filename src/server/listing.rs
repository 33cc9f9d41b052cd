//! A user's images as JSON, of this node or of the whole cluster, in pages.
//!
//! ```json
//! {"user":"alice","images":[{"name":"cat.png","bytes":1234,"modified":1790000000,"node":2}],"next":null,"missing":[]}
//! ```
//!
//! `modified` counts seconds since 1970. `next` is the name to continue `?after=`, or null on the last page.
//! `missing` names the nodes that could not be asked: the list is as true as it can be, and says what it lacks.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::locate;
use super::request::{List, Reach};
use super::{Node, store_answer};
use crate::balancer;
use crate::client::answer;
use crate::http::answer::Answer;
use crate::roster::NodeId;
use crate::seal;

#[derive(Serialize)]
struct Page<'a> {
    user: &'a str,
    images: Vec<Item>,
    next: Option<String>,
    missing: Vec<NodeId>,
}

#[derive(Clone, Serialize)]
struct Item {
    name: String,
    bytes: u64,
    modified: u64,
    node: NodeId,
}

/// Answers `GET /images/{user}/`.
pub fn answer(node: &Node, list: &List) -> Answer {
    let own = match own_images(node, list) {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let (mut images, mut missing) = (own, Vec::new());
    if list.reach == Reach::Everywhere {
        for other in node.others() {
            match locate::list(node, other, &list.user, &list.after, list.limit) {
                Some(theirs) => merge(node, list, &mut images, (other, theirs)),
                None => missing.push(other),
            }
        }
    }
    // Whoever filled the page may have more, and so may a node whose page was full.
    let next = (images.len() >= list.limit)
        .then(|| images.keys().nth(list.limit - 1).cloned())
        .flatten();
    let images = images.into_values().take(list.limit).collect();
    let page = Page {
        user: &list.user,
        images,
        next,
        missing,
    };
    Answer::json(
        200,
        serde_json::to_vec(&page).expect("a page has only plain fields"),
    )
}

fn own_images(node: &Node, list: &List) -> Result<BTreeMap<String, Item>, Answer> {
    let entries = node
        .store
        .list(&list.user, &list.after, list.limit)
        .map_err(|e| store_answer(&e))?;
    let items = entries.into_iter().filter_map(|entry| {
        let name = entry.id.name().to_owned();
        // A file of an impossible size is damaged; reading it says so.
        let bytes = seal::plain_bytes(entry.sealed_bytes)?;
        let since = entry
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Some((
            name.clone(),
            Item {
                name,
                bytes,
                modified: since.as_secs(),
                node: node.id,
            },
        ))
    });
    Ok(items.collect())
}

/// The newer of two copies is the image. Nodes that share a folder report the same file, which then counts as held by
/// the node that it is assigned to.
fn merge(
    node: &Node,
    list: &List,
    images: &mut BTreeMap<String, Item>,
    (other, theirs): (NodeId, answer::List),
) {
    let alive = &node.cluster.view().roster;
    for item in theirs.images {
        let modified = item.modified.as_u64().unwrap_or(0);
        let is_assigned = balancer::assigned(&list.user, &item.name, alive) == other;
        let better = images
            .get(&item.name)
            .is_none_or(|held| held.modified < modified || (held.modified == modified && is_assigned));
        if better {
            let name = item.name.clone();
            images.insert(
                name,
                Item {
                    name: item.name,
                    bytes: item.bytes,
                    modified,
                    node: other,
                },
            );
        }
    }
}
