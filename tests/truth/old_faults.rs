//! What was wrong once, each as a test that stops, pauses and restarts nodes by hand.
//!
//! A 503 is allowed wherever a node is away or has just come back; an older state never is.

use std::fs;
use std::time::{Duration, Instant};

use pixseal::balancer;
use pixseal::roster::{NodeId, Roster};
use rustix::process::Signal;

use crate::request::{self, Answer, Outcome, Request};
use crate::support::cluster::TestCluster;
use crate::support::wire::{self, Wire, put_head};
use crate::support::{picture, wait_for};

const USER: &str = "alice";
const PATIENCE: Duration = Duration::from_secs(10);
/// How often in a row every node has to be right before nothing else is expected to come.
const ROUNDS_RIGHT: u32 = 30;
const LONG_AGO: &str = "Thu, 01 Jan 1970 00:00:10 GMT";

pub(crate) fn send(
    cluster: &TestCluster,
    (node, method): (u32, &str),
    path: &str,
    fields: &str,
    body: Option<&[u8]>,
) -> Option<Answer> {
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.address).collect();
    let fields = fields.to_owned();
    let request = Request {
        method,
        path,
        fields,
        body,
        offers: false,
        patience: PATIENCE,
    };
    match request::send(&addresses, node, &request) {
        Outcome::Answered { answer, .. } => Some(answer),
        Outcome::NotSent(_) | Outcome::Unknown(_) => None,
    }
}

/// A write through `node` that is answered at last: 503 means to come back.
fn settled(
    cluster: &TestCluster,
    (node, method): (u32, &str),
    path: &str,
    fields: &str,
    body: Option<&[u8]>,
) -> Answer {
    wait_for("an answer other than 503", || {
        send(cluster, (node, method), path, fields, body).filter(|answer| answer.status != 503)
    })
}

pub(crate) fn put(cluster: &TestCluster, node: u32, path: &str, image: &[u8]) -> Answer {
    let answer = settled(cluster, (node, "PUT"), path, "", Some(image));
    assert!([200, 201].contains(&answer.status), "PUT: {}", answer.status);
    answer
}

/// Reads through every node until all of them, many times in a row, say what is right: these bytes, or nothing. Whatever
/// else they say meanwhile, except that they do not know, is wrong.
pub(crate) fn assert_only(cluster: &TestCluster, path: &str, right: Option<&[u8]>) {
    let mut rounds = 0;
    wait_for("every node knows what the name holds", || {
        let mut all_know = true;
        for node in cluster.running().map(|node| node.id) {
            match send(cluster, (node, "GET"), path, "", None) {
                Some(answer) if answer.status == 200 => {
                    let right = right.unwrap_or_else(|| panic!("node {node}: it came back"));
                    assert!(answer.body == right, "node {node}: an older image");
                }
                Some(answer) if answer.status == 404 => {
                    assert!(right.is_none(), "node {node}: 404 for what exists");
                }
                _ => all_know = false,
            }
        }
        rounds = if all_know { rounds + 1 } else { 0 };
        (rounds == ROUNDS_RIGHT).then_some(())
    });
}

/// Waits until these two nodes know that they are all that is left, whether others ended or are paused.
pub(crate) fn await_alive(cluster: &TestCluster, alive: [u32; 2]) {
    wait_for("the nodes that run know who is gone", || {
        let knows = |id| Some(cluster.node(id).state()?["alive"] == serde_json::json!(alive));
        (knows(alive[0])? && knows(alive[1])?).then_some(())
    });
}

/// The path of an image that is assigned so: to which node while these are alive.
pub(crate) fn path_of(assigned: &[(&[u32], u32)]) -> String {
    let is_assigned = |name: &str, (alive, node): (&[u32], u32)| {
        let roster = Roster::new(NodeId(alive[0]), alive.iter().map(|id| NodeId(*id)));
        balancer::assigned(USER, name, &roster) == NodeId(node)
    };
    let name = (0..1000)
        .map(|i| format!("picture_{i}.png"))
        .find(|name| assigned.iter().all(|wanted| is_assigned(name, *wanted)));
    format!("/images/{USER}/{}", name.expect("one of a thousand is"))
}

/// A cluster, and the path of an image that goes to node 3 while all run.
fn trio() -> (TestCluster, String) {
    let cluster = TestCluster::start(3);
    let path = format!("/images/{USER}/{}", cluster.name_on(3, USER));
    (cluster, path)
}

/// The same after the image was put there, once more while node 3 was away, and node 3 was started again.
fn trio_with_two_copies(first: &[u8], second: &[u8]) -> (TestCluster, String, Answer) {
    let (mut cluster, path) = trio();
    put(&cluster, 1, &path, first);
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    let receipt = put(&cluster, 1, &path, second);
    cluster.node_mut(3).launch();
    (cluster, path, receipt)
}

#[test]
fn what_was_written_while_its_node_was_away_is_what_every_node_serves() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (cluster, path, _) = trio_with_two_copies(&first, &second);
    assert_only(&cluster, &path, Some(&second));
}

#[test]
fn what_was_removed_while_an_older_copy_was_away_does_not_come_back() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (mut cluster, path) = trio();
    put(&cluster, 1, &path, &first);
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    put(&cluster, 1, &path, &second);
    assert_eq!(settled(&cluster, (2, "DELETE"), &path, "", None).status, 204);
    cluster.node_mut(3).launch();
    assert_only(&cluster, &path, None);
}

/// Requests that wait in the sockets of node 3 and are the first thing that it sees when it wakes.
fn ask_the_paused_node_3(cluster: &TestCluster, path: &str) -> Vec<Wire> {
    let address = cluster.node(3).address;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let ask = |_| {
        let mut wire = Wire::connect(address);
        wire.send(head.as_bytes());
        wire
    };
    (0..8).map(ask).collect()
}

#[test]
fn a_paused_node_serves_nothing_older_when_it_wakes() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (cluster, path) = trio();
    put(&cluster, 1, &path, &first);
    cluster.node(3).signal(Signal::STOP);
    await_alive(&cluster, [1, 2]);
    put(&cluster, 1, &path, &second);
    let asked = ask_the_paused_node_3(&cluster, &path);
    cluster.node(3).signal(Signal::CONT);
    for mut wire in asked {
        let answer = wire.answer().expect("a node that wakes answers");
        match answer.status {
            200 => assert!(answer.body == second, "an older image"),
            status => assert!([307, 503].contains(&status), "{status}: {}", answer.text()),
        }
    }
    assert_only(&cluster, &path, Some(&second));
}

#[test]
fn a_list_of_a_node_that_wakes_shows_nothing_older() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9 + seed, 9, 1));
    let (cluster, path) = trio();
    put(&cluster, 1, &path, &first);
    cluster.node(3).signal(Signal::STOP);
    await_alive(&cluster, [1, 2]);
    put(&cluster, 1, &path, &second);
    let asked = ask_the_paused_node_3(&cluster, &format!("/images/{USER}/"));
    // Nobody can tell it what has happened meanwhile.
    for id in [1, 2] {
        cluster.node(id).signal(Signal::STOP);
    }
    cluster.node(3).signal(Signal::CONT);
    for mut wire in asked {
        let answer = wire.answer().expect("a node that wakes answers");
        if answer.status == 200 {
            let page = answer.json();
            let shown: Vec<_> = page["images"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| &item["bytes"])
                .collect();
            assert!(shown.iter().all(|bytes| **bytes == second.len()), "{page}");
        } else {
            assert_eq!(answer.status, 503, "{}", answer.text());
        }
    }
    for id in [1, 2] {
        cluster.node(id).signal(Signal::CONT);
    }
    assert_only(&cluster, &path, Some(&second));
}

/// Offers that wait in the socket of a paused node are the first thing that it sees, when another node has long taken its
/// names: what it accepts then has to be later than what was stored there.
#[test]
fn a_write_that_a_node_begins_when_it_wakes_is_the_latest() {
    let [first, second, third] = [1, 2, 3].map(|seed| picture::noise(9, 9, seed));
    let (cluster, path) = trio();
    put(&cluster, 1, &path, &first);
    cluster.node(3).signal(Signal::STOP);
    await_alive(&cluster, [1, 2]);
    put(&cluster, 1, &path, &second);
    let address = cluster.node(3).address;
    let mut wire = Wire::connect(address);
    wire.send(&put_head(address, &path, third.len(), "Connection: close\r\n"));
    wire.send(&third);
    cluster.node(3).signal(Signal::CONT);
    let answer = wire.answer().expect("a node that wakes answers");
    let right = match answer.status {
        200 | 201 => &third,
        status => {
            assert!([307, 503].contains(&status), "{status}: {}", answer.text());
            &second
        }
    };
    assert_only(&cluster, &path, Some(right));
}

/// How many nodes would take an upload of `target`.
fn takers(cluster: &TestCluster, target: &str) -> usize {
    let takes = |address| {
        let mut wire = Wire::connect(address);
        let fields = "Expect: 100-continue\r\nConnection: offer\r\n";
        wire.send(&put_head(address, target, 1000, fields));
        wire.answer().is_some_and(|answer| answer.status == 100)
    };
    cluster.nodes.iter().filter(|node| takes(node.address)).count()
}

#[test]
fn a_query_that_no_node_signed_is_an_ordinary_offer() {
    let (cluster, path) = trio();
    for query in [
        "?term=18446744073709551615&hop=1",
        "?term=18446744073709551615&hop=2",
        "?ticket=x",
        "?x=y",
    ] {
        assert_eq!(takers(&cluster, &format!("{path}{query}")), 1, "{query}");
    }
}

#[test]
fn a_location_that_was_kept_over_a_restart_is_an_ordinary_offer() {
    let (mut cluster, path) = trio();
    // Each time the leader goes, the term grows.
    for _ in 0..2 {
        cluster.node_mut(3).stop();
        await_alive(&cluster, [1, 2]);
        cluster.node_mut(3).start();
        cluster.await_agreement();
    }
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    let answers = [1, 2].map(|id| {
        let address = cluster.node(id).address;
        let mut wire = Wire::connect(address);
        wire.send(&put_head(
            address,
            &path,
            1000,
            "Expect: 100-continue\r\nConnection: offer\r\n",
        ));
        wire.answer().unwrap()
    });
    let location = answers
        .iter()
        .find_map(|answer| answer.field("location"))
        .unwrap();
    let (_, kept) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    for id in [1, 2] {
        cluster.node_mut(id).stop();
    }
    for node in &mut cluster.nodes {
        node.launch();
    }
    for node in &cluster.nodes {
        wait_for("the node serves", || {
            wire::try_ask(node.address, "GET", "/healthz")
        });
    }
    cluster.await_agreement();
    assert_eq!(takers(&cluster, &format!("/{kept}")), 1, "{kept}");
}

#[test]
fn conditions_are_obeyed_by_writes() {
    let (cluster, path) = trio();
    let images = [1, 2, 3].map(|seed| picture::noise(9, 9, seed));
    let missing = settled(&cluster, (1, "PUT"), &path, "If-Match: *\r\n", Some(&images[0]));
    assert_eq!(missing.status, 412, "If-Match: * needs an image");
    let first = put(&cluster, 1, &path, &images[0]);
    let tag = first.field("etag").unwrap();
    for node in 1..=3 {
        for method in ["PUT", "DELETE"] {
            for condition in [
                "If-Match: \"other\"".to_owned(),
                format!("If-Unmodified-Since: {LONG_AGO}"),
            ] {
                let body = (method == "PUT").then_some(&images[1][..]);
                let answer = settled(&cluster, (node, method), &path, &format!("{condition}\r\n"), body);
                assert_eq!(answer.status, 412, "{method} with {condition} to node {node}");
                assert_only(&cluster, &path, Some(&images[0]));
            }
        }
    }
    let condition = format!("If-Match: {tag}\r\n");
    let second = settled(&cluster, (1, "PUT"), &path, &condition, Some(&images[1]));
    assert_eq!(second.status, 200);
    let late = settled(&cluster, (2, "PUT"), &path, &condition, Some(&images[2]));
    assert_eq!(late.status, 412, "an update would be lost");
    assert_only(&cluster, &path, Some(&images[1]));
    let condition = format!("If-Match: {}\r\n", second.field("etag").unwrap());
    assert_eq!(
        settled(&cluster, (2, "DELETE"), &path, &condition, None).status,
        204
    );
    assert_only(&cluster, &path, None);
}

#[test]
fn an_image_on_another_node_counts_for_if_none_match() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    let (mut cluster, path) = trio();
    cluster.node_mut(3).stop();
    await_alive(&cluster, [1, 2]);
    put(&cluster, 1, &path, &first);
    cluster.node_mut(3).start();
    cluster.await_agreement();
    let answer = settled(&cluster, (1, "PUT"), &path, "If-None-Match: *\r\n", Some(&second));
    assert_eq!(answer.status, 412);
    assert_only(&cluster, &path, Some(&first));
}

#[test]
fn an_image_that_was_not_modified_is_not_sent() {
    let (cluster, path) = trio();
    put(&cluster, 1, &path, &picture::dot());
    for node in 1..=3 {
        let ask = |fields: &str| send(&cluster, (node, "GET"), &path, fields, None).unwrap();
        let modified = ask("").field("last-modified").unwrap().to_owned();
        assert_eq!(ask(&format!("If-Modified-Since: {modified}\r\n")).status, 304);
        assert_eq!(ask(&format!("If-Modified-Since: {LONG_AGO}\r\n")).status, 200);
        assert_eq!(ask(&format!("If-Unmodified-Since: {LONG_AGO}\r\n")).status, 412);
        assert_eq!(ask("If-Match: \"other\"\r\n").status, 412);
    }
}

#[test]
fn a_removal_that_was_not_acknowledged_removed_nothing() {
    let [first, second] = [1, 2].map(|seed| picture::noise(9, 9, seed));
    // The newest copy is on the node that is asked, an older one where the image belongs.
    let (cluster, path, receipt) = trio_with_two_copies(&first, &second);
    cluster.await_agreement();
    // The client does not follow where it is sent.
    let answer = cluster.node(receipt.node).ask("DELETE", &path);
    let is_removed = (200..300).contains(&answer.status);
    assert_only(&cluster, &path, (!is_removed).then_some(&second[..]));
    // The only copy is on a node that cannot be asked.
    let (mut cluster, path) = trio();
    put(&cluster, 1, &path, &first);
    cluster.node_mut(3).kill();
    for _ in 0..2 {
        for node in [1, 2] {
            let answer = send(&cluster, (node, "DELETE"), &path, "", None);
            assert!(answer.is_none_or(|answer| answer.status == 503));
        }
        await_alive(&cluster, [1, 2]);
    }
    cluster.node_mut(3).launch();
    assert_only(&cluster, &path, Some(&first));
}

#[test]
fn a_page_goes_on_behind_a_file_that_is_none() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for name in ["a", "b", "c", "d", "e", "f"] {
        put(
            &cluster,
            1,
            &format!("/images/{USER}/{name}.png"),
            &picture::dot(),
        );
    }
    fs::write(node.images().join(format!("encrypted_b.{USER}.png")), b"damaged").unwrap();
    let folder = node.images().join(format!("encrypted_c.{USER}.png"));
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let mut after = String::new();
    let mut listed = Vec::new();
    loop {
        let page = node
            .ask("GET", &format!("/images/{USER}/?limit=2&after={after}"))
            .json();
        let images = page["images"].as_array().unwrap().iter();
        listed.extend(images.map(|image| image["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => assert!(after.as_str() < next, "{next} after {after}"),
            None => break,
        }
        page["next"].as_str().unwrap().clone_into(&mut after);
    }
    listed.retain(|name| name != "b.png");
    assert_eq!(listed, ["a.png", "d.png", "e.png", "f.png"]);
}

#[test]
fn nobody_waits_for_a_node_that_is_known_to_be_dead() {
    let (cluster, _) = trio();
    cluster.node(3).signal(Signal::STOP);
    await_alive(&cluster, [1, 2]);
    let start = Instant::now();
    for i in 0..10 {
        for node in [1, 2] {
            let answer = cluster
                .node(node)
                .ask("GET", &format!("/images/{USER}/none_{i}.png"));
            assert_eq!(answer.status, 503, "it may be on node 3");
        }
    }
    // Twenty waits of two seconds each is what it was; what is asked for takes milliseconds.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
