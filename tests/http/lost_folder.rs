//! What happens when the images folder is not where it was: nothing about images is answered until it is back.

use std::fs;

use crate::disk::{MOUNT_RIGHT, await_condition, await_log, offered};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::mount::{Mounted, say_skipped};
use crate::support::picture;

const TARGET: &str = "/images/alice/cat.png";

/// Everything about images is 503 with what is wrong and what to do, and the node is not ready; nothing is created.
fn assert_lost(node: &TestNode) {
    let images = node.images();
    let before = node.files();
    for (method, target) in [
        ("GET", TARGET),
        ("GET", "/images/alice/none.png"),
        ("GET", "/images/alice/cat.png?local"),
        ("GET", "/images/alice/none.png?local"),
        ("GET", "/images/alice/cat.png?version"),
        ("GET", "/images/alice/none.png?version"),
        ("HEAD", TARGET),
        ("HEAD", "/images/alice/none.png"),
        ("GET", "/images/alice/"),
        ("GET", "/images/alice/?local"),
        ("DELETE", TARGET),
        ("DELETE", "/images/alice/none.png"),
        ("GET", "/readyz"),
    ] {
        let answer = node.ask(method, target);
        assert_eq!(answer.status, 503, "{method} {target}: {}", answer.text());
        let said = answer.text();
        let told = said.contains(images.to_str().unwrap()) && said.contains("put it back");
        assert!(told || method == "HEAD", "{method} {target}: {said}");
    }
    assert_eq!(node.put(TARGET, &picture::dot()).status, 503);
    assert_eq!(offered(node), 503);
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    assert_eq!(
        node.files(),
        before,
        "what is written into the folder under a mount point is lost to sight"
    );
    await_condition(node, "images folder lost");
    await_log(node, "is not in place", 1);
}

/// The image is there, and others are taken.
fn assert_back(node: &TestNode) {
    await_condition(node, "able");
    assert_eq!(node.ask("GET", "/readyz").status, 200);
    assert_eq!(node.ask("GET", TARGET).body, picture::dot());
    assert_eq!(node.ask("GET", "/images/alice/none.png").status, 404);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 200);
}

#[test]
fn a_vanished_folder_is_said_and_its_return_noticed() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let (images, elsewhere) = (node.images(), node.root.join("elsewhere"));
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    fs::rename(&images, &elsewhere).unwrap();
    assert_lost(node);
    assert!(!images.exists());
    fs::create_dir(&images).unwrap();
    assert_lost(node);
    fs::remove_dir(&images).unwrap();
    fs::rename(&elsewhere, &images).unwrap();
    assert_back(node);
    fs::remove_dir_all(images.join(".pixseal")).unwrap();
    assert_eq!(
        node.put(TARGET, &picture::dot()).status,
        200,
        "the work folder is made anew"
    );
    fs::remove_dir_all(&images).unwrap();
    assert_lost(node);
}

#[test]
fn a_disk_that_is_unmounted_or_covered_is_said_and_its_return_noticed() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let (images, disk) = (cluster.node(1).images(), cluster.node(1).root.join("disk"));
    fs::create_dir(&images).unwrap();
    fs::create_dir(&disk).unwrap();
    let mount = || Mounted::new(&["--bind"], &disk, &images);
    let Some(mounted) = mount() else {
        return say_skipped(
            "a_disk_that_is_unmounted_or_covered_is_said_and_its_return_noticed",
            MOUNT_RIGHT,
        );
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    drop(mounted);
    assert_lost(node);
    assert_eq!(node.files(), [""; 0]);
    let mounted = mount().unwrap();
    assert_back(node);
    let cover = Mounted::new(&["-t", "tmpfs"], "none", &images).unwrap();
    assert_lost(node);
    assert_eq!(node.files(), [""; 0]);
    drop(cover);
    assert_back(node);
    cluster.node_mut(1).kill();
    drop(mounted);
}
