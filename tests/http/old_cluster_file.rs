//! Clients whose cluster file is older than the cluster: they learn the other members from the nodes.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::roster::NodeId;

use crate::support::PATIENCE;
use crate::support::address::free_address;
use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

const USER: &str = "alice";

/// A client whose cluster file has these lines.
fn client(nodes: &[(u32, String)]) -> Client {
    let lines = nodes
        .iter()
        .map(|(id, address)| format!("{id} = \"{address}\"\n"));
    let file = format!("[nodes]\n{}", lines.collect::<String>());
    Client::new(&Members::parse(&file).unwrap(), Patience::default())
}

/// Uploads an image that is too large to be sent before it was offered, and asserts that it was sent once.
fn assert_sent_once(client: &mut Client, name: &str, node: u32) {
    let image = picture::sized(200_000);
    let terms = Terms {
        audience: Audience::All,
        deadline: Instant::now() + PATIENCE,
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let id = ImageId::new(USER, name).unwrap();
    let upload = client.upload(&id, UploadBody::Bytes(&image), terms);
    assert_eq!(upload.outcome.as_ref().unwrap().node, NodeId(node), "{upload:?}");
    assert_eq!(upload.body_bytes_sent, image.len() as u64, "{upload:?}");
}

#[test]
fn a_client_that_knows_one_node_learns_the_others_and_sends_each_image_once() {
    let cluster = TestCluster::start(3);
    for first in 1..=3 {
        let mut client = client(&[(1, cluster.node(1).address.to_string())]);
        for holder in (first..=3).chain(1..first) {
            assert_sent_once(&mut client, &cluster.name_on(holder, USER), holder);
        }
        assert_eq!(client.members().count(), 3);
    }
}

#[test]
fn a_node_that_has_moved_is_found_where_the_cluster_has_it() {
    let cluster = TestCluster::start(2);
    let nowhere = free_address().to_string();
    let mut client = client(&[(1, cluster.node(1).address.to_string()), (2, nowhere)]);
    let name = cluster.name_on(2, USER);
    assert_sent_once(&mut client, &name, 2);
    let moved = cluster.node(2).address.to_string();
    assert_eq!(client.members().nth(1), Some((NodeId(2), moved.as_str())));
    let image = ImageId::new(USER, &name).unwrap();
    let deadline = Instant::now() + PATIENCE;
    assert!(
        client
            .download(&image, Some(NodeId(2)), deadline)
            .unwrap()
            .is_some()
    );
    assert!(client.remove(&image, deadline).unwrap());
}

/// A proxy in front of node 2 is known by this name; nobody resolves it here.
const URL: &str = "https://images-2.example.org";

#[test]
fn redirects_send_people_to_the_url_of_a_node_and_our_client_to_its_address() {
    let mut cluster = TestCluster::start(2);
    let addresses: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| node.address.to_string())
        .collect();
    let file = format!(
        "[nodes]\n1 = \"{}\"\n2 = {{ address = \"{}\", url = \"{URL}\" }}\n",
        addresses[0], addresses[1]
    );
    cluster.node_mut(1).reload(&file);
    let name = cluster.name_on(2, USER);
    let path = format!("/images/{USER}/{name}");
    let location = wait_for("node 1 has read its file", || {
        let answer = cluster.node(1).put(&path, &picture::dot());
        let location = answer.field("location").unwrap().to_owned();
        location.starts_with(URL).then_some(location)
    });
    assert!(
        location.starts_with(&format!("{URL}{path}?ticket=")),
        "{location}"
    );
    assert_eq!(cluster.node(1).state().unwrap()["peers"][0]["url"], URL);
    // Its file does not name the URL.
    let mut client = client(&[(1, addresses[0].clone()), (2, addresses[1].clone())]);
    assert_sent_once(&mut client, &name, 2);
    let image = ImageId::new(USER, &name).unwrap();
    let found = client.download(&image, Some(NodeId(1)), Instant::now() + PATIENCE);
    assert!(found.unwrap().is_some());
}
