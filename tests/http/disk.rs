//! What happens when the disk is full, read-only or failing. `lost_folder` and `drain` use what waits for conditions here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pixseal::seal;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::mount::{Mounted, say_skipped};
use crate::support::nobody;
use crate::support::strace::Tracer;
use crate::support::wire::{Wire, put_head};
use crate::support::{picture, wait_for};

const TARGET: &str = "/images/alice/cat.png";

/// Waits until the node says this of itself.
pub(crate) fn await_condition(node: &TestNode, condition: &str) {
    wait_for(condition, || {
        (node.state()?["condition"] == condition).then_some(())
    });
}

/// Waits until the node has said this in its log so often, or more: lines are written a moment after they were said.
pub(crate) fn await_log(node: &TestNode, text: &str, times: usize) {
    wait_for(text, || (node.log().matches(text).count() >= times).then_some(()));
}

/// What the node answers to the head of an upload whose body would come only after `100 Continue`.
pub(crate) fn offered(node: &TestNode) -> u16 {
    let mut wire = Wire::connect(node.address);
    let fields = "Expect: 100-continue\r\n";
    wire.send(&put_head(node.address, "/images/alice/offer.png", 100, fields));
    wire.answer().unwrap().status
}

pub(crate) const MOUNT_RIGHT: &str = "the right to mount a disk";

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let Some(_disk) = Mounted::small_disk(&cluster.node(1).images()) else {
        return say_skipped("a_full_disk_is_said_and_leaves_nothing", MOUNT_RIGHT);
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    for image in [picture::sized(1_500_000), picture::sized(4_000_000)] {
        let answer = node.put(TARGET, &image);
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert_eq!(node.files(), [""; 0]);
        await_condition(node, "disk full");
        await_condition(node, "able");
    }
    let image = picture::sized(400_000);
    assert_eq!(node.put(TARGET, &image).status, 201);
    assert_eq!(
        node.put("/images/alice/dog.png", &picture::sized(800_000)).status,
        507
    );
    assert_eq!(node.files(), ["encrypted_cat.alice.png"]);
    cluster.node_mut(1).kill();
}

#[test]
fn a_disk_that_fills_up_takes_no_images_and_gives_those_it_has() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let Some(_disk) = Mounted::small_disk(&cluster.node(1).images()) else {
        return say_skipped(
            "a_disk_that_fills_up_takes_no_images_and_gives_those_it_has",
            MOUNT_RIGHT,
        );
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    let image = picture::sized(100_000);
    assert_eq!(node.put(TARGET, &image).status, 201);
    let filler = node.images().join("filler");
    fs::write(&filler, vec![0; 890_000]).unwrap();
    await_condition(node, "disk full");
    assert_eq!(offered(node), 507, "before the body");
    let refused = node.put("/images/alice/dog.png", &picture::dot());
    assert_eq!(refused.status, 507);
    let ready = node.ask("GET", "/readyz");
    assert_eq!(ready.status, 503);
    let warnings = node.state().unwrap()["warnings"].to_string();
    await_log(node, "has no room", 1);
    for said in [refused.text(), ready.text(), warnings, node.log()] {
        assert!(said.contains("has no room"), "{said}");
        assert!(said.contains(node.images().to_str().unwrap()), "{said}");
    }
    assert_eq!(node.ask("GET", TARGET).body, image);
    fs::remove_file(filler).unwrap();
    await_condition(node, "able");
    assert_eq!(node.ask("GET", "/readyz").status, 200);
    assert_eq!(node.put("/images/alice/dog.png", &image).status, 201);
    await_log(node, "Node 1: takes images again", 1);
    cluster.node_mut(1).kill();
}

#[test]
fn a_disk_that_can_only_be_read_takes_no_images_and_gives_those_it_has() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node(1);
    let Some(disk) = Mounted::ext4(&node.root.join("disk"), &node.images()) else {
        return say_skipped(
            "a_disk_that_can_only_be_read_takes_no_images_and_gives_those_it_has",
            "mkfs.ext4 and the right to mount a disk",
        );
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    disk.abort();
    assert_eq!(offered(node), 503, "before the body");
    await_condition(node, "disk read-only");
    let refused = node.put("/images/alice/dog.png", &picture::dot());
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("can only be read"), "{}", refused.text());
    assert_eq!(node.ask("DELETE", TARGET).status, 503);
    assert_eq!(node.ask("GET", "/readyz").status, 503);
    assert_eq!(node.ask("GET", TARGET).body, picture::dot());
    cluster.node_mut(1).kill();
}

#[test]
fn a_folder_that_became_read_only_is_said() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let images = cluster.node(1).images();
    nobody::prepare_folders(cluster.node(1));
    nobody::launch(cluster.node_mut(1));
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    let mode = |mode: u32| {
        for folder in [images.join(".pixseal"), images.clone()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o500);
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 503);
    await_condition(node, "disk read-only");
    assert_eq!(node.ask("GET", "/readyz").status, 503);
    assert_eq!(node.ask("DELETE", TARGET).status, 503);
    assert_eq!(node.ask("GET", TARGET).status, 200, "what is there can be read");
    mode(0o700);
    await_condition(node, "able");
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 201);
}

#[test]
fn a_file_that_would_be_too_long_for_the_process_fails_one_upload_and_nothing_else() {
    const LIMIT: usize = 2000 << 10;
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node_mut(1);
    node.prefix = vec!["prlimit".to_owned(), format!("--fsize={LIMIT}")];
    if Command::new("prlimit").arg("--version").output().is_err() {
        return say_skipped("a_file_that_would_be_too_long_for_the_process…", "prlimit");
    }
    node.start();
    cluster.await_agreement();
    let node = cluster.node(1);
    let longest = usize::try_from(seal::plain_bytes_within(LIMIT as u64)).unwrap();
    await_log(node, &format!("the longest image is {longest} bytes"), 1);
    let refused = node.put(TARGET, &picture::sized(longest + 1));
    assert_eq!(refused.status, 413);
    assert!(
        refused.text().contains(&longest.to_string()),
        "{}",
        refused.text()
    );
    assert_eq!(node.put(TARGET, &picture::sized(longest)).status, 201);
    // The limit changes under the node.
    let lower = format!("--fsize={}", LIMIT / 2);
    let pid = node.pid().to_string();
    let lowered = Command::new("prlimit").args(["--pid", &pid, &lower]).status();
    assert!(lowered.unwrap().success());
    let failed = node.put("/images/alice/dog.png", &picture::sized(longest));
    assert_eq!(failed.status, 507, "{}", failed.text());
    assert!(failed.text().contains("ulimit"), "{}", failed.text());
    assert_eq!(node.files(), ["encrypted_cat.alice.png"]);
    // Two looks at the disk later it is as able as before.
    let small = picture::sized(1000);
    for i in 0..3 {
        assert_eq!(node.put(&format!("/images/alice/{i}.png"), &small).status, 201);
    }
    assert!(!node.log().contains("takes no images"), "{}", node.log());
}

#[test]
fn a_change_whose_sync_failed_is_unknown_and_made_durable_by_the_next_try() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let target = "/images/alice/cat.png";
    assert_eq!(node.put(target, &picture::dot()).status, 201);
    let Some(strace) = Tracer::inject(node, ("fsync", "error=EIO")) else {
        return say_skipped("a_change_whose_sync_failed…", "strace");
    };
    let put = node.put("/images/alice/dog.png", &picture::dot());
    let delete = node.ask("DELETE", target);
    for answer in [put, delete] {
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("may be kept or not"), "{}", answer.text());
    }
    let files = ["encrypted_cat.alice.png", "encrypted_dog.alice.png"];
    assert_eq!(node.files(), files, "nothing was removed");
    await_condition(node, "disk failing");
    drop(strace);
    await_condition(node, "able");
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 200);
    // The delete has taken place; now it is finished.
    assert_eq!(node.ask("DELETE", target).status, 404);
    assert_eq!(node.files(), files[1..]);
    assert_eq!(node.ask("GET", "/images/alice/dog.png").status, 200);
}
