//! A node that runs as somebody who is not the superuser, to whom nothing is read-only.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;

use rustix::process::geteuid;

use super::cluster::TestNode;

const NOBODY: u32 = 65_534;

/// Makes the folders of `node`, and lets it use them whoever it runs as.
pub fn prepare_folders(node: &TestNode) {
    let work = node.images().join(".pixseal");
    fs::create_dir_all(&work).unwrap();
    if geteuid().is_root() {
        let cluster = node.root.parent().unwrap().to_owned();
        for folder in [&cluster, &node.root, &node.images(), &work] {
            chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

/// Starts the node as somebody else than the superuser, and does not wait for it.
pub fn launch(node: &mut TestNode) {
    if geteuid().is_root() {
        let child = node.command().uid(NOBODY).gid(NOBODY).spawn().unwrap();
        node.adopt(child);
    } else {
        node.launch();
    }
}
