//! A node that is asked to end: what it still does, what it does not wait for, and when it is gone.

use std::io::Read;

use rustix::process::Signal;

use crate::reading::await_placement;
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wait_for;
use crate::support::wire::{ReceivedAnswer, Wire, put_head};

const TARGET: &str = "/images/alice/cat.png";

/// An upload that was let in, and of whose body half was sent.
struct HalfUpload {
    wire: Wire,
    image: Vec<u8>,
}

impl HalfUpload {
    fn begin(node: &TestNode, target: &str) -> HalfUpload {
        let image = picture::sized(300_000);
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(
            node.address,
            target,
            image.len(),
            "Expect: 100-continue\r\n",
        ));
        assert_eq!(wire.answer().unwrap().status, 100);
        wire.send(&image[..image.len() / 2]);
        HalfUpload { wire, image }
    }

    fn finish(mut self) -> (ReceivedAnswer, Vec<u8>) {
        self.wire.send(&self.image[self.image.len() / 2..]);
        (self.wire.answer().expect("a receipt"), self.image)
    }
}

/// A download of which the client takes one byte and no more.
fn stalled_download(node: &TestNode, target: &str) -> Wire {
    let mut wire = Wire::connect(node.address);
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
    assert_eq!(wire.stream().read(&mut [0]).unwrap(), 1);
    wire
}

/// Asks a node to end, and waits until it says what it finishes: some of `kind`. What it has just answered may be among
/// it, since that counts until the answer is out and a client that has it may be faster.
fn ask_to_end(node: &TestNode, kind: &str) {
    node.signal(Signal::TERM);
    let begin = format!("Node {}: Leaving; ", node.id);
    wait_for("the node says what it finishes", || {
        let log = node.log();
        let mut said = log.lines().filter_map(|line| line.strip_prefix(&begin));
        said.any(|said| said.contains("being finished") && said.contains(kind))
            .then_some(())
    });
}

#[test]
fn a_node_that_leaves_finishes_an_upload_and_answers_reads_meanwhile() {
    let mut cluster = TestCluster::start(3);
    let [stored, arriving, refused] =
        ["alice", "bob", "carol"].map(|user| format!("/images/{user}/{}", cluster.name_on(3, user)));
    let leaving = cluster.node(3);
    let image = picture::sized(40_000);
    assert_eq!(leaving.put(&stored, &image).status, 201);
    let upload = HalfUpload::begin(leaving, &arriving);
    ask_to_end(leaving, "upload");
    assert_eq!(leaving.ask("GET", "/readyz").status, 503);
    assert_eq!(leaving.state().unwrap()["condition"], "draining");
    // From now on the image that it is receiving belongs to another node.
    await_placement(&cluster, &[1, 2], &[3]);
    for node in &cluster.nodes {
        let answer = node.ask_through("GET", &stored);
        assert_eq!(answer.status, 200, "through node {}: {}", node.id, answer.text());
        assert!(answer.body == image);
    }
    for _ in 0..20 {
        let answer = leaving.put(&refused, &image);
        let is_busy = answer.status == 503 && answer.field("retry-after") == Some("1");
        assert!(is_busy || answer.status == 307, "{}", answer.text());
    }
    let (receipt, image) = upload.finish();
    assert_eq!(receipt.status, 201, "{}", receipt.text());
    assert_ne!(
        receipt.json()["node"],
        3,
        "the image has gone to the node that takes it"
    );
    assert!(cluster.node_mut(3).await_end().success());
    assert!(cluster.node(3).log().ends_with("Node 3: Stopped\n"));
    cluster.node_mut(3).start();
    cluster.await_agreement();
    for node in &cluster.nodes {
        let answer = wait_for("the image can be read", || {
            Some(node.ask_through("GET", &arriving)).filter(|answer| answer.status != 503)
        });
        assert!(answer.status == 200 && answer.body == image, "{}", answer.status);
    }
}

#[test]
fn a_reader_that_takes_nothing_is_cut_when_the_grace_is_over() {
    let mut cluster = TestCluster::with(1, &["--grace", "1"]);
    // More than the buffers of both sockets hold.
    let image = picture::sized(24_000_000);
    assert_eq!(cluster.node(1).put(TARGET, &image).status, 201);
    let _reader = stalled_download(cluster.node(1), TARGET);
    ask_to_end(cluster.node(1), "download");
    assert!(cluster.node_mut(1).await_end().success());
    let log = cluster.node(1).log();
    let end = "Node 1: The grace of 1 s is over; 1 download is cut\nNode 1: Stopped\n";
    assert!(log.ends_with(end), "{log}");
}

#[test]
fn without_a_grace_everything_is_cut_at_once() {
    let mut cluster = TestCluster::with(1, &["--grace", "0"]);
    let mut upload = HalfUpload::begin(cluster.node(1), TARGET);
    assert!(cluster.node_mut(1).stop().success());
    assert!(upload.wire.answer().is_none(), "no receipt");
    assert!(cluster.node(1).log().contains("; 1 upload is cut\n"));
    cluster.node_mut(1).start();
    // The node also writes down its clock, by way of a temporary file.
    wait_for("nothing is kept of half an upload", || {
        cluster.node(1).files().is_empty().then_some(())
    });
}

/// The grace is longer than a test waits.
#[test]
fn connections_without_a_request_delay_nothing() {
    let mut cluster = TestCluster::with(1, &["--grace", "3600"]);
    let node = cluster.node(1);
    let mut kept = Wire::connect(node.address);
    kept.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
    assert_eq!(kept.answer().unwrap().status, 200);
    let mut begun = Wire::connect(node.address);
    begun.send(b"GET /images/alice/");
    let mut silent = Wire::connect(node.address);
    ask_to_end(node, "");
    for wire in [&mut kept, &mut begun, &mut silent] {
        assert_eq!(wire.rest(), b"", "it is closed without an answer");
    }
    assert!(cluster.node_mut(1).await_end().success());
    assert!(!cluster.node(1).log().contains("cut"));
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let mut cluster = TestCluster::with(1, &["--grace", "3600"]);
    let _upload = HalfUpload::begin(cluster.node(1), TARGET);
    ask_to_end(cluster.node(1), "upload");
    assert_eq!(cluster.node_mut(1).stop().code(), Some(1));
}
