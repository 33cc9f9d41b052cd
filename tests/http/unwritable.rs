//! A node that starts on a disk that cannot be written: it answers reads, and takes images when it can.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::{MOUNT_RIGHT, await_condition, await_log};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::mount::{Mounted, say_skipped};
use crate::support::nobody;
use crate::support::{picture, wait_for};

const KEPT: &str = "/images/alice/kept.png";
const DELETED: &str = "/images/alice/deleted.png";

fn incarnation(node: &TestNode) -> u64 {
    let file = node
        .images()
        .join(".pixseal")
        .join(format!("{}.incarnation", node.id));
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// Two images, one of which is deleted again.
fn leave_images(node: &mut TestNode) {
    for target in [KEPT, DELETED] {
        assert_eq!(node.put(target, &picture::dot()).status, 201);
    }
    assert_eq!(node.ask("DELETE", DELETED).status, 204);
    node.stop();
}

/// What the node was receiving when it was killed.
fn unfinished(node: &TestNode) -> PathBuf {
    node.images().join(".pixseal/1-0.part")
}

fn assert_reads(node: &TestNode, condition: &str) {
    assert_eq!(
        node.state().unwrap()["condition"],
        condition,
        "from the beginning"
    );
    await_log(node, "it starts all the same, and answers reads", 1);
    assert_eq!(node.ask("GET", KEPT).body, picture::dot());
    assert_eq!(node.ask("GET", DELETED).status, 404);
    assert_eq!(
        node.ask("GET", "/images/alice/").json()["images"][0]["name"],
        "kept.png"
    );
    assert_eq!(node.ask("GET", "/readyz").status, 503);
    let refused = node.put("/images/alice/new.png", &picture::dot());
    assert!([503, 507].contains(&refused.status), "{}", refused.text());
}

/// It takes images, and the next start knows of this one.
fn assert_writes(node: &TestNode, last_incarnation: u64) {
    await_condition(node, "able");
    for name in ["a", "b", "c"] {
        assert_eq!(
            node.put(&format!("/images/alice/{name}.png"), &picture::dot())
                .status,
            201
        );
    }
    wait_for("the incarnation is kept", || {
        (incarnation(node) > last_incarnation).then_some(())
    });
}

fn remount(how: &str, folder: &Path) {
    let status = Command::new("mount").args(["-o", how]).arg(folder).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_node_starts_on_a_full_disk() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let Some(disk) = Mounted::small_disk(&cluster.node(1).images()) else {
        return say_skipped("a_node_starts_on_a_full_disk", MOUNT_RIGHT);
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    leave_images(cluster.node_mut(1));
    let last = incarnation(cluster.node(1));
    disk.fill();
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_reads(node, "disk full");
    assert_eq!(incarnation(node), last);
    disk.make_room();
    assert_writes(node, last);
    cluster.node_mut(1).kill();
}

#[test]
fn a_node_starts_on_a_disk_that_can_only_be_read() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let images = cluster.node(1).images();
    let Some(_disk) = Mounted::small_disk(&images) else {
        return say_skipped("a_node_starts_on_a_disk_that_can_only_be_read", MOUNT_RIGHT);
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    leave_images(cluster.node_mut(1));
    let last = incarnation(cluster.node(1));
    fs::write(unfinished(cluster.node(1)), b"x").unwrap();
    remount("remount,ro", &images);
    cluster.node_mut(1).start();
    cluster.await_agreement();
    assert_reads(cluster.node(1), "disk read-only");
    remount("remount,rw", &images);
    assert_writes(cluster.node(1), last);
    cluster.node_mut(1).stop();
    cluster.node_mut(1).start();
    assert!(
        !unfinished(cluster.node(1)).exists(),
        "it is swept as soon as it can be"
    );
    cluster.node_mut(1).kill();
}

/// Such a file system fails every sync, of what nobody has written too.
#[test]
fn a_node_starts_on_a_file_system_that_has_found_an_error_in_itself() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node_mut(1);
    let Some(disk) = Mounted::ext4(&node.root.join("disk"), &node.images()) else {
        return say_skipped(
            "a_node_starts_on_a_file_system…",
            "mkfs.ext4 and the right to mount a disk",
        );
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    leave_images(cluster.node_mut(1));
    disk.abort();
    cluster.node_mut(1).start();
    cluster.await_agreement();
    assert_reads(cluster.node(1), "disk read-only");
    cluster.node_mut(1).kill();
}

#[test]
fn a_node_starts_on_a_folder_that_it_may_only_read() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let images = cluster.node(1).images();
    let work = images.join(".pixseal");
    nobody::prepare_folders(cluster.node(1));
    nobody::launch(cluster.node_mut(1));
    cluster.await_agreement();
    leave_images(cluster.node_mut(1));
    let last = incarnation(cluster.node(1));
    let mode = |mode| {
        for folder in [&work, &images] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    fs::write(unfinished(cluster.node(1)), b"x").unwrap();
    mode(0o500);
    nobody::launch(cluster.node_mut(1));
    cluster.await_agreement();
    assert_reads(cluster.node(1), "disk read-only");
    mode(0o700);
    assert_writes(cluster.node(1), last);
}

#[test]
fn a_folder_that_cannot_be_opened_or_was_never_used_is_no_start() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let images = cluster.node(1).images();
    let assert_no_start = |node: &mut TestNode| {
        node.launch();
        assert_eq!(node.await_end().code(), Some(2));
        assert!(node.log().contains(images.to_str().unwrap()), "{}", node.log());
    };
    fs::write(&images, b"a file").unwrap();
    assert_no_start(cluster.node_mut(1));
    fs::remove_file(&images).unwrap();
    let Some(_disk) = Mounted::small_disk(&images) else {
        return say_skipped("a_folder_that_cannot_be_opened…", MOUNT_RIGHT);
    };
    remount("remount,ro", &images);
    assert_no_start(cluster.node_mut(1));
}
