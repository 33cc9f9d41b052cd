//! The marker by which people have a node take no images. A node looks at its own several times a second, and at its
//! start: it stays so over restarts.
//!
//! ```text
//! .pixseal/<node>.drain    an empty file: the node takes no images
//! ```

use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::work::{FOLDER, WorkFolder};
use crate::durable::{self, Durability, Folder, Replace};
use crate::roster::NodeId;

/// Marks `node`, durably, and returns whether it was not marked before. It may run or not.
pub fn mark(images: &Path, node: NodeId) -> Result<bool, Error> {
    let work = open_used(images, node)?;
    let temporary = work.create_temporary(format!("{node}-drain-{}.part", std::process::id()), 0o600)?;
    match temporary.commit(&work, name(node), Replace::Refused, Durability::Fsync) {
        Ok(_) => Ok(true),
        Err(durable::Error::Taken) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Removes the marker, durably, and returns whether there was one.
pub fn unmark(images: &Path, node: NodeId) -> Result<bool, Error> {
    let work = open_used(images, node)?;
    let was_marked = work.remove(&name(node))?;
    work.sync()?;
    Ok(was_marked)
}

pub(super) fn is_marked(work: &WorkFolder) -> Result<bool, Error> {
    Ok(work.folder().look_at(&name(work.node))?.is_some())
}

fn name(node: NodeId) -> String {
    format!("{node}.drain")
}

/// The folder beside the images, if the node has ever used it. A marker anywhere else would do nothing.
fn open_used(images: &Path, node: NodeId) -> Result<Arc<Folder>, Error> {
    let path = images.join(FOLDER);
    let work = Folder::open(&path).ok();
    let incarnation = format!("{node}.incarnation");
    let is_used = |work: &Arc<Folder>| work.look_at(&incarnation).is_ok_and(|found| found.is_some());
    work.filter(is_used).ok_or_else(|| {
        Error::Io(format!(
            "Node {node} has never used the images folder {} (there is no {}): name its folder with --images; nothing \
             was changed",
            images.display(),
            path.join(&incarnation).display()
        ))
    })
}
