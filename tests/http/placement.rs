//! Three nodes: who takes an upload, who knows where an image is, and what is said when a node is gone.

use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use pixseal::balancer;
use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::report::Holding;
use pixseal::roster::{NodeId, Roster, ViewId};
use pixseal::secrets;
use pixseal::ticket::{Claims, Purpose, Scope, TicketKey};
use pixseal::version::Version;
use rustix::process::Signal;
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{ReceivedAnswer, Wire, put_head};

const USER: &str = "alice";

/// Offers an upload as our own clients do, and returns the answer that comes in place of `100 Continue`, if any.
fn offer(node: &TestNode, target: &str) -> ReceivedAnswer {
    let mut wire = Wire::connect(node.address);
    let fields = "Expect: 100-continue\r\nConnection: offer\r\n";
    wire.send(&put_head(node.address, target, 1000, fields));
    wire.answer().unwrap()
}

/// Node and target of a `Location`.
fn followed<'c>(cluster: &'c TestCluster, answer: &ReceivedAnswer) -> (&'c TestNode, String) {
    let (address, target) = answer.redirect().expect("a redirect says where to");
    let node = cluster.nodes.iter().find(|node| node.address == address);
    (node.unwrap(), target)
}

#[test]
fn exactly_one_node_takes_an_upload_and_the_others_name_it() {
    let cluster = TestCluster::start(3);
    let image = picture::dot();
    for holder in 1..=3 {
        let target = format!("/images/{USER}/{}", cluster.name_on(holder, USER));
        for other in cluster.nodes.iter().filter(|node| node.id != holder) {
            let answer = offer(other, &target);
            assert_eq!((answer.status, answer.closes()), (307, false));
            assert_eq!(
                answer.text().trim_end(),
                format!("Request assigned to Node {holder}")
            );
            let (named, location) = followed(&cluster, &answer);
            assert_eq!(named.id, holder);
            assert!(location.starts_with(&format!("{target}?ticket=")), "{location}");
            let stored = named.put(&location, &image);
            assert!([200, 201].contains(&stored.status), "{}", stored.text());
            assert_eq!(stored.json()["node"], json!(holder));
        }
        assert_eq!(cluster.node(holder).files().len(), 1);
    }
}

#[test]
fn an_offer_that_is_redirected_leaves_the_connection_usable() {
    let cluster = TestCluster::start(3);
    let [one, two] = [1, 2].map(|id| format!("/images/{USER}/{}", cluster.name_on(id, USER)));
    let (node, image) = (cluster.node(1), picture::dot());
    let mut wire = Wire::connect(node.address);
    let fields = "Expect: 100-continue\r\nConnection: offer\r\n";
    wire.send(&put_head(node.address, &two, image.len(), fields));
    assert_eq!(wire.answer().unwrap().status, 307);
    wire.send(&put_head(node.address, &one, image.len(), fields));
    assert_eq!(wire.answer().unwrap().status, 100);
    wire.send(&image);
    assert_eq!(wire.answer().unwrap().status, 201);
}

#[test]
fn without_an_offer_a_redirect_closes_since_the_body_may_be_on_its_way() {
    let cluster = TestCluster::start(3);
    let node = cluster.node(1);
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let hidden = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", node.address);
    for fields in ["", "Expect: 100-continue\r\n", "Connection: offer\r\n"] {
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(node.address, &target, hidden.len(), fields));
        wire.send(hidden.as_bytes());
        let answer = wire.answer().unwrap();
        assert_eq!((answer.status, answer.closes()), (307, true), "{fields:?}");
        assert_eq!(
            wire.rest(),
            b"",
            "{fields:?}: what looks like a request was the body"
        );
    }
}

/// A ticket as node 3 would sign it for `node`, for a PUT of `target`.
fn ticket(cluster: &TestCluster, node: u32, target: &str, hops: u8, lifetime_ms: i64) -> String {
    let claims = Claims {
        hops,
        ..claims(node, Purpose::Redirect, lifetime_ms)
    };
    sign(cluster, &claims, "PUT", target)
}

fn claims(node: u32, purpose: Purpose, lifetime_ms: i64) -> Claims {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Claims {
        purpose,
        node: NodeId(node),
        view: ViewId::default(),
        hops: 0,
        expiry_ms: u64::try_from(now.as_millis())
            .unwrap()
            .saturating_add_signed(lifetime_ms),
        version: Version::default(),
    }
}

/// `target` with a ticket that says this.
fn sign(cluster: &TestCluster, claims: &Claims, method: &str, target: &str) -> String {
    let key = secrets::load_or_create(&cluster.node(1).secrets())
        .unwrap()
        .cluster_key;
    let name = target.rsplit_once('/').unwrap().1;
    let id = ImageId::new(USER, name).unwrap();
    format!(
        "{target}?ticket={}",
        TicketKey::new(&key).sign(claims, Scope::image(method, &id))
    )
}

#[test]
fn only_a_node_of_the_view_has_another_one_note_what_it_writes() {
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    let node = cluster.node(1);
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let holding: Holding =
        serde_json::from_value(node.ask("GET", &format!("{target}?version")).json()).unwrap();
    let intent = Claims {
        view: holding.view.unwrap(),
        ..claims(1, Purpose::Intent, 9000)
    };
    let post = |claims: &Claims, target: &str| {
        let signed = sign(&cluster, claims, "POST", target);
        node.ask("POST", &signed).status
    };
    assert_eq!(post(&intent, &target), 200);
    let of_its_own = format!("/images/{USER}/{}", cluster.name_on(1, USER));
    assert_eq!(post(&intent, &of_its_own), 503, "no other node writes that");
    let earlier = claims(1, Purpose::Intent, 9000);
    assert_eq!(post(&earlier, &target), 503, "of another view");
    let redirect = Claims {
        purpose: Purpose::Redirect,
        ..intent
    };
    assert_eq!(post(&redirect, &target), 405);
    let to_another = Claims {
        node: NodeId(3),
        ..intent
    };
    assert_eq!(post(&to_another, &target), 405);
    for unsigned in [target.clone(), format!("{target}?ticket=AAAA")] {
        assert_eq!(node.ask("POST", &unsigned).status, 405, "{unsigned}");
    }
}

#[test]
fn redirects_end() {
    let cluster = TestCluster::start(3);
    let node = cluster.node(1);
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let sent_on = offer(node, &ticket(&cluster, 1, &target, 1, 9000));
    assert_eq!(sent_on.status, 307, "it was redirected once");
    let answer = offer(node, &ticket(&cluster, 1, &target, 2, 9000));
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1")),
        "twice"
    );
    let own = format!("/images/{USER}/{}", cluster.name_on(1, USER));
    let taken = offer(node, &ticket(&cluster, 1, &own, 9, 9000));
    assert_eq!(
        taken.status, 100,
        "its own images it takes after any number of hops"
    );
}

#[test]
fn nobody_but_a_node_chooses_who_takes_an_image() {
    let cluster = TestCluster::start(3);
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    let other = format!("/images/{USER}/{}", cluster.name_on(1, USER));
    for forged in [
        target.clone(),
        format!("{target}?term=18446744073709551615&hop=1"),
        format!("{target}?ticket=AAAA"),
        ticket(&cluster, 1, &other, 2, 9000).replace(&other, &target),
        ticket(&cluster, 1, &target, 2, -1),
    ] {
        let statuses: Vec<u16> = cluster
            .nodes
            .iter()
            .map(|node| offer(node, &forged).status)
            .collect();
        assert_eq!(statuses, [307, 100, 307], "{forged}");
    }
    let of_another_node = ticket(&cluster, 3, &target, 2, 9000);
    assert_eq!(offer(cluster.node(1), &of_another_node).status, 307);
}

#[test]
fn every_node_finds_an_image() {
    let cluster = TestCluster::start(3);
    let image = picture::noise(20, 20, 1);
    let target = format!("/images/{USER}/{}", cluster.name_on(2, USER));
    assert_eq!(cluster.node(2).put(&target, &image).status, 201);
    for id in [1, 3] {
        for method in ["GET", "HEAD"] {
            let answer = cluster.node(id).ask(method, &target);
            assert_eq!(answer.status, 307);
            let (holder, location) = followed(&cluster, &answer);
            assert_eq!((holder.id, holder.ask(method, &location).status), (2, 200));
        }
        assert_eq!(
            cluster.node(id).ask("GET", &format!("{target}?local")).status,
            404
        );
        let sealed = cluster.node(id).ask("GET", &format!("{target}?sealed"));
        let (holder, location) = followed(&cluster, &sealed);
        assert_eq!(
            holder.ask("GET", &location).field("content-type"),
            Some("application/octet-stream")
        );
    }
}

#[test]
fn a_missing_image_is_404_only_if_no_node_can_hold_it() {
    let mut cluster = TestCluster::start(3);
    cluster.await_settled();
    let [on_two, on_one] = [2, 1].map(|id| format!("/images/{USER}/{}", cluster.name_on(id, USER)));
    for target in [&on_two, &on_one] {
        assert_eq!(cluster.node(1).ask("GET", target).status, 404);
        assert_eq!(cluster.node(1).ask_through("DELETE", target).status, 404);
    }
    cluster.node_mut(2).kill();
    cluster.await_agreement();
    for method in ["GET", "DELETE"] {
        let answer = cluster.node(1).ask_through(method, &on_two);
        assert_eq!(
            (answer.status, answer.field("retry-after")),
            (503, Some("1")),
            "{method}"
        );
        assert!(answer.text().contains("Node 2"), "{}", answer.text());
        assert!(!answer.text().contains("Node 3"));
        assert_eq!(
            cluster.node(1).ask_through(method, &on_one).status,
            404,
            "it never was node 2's"
        );
    }
}

#[test]
fn an_image_survives_that_its_place_has_moved() {
    let mut cluster = TestCluster::start(3);
    let image = picture::noise(20, 20, 1);
    // While node 3 is away, its images go to others.
    cluster.node_mut(3).stop();
    cluster.await_agreement();
    let target = format!("/images/{USER}/{}", cluster.name_on(3, USER));
    let stored = cluster.node(1).put_through(&target, &image);
    assert_eq!(stored.status, 201, "{}", stored.text());
    let holder = &stored.json()["node"];
    cluster.node_mut(3).start();
    cluster.await_agreement();
    assert_eq!(cluster.node(1).ask_through("GET", &target).body, image);
    cluster.await_settled();
    let held: Vec<usize> = cluster.nodes.iter().map(|node| node.files().len()).collect();
    assert_eq!(held, [0, 0, 1], "node {holder} had it, and it belongs to node 3");
    assert_eq!(cluster.node(3).ask("GET", &target).body, image);
}

#[test]
fn lists_hold_the_images_of_all_nodes_and_name_who_is_missing() {
    let mut cluster = TestCluster::start(3);
    let mut names: Vec<String> = (1..=3).map(|id| cluster.name_on(id, USER)).collect();
    for (id, name) in (1..).zip(&names) {
        assert_eq!(
            cluster
                .node(id)
                .put(&format!("/images/{USER}/{name}"), &picture::dot())
                .status,
            201
        );
    }
    names.sort();
    let listed = |cluster: &TestCluster, query: &str| {
        let answer = cluster.node(1).ask("GET", &format!("/images/{USER}/{query}"));
        let page = answer.json();
        let images = page["images"].as_array().unwrap().iter();
        let names: Vec<String> = images.map(|i| i["name"].as_str().unwrap().to_owned()).collect();
        (names, page)
    };
    assert_eq!(listed(&cluster, "").0, names);
    assert_eq!(listed(&cluster, "?local").0, [cluster.name_on(1, USER)]);
    let (first, page) = listed(&cluster, "?limit=2");
    assert_eq!((&first[..], &page["next"]), (&names[..2], &json!(names[1])));
    let (second, page) = listed(&cluster, &format!("?limit=2&after={}", names[1]));
    assert_eq!((&second[..], &page["next"]), (&names[2..], &json!(null)));
    cluster.node_mut(2).kill();
    let (_, page) = listed(&cluster, "");
    assert_eq!(page["missing"], json!([2]));
}

#[test]
fn deleting_reaches_the_holder() {
    let cluster = TestCluster::start(3);
    let target = format!("/images/{USER}/{}", cluster.name_on(3, USER));
    assert_eq!(cluster.node(3).put(&target, &picture::dot()).status, 201);
    let sent_on = cluster.node(1).ask("DELETE", &target);
    assert_eq!(sent_on.status, 307);
    let (holder, location) = followed(&cluster, &sent_on);
    assert_eq!(holder.ask("DELETE", &location).status, 204);
    assert_eq!(cluster.node(1).ask("GET", &target).status, 404);
    assert_eq!(cluster.node(3).files(), [""; 0]);
}

#[test]
fn a_small_image_goes_out_with_its_head_and_follows_a_redirect() {
    let mut cluster = TestCluster::start(3);
    let text: String = cluster
        .nodes
        .iter()
        .map(|node| format!("{} = \"{}\"\n", node.id, node.address))
        .collect();
    let members = Members::parse(&format!("[nodes]\n{text}")).unwrap();
    cluster.node_mut(3).stop();
    cluster.await_agreement();
    let alive = Roster::new(NodeId(1), [NodeId(1), NodeId(2)]);
    let everybody = Roster::new(NodeId(1), [1, 2, 3].map(NodeId));
    let (image, stop) = (picture::sized(20_000), AtomicBool::new(false));
    for i in 0..24 {
        // It still believes in node 3, so a third of its guesses go there, and of the others every second is redirected.
        let mut client = Client::new(&members, Patience::default());
        let audience = if i < 12 { Audience::Assigned } else { Audience::All };
        let id = ImageId::new(USER, &format!("eager_{i}.png")).unwrap();
        let guess = balancer::assigned(id.user(), id.name(), &everybody);
        let terms = Terms {
            audience,
            deadline: Instant::now() + PATIENCE,
            stop: &stop,
            hold: None,
        };
        let upload = client.upload(&id, UploadBody::Bytes(&image), terms);
        let receipt = upload.outcome.unwrap();
        assert_eq!(receipt.node, balancer::assigned(id.user(), id.name(), &alive));
        assert_eq!((receipt.bytes, upload.accepted), (20_000, Some(receipt.node)));
        // Of those that are offered to all, only a wrong guess is asked for 100 Continue.
        let at_once = audience == Audience::Assigned || guess == receipt.node;
        assert_eq!(upload.offer.is_zero(), at_once);
        let stored = cluster.node(receipt.node.0).ask("GET", &id.target());
        assert!(stored.body == image);
    }
}

#[test]
fn a_small_image_does_not_wait_for_long_for_a_node_that_hangs() {
    let cluster = TestCluster::start(3);
    let mut client = Client::new(&cluster.members(), Patience::default());
    let id = ImageId::new(USER, &cluster.name_on(3, USER)).unwrap();
    cluster.node(3).signal(Signal::STOP);
    let terms = Terms {
        audience: Audience::All,
        // Less than it would wait for a receipt.
        deadline: Instant::now() + Patience::default().body / 2,
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let image = picture::sized(20_000);
    let upload = client.upload(&id, UploadBody::Bytes(&image), terms);
    cluster.node(3).signal(Signal::CONT);
    assert_ne!(upload.outcome.unwrap().node, NodeId(3));
    assert!(upload.rounds > 1);
}
