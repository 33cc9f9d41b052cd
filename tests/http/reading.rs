//! Three nodes of which some take no images: the others do, everything can be read, and in the end all is in its place.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::error::ErrorKind;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, Upload, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use serde_json::json;

use crate::disk::{MOUNT_RIGHT, await_condition};
use crate::drain::drain;
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::mount::{Mounted, say_skipped};
use crate::support::{PATIENCE, picture, wait_for};

/// With so much to be kept free, every disk is full.
const ALL_BYTES: &str = "18446744073709551615";

/// What is at each target; none where it was deleted.
type Images = BTreeMap<String, Option<Vec<u8>>>;

/// Waits until all running nodes place uploads on `placed`, and know that `reading` only answer reads.
pub(crate) fn await_placement(cluster: &TestCluster, placed: &[u32], reading: &[u32]) {
    wait_for(&format!("placed on {placed:?}, reading {reading:?}"), || {
        let agrees = |node: &TestNode| {
            let state = node.state()?;
            let knows = state["alive"] == json!(placed) && state["reading"] == json!(reading);
            (knows && state["ready"] == true).then_some(())
        };
        cluster.running().map(agrees).collect::<Option<()>>()
    });
}

/// A target that is assigned to node `id` while all nodes take images; another one for each user.
fn target_on(cluster: &TestCluster, id: u32, user: &str) -> String {
    format!("/images/{user}/{}", cluster.name_on(id, user))
}

/// Uploads an image through `node`, and returns the node that has it.
fn store(node: &TestNode, images: &mut Images, target: String, seed: u64) -> u64 {
    let image = picture::noise(10, 10, seed);
    let answer = node.put_through(&target, &image);
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    images.insert(target, Some(image));
    answer.json()["node"].as_u64().unwrap()
}

fn assert_readable(cluster: &TestCluster, images: &Images) {
    for node in &cluster.nodes {
        for (target, image) in images {
            let answer = node.ask_through("GET", target);
            let expected = if image.is_some() { 200 } else { 404 };
            let id = node.id;
            assert_eq!(answer.status, expected, "{target} of {id}: {}", answer.text());
            let is_that = image.as_ref().is_none_or(|image| *image == answer.body);
            assert!(is_that, "another image is at {target} of {id}");
        }
    }
}

/// Waits until every image lies on the node that it is assigned to, and looks into the folders.
fn assert_in_place(cluster: &TestCluster, images: &Images) {
    cluster.await_settled();
    for node in &cluster.nodes {
        let mut expected = Vec::new();
        for target in images.iter().filter(|(_, image)| image.is_some()).map(|(t, _)| t) {
            let (user, name) = target["/images/".len()..].split_once('/').unwrap();
            if cluster.assigned(user, name) == node.id {
                expected.push(ImageId::new(user, name).unwrap().file_name());
            }
        }
        expected.sort();
        let mut found = node.files();
        found.retain(|name| ImageId::from_file_name(name).is_some());
        assert_eq!(found, expected, "node {}", node.id);
    }
}

/// Everything that happens to images while node 2 takes none.
fn others_take_them(
    cluster: &mut TestCluster,
    pause: impl FnOnce(&mut TestCluster),
    resume: impl FnOnce(&mut TestCluster),
) {
    cluster.await_settled();
    let mut images = Images::new();
    let [kept, changed, deleted] = ["kept", "changed", "deleted"].map(|user| target_on(cluster, 2, user));
    for target in [&kept, &changed, &deleted] {
        assert_eq!(store(cluster.node(2), &mut images, target.clone(), 1), 2);
    }
    pause(cluster);
    await_placement(cluster, &[1, 3], &[2]);
    for (node, user) in cluster.nodes.iter().zip(["one", "two", "three"]) {
        let target = target_on(cluster, 2, user);
        let holder = store(node, &mut images, target, 2);
        assert_ne!(holder, 2, "through node {}", node.id);
    }
    assert_ne!(store(cluster.node(2), &mut images, changed, 3), 2);
    assert_eq!(cluster.node(1).ask_through("DELETE", &deleted).status, 204);
    images.insert(deleted, None);
    assert_readable(cluster, &images);
    resume(cluster);
    await_placement(cluster, &[1, 2, 3], &[]);
    assert_readable(cluster, &images);
    let target = target_on(cluster, 2, "again");
    assert_eq!(store(cluster.node(1), &mut images, target, 4), 2);
    assert_in_place(cluster, &images);
    assert_readable(cluster, &images);
}

#[test]
fn a_drained_node_reads_on_while_others_take_its_images() {
    others_take_them(
        &mut TestCluster::start(3),
        |cluster| drop(drain(cluster.node(2), "--drain")),
        |cluster| drop(drain(cluster.node(2), "--undrain")),
    );
}

/// Starts a node for which every disk is full.
fn start_full(node: &mut TestNode) {
    let child = node.command().args(["--disk-min-free", ALL_BYTES]).spawn();
    node.adopt(child.unwrap());
}

#[test]
fn a_node_that_starts_with_too_little_room_reads_on_while_others_take_its_images() {
    others_take_them(
        &mut TestCluster::start(3),
        |cluster| {
            cluster.node_mut(2).stop();
            start_full(cluster.node_mut(2));
        },
        |cluster| {
            cluster.node_mut(2).stop();
            cluster.node_mut(2).start();
        },
    );
}

#[test]
fn a_full_node_reads_on_over_a_restart_while_others_take_its_images() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let Some(disk) = Mounted::small_disk(&cluster.node(2).images()) else {
        return say_skipped("a_full_node_reads_on_over_a_restart…", MOUNT_RIGHT);
    };
    cluster.start_all();
    others_take_them(
        &mut cluster,
        |cluster| {
            disk.fill();
            await_placement(cluster, &[1, 3], &[2]);
            cluster.node_mut(2).stop();
            cluster.node_mut(2).start();
        },
        |_| disk.make_room(),
    );
    cluster.node_mut(2).kill();
}

#[test]
fn what_only_a_lost_folder_holds_is_unknown_and_others_take_new_images() {
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    let mut images = Images::new();
    let kept = target_on(&cluster, 2, "kept");
    store(cluster.node(2), &mut images, kept.clone(), 1);
    let (folder, elsewhere) = (cluster.node(2).images(), cluster.node(2).root.join("elsewhere"));
    fs::rename(&folder, &elsewhere).unwrap();
    await_placement(&cluster, &[1, 3], &[2]);
    for (id, user) in [(1, "one"), (3, "three")] {
        let new = target_on(&cluster, 2, user);
        assert_ne!(store(cluster.node(id), &mut images, new.clone(), 2), 2);
        for id in [1, 3] {
            let answer = cluster.node(id).ask_through("GET", &new);
            assert_eq!(answer.status, 200, "node {id}: {}", answer.text());
        }
    }
    for id in [1, 3] {
        let answer = cluster.node(id).ask_through("GET", &kept);
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("Node 2"), "{}", answer.text());
    }
    let answer = cluster.node(2).ask("GET", &kept);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("put it back"), "{}", answer.text());
    fs::rename(&elsewhere, &folder).unwrap();
    await_placement(&cluster, &[1, 2, 3], &[]);
    assert_readable(&cluster, &images);
    assert_in_place(&cluster, &images);
}

#[test]
fn where_no_node_takes_images_each_says_why_and_reads_go_on() {
    let mut cluster = TestCluster::start(3);
    cluster.await_settled();
    let mut images = Images::new();
    for id in 1..=3 {
        let target = target_on(&cluster, id, "kept");
        store(cluster.node(id), &mut images, target, 1);
    }
    for node in &cluster.nodes {
        drain(node, "--drain");
        await_condition(node, "draining");
    }
    let assert_refused = |cluster: &TestCluster, status: u16, why: &str| {
        for node in &cluster.nodes {
            for id in 1..=3 {
                let answer = node.put_through(&target_on(cluster, id, "new"), &picture::dot());
                assert_eq!(answer.status, status, "{}", answer.text());
                assert!(answer.text().contains(why), "{}", answer.text());
            }
        }
    };
    assert_refused(&cluster, 503, "--undrain");
    assert_readable(&cluster, &images);
    for node in &mut cluster.nodes {
        drain(node, "--undrain");
        node.stop();
        start_full(node);
    }
    cluster.await_agreement();
    assert_refused(&cluster, 507, "has no room");
    assert_readable(&cluster, &images);
    let mut client = Client::new(&cluster.members(), Patience::default());
    let failed = upload(&mut client, "new", Audience::All);
    assert_eq!(failed.outcome.unwrap_err().kind, ErrorKind::DiskFull);
}

fn upload(client: &mut Client, user: &str, audience: Audience) -> Upload {
    let terms = Terms {
        audience,
        deadline: Instant::now() + PATIENCE,
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let id = ImageId::new(user, "picture.png").unwrap();
    client.upload(&id, UploadBody::Bytes(&picture::dot()), terms)
}

#[test]
fn a_client_offers_again_while_the_disk_of_a_node_has_just_become_full() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let Some(disk) = Mounted::small_disk(&cluster.node(2).images()) else {
        return say_skipped("a_client_offers_again_while_the_disk…", MOUNT_RIGHT);
    };
    cluster.start_all();
    let mut client = Client::new(&cluster.members(), Patience::default());
    disk.fill();
    for number in 0..20 {
        let upload = upload(&mut client, &format!("user{number}"), Audience::All);
        assert_ne!(upload.outcome.unwrap().node.0, 2);
    }
    cluster.node_mut(2).kill();
}

#[test]
fn a_client_gives_up_on_a_full_disk_only_after_a_while() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let members = format!("[nodes]\n1 = \"{}\"\n", node.local_addr().unwrap());
    let fake = thread::spawn(move || {
        for answer in [
            "507 Insufficient Storage",
            "507 Insufficient Storage",
            "201 Created",
        ] {
            let (mut stream, _) = node.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(&picture::dot()) {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                request.extend(&piece[..count]);
            }
            let receipt = r#"{"user":"alice","name":"picture.png","bytes":1,"node":1}"#;
            let length = receipt.len();
            let head = format!("HTTP/1.1 {answer}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all((head + receipt).as_bytes()).unwrap();
        }
    });
    let mut client = Client::new(&Members::parse(&members).unwrap(), Patience::default());
    let upload = upload(&mut client, "alice", Audience::Assigned);
    assert_eq!((upload.outcome.unwrap().node.0, upload.rounds), (1, 3));
    fake.join().unwrap();
}
