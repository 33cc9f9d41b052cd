//! `--relay`, and `?relay` of a request: every node answers for all of them.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::roster::NodeId;
use rustix::process::Signal;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wire::{ReceivedAnswer, Wire, chunked, put_head};
use crate::support::{PATIENCE, picture};

const USER: &str = "alice";

fn send(node: &TestNode, head: &str, body: &[u8]) -> ReceivedAnswer {
    let mut wire = Wire::connect(node.address);
    wire.send(format!("{head}Host: {}\r\n\r\n", node.address).as_bytes());
    wire.send(body);
    wire.answer().expect("an answer")
}

fn ask(node: &TestNode, line: &str, fields: &str) -> ReceivedAnswer {
    let mut wire = Wire::connect(node.address);
    let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", node.address);
    wire.send(head.as_bytes());
    let answer = if line.starts_with("HEAD") {
        wire.answer_to_head()
    } else {
        wire.answer()
    };
    answer.expect("an answer")
}

#[test]
fn uploads_downloads_and_deletes_work_through_every_node_without_a_redirect() {
    let cluster = TestCluster::with(3, &["--relay"]);
    cluster.await_settled();
    for size in [67, 40_000, 3_000_000] {
        let image = if size == 67 {
            picture::dot()
        } else {
            picture::sized(size)
        };
        for holder in 1..=3 {
            let target = format!("/images/{USER}/{}", cluster.name_on(holder, USER));
            for node in &cluster.nodes {
                let line = format!("PUT {target} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n");
                let answer = send(node, &line, &chunked(&image, 10_007));
                assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
                assert_eq!(answer.json()["node"], holder, "through node {}", node.id);
                assert_eq!(answer.field("etag"), answer.json()["etag"].as_str());
                let fixed = node.put(&target, &image);
                assert_eq!((fixed.status, fixed.json()["node"].clone()), (200, holder.into()));

                let got = ask(node, &format!("GET {target}"), "");
                assert_eq!((got.status, got.field("content-type")), (200, Some("image/png")));
                assert!(got.body == image, "through node {}", node.id);
                assert_eq!(got.field("x-content-type-options"), Some("nosniff"));
                let tag = got.field("etag").unwrap();
                let head = ask(node, &format!("HEAD {target}"), "");
                assert_eq!(
                    head.field("content-length"),
                    Some(image.len().to_string().as_str())
                );
                assert_eq!(head.field("etag"), Some(tag));
                let part = ask(node, &format!("GET {target}"), "Range: bytes=8-15\r\n");
                assert_eq!((part.status, &part.body[..]), (206, &image[8..16]));
                let known = ask(
                    node,
                    &format!("GET {target}"),
                    &format!("If-None-Match: {tag}\r\n"),
                );
                assert_eq!((known.status, known.body.len()), (304, 0));
                let taken = ask(node, &format!("DELETE {target}"), "If-Match: \"other\"\r\n");
                assert_eq!(taken.status, 412);
            }
            let last = &cluster.nodes[holder as usize % 3];
            assert_eq!(ask(last, &format!("DELETE {target}"), "").status, 204);
            assert_eq!(ask(last, &format!("GET {target}"), "").status, 404);
        }
    }
    assert!(
        cluster
            .nodes
            .iter()
            .any(|node| node.log().contains("Passing a PUT of alice/"))
    );
}

#[test]
fn what_the_other_node_refuses_is_refused_and_the_connection_goes_on_where_it_can() {
    let cluster = TestCluster::with(2, &["--relay"]);
    cluster.await_settled();
    let (node, name) = (cluster.node(1), cluster.name_on(2, USER));
    let target = format!("/images/{USER}/{name}");
    let image = picture::sized(200_000);
    let wrong = "Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n";
    for (fields, body, status) in [
        (wrong, &image[..], 400),
        ("", b"GIF89a", 415),
        ("", &image[..100_000], 422),
        ("If-Match: \"x\"\r\n", &image[..], 412),
    ] {
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(node.address, &target, body.len(), fields));
        wire.send(body);
        assert_eq!(wire.answer().unwrap().status, status);
    }
    assert_eq!(node.ask("GET", &target).status, 404, "nothing of it was kept");
    let mut wire = Wire::connect(node.address);
    for _ in 0..3 {
        let fields = "Expect: 100-continue\r\n";
        wire.send(&put_head(node.address, &target, image.len(), fields));
        assert_eq!(wire.answer().unwrap().status, 100);
        wire.send(&image);
        assert!(matches!(wire.answer().unwrap().status, 200 | 201));
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
        assert!(wire.answer().unwrap().body == image);
    }
}

#[test]
fn a_client_that_offers_an_image_to_all_nodes_finds_one_that_takes_it() {
    let cluster = TestCluster::with(3, &["--relay"]);
    cluster.await_settled();
    let mut client = Client::new(&cluster.members(), Patience::default());
    let image = picture::sized(300_000);
    for id in 1..=3 {
        let name = ImageId::new(USER, &cluster.name_on(id, USER)).unwrap();
        let terms = Terms {
            audience: Audience::All,
            deadline: Instant::now() + PATIENCE,
            stop: &AtomicBool::new(false),
            hold: None,
        };
        let upload = client.upload(&name, UploadBody::Bytes(&image), terms);
        assert_eq!(upload.accepted, Some(NodeId(id)));
        assert!(upload.also_accepted.is_empty(), "{:?}", upload.also_accepted);
    }
}

#[test]
fn a_node_that_does_not_answer_is_said_to() {
    let mut cluster = TestCluster::with(2, &["--relay"]);
    cluster.await_settled();
    let name = cluster.name_on(2, USER);
    let target = format!("/images/{USER}/{name}");
    cluster.node(2).signal(Signal::STOP);
    let early = cluster.node(1).put(&target, &picture::dot());
    assert!(matches!(early.status, 201 | 503 | 504), "{}", early.text());
    cluster.node(2).signal(Signal::CONT);
    cluster.await_agreement();
    cluster.node_mut(2).kill();
    cluster.await_agreement();
    assert!(matches!(
        cluster.node(1).put(&target, &picture::dot()).status,
        200 | 201
    ));
}

#[test]
fn a_ticket_is_shown_in_place_of_the_token() {
    let mut cluster = TestCluster::prepare(2, &["--relay"]);
    let token = cluster.add_token(USER, "read,write,admin");
    cluster.show_token(&token);
    cluster.start_all();
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let node = cluster.node(1);
    assert_eq!(node.put(&target, &picture::dot()).status, 201);
    assert_eq!(node.ask("GET", &target).body, picture::dot());
    assert_eq!(node.ask_as(None, "GET", &target).status, 401);
    assert_eq!(node.ask("DELETE", &target).status, 403);
}

#[test]
fn a_request_that_asks_for_it_is_passed_on_by_any_node() {
    let mut cluster = TestCluster::prepare(2, &[]);
    let token = cluster.add_token(USER, "read,write,delete");
    cluster.show_token(&cluster.add_token("ops", "admin"));
    cluster.start_all();
    cluster.await_settled();
    cluster.show_token(&token);
    let node = cluster.node(1);
    let plain = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let target = format!("{plain}?relay");
    let image = picture::sized(300_000);
    assert_eq!(node.put(&plain, &image).status, 307, "as ever");
    let stored = node.put(&target, &image);
    assert_eq!((stored.status, stored.json()["node"].clone()), (201, 2.into()));
    let got = node.ask("GET", &target);
    assert_eq!((got.status, got.body == image), (200, true));
    let head = node.ask("HEAD", &target);
    assert_eq!((head.status, head.field("content-length")), (200, Some("300000")));
    assert_eq!(head.field("etag"), got.field("etag"));
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(node.ask(method, &plain).status, 307, "{method}, as ever");
        assert_eq!(node.ask_as(None, method, &target).status, 401, "{method}");
    }
    let fields = format!("Authorization: Bearer {token}\r\nIf-None-Match: *\r\n");
    let mut wire = Wire::connect(node.address);
    wire.send(&put_head(node.address, &target, image.len(), &fields));
    wire.send(&image);
    assert_eq!(wire.answer().unwrap().status, 412, "conditions go along");
    assert_eq!(node.ask("DELETE", &target).status, 204);
    assert_eq!(node.ask("GET", &target).status, 404);
}

#[test]
fn an_offer_to_all_nodes_is_never_passed_on() {
    let cluster = TestCluster::start(2);
    cluster.await_settled();
    let node = cluster.node(1);
    let target = format!("/images/{USER}/{}?relay", cluster.name_on(2, USER));
    let mut wire = Wire::connect(node.address);
    let fields = "Expect: 100-continue\r\nConnection: offer\r\n";
    wire.send(&put_head(node.address, &target, 67, fields));
    assert_eq!(wire.answer().unwrap().status, 307);
}
