//! Why this node takes no images, in one sentence: for its log, `/cluster`, `/readyz` and the clients it refuses.

use super::shared::Node;
use crate::condition::Condition;
use crate::store::error::Error;

/// The condition, and the sentence without its subject; `None` if the node takes images.
pub(crate) fn unable(node: &Node) -> Option<(Condition, String)> {
    let condition = node.condition.get();
    let images = node.store.path();
    let (id, folder) = (node.id, images.display());
    let why = match condition {
        Condition::Able => return None,
        Condition::Draining if node.is_leaving() => "it is stopping".to_owned(),
        Condition::Draining => {
            format!("it is draining (server --undrain {id} --images {folder} ends that)")
        }
        Condition::DiskFull => {
            let room = node.store.room().map(|room| node.min_free.describe(&room));
            let room = room.unwrap_or_else(|e| e.to_string());
            format!("the disk of {folder} has no room ({room})")
        }
        Condition::ReadOnly => format!("the disk of {folder}, or the folder, can only be read"),
        Condition::DiskFailing => {
            format!("the disk of {folder} reports errors (see this node's log, and the kernel's)")
        }
        Condition::OtherKeys => "it does not have the keys that most other nodes have".to_owned(),
        Condition::FolderLost => Error::lost(images).to_string(),
    };
    let rest = if condition.reads_images() {
        "it goes on answering reads"
    } else {
        "until then it answers nothing about images"
    };
    Some((condition, format!("takes no images: {why}; {rest}")))
}
