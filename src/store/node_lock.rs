//! One process for each node id in a folder: a second one would sweep away what the first one receives.
//!
//! ```text
//! .pixseal/<node>.lock    locked while the node runs; holds its process id, for people
//! ```
//!
//! The kernel gives the lock back when its holder ends, however that happens; the file stays.

#![allow(
    clippy::disallowed_types,
    reason = "part of the store, which is the edge to the file system"
)]

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Error, failed};
use crate::durable::Folder;
use crate::roster::NodeId;

/// The lock of a node id, until dropped.
pub(super) struct NodeLock {
    /// The lock belongs to the open file.
    _file: File,
}

impl NodeLock {
    /// Takes the lock of `node` in `work`, or says who has it. Never waits.
    pub(super) fn take(work: &Folder, node: NodeId) -> Result<NodeLock, Error> {
        let name = format!("{node}.lock");
        let mut file = work.open_lock_file(&name)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(taken(work, node, &file)),
            Err(e) => return Err(failed("lock", &work.path().join(name), &e.into())),
        }
        // For people only: on a disk without room, nobody is named.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(NodeLock { _file: file })
    }
}

fn taken(work: &Folder, node: NodeId, file: &File) -> Error {
    let images = work.path().parent().unwrap_or(work.path()).display();
    let holder = io::read_to_string(file).unwrap_or_default();
    let holder = match holder.trim().parse::<u32>() {
        Ok(process) => format!("process {process}"),
        Err(_) => "another process".to_owned(),
    };
    Error::Io(format!(
        "Node {node} runs already in the images folder {images} ({holder}): stop that one first, or give this one \
         another folder (--images)"
    ))
}
